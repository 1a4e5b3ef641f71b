;;! covers: proxy_close_stream proxy_on_upstream_connection_close proxy_on_downstream_connection_close
;;! about: The filter closes the connection when the server has answered: of the server's end it hears nothing.
;;! option: tcp
;;! step: tcp abc | quit
;;! expect:
;;!   # tcp abc | quit
;;!   upstream_data| close = 0
;;!   downstream_connection_close| how = 1
;;!   > closed

(on upstream_data
  (call $show @"close" (call $proxy_close_stream (i32.const 2)))
  (i32.const 1))
(on downstream_connection_close (call $show @"how" (local.get $how)))
(on upstream_connection_close (call $show @"how" (local.get $how)))
