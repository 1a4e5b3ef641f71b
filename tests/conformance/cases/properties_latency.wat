;;! covers: proxy_get_property
;;! about: `response.backend_latency` is there once the server's answer is over, with its head or with its end; never where it broke off.
;;! step: GET /x
;;! step: HEAD /x
;;! step: h2 GET /trailers
;;! step: h2 POST /kit.Kit/Refuse | content-type: application/grpc | te: trailers || \x00\x00\x00\x00\x00
;;! step: GET /cut/body
;;! step: h2 GET /cut/body
;;! expect:
;;!   # GET /x
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 1
;;!   response_body| property response.backend_latency = 0
;;!   log| property response.backend_latency = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # HEAD /x
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 0
;;!   log| property response.backend_latency = 0
;;!   ^ HEAD /x
;;!   > 200 x-kit-up="yes"
;;!   # h2 GET /trailers
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 1
;;!   response_body| property response.backend_latency = 0
;;!   log| property response.backend_latency = 0
;;!   ^ GET /trailers
;;!   > 200 body "hello"
;;!   # h2 POST /kit.Kit/Refuse | content-type: application/grpc | te: trailers || \x00\x00\x00\x00\x00
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 0
;;!   log| property response.backend_latency = 0
;;!   ^ POST /kit.Kit/Refuse content-type="application/grpc" body "\x00\x00\x00\x00\x00"
;;!   > 200 content-type="application/grpc" grpc-message="not you" grpc-status="7"
;;!   # GET /cut/body
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 1
;;!   log| property response.backend_latency = 1
;;!   ^ GET /cut/body
;;!   > connection cut
;;!   # h2 GET /cut/body
;;!   request_headers| property response.backend_latency = 1
;;!   response_headers| property response.backend_latency = 1
;;!   log| property response.backend_latency = 1
;;!   ^ GET /cut/body
;;!   > reset INTERNAL_ERROR

(func $ask (call $property_status @"response\00backend_latency"))
(on request_headers (call $ask) (i32.const 0))
(on response_headers (call $ask) (i32.const 0))
(on response_body (if (local.get $end) (then (call $ask))) (i32.const 0))
(on response_trailers (call $ask) (i32.const 0))
(on log (call $ask))
