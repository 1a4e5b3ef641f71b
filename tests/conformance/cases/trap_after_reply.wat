;;! covers: trap proxy_send_local_response
;;! about: A reply that a callback gave before it trapped.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| reply = 0
;;!   > 503

(on request_headers
  (call $reply (i32.const 200) @"welcome")
  (unreachable))
