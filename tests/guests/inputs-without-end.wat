;; Declares inputs without end, each of another name.
(import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
(func $configure (result i32)
    (local $length i32)
    (memory.fill (i32.const 4096) (i32.const 120) (i32.const 1024))
    (loop $again
        (local.set $length (i32.add (local.get $length) (i32.const 1)))
        (drop (call $header (i32.const 4096) (local.get $length)))
        (br $again))
    unreachable)
(func $route (result i32) (call $ok))
