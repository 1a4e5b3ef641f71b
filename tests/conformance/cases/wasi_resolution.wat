;;! covers: clock_res_get
;;! about: Clocks have a resolution of a nanosecond.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| clock_res_get 0 at = 0 +0:1 +1:0 +2:0 +3:0 +4:0 +5:0 +6:0 +7:0
;;!   request_headers| clock_res_get 1 at = 0 +0:1 +1:0 +2:0 +3:0 +4:0 +5:0 +6:0 +7:0
;;!   request_headers| clock_res_get 2 at = 58
;;!   request_headers| clock_res_get 3 at = 58
;;!   request_headers| clock_res_get 9 at = 58
;;!   request_headers| clock_res_get 0 bad = 21
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $mark)
  (call $wrote @"clock_res_get 0 at" (call $clock_res_get (i32.const 0) (i32.const 32768)))
  (call $wrote @"clock_res_get 1 at" (call $clock_res_get (i32.const 1) (i32.const 32768)))
  (call $wrote @"clock_res_get 2 at" (call $clock_res_get (i32.const 2) (i32.const 32768)))
  (call $wrote @"clock_res_get 3 at" (call $clock_res_get (i32.const 3) (i32.const 32768)))
  (call $wrote @"clock_res_get 9 at" (call $clock_res_get (i32.const 9) (i32.const 32768)))
  (call $wrote @"clock_res_get 0 bad" (call $clock_res_get (i32.const 0) (i32.const -4)))
  (i32.const 0))
