;; Wants to verify tokens, which nobody granted to it.
(import "gatewright:policy/jwt@0.1.0" "prepare" (func $prepare
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(func $route (result i32) unreachable)
