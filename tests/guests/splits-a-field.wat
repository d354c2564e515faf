;; Answers with a field whose value ends it and begins another.
(data (i32.const 4096) "x-a")
(data (i32.const 4128) "b\0d\0aset-cookie: admin=1")
(func $route (result i32)
    (call $field (i32.const 4096) (i32.const 3) (i32.const 4128) (i32.const 22))
    (call $fields (i32.const 12))
    (call $respond (i32.const 200) (i32.const 0) (i32.const 0)))
