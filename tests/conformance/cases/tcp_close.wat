;;! covers: proxy_close_stream proxy_send_local_response
;;! about: The filter closes the connection; a local reply means nothing here.
;;! option: tcp
;;! step: tcp abc | quit
;;! expect:
;;!   # tcp abc | quit
;;!   downstream_data| reply = 0
;;!   downstream_data| reply = 0
;;!   downstream_data| close = 0
;;!   downstream_connection_close| how = 1
;;!   > "ABC"
;;!   > closed

(on downstream_data
  (call $show @"reply" (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0) @"no" (i32.const 0) (i32.const 0) (i32.const -1)))
  (if (i32.eq (local.get $size) (i32.const 4)) (then
    (call $show @"close" (call $proxy_close_stream (i32.const 2)))
    (return (i32.const 1))))
  (i32.const 0))
(on downstream_connection_close (call $show @"how" (local.get $how)))
(on upstream_connection_close (call $show @"how" (local.get $how)))
