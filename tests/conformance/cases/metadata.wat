;;! covers: proxy_get_property
;;! about: What is written of listener, route, cluster and endpoint for filters to read.
;;! option: metadata
;;! step: GET /meta/x
;;! step: GET /x
;;! expect:
;;!   # GET /meta/x
;;!   request_headers| property xds.route_metadata = 0 length 180
;;!   request_headers| property xds.route_metadata.filter_metadata = 3
;;!   request_headers| property xds.route_metadata.filter_metadata.kit = 3
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.at = 0 "route"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.number = 0 "\00\00\00\00\00\00\1c@"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.ready = 0 "\01"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.none = 3
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.empty = 0 empty
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map = 0 "\01\00\00\00\01\00\00\00\10\00\00\00a\00\01\00\00\00\01\00\00\00\01\00\00\00b\00c\00\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a = 0 "\01\00\00\00\01\00\00\00\01\00\00\00b\00c\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a.b = 0 "c"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a.b.c = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list = 0 "\03\00\00\00\01\00\00\00\00\00\00\00\18\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00x\00\00\01\00\00\00\04\00\00\00\06\00\00\00name\00second\00\00\00\01\00\00\00\08\00\00\00\00\00\00\00\00\00\00\00\00\00\00@\00\00\00\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.0 = 0 "x"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.1 = 0 "\01\00\00\00\04\00\00\00\06\00\00\00name\00second\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.1.name = 0 "second"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.2 = 0 "\01\00\00\00\08\00\00\00\00\00\00\00\00\00\00\00\00\00\00@\00\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.2.0 = 0 "\00\00\00\00\00\00\00@"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.3 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.-1 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list. 0 = 0 "x"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.+0 = 0 "x"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.00 = 0 "x"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list. = 0 "\03\00\00\00\01\00\00\00\00\00\00\00\18\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00x\00\00\01\00\00\00\04\00\00\00\06\00\00\00name\00second\00\00\00\01\00\00\00\08\00\00\00\00\00\00\00\00\00\00\00\00\00\00@\00\00\00\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.at.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.number.0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.ready.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.none.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.other = 0 "\00\00\00\00"
;;!   request_headers| property xds.route_metadata.filter_metadata.other.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.route_metadata.typed_filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property xds.route_metadata.typed_filter_metadata.x = 1
;;!   request_headers| property xds.route_metadata.nosuch = 1
;;!   request_headers| property xds.route_metadata.filter_metadata. = 3
;;!   request_headers| property xds.listener_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08listener"
;;!   request_headers| property xds.listener_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00\00"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property xds.listener_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.cluster_metadata = 0 "\0aA\0a\05istio\128\0a6\0a\08services\12*2(\0a\12*\10\0a\0e\0a\04name\12\06\1a\04shop\0a\12*\10\0a\0e\0a\04name\12\06\1a\04till"
;;!   request_headers| property xds.cluster_metadata.filter_metadata = 0 "\01\00\00\00\05\00\00\00Z\00\00\00istio\00\01\00\00\00\08\00\00\00D\00\00\00services\00\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00\00\00"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio = 0 "\01\00\00\00\08\00\00\00D\00\00\00services\00\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00\00"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services = 0 "\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.0 = 0 "\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 0 "shop"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.1.name = 0 "till"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.2.name = 1
;;!   request_headers| property xds.upstream_host_metadata = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.kit = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.virtual_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property xds.upstream_host_locality_metadata = 1
;;!   request_headers| property xds.upstream_host_locality_metadata.filter_metadata = 1
;;!   response_headers| property xds.route_metadata.filter_metadata.kit.at = 0 "route"
;;!   response_headers| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   response_headers| property xds.cluster_metadata.filter_metadata.istio.services.0 = 0 "\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00"
;;!   response_headers| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 0 "shop"
;;!   response_headers| property xds.upstream_host_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08endpoint"
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00\00"
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00"
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.kit.at = 0 "endpoint"
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.nosuch = 1
;;!   response_headers| property xds.upstream_host_locality_metadata = 3
;;!   response_headers| property xds.upstream_host_locality_metadata.filter_metadata = 1
;;!   log| property xds.route_metadata.filter_metadata.kit.at = 0 "route"
;;!   log| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   log| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 0 "shop"
;;!   log| property xds.upstream_host_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08endpoint"
;;!   log| property xds.upstream_host_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00\00"
;;!   log| property xds.upstream_host_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00"
;;!   log| property xds.upstream_host_metadata.filter_metadata.kit.at = 0 "endpoint"
;;!   ^ GET /meta/x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x
;;!   request_headers| property xds.route_metadata = 0 length 0
;;!   request_headers| property xds.route_metadata.filter_metadata = 0 length 4
;;!   request_headers| property xds.route_metadata.filter_metadata.kit = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.number = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.ready = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.none = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.empty = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a.b = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.map.a.b.c = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.1 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.1.name = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.2 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.2.0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.3 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.-1 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list. 0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.+0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list.00 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.list. = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.at.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.number.0 = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.ready.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.none.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.other = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.other.x = 1
;;!   request_headers| property xds.route_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.route_metadata.typed_filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property xds.route_metadata.typed_filter_metadata.x = 1
;;!   request_headers| property xds.route_metadata.nosuch = 1
;;!   request_headers| property xds.route_metadata.filter_metadata. = 0 "\00\00\00\00"
;;!   request_headers| property xds.listener_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08listener"
;;!   request_headers| property xds.listener_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00\00"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   request_headers| property xds.listener_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property xds.listener_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.cluster_metadata = 0 empty
;;!   request_headers| property xds.cluster_metadata.filter_metadata = 0 "\00\00\00\00"
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio = 1
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services = 1
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.0 = 1
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 1
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.1.name = 1
;;!   request_headers| property xds.cluster_metadata.filter_metadata.istio.services.2.name = 1
;;!   request_headers| property xds.upstream_host_metadata = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.kit = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property xds.upstream_host_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property xds.virtual_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property xds.upstream_host_locality_metadata = 1
;;!   request_headers| property xds.upstream_host_locality_metadata.filter_metadata = 1
;;!   response_headers| property xds.route_metadata.filter_metadata.kit.at = 1
;;!   response_headers| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   response_headers| property xds.cluster_metadata.filter_metadata.istio.services.0 = 1
;;!   response_headers| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 1
;;!   response_headers| property xds.upstream_host_metadata = 3
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata = 1
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.kit = 1
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.kit.at = 1
;;!   response_headers| property xds.upstream_host_metadata.filter_metadata.nosuch = 1
;;!   response_headers| property xds.upstream_host_locality_metadata = 3
;;!   response_headers| property xds.upstream_host_locality_metadata.filter_metadata = 1
;;!   log| property xds.route_metadata.filter_metadata.kit.at = 1
;;!   log| property xds.listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   log| property xds.cluster_metadata.filter_metadata.istio.services.0.name = 1
;;!   log| property xds.upstream_host_metadata = 3
;;!   log| property xds.upstream_host_metadata.filter_metadata = 1
;;!   log| property xds.upstream_host_metadata.filter_metadata.kit = 1
;;!   log| property xds.upstream_host_metadata.filter_metadata.kit.at = 1
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $property_length @"xds\00route_metadata")
  (call $property_length @"xds\00route_metadata\00filter_metadata")
  (call $property_length @"xds\00route_metadata\00filter_metadata\00kit")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00number")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00ready")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00none")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00empty")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00map")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00map\00a")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00map\00a\00b")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00map\00a\00b\00c")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\000")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\001")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\001\00name")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\002")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\002\000")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\003")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\00-1")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\00x")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\00 0")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\00+0")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\0000")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00list\00")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00at\00x")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00number\000")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00ready\00x")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00none\00x")
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00nosuch")
  (call $property @"xds\00route_metadata\00filter_metadata\00other")
  (call $property @"xds\00route_metadata\00filter_metadata\00other\00x")
  (call $property @"xds\00route_metadata\00filter_metadata\00nosuch")
  (call $property @"xds\00route_metadata\00typed_filter_metadata")
  (call $property @"xds\00route_metadata\00typed_filter_metadata\00x")
  (call $property @"xds\00route_metadata\00nosuch")
  (call $property @"xds\00route_metadata\00filter_metadata\00")
  (call $property @"xds\00listener_metadata")
  (call $property @"xds\00listener_metadata\00filter_metadata")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00nosuch")
  (call $property @"xds\00listener_metadata\00filter_metadata\00nosuch")
  (call $property @"xds\00cluster_metadata")
  (call $property @"xds\00cluster_metadata\00filter_metadata")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\000")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\000\00name")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\001\00name")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\002\00name")
  (call $property @"xds\00upstream_host_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00nosuch")
  (call $property @"xds\00virtual_host_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00upstream_host_locality_metadata")
  (call $property @"xds\00upstream_host_locality_metadata\00filter_metadata")
  (i32.const 0))

(on response_headers
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\000")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\000\00name")
  (call $property @"xds\00upstream_host_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00nosuch")
  (call $property @"xds\00upstream_host_locality_metadata")
  (call $property @"xds\00upstream_host_locality_metadata\00filter_metadata")
  (i32.const 0))

(on log
  (call $property @"xds\00route_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"xds\00cluster_metadata\00filter_metadata\00istio\00services\000\00name")
  (call $property @"xds\00upstream_host_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit")
  (call $property @"xds\00upstream_host_metadata\00filter_metadata\00kit\00at"))
