;;! covers: proxy_get_property
;;! about: The same under the names that Envoy had before 1.40.
;;! deviation: Envoy 1.40 dropped these names in favour of `xds.`; filters in the field ask for them, so they are served as before.
;;! option: metadata
;;! step: GET /meta/x
;;! expect:
;;!   # GET /meta/x
;;!   request_headers| property route_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property listener_metadata = 1
;;!   request_headers| property listener_metadata.filter_metadata = 1
;;!   request_headers| property listener_metadata.filter_metadata.kit = 1
;;!   request_headers| property listener_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property listener_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property listener_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property cluster_metadata = 1
;;!   request_headers| property cluster_metadata.filter_metadata = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.0 = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.0.name = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.1.name = 1
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.2.name = 1
;;!   request_headers| property upstream_host_metadata = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.kit = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.nosuch = 1
;;!   response_headers| property upstream_host_metadata.filter_metadata = 1
;;!   response_headers| property upstream_host_metadata.filter_metadata.kit = 1
;;!   response_headers| property upstream_host_metadata.filter_metadata.kit.at = 1
;;!   response_headers| property upstream_host_metadata.filter_metadata.nosuch = 1
;;!   ^ GET /meta/x
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /meta/x
;;!   request_headers| property route_metadata.filter_metadata.kit.at = 0 "route"
;;!   request_headers| property listener_metadata = 0 "\0a\19\0a\03kit\12\12\0a\10\0a\02at\12\0a\1a\08listener"
;;!   request_headers| property listener_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00\00"
;;!   request_headers| property listener_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00listener\00"
;;!   request_headers| property listener_metadata.filter_metadata.kit.at = 0 "listener"
;;!   request_headers| property listener_metadata.filter_metadata.kit.nosuch = 1
;;!   request_headers| property listener_metadata.filter_metadata.nosuch = 1
;;!   request_headers| property cluster_metadata = 0 "\0aA\0a\05istio\128\0a6\0a\08services\12*2(\0a\12*\10\0a\0e\0a\04name\12\06\1a\04shop\0a\12*\10\0a\0e\0a\04name\12\06\1a\04till"
;;!   request_headers| property cluster_metadata.filter_metadata = 0 "\01\00\00\00\05\00\00\00Z\00\00\00istio\00\01\00\00\00\08\00\00\00D\00\00\00services\00\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00\00\00"
;;!   request_headers| property cluster_metadata.filter_metadata.istio = 0 "\01\00\00\00\08\00\00\00D\00\00\00services\00\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00\00"
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services = 0 "\02\00\00\00\16\00\00\00\00\00\00\00\16\00\00\00\00\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00\00\00\01\00\00\00\04\00\00\00\04\00\00\00name\00till\00\00\00"
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.0 = 0 "\01\00\00\00\04\00\00\00\04\00\00\00name\00shop\00"
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.0.name = 0 "shop"
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.1.name = 0 "till"
;;!   request_headers| property cluster_metadata.filter_metadata.istio.services.2.name = 1
;;!   request_headers| property upstream_host_metadata = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.kit = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.kit.at = 1
;;!   request_headers| property upstream_host_metadata.filter_metadata.nosuch = 1
;;!   response_headers| property upstream_host_metadata.filter_metadata = 0 "\01\00\00\00\03\00\00\00\18\00\00\00kit\00\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00\00"
;;!   response_headers| property upstream_host_metadata.filter_metadata.kit = 0 "\01\00\00\00\02\00\00\00\08\00\00\00at\00endpoint\00"
;;!   response_headers| property upstream_host_metadata.filter_metadata.kit.at = 0 "endpoint"
;;!   response_headers| property upstream_host_metadata.filter_metadata.nosuch = 1
;;!   ^ GET /meta/x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $property @"route_metadata\00filter_metadata\00kit\00at")
  (call $property @"listener_metadata")
  (call $property @"listener_metadata\00filter_metadata")
  (call $property @"listener_metadata\00filter_metadata\00kit")
  (call $property @"listener_metadata\00filter_metadata\00kit\00at")
  (call $property @"listener_metadata\00filter_metadata\00kit\00nosuch")
  (call $property @"listener_metadata\00filter_metadata\00nosuch")
  (call $property @"cluster_metadata")
  (call $property @"cluster_metadata\00filter_metadata")
  (call $property @"cluster_metadata\00filter_metadata\00istio")
  (call $property @"cluster_metadata\00filter_metadata\00istio\00services")
  (call $property @"cluster_metadata\00filter_metadata\00istio\00services\000")
  (call $property @"cluster_metadata\00filter_metadata\00istio\00services\000\00name")
  (call $property @"cluster_metadata\00filter_metadata\00istio\00services\001\00name")
  (call $property @"cluster_metadata\00filter_metadata\00istio\00services\002\00name")
  (call $property @"upstream_host_metadata")
  (call $property @"upstream_host_metadata\00filter_metadata")
  (call $property @"upstream_host_metadata\00filter_metadata\00kit")
  (call $property @"upstream_host_metadata\00filter_metadata\00kit\00at")
  (call $property @"upstream_host_metadata\00filter_metadata\00nosuch")
  (i32.const 0))

(on response_headers
  (call $property @"upstream_host_metadata\00filter_metadata")
  (call $property @"upstream_host_metadata\00filter_metadata\00kit")
  (call $property @"upstream_host_metadata\00filter_metadata\00kit\00at")
  (call $property @"upstream_host_metadata\00filter_metadata\00nosuch")
  (i32.const 0))
