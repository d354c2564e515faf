;; Logs long lines without end.
(import "gatewright:policy/log@0.1.0" "info" (func $log (param i32 i32)))
(func $route (result i32)
    (memory.fill (i32.const 65536) (i32.const 42) (i32.const 32768))
    (loop $again
        (call $log (i32.const 65536) (i32.const 32768))
        (br $again))
    unreachable)
