;; Does not like its settings.
(data (i32.const 4096) "no thanks")
(func $configure (result i32)
    (call $fault (i32.const 4096) (i32.const 9)))
(func $route (result i32) (call $ok))
