;; Declares a challenge that ends its field and begins another.
(import "gatewright:policy/identity@0.1.0" "challenge" (func $challenge (param i32 i32)))
(data (i32.const 4096) "Key\0d\0aset-cookie: admin=1")
(func $configure (result i32)
    (call $challenge (i32.const 4096) (i32.const 24))
    (call $ok))
(func $route (result i32) (call $ok))
