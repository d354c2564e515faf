;; Declares an input in a call.
(import "gatewright:policy/inputs@0.1.0" "path" (func $path (result i32)))
(func $route (result i32)
    (drop (call $path))
    (call $ok))
