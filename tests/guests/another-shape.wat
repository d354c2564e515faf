;; Has a `route` that takes nothing and answers a number.
(component
    (core module $plugin
        (memory (export "memory") 1)
        (func (export "allocate") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "configure") (param i32 i32) (result i32) (i32.const 0))
        (func (export "route") (result i32) (i32.const 0)))
    (core instance $plugin (instantiate $plugin))
    (func $configure (param "settings" string) (result (result (error string)))
        (canon lift (core func $plugin "configure")
            (memory $plugin "memory") (realloc (func $plugin "allocate"))))
    (func $route (result u32) (canon lift (core func $plugin "route")))
    (instance $routing (export "configure" (func $configure)) (export "route" (func $route)))
    (export "gatewright:policy/routing@0.1.0" (instance $routing)))
