;; Never comes back from a call.
(func $route (result i32)
    (loop $for-ever (br $for-ever))
    unreachable)
