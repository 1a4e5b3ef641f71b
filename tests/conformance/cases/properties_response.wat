;;! covers: proxy_get_property
;;! about: Attributes of the response in each phase.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property response.code = 1
;;!   request_headers| property response.code_details = 1
;;!   request_headers| property response.flags = 0 0
;;!   request_headers| property response.size = 0 0
;;!   request_headers| property response.headers.x-kit-up = 1
;;!   request_headers| property response.trailers.x-kit-up = 1
;;!   request_headers| property response.total_size = 0
;;!   request_headers| property response.grpc_status = 1
;;!   request_headers| property response.backend_latency = 1
;;!   request_headers| property response.nosuch = 1
;;!   response_headers| property response.code = 0 200
;;!   response_headers| property response.code_details = 0 "via_upstream"
;;!   response_headers| property response.flags = 0 0
;;!   response_headers| property response.size = 0 0
;;!   response_headers| property response.headers.x-kit-up = 0 "yes"
;;!   response_headers| property response.trailers.x-kit-up = 1
;;!   response_headers| property response.total_size = 0
;;!   response_headers| property response.grpc_status = 0
;;!   response_headers| property response.backend_latency = 1
;;!   response_headers| property response.nosuch = 1
;;!   log| property response.code = 0 200
;;!   log| property response.code_details = 0 "via_upstream"
;;!   log| property response.flags = 0 0
;;!   log| property response.size = 0 5
;;!   log| property response.headers.x-kit-up = 0 "yes"
;;!   log| property response.trailers.x-kit-up = 1
;;!   log| property response.total_size = 0
;;!   log| property response.grpc_status = 0
;;!   log| property response.backend_latency = 0
;;!   log| property response.nosuch = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $all
  (call $property_number @"response\00code")
  (call $property @"response\00code_details")
  (call $property_number @"response\00flags")
  (call $property_number @"response\00size")
  (call $property @"response\00headers\00x-kit-up")
  (call $property @"response\00trailers\00x-kit-up")
  (call $property_status @"response\00total_size")
  (call $property_status @"response\00grpc_status")
  (call $property_status @"response\00backend_latency")
  (call $property_status @"response\00nosuch"))
(on request_headers (call $all) (i32.const 0))
(on response_headers (call $all) (i32.const 0))
(on log (call $all))
