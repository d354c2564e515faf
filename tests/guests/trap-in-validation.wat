;; Runs into a trap when it is asked what is valid.
(func $check (result i32) unreachable)
