;; Is born with 128 megabytes of memory, twice what a plugin may have.
(module
    (memory (export "memory") 2048)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "gatewright:policy/routing@0.1.0#configure") (param i32 i32) (result i32) (i32.const 0))
    (func (export "gatewright:policy/routing@0.1.0#route") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (i32.const 0)))
