;; Claims to route, and has no `route`.
(component
    (core module $plugin
        (memory (export "memory") 1)
        (func (export "allocate") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "configure") (param i32 i32) (result i32) (i32.const 0)))
    (core instance $plugin (instantiate $plugin))
    (func $configure (param "settings" string) (result (result (error string)))
        (canon lift (core func $plugin "configure")
            (memory $plugin "memory") (realloc (func $plugin "allocate"))))
    (instance $routing (export "configure" (func $configure)))
    (export "gatewright:policy/routing@0.1.0" (instance $routing)))
