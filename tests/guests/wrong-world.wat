;; A command-line program, and no policy.
(component
    (core module $program (func (export "run") (result i32) (i32.const 0)))
    (core instance $running (instantiate $program))
    (func $run (result (result)) (canon lift (core func $running "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))
