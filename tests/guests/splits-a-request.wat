;; Sends a service a field whose value ends it and begins another.
(data (i32.const 4096) "orders")
(data (i32.const 4128) "x-a")
(data (i32.const 4144) "evil\0d\0ax-user: root")
(func $route (result i32)
    (call $field (i32.const 4128) (i32.const 3) (i32.const 4144) (i32.const 18))
    (i32.store8 offset=36 (global.get $answer) (i32.const 1))
    (call $fields (i32.const 48))
    (call $forward (i32.const 4096) (i32.const 6)))
