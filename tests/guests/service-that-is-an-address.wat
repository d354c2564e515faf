;; Names an address instead of a service.
(data (i32.const 4096) "127.0.0.1:22")
(func $route (result i32)
    (call $forward (i32.const 4096) (i32.const 12)))
