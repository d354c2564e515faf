;; Does not like its settings, and says so in half a megabyte of empty lines.
(func $configure (result i32)
    (drop (memory.grow (i32.const 8)))
    (memory.fill (i32.const 65536) (i32.const 0x0a) (i32.const 500000))
    (call $fault (i32.const 65536) (i32.const 500000)))
(func $route (result i32) (call $ok))
