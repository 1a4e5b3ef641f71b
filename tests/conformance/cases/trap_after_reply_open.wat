;;! covers: trap proxy_send_local_response
;;! about: The same with fail_open.
;;! option: fail_open
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| reply = 0
;;!   > 200 content-type="text/plain" body "welcome"

(on request_headers
  (call $reply (i32.const 200) @"welcome")
  (unreachable))
