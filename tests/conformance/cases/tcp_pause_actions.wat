;;! covers: proxy_on_downstream_data
;;! about: Actions that bodies of HTTP know hold a connection's bytes as well.
;;! option: tcp
;;! step: tcp ab | cde | fgh
;;! expect:
;;!   # tcp ab | cde | fgh
;;!   downstream_data| buffer 2 0+100 = 0 "ab"
;;!   downstream_data| buffer 2 0+100 = 0 "abcde"
;;!   downstream_data| buffer 2 0+100 = 0 "abcdefgh"
;;!   downstream_data| buffer 2 0+100 = 0 empty
;;!   > nothing
;;!   > nothing
;;!   > "ABCDEFGH"

(global $action (mut i32) (i32.const 3))
(on downstream_data
  (call $buffer (i32.const 2) (i32.const 0) (i32.const 100))
  (if (i32.lt_u (local.get $size) (i32.const 8)) (then
    (global.set $action (i32.sub (global.get $action) (i32.const 1)))
    (return (i32.add (global.get $action) (i32.const 1)))))
  (i32.const 0))
