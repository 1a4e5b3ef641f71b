;;! covers: proxy_on_new_connection proxy_on_downstream_data proxy_on_upstream_data proxy_on_downstream_connection_close proxy_on_upstream_connection_close proxy_get_buffer_bytes
;;! about: A connection from its start to its end, closed by the client.
;;! option: tcp
;;! step: tcp hello | again | close
;;! expect:
;;!   context_create| root
;;!   # tcp hello | again | close
;;!   context_create| stream
;;!   new_connection| called
;;!   downstream_data| end = 0
;;!   downstream_data| buffer 2 0+100 = 0 "hello"
;;!   upstream_data| end = 0
;;!   upstream_data| buffer 3 0+100 = 0 "HELLO"
;;!   downstream_data| end = 0
;;!   downstream_data| buffer 2 0+100 = 0 "again"
;;!   upstream_data| end = 0
;;!   upstream_data| buffer 3 0+100 = 0 "AGAIN"
;;!   downstream_data| end = 1
;;!   downstream_data| buffer 2 0+100 = 0 empty
;;!   upstream_data| end = 1
;;!   upstream_data| buffer 3 0+100 = 0 empty
;;!   upstream_connection_close| how = 0
;;!   downstream_connection_close| how = 1
;;!   done| called
;;!   log| called
;;!   delete| called
;;!   > "HELLO"
;;!   > "AGAIN"
;;!   > closed

(on context_create (call $begin) (if (local.get $parent) (then (call $w @"stream")) (else (call $w @"root"))) (call $end))
(on new_connection (call $say @"called") (i32.const 0))
(on downstream_data (call $show @"end" (local.get $end)) (call $buffer (i32.const 2) (i32.const 0) (i32.const 100)) (i32.const 0))
(on upstream_data (call $show @"end" (local.get $end)) (call $buffer (i32.const 3) (i32.const 0) (i32.const 100)) (i32.const 0))
(on downstream_connection_close (call $show @"how" (local.get $how)))
(on upstream_connection_close (call $show @"how" (local.get $how)))
(on log (call $say @"called"))
(on done (call $say @"called") (i32.const 1))
(on delete (call $say @"called"))
