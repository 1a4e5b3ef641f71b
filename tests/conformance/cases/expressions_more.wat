;;! covers: proxy_call_foreign_function
;;! about: CEL expressions: numbers at their bounds, has(), and the workload.
;;! step: GET /a | x-kit-a: 1
;;! expect:
;;!   # GET /a | x-kit-a: 1
;;!   request_headers| 9223372036854775807 -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| 9223372036854775808 -> create = 2
;;!   request_headers| -9223372036854775808 -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| -9223372036854775809 -> create = 2
;;!   request_headers| - 9223372036854775808 -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| -(9223372036854775808) -> create = 2
;;!   request_headers| 9223372036854775808u -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| 18446744073709551615u -> = 0 "\ff\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| 18446744073709551616u -> create = 2
;;!   request_headers| 0x7fffffffffffffff -> = 0 "\ff\ff\ff\ff\ff\ff\ff\7f"
;;!   request_headers| 0x8000000000000000 -> create = 2
;;!   request_headers| -0x8000000000000000 -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| 0xffffffffffffffffu -> = 0 "\ff\ff\ff\ff\ff\ff\ff\ff"
;;!   request_headers| 1 - 9223372036854775808 -> create = 2
;;!   request_headers| 1.7976931348623157e309 -> = 0 "\00\00\00\00\00\00\f0\7f"
;;!   request_headers| 1e3 -> = 0 "\00\00\00\00\00@\8f@"
;;!   request_headers| .5 -> = 0 "\00\00\00\00\00\00\e0?"
;;!   request_headers| 1. -> create = 2
;;!   request_headers| 1e -> create = 2
;;!   request_headers| -0.0 -> = 0 "\00\00\00\00\00\00\00\80"
;;!   request_headers| 007 -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| 1_000 -> create = 2
;;!   request_headers| has(nope.x) -> = 10
;;!   request_headers| has(nope.x.y) -> = 10
;;!   request_headers| has(request.nosuch) -> = 0 "\00"
;;!   request_headers| has(request.nosuch.x) -> = 10
;;!   request_headers| has(request.headers) -> = 0 "\01"
;;!   request_headers| has(request.path) -> = 0 "\01"
;;!   request_headers| has(request.path.x) -> = 10
;;!   request_headers| has(response.code) -> = 0 "\00"
;;!   request_headers| has(nope) -> create = 2
;;!   request_headers| has(request.headers['x']) -> create = 2
;;!   request_headers| has(request) -> create = 2
;;!   request_headers| has(plugin_name.x) -> = 10
;;!   request_headers| has(xds.route_name) -> = 0 "\01"
;;!   request_headers| has(xds.nosuch) -> = 0 "\00"
;;!   request_headers| has(source.nosuch) -> = 0 "\00"
;;!   request_headers| has(connection.tls_version) -> = 0 "\00"
;;!   request_headers| has({'a': 1}.b) -> = 0 "\00"
;;!   request_headers| has([1].a) -> = 10
;;!   request_headers| has(metadata.filter_metadata) -> = 0 "\00"
;;!   request_headers| has(metadata.nosuch) -> = 10
;;!   request_headers| has(filter_state.nosuch) -> = 0 "\00"
;;!   request_headers| has(upstream.address) -> = 0 "\00"
;;!   request_headers| nope.x -> = 10
;;!   request_headers| nope.x == 1 || true -> = 0 "\01"
;;!   request_headers| nope == nope -> = 10
;;!   request_headers| !has(nope.x) -> = 10
;;!   request_headers| has(response.headers) -> = 0 "\01"
;;!   request_headers| has(response.headers.x) -> = 0 "\00"
;;!   request_headers| has(xds.node.id) -> = 0 "\01"
;;!   request_headers| has(xds.node.nosuch) -> = 10
;;!   request_headers| has(xds.node.metadata) -> = 0 "\01"
;;!   request_headers| has(xds.node.metadata.NAME) -> = 0 "\01"
;;!   request_headers| has(xds.node.metadata.nosuch) -> = 0 "\00"
;;!   request_headers| has(xds.node.metadata.LABELS.app) -> = 0 "\01"
;;!   request_headers| has(upstream.nosuch) -> = 0 "\00"
;;!   request_headers| xds.node.metadata.NAME == 'kit' -> = 0 "\01"
;;!   request_headers| xds.node.metadata.PORT + 1.0 -> = 0 "\00\00\00\00\00\00 @"
;;!   request_headers| xds.node.metadata.PORT == 7 -> = 0 "\01"
;;!   request_headers| xds.node.metadata.ZONES[1] -> = 0 "b"
;;!   request_headers| xds.node.metadata.LABELS['app'] -> = 0 "k"
;;!   request_headers| xds.node.metadata.READY -> = 0 "\01"
;;!   request_headers| type(xds.node.metadata.PORT) == double -> = 0 "\01"
;;!   request_headers| 'app' in xds.node.metadata.LABELS -> = 0 "\01"
;;!   request_headers| size(xds.node.metadata) -> = 0 "\05\00\00\00\00\00\00\00"
;;!   request_headers| xds.node.metadata.nosuch -> = 10
;;!   request_headers| xds.node.metadata.NAME.x -> = 10
;;!   request_headers| xds.node.id + xds.node.cluster -> = 0 "kit-nodekit-cluster"
;;!   request_headers| has(xds.cluster_metadata.filter_metadata) -> = 0 "\00"
;;!   request_headers| has(xds.cluster_metadata.filter_metadata.x) -> = 0 "\00"
;;!   request_headers| has(nope.x) || true -> = 0 "\01"
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
  (call $try @"9223372036854775807")
  (call $try @"9223372036854775808")
  (call $try @"-9223372036854775808")
  (call $try @"-9223372036854775809")
  (call $try @"- 9223372036854775808")
  (call $try @"-(9223372036854775808)")
  (call $try @"9223372036854775808u")
  (call $try @"18446744073709551615u")
  (call $try @"18446744073709551616u")
  (call $try @"0x7fffffffffffffff")
  (call $try @"0x8000000000000000")
  (call $try @"-0x8000000000000000")
  (call $try @"0xffffffffffffffffu")
  (call $try @"1 - 9223372036854775808")
  (call $try @"1.7976931348623157e309")
  (call $try @"1e3")
  (call $try @".5")
  (call $try @"1.")
  (call $try @"1e")
  (call $try @"-0.0")
  (call $try @"007")
  (call $try @"1_000")
  (call $try @"has(nope.x)")
  (call $try @"has(nope.x.y)")
  (call $try @"has(request.nosuch)")
  (call $try @"has(request.nosuch.x)")
  (call $try @"has(request.headers)")
  (call $try @"has(request.path)")
  (call $try @"has(request.path.x)")
  (call $try @"has(response.code)")
  (call $try @"has(nope)")
  (call $try @"has(request.headers['x'])")
  (call $try @"has(request)")
  (call $try @"has(plugin_name.x)")
  (call $try @"has(xds.route_name)")
  (call $try @"has(xds.nosuch)")
  (call $try @"has(source.nosuch)")
  (call $try @"has(connection.tls_version)")
  (call $try @"has({'a': 1}.b)")
  (call $try @"has([1].a)")
  (call $try @"has(metadata.filter_metadata)")
  (call $try @"has(metadata.nosuch)")
  (call $try @"has(filter_state.nosuch)")
  (call $try @"has(upstream.address)")
  (call $try @"nope.x")
  (call $try @"nope.x == 1 || true")
  (call $try @"nope == nope")
  (call $try @"!has(nope.x)")
  (call $try @"has(response.headers)")
  (call $try @"has(response.headers.x)")
  (call $try @"has(xds.node.id)")
  (call $try @"has(xds.node.nosuch)")
  (call $try @"has(xds.node.metadata)")
  (call $try @"has(xds.node.metadata.NAME)")
  (call $try @"has(xds.node.metadata.nosuch)")
  (call $try @"has(xds.node.metadata.LABELS.app)")
  (call $try @"has(upstream.nosuch)")
  (call $try @"xds.node.metadata.NAME == 'kit'")
  (call $try @"xds.node.metadata.PORT + 1.0")
  (call $try @"xds.node.metadata.PORT == 7")
  (call $try @"xds.node.metadata.ZONES[1]")
  (call $try @"xds.node.metadata.LABELS['app']")
  (call $try @"xds.node.metadata.READY")
  (call $try @"type(xds.node.metadata.PORT) == double")
  (call $try @"'app' in xds.node.metadata.LABELS")
  (call $try @"size(xds.node.metadata)")
  (call $try @"xds.node.metadata.nosuch")
  (call $try @"xds.node.metadata.NAME.x")
  (call $try @"xds.node.id + xds.node.cluster")
  (call $try @"has(xds.cluster_metadata.filter_metadata)")
  (call $try @"has(xds.cluster_metadata.filter_metadata.x)")
  (call $try @"has(nope.x) || true")
  (i32.const 0))
