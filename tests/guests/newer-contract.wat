;; Wants a function that a later 0.1.x may have.
(component
    (import "gatewright:policy/random@0.1.1" (instance (export "dice" (func (result u32))))))
