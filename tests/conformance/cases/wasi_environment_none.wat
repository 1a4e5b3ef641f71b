;;! covers: environ_sizes_get
;;! about: Without configuration there is no environment.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| sizes = 0 0
;;!   request_headers| bytes = 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show_out @"sizes" (call $environ_sizes_get (i32.const 16) (i32.const 20)))
  (call $show @"bytes" (i32.load (i32.const 20)))
  (i32.const 0))
