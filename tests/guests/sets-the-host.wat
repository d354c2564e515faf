;; Sends a service another `Host`, which is out of its reach.
(data (i32.const 4096) "orders")
(data (i32.const 4128) "host")
(data (i32.const 4144) "evil.example")
(func $route (result i32)
    (call $field (i32.const 4128) (i32.const 4) (i32.const 4144) (i32.const 12))
    (i32.store8 offset=36 (global.get $answer) (i32.const 1))
    (call $fields (i32.const 48))
    (call $forward (i32.const 4096) (i32.const 6)))
