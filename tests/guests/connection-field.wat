;; Answers with a field that frames messages.
(data (i32.const 4096) "transfer-encoding")
(data (i32.const 4128) "chunked")
(func $route (result i32)
    (call $field (i32.const 4096) (i32.const 17) (i32.const 4128) (i32.const 7))
    (call $fields (i32.const 12))
    (call $respond (i32.const 200) (i32.const 0) (i32.const 0)))
