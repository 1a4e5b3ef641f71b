;;! covers: proxy_call_foreign_function
;;! about: Where foreign functions put results: none, empty ones, with errors, and where nobody wants them.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| nosuch = 1, bytes -7
;;!   request_headers| clear_route_cache = 0, nowhere, bytes 0
;;!   request_headers| compress = 0, bytes 8
;;!   request_headers| uncompress = 0, bytes 0
;;!   request_headers| uncompress = 3, nowhere, bytes 0
;;!   request_headers| uncompress = 3, nowhere, bytes 0
;;!   request_headers| expr_create = 0, bytes 4
;;!   request_headers| expr_create = 2, nowhere, bytes 0
;;!   request_headers| expr_create = 2, nowhere, bytes 0
;;!   request_headers| expr_evaluate = 2, nowhere, bytes 0
;;!   request_headers| expr_evaluate = 1, nowhere, bytes 0
;;!   request_headers| expr_delete = 2, nowhere, bytes 0
;;!   request_headers| expr_delete = 0, nowhere, bytes 0
;;!   request_headers| expr_delete = 2, nowhere, bytes 0
;;!   request_headers| set_envoy_filter_state = 1, nowhere, bytes 0
;;!   request_headers| set_envoy_filter_state = 2, nowhere, bytes 0
;;!   request_headers| set_envoy_filter_state = 1, nowhere, bytes 0
;;!   request_headers| declare_property = 0, nowhere, bytes 0
;;!   request_headers| declare_property = 2, nowhere, bytes 0
;;!   request_headers| declare_property = 0, nowhere, bytes 0
;;!   request_headers| verify_signature = 2, nowhere, bytes 0
;;!   request_headers| verify_signature = 2, nowhere, bytes 0
;;!   request_headers| sign = 2, nowhere, bytes 0
;;!   request_headers| sign = 2, nowhere, bytes 0
;;!   request_headers| compress to 0 and 20 = 0, null 0, bytes 11
;;!   request_headers| compress to 16 and 0 = 0, null 0, bytes -7
;;!   request_headers| compress to 0 and 0 = 0, null 0, bytes -7
;;!   request_headers| clear_route_cache to 0 and 0 = 0, null 0, bytes -7
;;!   request_headers| expr_create to 0 and 20 = 2, null 0, bytes 0
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

;; A call whose slots are told as they are.
(func $raw (param $name i32) (param $nn i32) (param $arg i32) (param $an i32)
  (local $s i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function (local.get $name) (local.get $nn) (local.get $arg) (local.get $an) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $name) (local.get $nn))
  (call $w @" = ")
  (call $n (local.get $s))
  (if (i32.eqz (i32.load (i32.const 16))) (then (call $w @", nowhere")))
  (call $w @", bytes ")
  (call $n (i32.load (i32.const 20)))
  (call $end))

;; A call whose result goes here, and what was written at the null address.
(func $to (param $name i32) (param $nn i32) (param $arg i32) (param $an i32) (param $at i32) (param $size i32)
  (local $s i32)
  (call $clear)
  (i64.store (i32.const 0) (i64.const -1))
  (local.set $s (call $proxy_call_foreign_function (local.get $name) (local.get $nn) (local.get $arg) (local.get $an) (local.get $at) (local.get $size)))
  (call $begin)
  (call $w (local.get $name) (local.get $nn))
  (call $w @" to ")
  (call $n (local.get $at))
  (call $w @" and ")
  (call $n (local.get $size))
  (call $w @" = ")
  (call $n (local.get $s))
  (call $w @", null ")
  (call $w (i32.const 0) (i32.const 0))
  (call $n (i64.ne (i64.load (i32.const 0)) (i64.const -1)))
  (call $w @", bytes ")
  (call $n (i32.load (i32.const 20)))
  (call $end))

(on request_headers
  (call $raw @"nosuch" @"x")
  (call $raw @"clear_route_cache" @"")
  (call $raw @"compress" @"")
  (call $raw @"uncompress" @"x\9c\03\00\00\00\00\01")
  (call $raw @"uncompress" @"")
  (call $raw @"uncompress" @"not compressed")
  (call $raw @"expr_create" @"1")
  (call $raw @"expr_create" @"")
  (call $raw @"expr_create" @"1 +")
  (call $raw @"expr_evaluate" @"")
  (call $raw @"expr_evaluate" @"\00\00\01\00")
  (call $raw @"expr_delete" @"")
  (call $raw @"expr_delete" @"\00\00\01\00")
  (call $raw @"expr_delete" @"\00")
  (call $raw @"set_envoy_filter_state" @"")
  (call $raw @"set_envoy_filter_state" @"\ff\ff\ff")
  (call $raw @"set_envoy_filter_state" @"\0a\06nosuch\12\01x")
  (call $raw @"declare_property" @"")
  (call $raw @"declare_property" @"\ff\ff\ff")
  (call $raw @"declare_property" @"\0a\03one")
  (call $raw @"verify_signature" @"")
  (call $raw @"verify_signature" @"\ff\ff\ff")
  (call $raw @"sign" @"")
  (call $raw @"sign" @"\ff\ff\ff")
  (call $to @"compress" @"aaa" (i32.const 0) (i32.const 20))
  (call $to @"compress" @"aaa" (i32.const 16) (i32.const 0))
  (call $to @"compress" @"aaa" (i32.const 0) (i32.const 0))
  (call $to @"clear_route_cache" @"" (i32.const 0) (i32.const 0))
  (call $to @"expr_create" @"1 +" (i32.const 0) (i32.const 20))
  (i32.const 0))
