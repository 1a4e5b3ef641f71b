;;! covers: proxy_get_property proxy_set_buffer_bytes
;;! about: Bytes of a connection without HTTP whose filter changes how many there are: those that the client sent and gets count.
;;! option: tcp
;;! step: tcp abcd
;;! expect:
;;!   # tcp abcd
;;!   downstream_data| property request.size = 0 4
;;!   downstream_data| property response.size = 0 0
;;!   downstream_data| set buffer 2 0+100 = 0
;;!   downstream_data| property request.size = 0 4
;;!   downstream_data| property response.size = 0 0
;;!   upstream_data| property request.size = 0 4
;;!   upstream_data| property response.size = 0 0
;;!   upstream_data| set buffer 3 0+100 = 0
;;!   upstream_data| property request.size = 0 4
;;!   upstream_data| property response.size = 0 0
;;!   downstream_data| property request.size = 0 4
;;!   downstream_data| property response.size = 0 7
;;!   log| property request.size = 0 4
;;!   log| property response.size = 0 7
;;!   > "yyyyyyy"

(func $all
  (call $property_number @"request\00size")
  (call $property_number @"response\00size"))
(on downstream_data
  (call $all)
  (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
  (call $set_buffer (i32.const 2) (i32.const 0) (i32.const 100) @"x")
  (call $all)
  (i32.const 0))
(on upstream_data
  (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
  (call $all)
  (call $set_buffer (i32.const 3) (i32.const 0) (i32.const 100) @"yyyyyyy")
  (call $all)
  (i32.const 0))
(on log (call $all))
