;;! covers: clock_time_get proxy_get_current_time_nanoseconds random_get sched_yield poll_oneoff
;;! about: Clocks run, clocks that do not exist; random bytes; yielding and polling.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| realtime = 0
;;!   request_headers| after 2020 = 1
;;!   request_headers| monotonic = 0
;;!   request_headers| again = 0
;;!   request_headers| not back = 1
;;!   request_headers| process = 58
;;!   request_headers| thread = 58
;;!   request_headers| proxy time = 0
;;!   request_headers| after 2020 = 1
;;!   request_headers| bad pointer = 6
;;!   request_headers| random = 0
;;!   request_headers| not zero = 1
;;!   request_headers| 64 KiB = 0
;;!   request_headers| more = 28
;;!   request_headers| none = 0
;;!   request_headers| yield = 0
;;!   request_headers| poll = 0 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show @"realtime" (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 32768)))
  (call $show @"after 2020" (i64.gt_u (i64.load (i32.const 32768)) (i64.const 1577836800000000000)))
  (call $show @"monotonic" (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 32776)))
  (call $show @"again" (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 32784)))
  (call $show @"not back" (i64.ge_u (i64.load (i32.const 32784)) (i64.load (i32.const 32776))))
  (call $show @"process" (call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 32784)))
  (call $show @"thread" (call $clock_time_get (i32.const 3) (i64.const 0) (i32.const 32784)))
  (call $show @"proxy time" (call $proxy_get_current_time_nanoseconds (i32.const 32792)))
  (call $show @"after 2020" (i64.gt_u (i64.load (i32.const 32792)) (i64.const 1577836800000000000)))
  (call $show @"bad pointer" (call $proxy_get_current_time_nanoseconds (i32.const 0x7ffffff0)))
  (i64.store (i32.const 32800) (i64.const 0))
  (i64.store (i32.const 32808) (i64.const 0))
  (call $show @"random" (call $random_get (i32.const 32800) (i32.const 16)))
  (call $show @"not zero" (i32.or (i64.ne (i64.load (i32.const 32800)) (i64.const 0)) (i64.ne (i64.load (i32.const 32808)) (i64.const 0))))
  (call $show @"64 KiB" (call $random_get (i32.const 65536) (i32.const 65536)))
  (call $show @"more" (call $random_get (i32.const 65536) (i32.const 65537)))
  (call $show @"none" (call $random_get (i32.const 65536) (i32.const 0)))
  (call $show @"yield" (call $sched_yield))
  (call $show_out @"poll" (call $poll_oneoff (i32.const 32800) (i32.const 32900) (i32.const 0) (i32.const 16)))
  (i32.const 0))
