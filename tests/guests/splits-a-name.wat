;; Answers with a field whose name ends it and begins another.
(data (i32.const 4096) "x-a: b\0d\0aset-cookie")
(data (i32.const 4128) "admin=1")
(func $route (result i32)
    (call $field (i32.const 4096) (i32.const 18) (i32.const 4128) (i32.const 7))
    (call $fields (i32.const 12))
    (call $respond (i32.const 200) (i32.const 0) (i32.const 0)))
