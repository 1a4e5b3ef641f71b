;;! covers: proxy_on_request_body
;;! about: A gathered request body beyond the buffer's limit: 413, through the response callbacks.
;;! option: upstream-races
;;! step: POST /echo || 0123456789abcdef*100000
;;! expect:
;;!   # POST /echo || 0123456789abcdef*100000
;;!   response_headers| get 2 ":status" = 0 "413"
;;!   > 413 content-type="text/plain" body "Payload Too Large"

(on request_body (i32.eqz (local.get $end)))
(on response_headers (call $get (i32.const 2) @":status") (i32.const 0))
