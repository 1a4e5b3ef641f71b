;;! covers: proxy_define_metric proxy_increment_metric proxy_record_metric proxy_get_metric
;;! about: Numbers are the VM's: those that another was given are none here, each VM begins anew, and series are shared by name.
;;! chain: a b
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   a: request_headers| number = 4
;;!   a: request_headers| number = 5
;;!   a: request_headers| number = 6
;;!   a: request_headers| increment = 0
;;!   a: request_headers| record = 0
;;!   a: request_headers| record = 0
;;!   a: request_headers| of = 8
;;!   a: request_headers| get = 1
;;!   a: request_headers| increment = 1
;;!   a: request_headers| record = 1
;;!   b: request_headers| of = 0
;;!   b: request_headers| get = 1
;;!   b: request_headers| increment = 1
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 1
;;!   b: request_headers| get = 1
;;!   b: request_headers| increment = 1
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 2
;;!   b: request_headers| get = 2
;;!   b: request_headers| increment = 2
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 3
;;!   b: request_headers| get = 2
;;!   b: request_headers| increment = 2
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 4
;;!   b: request_headers| get = 1
;;!   b: request_headers| increment = 1
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 5
;;!   b: request_headers| get = 1
;;!   b: request_headers| increment = 1
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 6
;;!   b: request_headers| get = 2
;;!   b: request_headers| increment = 2
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = 7
;;!   b: request_headers| get = 2
;;!   b: request_headers| increment = 2
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = -4
;;!   b: request_headers| get = 1
;;!   b: request_headers| increment = 1
;;!   b: request_headers| record = 1
;;!   b: request_headers| of = -1
;;!   b: request_headers| get = 2
;;!   b: request_headers| increment = 2
;;!   b: request_headers| record = 1
;;!   b: request_headers| number = 4
;;!   b: request_headers| number = 5
;;!   b: request_headers| number = 6
;;!   b: request_headers| value = 41
;;!   b: request_headers| value = 1000
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

;; Which filter of the chain this is: its configuration's letter.
(global $me (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
  (global.set $me (i32.load8_u (i32.load (i32.const 16))))
  (i32.const 1))
(func $value (param $id i32)
  (local $s i32)
  (local.set $s (call $proxy_get_metric (local.get $id) (i32.const 32)))
  (if (local.get $s) (then (call $show @"get" (local.get $s))) (else (call $show64 @"value" (i64.load (i32.const 32))))))
(func $define (param $kind i32)
  (drop (call $proxy_define_metric (local.get $kind) @"kit_numbers" (i32.const 16)))
  (call $show @"number" (i32.load (i32.const 16))))
(func $try (param $id i32)
  (call $show @"of" (local.get $id))
  (call $value (local.get $id))
  (call $show @"increment" (call $proxy_increment_metric (local.get $id) (i64.const 1)))
  (call $show @"record" (call $proxy_record_metric (local.get $id) (i64.const 7))))
(func $define_all (call $define (i32.const 0)) (call $define (i32.const 1)) (call $define (i32.const 2)))
(on request_headers
  (if (i32.eq (global.get $me) (i32.const 97)) (then
    (call $define_all)
    (call $show @"increment" (call $proxy_increment_metric (i32.const 4) (i64.const 41)))
    (call $show @"record" (call $proxy_record_metric (i32.const 5) (i64.const 1000)))
    (call $show @"record" (call $proxy_record_metric (i32.const 6) (i64.const 3)))
    (call $try (i32.const 8))
  ) (else
    (call $try (i32.const 0)) (call $try (i32.const 1)) (call $try (i32.const 2)) (call $try (i32.const 3))
    (call $try (i32.const 4)) (call $try (i32.const 5)) (call $try (i32.const 6)) (call $try (i32.const 7))
    (call $try (i32.const -4)) (call $try (i32.const -1))
    (call $define_all)
    (call $value (i32.const 4))
    (call $value (i32.const 5))))
  (i32.const 0))
