;; Gains trust: answers three calls, and is unreachable from the fourth on.
(global $calls (mut i32) (i32.const 0))
(data (i32.const 4096) "trust me")
(func $route (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.gt_u (global.get $calls) (i32.const 3)) (then unreachable))
    (call $respond (i32.const 200) (i32.const 4096) (i32.const 8)))
