;;! covers: proxy_set_tick_period_milliseconds proxy_on_tick
;;! about: Ticks come until the period is set to nothing, on the root context.
;;! step: wait tick 3
;;! expect:
;;!   configure| set = 0
;;!   tick| tick 1 of the root: 1
;;!   tick| tick 2 of the root: 1
;;!   tick| tick 3 of the root: 1
;;!   tick| stop = 0
;;!   # wait tick 3

(global $ticks (mut i32) (i32.const 0))
(on configure (call $show @"set" (call $proxy_set_tick_period_milliseconds (i32.const 30))) (i32.const 1))
(on tick
  (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
  (call $begin) (call $w @"tick ") (call $n (global.get $ticks)) (call $w @" of the root: ") (call $n (local.get $ctx)) (call $end)
  (if (i32.eq (global.get $ticks) (i32.const 3)) (then
    (call $show @"stop" (call $proxy_set_tick_period_milliseconds (i32.const 0))))))
