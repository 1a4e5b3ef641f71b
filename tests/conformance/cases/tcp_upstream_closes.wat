;;! covers: proxy_on_upstream_connection_close proxy_on_downstream_connection_close
;;! about: A connection closed by the upstream.
;;! option: tcp
;;! step: tcp bye | more
;;! expect:
;;!   # tcp bye | more
;;!   upstream_connection_close| how = 0
;;!   downstream_connection_close| how = 2
;;!   log| called
;;!   > "BYE"
;;!   > closed

(on downstream_connection_close (call $show @"how" (local.get $how)))
(on upstream_connection_close (call $show @"how" (local.get $how)))
(on log (call $say @"called"))
