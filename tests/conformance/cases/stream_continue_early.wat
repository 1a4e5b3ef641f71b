;;! covers: proxy_continue_stream
;;! about: Continuing the response while the request is still in its headers.
;;! envoy-crashes: segmentation fault (continueEncoding before there is a response)
;;! deviation: Envoy crashes; here the call is without effect
;;! step: GET /x
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| response = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show @"response" (call $proxy_continue_stream (i32.const 1)))
  (i32.const 0))
