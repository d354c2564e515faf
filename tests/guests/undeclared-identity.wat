;; Sets a field for the service that it did not declare.
(data (i32.const 4096) "ada")
(data (i32.const 4112) "x-role")
(data (i32.const 4128) "admin")
(func $identify (result i32)
    (call $field (i32.const 4112) (i32.const 6) (i32.const 4128) (i32.const 5))
    (call $fields (i32.const 52))
    (call $grant (i32.const 4096) (i32.const 3)))
