;; Declares something else each time: headers whose names are as long as chance has it.
(import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
(import "gatewright:policy/random@0.1.0" "number" (func $random (result i32)))
(func $declare
    (drop (call $header (i32.const 4096) (i32.add (i32.const 1) (i32.rem_u (call $random) (i32.const 8000))))))
(func $configure (result i32)
    (memory.fill (i32.const 4096) (i32.const 120) (i32.const 8192))
    (call $declare)
    (call $declare)
    (call $declare)
    (call $ok))
(func $route (result i32) (call $ok))
