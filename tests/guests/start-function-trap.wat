;; Runs into a trap before anything is called.
(func $born unreachable)
(start $born)
(func $route (result i32) (call $ok))
