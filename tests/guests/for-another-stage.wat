;; Validates, where somebody is wanted who routes.
(func $check (result i32) (call $ok))
