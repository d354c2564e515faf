;; Refuses in bytes that are no text.
(data (i32.const 4096) "\ff")
(func $route (result i32)
    (call $refuse (i32.const 400) (i32.const 4096) (i32.const 1)))
