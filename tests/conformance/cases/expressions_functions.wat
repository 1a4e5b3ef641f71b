;;! covers: proxy_call_foreign_function
;;! about: CEL expressions: conversions, kinds, operators and what is no expression.
;;! step: GET /a | x-kit-a: 1
;;! expect:
;;!   # GET /a | x-kit-a: 1
;;!   request_headers| bool('true') -> = 0 "\01"
;;!   request_headers| bool('x') -> = 10
;;!   request_headers| bool(true) -> = 0 "\01"
;;!   request_headers| bytes('a') -> = 0 "a"
;;!   request_headers| bytes(b'a') -> = 0 "a"
;;!   request_headers| string(b'a') -> = 0 "a"
;;!   request_headers| string(b'\xff') -> = 10
;;!   request_headers| double('x') -> = 10
;;!   request_headers| double('1e3') -> = 0 "\00\00\00\00\00@\8f@"
;;!   request_headers| type(1) -> = 3
;;!   request_headers| type(1) == int -> = 0 "\01"
;;!   request_headers| type(request.time) -> = 3
;;!   request_headers| dyn(1) == 1 -> = 0 "\01"
;;!   request_headers| int(1.9) -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| int(-1.9) -> = 0 "\ff\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| int(1e300) -> = 10
;;!   request_headers| uint(-1) -> = 10
;;!   request_headers| uint(1.9) -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| int('0x1') -> = 10
;;!   request_headers| int(' 1') -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| int('+1') -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| int('') -> = 10
;;!   request_headers| string(1.5) -> = 0 "1.5"
;;!   request_headers| string(1.0) -> = 0 "1"
;;!   request_headers| string(1e100) -> = 0 "1e+100"
;;!   request_headers| string(true) -> = 0 "true"
;;!   request_headers| string(1u) -> = 0 "1"
;;!   request_headers| string(null) -> = 10
;;!   request_headers| string([1]) -> = 10
;;!   request_headers| int(true) -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| double(true) -> = 10
;;!   request_headers| type(type(1)) == type -> = 0 "\01"
;;!   request_headers| type('a') == string && type(b'') == bytes && type(1u) == uint && type(1.0) == double && type(true) == bool -> = 0 "\01"
;;!   request_headers| type([]) == list && type({}) == map && type(null) == null_type -> = 0 "\01"
;;!   request_headers| type(request.time) == google.protobuf.Timestamp -> = 10
;;!   request_headers| type(duration('1s')) == google.protobuf.Duration -> = 10
;;!   request_headers| type(request.headers) == map -> = 0 "\01"
;;!   request_headers| int -> = 3
;;!   request_headers| int == int -> = 0 "\01"
;;!   request_headers| [type(1)] -> = 3
;;!   request_headers| type(nope) -> = 10
;;!   request_headers| double(' 1') -> = 0 "\00\00\00\00\00\00\f0?"
;;!   request_headers| uint(' 1') -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| uint('-1') -> = 10
;;!   request_headers| string(1.23456789) -> = 0 "1.23456789"
;;!   request_headers| string(0.00001) -> = 0 "1e-05"
;;!   request_headers| string(0.0001) -> = 0 "0.0001"
;;!   request_headers| string(123456789.0) -> = 0 "1.23456789e+08"
;;!   request_headers| string(1234567.0) -> = 0 "1.234567e+06"
;;!   request_headers| string(999999.5) -> = 0 "999999.5"
;;!   request_headers| string(100000.0) -> = 0 "100000"
;;!   request_headers| string(-0.0) -> = 0 "-0"
;;!   request_headers| string(1.0 / 0.0) -> = 0 "inf"
;;!   request_headers| string(-1.0 / 0.0) -> = 0 "-inf"
;;!   request_headers| string(double('nan')) -> = 0 "nan"
;;!   request_headers| string(2.5e-7) -> = 0 "2.5e-07"
;;!   request_headers| contains('ab', 'b') -> = 0 "\01"
;;!   request_headers| startsWith('ab', 'a') -> = 0 "\01"
;;!   request_headers| endsWith('ab', 'b') -> = 0 "\01"
;;!   request_headers| '5'.int() -> create = 2
;;!   request_headers| '1s'.duration() -> create = 2
;;!   request_headers| 'a'.matches('a') -> = 0 "\01"
;;!   request_headers| matches('a', 'a') -> = 0 "\01"
;;!   request_headers| 'a'.string() -> create = 2
;;!   request_headers| 1.type() -> create = 2
;;!   request_headers| 'a'.contains(1) -> = 10
;;!   request_headers| 'a,b'.split(',') -> create = 2
;;!   request_headers| 'A'.lowerAscii() -> create = 2
;;!   request_headers| 'a'.upperAscii() -> create = 2
;;!   request_headers| 'aba'.replace('a', 'c') -> create = 2
;;!   request_headers| 'abc'.substring(1) -> create = 2
;;!   request_headers| 'abc'.indexOf('c') -> create = 2
;;!   request_headers| ' a '.trim() -> create = 2
;;!   request_headers| ['a'].join(',') -> create = 2
;;!   request_headers| 'abc'.charAt(1) -> create = 2
;;!   request_headers| 'abc'.lastIndexOf('c') -> create = 2
;;!   request_headers| '%d'.format([1]) -> create = 2
;;!   request_headers| 'a' in 'abc' -> = 10
;;!   request_headers| 1 in {1: 2} -> = 0 "\01"
;;!   request_headers| 1.0 in [1] -> = 0 "\01"
;;!   request_headers| 1.0 / 0.0 -> = 0 "\00\00\00\00\00\00\f0\7f"
;;!   request_headers| -(1u) -> = 10
;;!   request_headers| 5 % 0 -> = 10
;;!   request_headers| 5.0 % 2.0 -> = 10
;;!   request_headers| -9223372036854775808 / -1 -> = 10
;;!   request_headers| -9223372036854775808 % -1 -> = 10
;;!   request_headers| [1, 2] == [1.0, 2.0] -> = 0 "\01"
;;!   request_headers| {1: 2} == {1u: 2.0} -> = 0 "\01"
;;!   request_headers| true && 1 -> = 10
;;!   request_headers| 1 && false -> = 0 "\00"
;;!   request_headers| b'a' + b'b' -> = 0 "ab"
;;!   request_headers| b'a' < b'b' -> = 0 "\01"
;;!   request_headers| [1] < [2] -> = 10
;;!   request_headers| null == null -> = 0 "\01"
;;!   request_headers| null < null -> = 10
;;!   request_headers| !1 -> = 10
;;!   request_headers| -true -> = 10
;;!   request_headers| -'a' -> = 10
;;!   request_headers| true < false -> = 0 "\00"
;;!   request_headers| 'a' + 1 -> = 10
;;!   request_headers| [1].size() -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| size(1) -> = 10
;;!   request_headers| {'a': 1}.size() -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| 'ab'.size() -> = 0 "\02\00\00\00\00\00\00\00"
;;!   request_headers| 1 ? 2 : 3 -> = 10
;;!   request_headers| {1: 1, 1: 2} -> = 10
;;!   request_headers| [1][1u] -> = 10
;;!   request_headers| [1][0u] -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| [1][0.0] -> = 0 "\01\00\00\00\00\00\00\00"
;;!   request_headers| [1][0.5] -> = 10
;;!   request_headers| [1][-1] -> = 10
;;!   request_headers| {1: 2}[1.0] -> = 0 "\02\00\00\00\00\00\00\00"
;;!   request_headers| [1]['a'] -> = 10
;;!   request_headers| {'a': 1}[1] -> = 10
;;!   request_headers| {1: 2}[1u] -> = 0 "\02\00\00\00\00\00\00\00"
;;!   request_headers| 'abc'[0] -> = 10
;;!   request_headers| 1 == 'a' -> = 0 "\00"
;;!   request_headers| [1, 'a'] == ['a', 1] -> = 0 "\00"
;;!   request_headers| 0 == -0 -> = 0 "\01"
;;!   request_headers| 0.0 == -0.0 -> = 0 "\01"
;;!   request_headers| double('nan') == double('nan') -> = 0 "\00"
;;!   request_headers| double('inf') > 1.0 -> = 0 "\01"
;;!   request_headers| '\u00e9' == 'é' -> = 0 "\01"
;;!   request_headers| '\q' -> create = 2
;;!   request_headers| request.headers['x-kit-a'][0] -> = 10
;;!   request_headers| [1].all(x, y) -> = 10
;;!   request_headers| [].all(x, true) -> = 0 "\01"
;;!   request_headers| [].exists(x, true) -> = 0 "\00"
;;!   request_headers| {}.all(x, true) -> = 0 "\01"
;;!   request_headers| 1.all(x, true) -> = 10
;;!   request_headers| as -> create = 2
;;!   request_headers| x.as -> = 10
;;!   request_headers| else -> create = 2
;;!   request_headers| var -> create = 2
;;!   request_headers| x.var -> = 10
;;!   request_headers| namespace -> create = 2
;;!   request_headers| break -> create = 2
;;!   request_headers| in -> create = 2
;;!   request_headers| x.in -> create = 2
;;!   request_headers| false ? 1 : 'a' -> = 0 "a"
;;!   request_headers| // c -> create = 2
;;!   request_headers| 1 // c -> = 0 "\01\00\00\00\00\00\00\00"
;;!   ^ GET /a x-kit-a="1"
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
  (call $try @"bool('true')")
  (call $try @"bool('x')")
  (call $try @"bool(true)")
  (call $try @"bytes('a')")
  (call $try @"bytes(b'a')")
  (call $try @"string(b'a')")
  (call $try @"string(b'\\xff')")
  (call $try @"double('x')")
  (call $try @"double('1e3')")
  (call $try @"type(1)")
  (call $try @"type(1) == int")
  (call $try @"type(request.time)")
  (call $try @"dyn(1) == 1")
  (call $try @"int(1.9)")
  (call $try @"int(-1.9)")
  (call $try @"int(1e300)")
  (call $try @"uint(-1)")
  (call $try @"uint(1.9)")
  (call $try @"int('0x1')")
  (call $try @"int(' 1')")
  (call $try @"int('+1')")
  (call $try @"int('')")
  (call $try @"string(1.5)")
  (call $try @"string(1.0)")
  (call $try @"string(1e100)")
  (call $try @"string(true)")
  (call $try @"string(1u)")
  (call $try @"string(null)")
  (call $try @"string([1])")
  (call $try @"int(true)")
  (call $try @"double(true)")
  (call $try @"type(type(1)) == type")
  (call $try @"type('a') == string && type(b'') == bytes && type(1u) == uint && type(1.0) == double && type(true) == bool")
  (call $try @"type([]) == list && type({}) == map && type(null) == null_type")
  (call $try @"type(request.time) == google.protobuf.Timestamp")
  (call $try @"type(duration('1s')) == google.protobuf.Duration")
  (call $try @"type(request.headers) == map")
  (call $try @"int")
  (call $try @"int == int")
  (call $try @"[type(1)]")
  (call $try @"type(nope)")
  (call $try @"double(' 1')")
  (call $try @"uint(' 1')")
  (call $try @"uint('-1')")
  (call $try @"string(1.23456789)")
  (call $try @"string(0.00001)")
  (call $try @"string(0.0001)")
  (call $try @"string(123456789.0)")
  (call $try @"string(1234567.0)")
  (call $try @"string(999999.5)")
  (call $try @"string(100000.0)")
  (call $try @"string(-0.0)")
  (call $try @"string(1.0 / 0.0)")
  (call $try @"string(-1.0 / 0.0)")
  (call $try @"string(double('nan'))")
  (call $try @"string(2.5e-7)")
  (call $try @"contains('ab', 'b')")
  (call $try @"startsWith('ab', 'a')")
  (call $try @"endsWith('ab', 'b')")
  (call $try @"'5'.int()")
  (call $try @"'1s'.duration()")
  (call $try @"'a'.matches('a')")
  (call $try @"matches('a', 'a')")
  (call $try @"'a'.string()")
  (call $try @"1.type()")
  (call $try @"'a'.contains(1)")
  (call $try @"'a,b'.split(',')")
  (call $try @"'A'.lowerAscii()")
  (call $try @"'a'.upperAscii()")
  (call $try @"'aba'.replace('a', 'c')")
  (call $try @"'abc'.substring(1)")
  (call $try @"'abc'.indexOf('c')")
  (call $try @"' a '.trim()")
  (call $try @"['a'].join(',')")
  (call $try @"'abc'.charAt(1)")
  (call $try @"'abc'.lastIndexOf('c')")
  (call $try @"'%d'.format([1])")
  (call $try @"'a' in 'abc'")
  (call $try @"1 in {1: 2}")
  (call $try @"1.0 in [1]")
  (call $try @"1.0 / 0.0")
  (call $try @"-(1u)")
  (call $try @"5 % 0")
  (call $try @"5.0 % 2.0")
  (call $try @"-9223372036854775808 / -1")
  (call $try @"-9223372036854775808 % -1")
  (call $try @"[1, 2] == [1.0, 2.0]")
  (call $try @"{1: 2} == {1u: 2.0}")
  (call $try @"true && 1")
  (call $try @"1 && false")
  (call $try @"b'a' + b'b'")
  (call $try @"b'a' < b'b'")
  (call $try @"[1] < [2]")
  (call $try @"null == null")
  (call $try @"null < null")
  (call $try @"!1")
  (call $try @"-true")
  (call $try @"-'a'")
  (call $try @"true < false")
  (call $try @"'a' + 1")
  (call $try @"[1].size()")
  (call $try @"size(1)")
  (call $try @"{'a': 1}.size()")
  (call $try @"'ab'.size()")
  (call $try @"1 ? 2 : 3")
  (call $try @"{1: 1, 1: 2}")
  (call $try @"[1][1u]")
  (call $try @"[1][0u]")
  (call $try @"[1][0.0]")
  (call $try @"[1][0.5]")
  (call $try @"[1][-1]")
  (call $try @"{1: 2}[1.0]")
  (call $try @"[1]['a']")
  (call $try @"{'a': 1}[1]")
  (call $try @"{1: 2}[1u]")
  (call $try @"'abc'[0]")
  (call $try @"1 == 'a'")
  (call $try @"[1, 'a'] == ['a', 1]")
  (call $try @"0 == -0")
  (call $try @"0.0 == -0.0")
  (call $try @"double('nan') == double('nan')")
  (call $try @"double('inf') > 1.0")
  (call $try @"'\\u00e9' == 'é'")
  (call $try @"'\\q'")
  (call $try @"request.headers['x-kit-a'][0]")
  (call $try @"[1].all(x, y)")
  (call $try @"[].all(x, true)")
  (call $try @"[].exists(x, true)")
  (call $try @"{}.all(x, true)")
  (call $try @"1.all(x, true)")
  (call $try @"as")
  (call $try @"x.as")
  (call $try @"else")
  (call $try @"var")
  (call $try @"x.var")
  (call $try @"namespace")
  (call $try @"break")
  (call $try @"in")
  (call $try @"x.in")
  (call $try @"false ? 1 : 'a'")
  (call $try @"// c")
  (call $try @"1 // c")
  (i32.const 0))
