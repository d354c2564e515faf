;; Refuses with a field whose value ends it and begins another.
(data (i32.const 4096) "no")
(data (i32.const 4112) "x-a")
(data (i32.const 4128) "a\0d\0aset-cookie: admin=1")
(func $check (result i32)
    (call $field (i32.const 4112) (i32.const 3) (i32.const 4128) (i32.const 22))
    (call $fields (i32.const 40))
    (call $refuse (i32.const 400) (i32.const 4096) (i32.const 2)))
