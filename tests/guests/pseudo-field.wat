;; Answers with a field of the name of a pseudo-header of HTTP/2.
(data (i32.const 4096) ":status")
(data (i32.const 4128) "200")
(func $route (result i32)
    (call $field (i32.const 4096) (i32.const 7) (i32.const 4128) (i32.const 3))
    (call $fields (i32.const 12))
    (call $respond (i32.const 200) (i32.const 0) (i32.const 0)))
