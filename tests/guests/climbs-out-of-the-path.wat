;; Asks a service for a path above the root.
(data (i32.const 4096) "orders")
(data (i32.const 4128) "/a/../../etc/passwd")
(func $route (result i32)
    (i32.store8 offset=24 (global.get $answer) (i32.const 1))
    (i32.store offset=28 (global.get $answer) (i32.const 4128))
    (i32.store offset=32 (global.get $answer) (i32.const 19))
    (call $forward (i32.const 4096) (i32.const 6)))
