;; Answers with a body of four megabytes.
(func $route (result i32)
    (drop (memory.grow (i32.const 64)))
    (call $respond (i32.const 200) (i32.const 65536) (i32.const 4194304)))
