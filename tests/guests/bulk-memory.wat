;; Moves megabytes in single instructions, without end.
(func $route (result i32)
    (drop (memory.grow (i32.const 128)))
    (loop $again
        (memory.fill (i32.const 65536) (i32.const 1) (i32.const 8388608))
        (memory.copy (i32.const 65537) (i32.const 65536) (i32.const 8388607))
        (br $again))
    unreachable)
