;;! covers: proxy_define_metric proxy_increment_metric proxy_record_metric proxy_get_metric
;;! about: Counter, gauge, histogram: what each takes, negative steps, unknown ids and types.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| counter = 0
;;!   request_headers| gauge = 0
;;!   request_headers| histogram = 0
;;!   request_headers| type 3 = 2
;;!   request_headers| value = 0
;;!   request_headers| increment = 0
;;!   request_headers| increment by 0 = 2
;;!   request_headers| decrement = 2
;;!   request_headers| value = 5
;;!   request_headers| record = 0
;;!   request_headers| value = 15
;;!   request_headers| gauge set = 0
;;!   request_headers| value = 7
;;!   request_headers| gauge up = 0
;;!   request_headers| gauge down = 0
;;!   request_headers| value = 6
;;!   request_headers| histogram record = 0
;;!   request_headers| histogram increment = 2
;;!   request_headers| get = 2
;;!   request_headers| unknown increment = 2
;;!   request_headers| unknown record = 1
;;!   request_headers| get = 2
;;!   request_headers| defined again = 0
;;!   request_headers| value = 15
;;!   request_headers| bad pointer = 6
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(func $value (param $id i32)
  (local $s i32)
  (local.set $s (call $proxy_get_metric (local.get $id) (i32.const 32)))
  (if (local.get $s) (then (call $show @"get" (local.get $s))) (else (call $show64 @"value" (i64.load (i32.const 32))))))
(on request_headers
  (local $c i32) (local $g i32) (local $h i32)
  (call $show @"counter" (call $proxy_define_metric (i32.const 0) @"kit_c" (i32.const 16)))
  (local.set $c (i32.load (i32.const 16)))
  (call $show @"gauge" (call $proxy_define_metric (i32.const 1) @"kit_g" (i32.const 16)))
  (local.set $g (i32.load (i32.const 16)))
  (call $show @"histogram" (call $proxy_define_metric (i32.const 2) @"kit_h" (i32.const 16)))
  (local.set $h (i32.load (i32.const 16)))
  (call $show @"type 3" (call $proxy_define_metric (i32.const 3) @"kit_x" (i32.const 16)))
  (call $value (local.get $c))
  (call $show @"increment" (call $proxy_increment_metric (local.get $c) (i64.const 5)))
  (call $show @"increment by 0" (call $proxy_increment_metric (local.get $c) (i64.const 0)))
  (call $show @"decrement" (call $proxy_increment_metric (local.get $c) (i64.const -1)))
  (call $value (local.get $c))
  (call $show @"record" (call $proxy_record_metric (local.get $c) (i64.const 10)))
  (call $value (local.get $c))
  (call $show @"gauge set" (call $proxy_record_metric (local.get $g) (i64.const 7)))
  (call $value (local.get $g))
  (call $show @"gauge up" (call $proxy_increment_metric (local.get $g) (i64.const 3)))
  (call $show @"gauge down" (call $proxy_increment_metric (local.get $g) (i64.const -4)))
  (call $value (local.get $g))
  (call $show @"histogram record" (call $proxy_record_metric (local.get $h) (i64.const 9)))
  (call $show @"histogram increment" (call $proxy_increment_metric (local.get $h) (i64.const 1)))
  (call $value (local.get $h))
  (call $show @"unknown increment" (call $proxy_increment_metric (i32.const 4242) (i64.const 1)))
  (call $show @"unknown record" (call $proxy_record_metric (i32.const 4242) (i64.const 1)))
  (call $value (i32.const 4242))
  (call $show @"defined again" (call $proxy_define_metric (i32.const 0) @"kit_c" (i32.const 16)))
  (call $value (i32.load (i32.const 16)))
  (call $show @"bad pointer" (call $proxy_get_metric (local.get $c) (i32.const 0x7ffffff0)))
  (i32.const 0))
