;; Answers with the status 0.
(func $route (result i32)
    (call $respond (i32.const 0) (i32.const 0) (i32.const 0)))
