;;! covers: proxy_close_stream
;;! about: Types of HTTP streams mean nothing on a connection.
;;! option: tcp
;;! step: tcp abc | quit
;;! expect:
;;!   # tcp abc | quit
;;!   downstream_data| close 0 = 0
;;!   downstream_data| close 1 = 0
;;!   downstream_data| close 0 = 0
;;!   downstream_data| close 1 = 0
;;!   downstream_data| close 0 = 0
;;!   downstream_data| close 1 = 0
;;!   > "ABC"
;;!   > "QUIT"

(on downstream_data
  (call $show @"close 0" (call $proxy_close_stream (i32.const 0)))
  (call $show @"close 1" (call $proxy_close_stream (i32.const 1)))
  (i32.const 0))
