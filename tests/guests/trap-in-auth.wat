;; Runs into a trap when it is asked who calls.
(func $identify (result i32) unreachable)
