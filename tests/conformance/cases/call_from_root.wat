;;! covers: proxy_http_call proxy_on_tick proxy_set_tick_period_milliseconds
;;! about: A root context calls without any stream, from its first tick.
;;! option: upstream-races
;;! step: wait :status
;;! expect:
;;!   configure| tick = 0
;;!   tick| stop = 0
;;!   tick| call = 0
;;!   tick| get 6 ":status" = 0 "200"
;;!   # wait :status

(global $ticks (mut i32) (i32.const 0))
(on configure (call $show @"tick" (call $proxy_set_tick_period_milliseconds (i32.const 50))) (i32.const 1))
(on tick
  (call $show @"stop" (call $proxy_set_tick_period_milliseconds (i32.const 0)))
  (call $show @"call" (call $fetch @"origin" @"/root" (i32.const 5000))))
(on http_call_response
  (call $enter @"tick")
  (call $get (i32.const 6) @":status"))
