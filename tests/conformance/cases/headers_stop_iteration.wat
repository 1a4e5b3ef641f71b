;;! covers: proxy_on_request_headers
;;! about: With allow_on_headers_stop_iteration, 1 holds the headers alone: the body comes meanwhile, and headers change with it.
;;! deviation: the end of a body comes with its last bytes where they are known to be the last, as Envoy does it over HTTP/2; over HTTP/1 Envoy enters the guest once more, for nothing
;;! option: stop_iteration
;;! step: POST /echo | x-kit-a: 1 || body
;;! expect:
;;!   # POST /echo | x-kit-a: 1 || body
;;!   request_headers| end = 0
;;!   request_body| end = 0
;;!   request_body| buffer 0 0+100 = 0 "body"
;;!   request_body| get 0 "x-kit-a" = 0 "1"
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "body"
;;!   request_body| get 0 "x-kit-a" = 0 "1"
;;!   request_body| replace 0 "x-kit-a" = 0
;;!   ^ POST /echo x-kit-a="after the body" body "body"
;;!   > 200 body "body"
;;! expect-pillion:
;;!   # POST /echo | x-kit-a: 1 || body
;;!   request_headers| end = 0
;;!   request_body| end = 1
;;!   request_body| buffer 0 0+100 = 0 "body"
;;!   request_body| get 0 "x-kit-a" = 0 "1"
;;!   request_body| replace 0 "x-kit-a" = 0
;;!   ^ POST /echo x-kit-a="after the body" body "body"
;;!   > 200 body "body"

(on request_headers (call $show @"end" (local.get $end)) (i32.const 1))
(on request_body
  (call $show @"end" (local.get $end))
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 100))
  (call $get (i32.const 0) @"x-kit-a")
  (if (local.get $end) (then (call $replace (i32.const 0) @"x-kit-a" @"after the body")))
  (i32.eqz (local.get $end)))
