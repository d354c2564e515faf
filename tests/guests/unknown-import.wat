;; Wants what no host of ours has.
(component
    (import "evil:machine/shell@1.0.0" (instance (export "run" (func (param "line" string))))))
