;;! covers: abi_0_2_0
;;! about: The marker 0.2.0: the same callbacks.
;;! abi: 0_2_0
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| end = 1
;;!   request_headers| get 0 "x-kit-none" = 1
;;!   request_headers| get 0 "x-kit-a" = 0 "1"
;;!   response_headers| end = 0
;;!   log| called
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers (call $show @"end" (local.get $end)) (call $get (i32.const 0) @"x-kit-none") (call $get (i32.const 0) @"x-kit-a") (i32.const 0))
(on response_headers (call $show @"end" (local.get $end)) (i32.const 0))
(on log (call $say @"called"))
