;;! covers: proxy_call_foreign_function
;;! about: CEL expressions: operators, functions, attributes and what has no value.
;;! step: GET /a/b?q=1 | x-kit-a: 1
;;! expect:
;;!   # GET /a/b?q=1 | x-kit-a: 1
;;!   request_headers| request.method == 'GET' && request.path.startsWith('/a') -> = 0 "\01"
;;!   request_headers| request.headers['x-kit-a'] -> = 0 "1"
;;!   request_headers| 'x-kit-a' in request.headers -> = 0 "\01"
;;!   request_headers| 'x-kit-none' in request.headers -> = 0 "\00"
;;!   request_headers| request.headers['x-kit-none'] -> = 10
;;!   request_headers| request.headers['x-kit-none'] == '1' || true -> = 0 "\01"
;;!   request_headers| has(request.headers.nobody) -> = 0 "\00"
;;!   request_headers| has(request.method) -> = 0 "\01"
;;!   request_headers| request.nosuch -> = 10
;;!   request_headers| nosuch -> = 10
;;!   request_headers| request.size + 1 -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| request.size == 0 -> = 0 "\01"
;;!   request_headers| request.path.matches('^/a/[a-z]') -> = 0 "\01"
;;!   request_headers| request.path.contains('b') && request.path.endsWith('1') -> = 0 "\01"
;;!   request_headers| size(request.method) -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| 1.5 * 2.0 -> = 0 "\00\00\00\00\00\00\08@"
;;!   request_headers| 7 / 2 -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| 7 % 4 == 3 -> = 0 "\01"
;;!   request_headers| 1 / 0 -> = 10
;;!   request_headers| 9223372036854775807 + 1 -> = 10
;;!   request_headers| 1 + 1u -> = 10
;;!   request_headers| 1 == 1u -> = 0 "\01"
;;!   request_headers| -3 -> = 0 "\fd\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| 5u -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| true ? 'yes' : 'no' -> = 0 "yes"
;;!   request_headers| !false -> = 0 "\01"
;;!   request_headers| 2 in [1, 2, 3] -> = 0 "\01"
;;!   request_headers| [1, 2][1] -> = 0 "\02\00\00\00\00\00\00\00"
;;!   request_headers| [1, 2][5] -> = 10
;;!   request_headers| {'a': 'b'}['a'] -> = 0 "b"
;;!   request_headers| ['x', 'y'] -> = 0 "\02\00\00\00\01\00\00\00\00\00\00\00\01\00\00\00\00\00\00\00x\00\00y\00\00"
;;!   request_headers| {'a': 'b'} -> = 0 "\01\00\00\00\01\00\00\00\01\00\00\00a\00b\00"
;;!   request_headers| null -> = 3
;;!   request_headers| b'ab' -> = 0 "ab"
;;!   request_headers| r'a\b' -> = 0 "a\5cb"
;;!   request_headers| int('5') -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| string(5) -> = 0 "5"
;;!   request_headers| double(2) -> = 0 "\00\00\00\00\00\00\00@"
;;!   request_headers| duration('1s') -> = 0 "\00\ca\9a;\00\00\00\00"
;;!   request_headers| duration('90m') == duration('1h30m') -> = 0 "\01"
;;!   request_headers| [1, 2].exists(x, x == 1) -> = 0 "\01"
;;!   request_headers| [1, 2].map(x, x * 2) -> = 0 "\02\00\00\00\08\00\00\00\00\00\00\00\08\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\00\00\04\00\00\00\00\00\00\00\00\00"
;;!   request_headers| [1, 2].filter(x, x > 1) -> = 0 "\01\00\00\00\08\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\00\00"
;;!   request_headers| [1, 2].all(x, x > 1) -> = 0 "\00"
;;!   request_headers| [1, 2].exists_one(x, x > 1) -> = 0 "\01"
;;!   request_headers| request.headers.exists(k, k == 'x-kit-a') -> = 0 "\01"
;;!   request_headers| string(request.size) -> = 0 "0"
;;!   request_headers| request.time < request.time + duration('1s') -> = 0 "\01"
;;!   request_headers| size(request.headers) > 3 -> = 0 "\01"
;;!   request_headers| response.code -> = 10
;;!   request_headers| source.address.startsWith('127.0.0.1:') -> = 0 "\01"
;;!   request_headers| 'a' < 'b' -> = 0 "\01"
;;!   request_headers| 'a' < 1 -> = 10
;;!   request_headers| nosuch(1) -> create = 2
;;!   request_headers| 1 + -> create = 2
;;!   request_headers| 'open -> create = 2
;;!   request_headers| request.headers['x-kit-a'] == '1' ? request.url_path : '' -> = 0 "/a/b"
;;!   request_headers| connection.mtls -> = 0 "\00"
;;!   request_headers| source.port > 0 -> = 0 "\01"
;;!   request_headers| plugin_name -> = 0 "expressions_values"
;;!   request_headers| xds.route_name -> = 0 "main-route"
;;!   request_headers| request -> = 3
;;!   ^ GET /a/b?q=1 x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(func $try (param $p i32) (param $n i32)
  (local $s i32) (local $id i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_create" (local.get $p) (local.get $n) (i32.const 16) (i32.const 20)))
  (if (local.get $s) (then
    (call $begin)
    (call $w (local.get $p) (local.get $n))
    (call $w @" -> create = ")
    (call $n (local.get $s))
    (call $end)
    (return)))
  (local.set $id (i32.load (i32.const 16)))
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_evaluate" (local.get $id) (i32.const 4) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $p) (local.get $n))
  (call $w @" ->")
  (call $result (local.get $s)))

(on request_headers
  (call $try @"request.method == 'GET' && request.path.startsWith('/a')")
  (call $try @"request.headers['x-kit-a']")
  (call $try @"'x-kit-a' in request.headers")
  (call $try @"'x-kit-none' in request.headers")
  (call $try @"request.headers['x-kit-none']")
  (call $try @"request.headers['x-kit-none'] == '1' || true")
  (call $try @"has(request.headers.nobody)")
  (call $try @"has(request.method)")
  (call $try @"request.nosuch")
  (call $try @"nosuch")
  (call $try @"request.size + 1")
  (call $try @"request.size == 0")
  (call $try @"request.path.matches('^/a/[a-z]')")
  (call $try @"request.path.contains('b') && request.path.endsWith('1')")
  (call $try @"size(request.method)")
  (call $try @"1.5 * 2.0")
  (call $try @"7 / 2")
  (call $try @"7 % 4 == 3")
  (call $try @"1 / 0")
  (call $try @"9223372036854775807 + 1")
  (call $try @"1 + 1u")
  (call $try @"1 == 1u")
  (call $try @"-3")
  (call $try @"5u")
  (call $try @"true ? 'yes' : 'no'")
  (call $try @"!false")
  (call $try @"2 in [1, 2, 3]")
  (call $try @"[1, 2][1]")
  (call $try @"[1, 2][5]")
  (call $try @"{'a': 'b'}['a']")
  (call $try @"['x', 'y']")
  (call $try @"{'a': 'b'}")
  (call $try @"null")
  (call $try @"b'ab'")
  (call $try @"r'a\\b'")
  (call $try @"int('5')")
  (call $try @"string(5)")
  (call $try @"double(2)")
  (call $try @"duration('1s')")
  (call $try @"duration('90m') == duration('1h30m')")
  (call $try @"[1, 2].exists(x, x == 1)")
  (call $try @"[1, 2].map(x, x * 2)")
  (call $try @"[1, 2].filter(x, x > 1)")
  (call $try @"[1, 2].all(x, x > 1)")
  (call $try @"[1, 2].exists_one(x, x > 1)")
  (call $try @"request.headers.exists(k, k == 'x-kit-a')")
  (call $try @"string(request.size)")
  (call $try @"request.time < request.time + duration('1s')")
  (call $try @"size(request.headers) > 3")
  (call $try @"response.code")
  (call $try @"source.address.startsWith('127.0.0.1:')")
  (call $try @"'a' < 'b'")
  (call $try @"'a' < 1")
  (call $try @"nosuch(1)")
  (call $try @"1 +")
  (call $try @"'open")
  (call $try @"request.headers['x-kit-a'] == '1' ? request.url_path : ''")
  (call $try @"connection.mtls")
  (call $try @"source.port > 0")
  (call $try @"plugin_name")
  (call $try @"xds.route_name")
  (call $try @"request")
  (i32.const 0))
