;; Names a service that the configuration does not have.
(data (i32.const 4096) "nowhere")
(func $route (result i32)
    (call $forward (i32.const 4096) (i32.const 7)))
