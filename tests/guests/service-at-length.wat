;; Names a service that does not exist by half a megabyte of `x`.
(func $route (result i32)
    (drop (memory.grow (i32.const 8)))
    (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 500000))
    (call $forward (i32.const 65536) (i32.const 500000)))
