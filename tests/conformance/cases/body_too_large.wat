;;! covers: proxy_on_request_body proxy_on_response_body
;;! about: A gathered body beyond the buffer's limit: 413, through the response callbacks. The limit is 1 MiB of a client of HTTP/1, 16 MiB of one of HTTP/2, both ways.
;;! option: upstream-races
;;! step: POST /echo || 0123456789abcdef*100000
;;! step: h2 POST /echo || 0123456789abcdef*100000
;;! step: h2 POST /echo || 0123456789abcdef*1000000
;;! step: h2 POST /echo || 0123456789abcdef*1100000
;;! expect:
;;!   # POST /echo || 0123456789abcdef*100000
;;!   response_headers| get 2 ":status" = 0 "413"
;;!   > 413 content-type="text/plain" body "Payload Too Large"
;;!   # h2 POST /echo || 0123456789abcdef*100000
;;!   response_headers| get 2 ":status" = 0 "200"
;;!   > 200 body 1600000 bytes, sum 8579b6b23a611900
;;!   # h2 POST /echo || 0123456789abcdef*1000000
;;!   response_headers| get 2 ":status" = 0 "200"
;;!   > 200 body 16000000 bytes, sum f57aa746298afa00
;;!   # h2 POST /echo || 0123456789abcdef*1100000
;;!   response_headers| get 2 ":status" = 0 "413"
;;!   > 413 content-type="text/plain" body "Payload Too Large"

(on request_body (i32.eqz (local.get $end)))
(on response_body (i32.eqz (local.get $end)))
(on response_headers (call $get (i32.const 2) @":status") (i32.const 0))
