;;! covers: proxy_call_foreign_function
;;! about: CEL expressions over what is written of listener, route, cluster and endpoint.
;;! option: metadata
;;! step: GET /meta/x
;;! expect:
;;!   # GET /meta/x
;;!   request_headers| xds.listener_metadata -> = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08listener"
;;!   request_headers| xds.listener_metadata.filter_metadata -> = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00\00"
;;!   request_headers| xds.listener_metadata.filter_metadata.kit -> = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00"
;;!   request_headers| xds.listener_metadata.filter_metadata.kit.at -> = 0 "listener"
;;!   request_headers| xds.route_metadata.filter_metadata['kit']['at'] -> = 0 "route"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.at == 'route' -> = 0 "\01"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.number + 1.0 -> = 0 "\00\00\00\00\00\00 @"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.number == 7 -> = 0 "\01"
;;!   request_headers| type(xds.route_metadata.filter_metadata.kit.number) == double -> = 0 "\01"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.ready -> = 0 "\01"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.none -> = 3
;;!   request_headers| xds.route_metadata.filter_metadata.kit.none == null -> = 0 "\01"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.map -> = 0 "\01\00\00\00\01\00\00\00\10\00\00\00a\00\01\00\00\00\01\00\00\00\01\00\00\00b\00c\00\00"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.map.a.b.c -> = 10
;;!   request_headers| xds.route_metadata.filter_metadata.kit.list[0] -> = 0 "x"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.list[1].name -> = 0 "second"
;;!   request_headers| xds.route_metadata.filter_metadata.kit.list[9] -> = 10
;;!   request_headers| size(xds.route_metadata.filter_metadata.kit.list) -> = 0 "\03\00\00\00\00\00\00\00"
;;!   request_headers| size(xds.route_metadata.filter_metadata) -> = 0 "\02\00\00\00\00\00\00\00"
;;!   request_headers| size(xds.route_metadata.filter_metadata.kit) -> = 0 "\07\00\00\00\00\00\00\00"
;;!   request_headers| 'at' in xds.route_metadata.filter_metadata.kit -> = 0 "\01"
;;!   request_headers| 'kit' in xds.route_metadata.filter_metadata -> = 0 "\01"
;;!   request_headers| 'other' in xds.route_metadata.filter_metadata -> = 0 "\01"
;;!   request_headers| 'x' in xds.route_metadata.filter_metadata -> = 0 "\00"
;;!   request_headers| has(xds.route_metadata) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.typed_filter_metadata) -> = 0 "\00"
;;!   request_headers| has(xds.route_metadata.nosuch) -> = 10
;;!   request_headers| xds.route_metadata.nosuch -> = 10
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit.at) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit.nosuch) -> = 0 "\00"
;;!   request_headers| has(xds.route_metadata.filter_metadata.other) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit.empty) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit.none) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.kit.map) -> = 0 "\01"
;;!   request_headers| has(xds.route_metadata.filter_metadata.nosuch.x) -> = 10
;;!   request_headers| xds.route_metadata.filter_metadata.nosuch.x -> = 10
;;!   request_headers| xds.cluster_metadata.filter_metadata.istio.services[0].name -> = 0 "shop"
;;!   request_headers| xds.cluster_metadata.filter_metadata.istio.services.exists(s, s.name == 'till') -> = 0 "\01"
;;!   request_headers| has(xds.upstream_host_metadata) -> = 0 "\00"
;;!   request_headers| xds.upstream_host_metadata -> = 10
;;!   request_headers| xds.upstream_host_metadata.filter_metadata.kit.at -> = 10
;;!   request_headers| has(xds.upstream_host_metadata.filter_metadata) -> = 10
;;!   request_headers| xds.route_metadata == xds.route_metadata -> = 0 "\01"
;;!   request_headers| xds.listener_metadata == xds.route_metadata -> = 0 "\00"
;;!   request_headers| xds.route_metadata == '' -> = 0 "\00"
;;!   request_headers| xds['route_metadata'].filter_metadata['kit'] -> = 3
;;!   request_headers| xds.route_metadata.typed_filter_metadata -> = 0 "\00\00\00\00"
;;!   response_headers| xds.upstream_host_metadata -> = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08endpoint"
;;!   response_headers| xds.upstream_host_metadata.filter_metadata.kit.at -> = 0 "endpoint"
;;!   response_headers| has(xds.upstream_host_metadata.filter_metadata) -> = 0 "\01"
;;!   response_headers| xds.upstream_host_metadata.filter_metadata['kit'] -> = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00"
;;!   ^ GET /meta/x
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
  (call $try @"xds.listener_metadata")
  (call $try @"xds.listener_metadata.filter_metadata")
  (call $try @"xds.listener_metadata.filter_metadata.kit")
  (call $try @"xds.listener_metadata.filter_metadata.kit.at")
  (call $try @"xds.route_metadata.filter_metadata['kit']['at']")
  (call $try @"xds.route_metadata.filter_metadata.kit.at == 'route'")
  (call $try @"xds.route_metadata.filter_metadata.kit.number + 1.0")
  (call $try @"xds.route_metadata.filter_metadata.kit.number == 7")
  (call $try @"type(xds.route_metadata.filter_metadata.kit.number) == double")
  (call $try @"xds.route_metadata.filter_metadata.kit.ready")
  (call $try @"xds.route_metadata.filter_metadata.kit.none")
  (call $try @"xds.route_metadata.filter_metadata.kit.none == null")
  (call $try @"xds.route_metadata.filter_metadata.kit.map")
  (call $try @"xds.route_metadata.filter_metadata.kit.map.a.b.c")
  (call $try @"xds.route_metadata.filter_metadata.kit.list[0]")
  (call $try @"xds.route_metadata.filter_metadata.kit.list[1].name")
  (call $try @"xds.route_metadata.filter_metadata.kit.list[9]")
  (call $try @"size(xds.route_metadata.filter_metadata.kit.list)")
  (call $try @"size(xds.route_metadata.filter_metadata)")
  (call $try @"size(xds.route_metadata.filter_metadata.kit)")
  (call $try @"'at' in xds.route_metadata.filter_metadata.kit")
  (call $try @"'kit' in xds.route_metadata.filter_metadata")
  (call $try @"'other' in xds.route_metadata.filter_metadata")
  (call $try @"'x' in xds.route_metadata.filter_metadata")
  (call $try @"has(xds.route_metadata)")
  (call $try @"has(xds.route_metadata.filter_metadata)")
  (call $try @"has(xds.route_metadata.typed_filter_metadata)")
  (call $try @"has(xds.route_metadata.nosuch)")
  (call $try @"xds.route_metadata.nosuch")
  (call $try @"has(xds.route_metadata.filter_metadata.kit)")
  (call $try @"has(xds.route_metadata.filter_metadata.kit.at)")
  (call $try @"has(xds.route_metadata.filter_metadata.kit.nosuch)")
  (call $try @"has(xds.route_metadata.filter_metadata.other)")
  (call $try @"has(xds.route_metadata.filter_metadata.kit.empty)")
  (call $try @"has(xds.route_metadata.filter_metadata.kit.none)")
  (call $try @"has(xds.route_metadata.filter_metadata.kit.map)")
  (call $try @"has(xds.route_metadata.filter_metadata.nosuch.x)")
  (call $try @"xds.route_metadata.filter_metadata.nosuch.x")
  (call $try @"xds.cluster_metadata.filter_metadata.istio.services[0].name")
  (call $try @"xds.cluster_metadata.filter_metadata.istio.services.exists(s, s.name == 'till')")
  (call $try @"has(xds.upstream_host_metadata)")
  (call $try @"xds.upstream_host_metadata")
  (call $try @"xds.upstream_host_metadata.filter_metadata.kit.at")
  (call $try @"has(xds.upstream_host_metadata.filter_metadata)")
  (call $try @"xds.route_metadata == xds.route_metadata")
  (call $try @"xds.listener_metadata == xds.route_metadata")
  (call $try @"xds.route_metadata == ''")
  (call $try @"xds['route_metadata'].filter_metadata['kit']")
  (call $try @"xds.route_metadata.typed_filter_metadata")
  (i32.const 0))

(on response_headers
  (call $try @"xds.upstream_host_metadata")
  (call $try @"xds.upstream_host_metadata.filter_metadata.kit.at")
  (call $try @"has(xds.upstream_host_metadata.filter_metadata)")
  (call $try @"xds.upstream_host_metadata.filter_metadata['kit']")
  (i32.const 0))
