;; Never comes to life.
(func $born (loop $for-ever (br $for-ever)))
(start $born)
(func $route (result i32) (call $ok))
