;; Refuses, and says that all is well.
(func $route (result i32)
    (call $refuse (i32.const 200) (i32.const 4096) (i32.const 0)))
