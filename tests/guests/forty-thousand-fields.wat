;; Answers with 40,000 header fields, each of another name: four letters from `aaaa` to `pppp`, and no value.
(func $name (param $number i32) (result i32)
    (i32.add (i32.const 0x61616161) (i32.or
        (i32.or
            (i32.and (local.get $number) (i32.const 15))
            (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 4)) (i32.const 15)) (i32.const 8)))
        (i32.or
            (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 8)) (i32.const 15)) (i32.const 16))
            (i32.shl (i32.and (i32.shr_u (local.get $number) (i32.const 12)) (i32.const 15)) (i32.const 24))))))
(func $route (result i32)
    (local $number i32) (local $field i32) (local $text i32)
    (drop (memory.grow (i32.const 14)))
    (local.set $field (i32.const 65536))                ;; 40,000 times 16 bytes
    (local.set $text (i32.const 705536))                ;; 40,000 times 4 bytes
    (loop $next
        (i32.store (local.get $text) (call $name (local.get $number)))
        (i32.store (local.get $field) (local.get $text))
        (i32.store offset=4 (local.get $field) (i32.const 4))
        (i32.store offset=8 (local.get $field) (i32.const 0))
        (i32.store offset=12 (local.get $field) (i32.const 0))
        (local.set $text (i32.add (local.get $text) (i32.const 4)))
        (local.set $field (i32.add (local.get $field) (i32.const 16)))
        (local.set $number (i32.add (local.get $number) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $number) (i32.const 40000))))
    (i32.store offset=12 (global.get $answer) (i32.const 65536))
    (i32.store offset=16 (global.get $answer) (i32.const 40000))
    (call $respond (i32.const 200) (i32.const 0) (i32.const 0)))
