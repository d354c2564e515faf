;; Gives away more shares of the requests than there are.
(data (i32.const 4096) "orders")
;; A share: the service, and 1,001 of a thousand.
(data (i32.const 4128) "\00\10\00\00\06\00\00\00\e9\03\00\00")
(func $route (result i32)
    (i32.store offset=16 (global.get $answer) (i32.const 4128))
    (i32.store offset=20 (global.get $answer) (i32.const 1))
    (call $forward (i32.const 4096) (i32.const 6)))
