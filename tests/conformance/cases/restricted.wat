;;! covers: restriction
;;! about: Calls that the configuration does not grant answer 10, callbacks that it does not grant do not come.
;;! option: restricted
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| get 0 "x-kit-a" = 10
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $get (i32.const 0) @"x-kit-a")
  (i32.const 0))
(on response_headers (call $say @"called") (i32.const 0))
