;;! covers: proxy_on_downstream_data proxy_continue_stream
;;! about: Data held until five bytes are there: sizes are cumulative.
;;! option: tcp
;;! step: tcp ab | cde
;;! expect:
;;!   # tcp ab | cde
;;!   downstream_data| buffer 2 0+100 = 0 "ab"
;;!   downstream_data| buffer 2 0+100 = 0 "abcde"
;;!   downstream_data| buffer 2 0+100 = 0 empty
;;!   > nothing
;;!   > "ABCDE"

(on downstream_data
  (call $buffer (i32.const 2) (i32.const 0) (i32.const 100))
  (i32.lt_u (local.get $size) (i32.const 5)))
