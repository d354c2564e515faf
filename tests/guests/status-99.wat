;; Answers with the status 99.
(func $route (result i32)
    (call $respond (i32.const 99) (i32.const 0) (i32.const 0)))
