;;! covers: proxy_set_shared_data proxy_get_shared_data
;;! about: Keys and values with compare-and-swap: missing, set, wrong number, right number, empty values, binary, bad pointers.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| shared "missing" = 1
;;!   request_headers| set = 0
;;!   request_headers| shared "k" = 0 "one"
;;!   request_headers| cas is not 0 = 1
;;!   request_headers| wrong cas = 8
;;!   request_headers| shared "k" = 0 "one"
;;!   request_headers| right cas = 0
;;!   request_headers| shared "k" = 0 "three"
;;!   request_headers| same cas again = 8
;;!   request_headers| no cas = 0
;;!   request_headers| shared "k" = 0 "five"
;;!   request_headers| cas for a missing key = 0
;;!   request_headers| shared "fresh" = 0 "v"
;;!   request_headers| empty value = 0
;;!   request_headers| shared "e" = 0 empty
;;!   request_headers| binary = 0
;;!   request_headers| shared "b\00\ff" = 0 "\00\01\fe"
;;!   request_headers| empty key = 0
;;!   request_headers| shared "" = 0 "x"
;;!   request_headers| bad pointer = 6
;;!   request_headers| bad result = 6
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (local $cas i32)
  (call $shared @"missing")
  (call $show @"set" (call $proxy_set_shared_data @"k" @"one" (i32.const 0)))
  (call $shared @"k")
  (local.set $cas (i32.load (i32.const 24)))
  (call $show @"cas is not 0" (i32.ne (local.get $cas) (i32.const 0)))
  (call $show @"wrong cas" (call $proxy_set_shared_data @"k" @"two" (i32.add (local.get $cas) (i32.const 100))))
  (call $shared @"k")
  (call $show @"right cas" (call $proxy_set_shared_data @"k" @"three" (local.get $cas)))
  (call $shared @"k")
  (call $show @"same cas again" (call $proxy_set_shared_data @"k" @"four" (local.get $cas)))
  (call $show @"no cas" (call $proxy_set_shared_data @"k" @"five" (i32.const 0)))
  (call $shared @"k")
  (call $show @"cas for a missing key" (call $proxy_set_shared_data @"fresh" @"v" (i32.const 12345)))
  (call $shared @"fresh")
  (call $show @"empty value" (call $proxy_set_shared_data @"e" (i32.const 0) (i32.const 0) (i32.const 0)))
  (call $shared @"e")
  (call $show @"binary" (call $proxy_set_shared_data @"b\00\ff" @"\00\01\fe" (i32.const 0)))
  (call $shared @"b\00\ff")
  (call $show @"empty key" (call $proxy_set_shared_data @"" @"x" (i32.const 0)))
  (call $shared @"")
  (call $show @"bad pointer" (call $proxy_set_shared_data (i32.const 0x7ffffff0) (i32.const 16) @"x" (i32.const 0)))
  (call $show @"bad result" (call $proxy_get_shared_data @"k" (i32.const 0x7ffffff0) (i32.const 20) (i32.const 24)))
  (i32.const 0))
