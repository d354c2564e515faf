;; Asks a service for a path that ends the request and begins another.
(data (i32.const 4096) "orders")
(data (i32.const 4128) "/a HTTP/1.1\0d\0ahost: evil\0d\0a\0d\0aGET /b")
(func $route (result i32)
    (i32.store8 offset=24 (global.get $answer) (i32.const 1))
    (i32.store offset=28 (global.get $answer) (i32.const 4128))
    (i32.store offset=32 (global.get $answer) (i32.const 33))
    (call $forward (i32.const 4096) (i32.const 6)))
