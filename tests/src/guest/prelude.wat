;; What every guest begins with: memory, an allocator, what a call is about, and the answers that are needed most.

(memory $memory (export "memory") 2)

;; ---- What a call is about: set before the guest's own function runs. ----
(global $values (mut i32) (i32.const 0))            ;; list<option<string>>: 12 bytes each (present u8, address, length)
(global $count (mut i32) (i32.const 0))
(global $has-body (mut i32) (i32.const 0))
(global $body (mut i32) (i32.const 0))
(global $body-length (mut i32) (i32.const 0))
(global $headers (mut i32) (i32.const 0))           ;; list<tuple<string, list<u8>>>: 16 bytes each; empty unless declared
(global $headers-count (mut i32) (i32.const 0))
(global $settings (mut i32) (i32.const 0))          ;; in $configure only
(global $settings-length (mut i32) (i32.const 0))

;; Whether the request has the part of a slot.
(func $has (param $slot i32) (result i32)
    (i32.load8_u (i32.add (global.get $values) (i32.mul (local.get $slot) (i32.const 12)))))
;; Its address.
(func $value (param $slot i32) (result i32)
    (i32.load offset=4 (i32.add (global.get $values) (i32.mul (local.get $slot) (i32.const 12)))))
;; Its length in bytes.
(func $value-length (param $slot i32) (result i32)
    (i32.load offset=8 (i32.add (global.get $values) (i32.mul (local.get $slot) (i32.const 12)))))

;; ---- The heap: everything behind 65536, empty again after each call. ----
(global $heap (mut i32) (i32.const 65536))
(func $allocate (export "cabi_realloc")
    (param $old i32) (param $old-length i32) (param $align i32) (param $length i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $length)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
        (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
                (i32.div_u (i32.sub (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (i32.const 65536)))))
            (then unreachable))))
    (memory.copy (local.get $at) (local.get $old) (local.get $old-length))
    (local.get $at))

;; ---- Answers, built here; all of it is zero when a call begins. ----
(global $answer i32 (i32.const 1024))
(func $begin
    (memory.fill (global.get $answer) (i32.const 0) (i32.const 256))
    (global.set $list (i32.const 2048))
    (global.set $list-end (i32.const 2048)))
(func $end (param $it i32) (result i32)
    ;; The host reads the answer before it allocates again.
    (global.set $heap (i32.const 65536))
    (local.get $it))

;; Header fields, at most 128 in one answer: $field for each, then $fields once with the offset of their list in the answer.
(global $list (mut i32) (i32.const 2048))
(global $list-end (mut i32) (i32.const 2048))
(func $field (param $name i32) (param $name-length i32) (param $value i32) (param $value-length i32)
    (i32.store (global.get $list-end) (local.get $name))
    (i32.store offset=4 (global.get $list-end) (local.get $name-length))
    (i32.store offset=8 (global.get $list-end) (local.get $value))
    (i32.store offset=12 (global.get $list-end) (local.get $value-length))
    (global.set $list-end (i32.add (global.get $list-end) (i32.const 16))))
(func $fields (param $offset i32)
    (i32.store (i32.add (global.get $answer) (local.get $offset)) (global.get $list))
    (i32.store offset=4 (i32.add (global.get $answer) (local.get $offset))
        (i32.shr_u (i32.sub (global.get $list-end) (global.get $list)) (i32.const 4)))
    (global.set $list (global.get $list-end)))

;; Configured; no credential of mine; valid.
(func $ok (result i32) (global.get $answer))

;; `configure` refuses. result<_, string>: 0 failed u8, 4 address, 8 length.
(func $fault (param $text i32) (param $length i32) (result i32)
    (i32.store8 (global.get $answer) (i32.const 1))
    (i32.store offset=4 (global.get $answer) (local.get $text))
    (i32.store offset=8 (global.get $answer) (local.get $length))
    (global.get $answer))

;; A refusal, in every stage. 0 refused u8; 4 status u16, 8 title, 16 detail (present u8, text), 28 problem (present u8, text),
;; 40 headers (list of four i32 each), 48 violations (list of six i32 each).
(func $refuse (param $status i32) (param $title i32) (param $length i32) (result i32)
    (i32.store8 (global.get $answer) (i32.const 1))
    (i32.store16 offset=4 (global.get $answer) (local.get $status))
    (i32.store offset=8 (global.get $answer) (local.get $title))
    (i32.store offset=12 (global.get $answer) (local.get $length))
    (global.get $answer))

;; A grant. 4 granted u8; 8 subject, 16 plan (present u8, text), 28 scopes (list of texts), 36 attributes (list of four i32
;; each), 44 conceal (list of slots), 52 headers (list of four i32 each).
(func $grant (param $subject i32) (param $length i32) (result i32)
    (i32.store8 offset=4 (global.get $answer) (i32.const 1))
    (i32.store offset=8 (global.get $answer) (local.get $subject))
    (i32.store offset=12 (global.get $answer) (local.get $length))
    (global.get $answer))

;; An answer of the routing plugin's own. 4 responds u8; 8 status u16, 12 headers (list of four i32 each), 20 body.
(func $respond (param $status i32) (param $body i32) (param $length i32) (result i32)
    (i32.store8 offset=4 (global.get $answer) (i32.const 1))
    (i32.store16 offset=8 (global.get $answer) (local.get $status))
    (i32.store offset=20 (global.get $answer) (local.get $body))
    (i32.store offset=24 (global.get $answer) (local.get $length))
    (global.get $answer))

;; On to a service. 4 responds u8 (0); 8 service, 16 shares (list of: text, per mille u16; 12 bytes each), 24 path (present u8,
;; text), 36 request edits (present u8; 40 remove, 48 set, 56 add), 64 response edits (present u8; 68 remove, 76 set, 84 add),
;; 92 affinity (present u8, text), 104 timeout (present u8, 108 milliseconds).
(func $forward (param $service i32) (param $length i32) (result i32)
    (i32.store offset=8 (global.get $answer) (local.get $service))
    (i32.store offset=12 (global.get $answer) (local.get $length))
    (global.get $answer))
