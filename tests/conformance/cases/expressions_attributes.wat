;;! covers: proxy_call_foreign_function
;;! about: What is no value by itself (`request`, `filter_state`) as a map: `in`, `size`, macros. A pattern that is none.
;;! step: GET /x?q=1
;;! expect:
;;!   # GET /x?q=1
;;!   request_headers| 'wasm.mine' in filter_state -> = 0 "\01"
;;!   request_headers| 'wasm.nosuch' in filter_state -> = 0 "\00"
;;!   request_headers| 1 in filter_state -> = 0 "\00"
;;!   request_headers| size(filter_state) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| filter_state.size() -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| filter_state.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| filter_state.filter(k, true) -> = 0 "\00\00\00\00"
;;!   request_headers| filter_state.exists(k, true) -> = 0 "\00"
;;!   request_headers| filter_state.all(k, false) -> = 0 "\01"
;;!   request_headers| filter_state.exists_one(k, true) -> = 0 "\00"
;;!   request_headers| has(filter_state.x) -> = 0 "\00"
;;!   request_headers| filter_state['wasm.mine'] -> = 0 "1"
;;!   request_headers| filter_state -> = 3
;;!   request_headers| 'path' in request -> = 0 "\01"
;;!   request_headers| 'nosuch' in request -> = 0 "\00"
;;!   request_headers| 1 in request -> = 0 "\00"
;;!   request_headers| 'referer' in request -> = 0 "\00"
;;!   request_headers| size(request) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| request.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| request.exists(k, true) -> = 0 "\00"
;;!   request_headers| 'code' in response -> = 0 "\00"
;;!   request_headers| size(response) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| response.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| 'mtls' in connection -> = 0 "\01"
;;!   request_headers| 'uri_san_peer_certificate' in connection -> = 0 "\00"
;;!   request_headers| size(connection) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| connection.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| 'address' in source -> = 0 "\01"
;;!   request_headers| size(source) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| 'port' in destination -> = 0 "\01"
;;!   request_headers| 'address' in upstream -> = 0 "\00"
;;!   request_headers| size(upstream) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| upstream.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| 'x' in upstream_filter_state -> = 10
;;!   request_headers| size(upstream_filter_state) -> = 10
;;!   request_headers| 'route_name' in xds -> = 0 "\01"
;;!   request_headers| 'node' in xds -> = 0 "\01"
;;!   request_headers| size(xds) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| xds.map(k, k) -> = 0 "\00\00\00\00"
;;!   request_headers| 'id' in xds.node -> = 10
;;!   request_headers| 'x' in metadata -> = 10
;;!   request_headers| 'x' in metadata.filter_metadata -> = 0 "\00"
;;!   request_headers| size(metadata.filter_metadata) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| filter_state == filter_state -> = 0 "\01"
;;!   request_headers| type(filter_state) == map -> = 0 "\01"
;;!   request_headers| request == response -> = 0 "\01"
;;!   request_headers| request == {} -> = 0 "\01"
;;!   request_headers| {'a': 1} == request -> = 0 "\00"
;;!   request_headers| request == 1 -> = 0 "\00"
;;!   request_headers| request.nosuch == 1 -> = 10
;;!   request_headers| [request].map(r, has(r.path)) -> = 0 "\01\00\00\00\01\00\00\00\00\00\00\00\01\00\00"
;;!   request_headers| [request].map(r, has(r.nosuch)) -> = 0 "\01\00\00\00\01\00\00\00\00\00\00\00\00\00\00"
;;!   request_headers| [request].map(r, r['path']) -> = 0 "\01\00\00\00\06\00\00\00\00\00\00\00/x?q=1\00\00"
;;!   request_headers| [request].map(r, r.nosuch) -> = 10
;;!   request_headers| request + request -> = 10
;;!   request_headers| string(request) -> = 10
;;!   request_headers| size(nosuch) -> = 10
;;!   request_headers| 'x' in nosuch -> = 10
;;!   request_headers| nosuch.map(k, k) -> = 10
;;!   request_headers| 'a' in 'abc' -> = 10
;;!   request_headers| size(1) -> = 10
;;!   request_headers| [filter_state] -> = 3
;;!   request_headers| {'a': filter_state} -> = 3
;;!   request_headers| dyn(filter_state) -> = 3
;;!   request_headers| true ? filter_state : filter_state -> = 3
;;!   request_headers| size(true ? request : request) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   request_headers| 'wasm.mine' in (true ? filter_state : filter_state) -> = 0 "\01"
;;!   request_headers| [request].map(r, size(r)) -> = 0 "\01\00\00\00\08\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00"
;;!   request_headers| [request].map(r, r.path) -> = 0 "\01\00\00\00\06\00\00\00\00\00\00\00/x?q=1\00\00"
;;!   request_headers| 'abc'.matches('(') -> = 10
;;!   request_headers| 'abc'.matches('(') || true -> = 0 "\01"
;;!   request_headers| false && 'abc'.matches('(') -> = 0 "\00"
;;!   request_headers| 'abc'.matches('b') -> = 0 "\01"
;;!   request_headers| 'abc'.matches('(' + '') -> = 10
;;!   request_headers| matches('abc', '*') -> = 10
;;!   response_headers| 'code' in response -> = 0 "\01"
;;!   response_headers| 'backend_latency' in response -> = 0 "\00"
;;!   response_headers| 'address' in upstream -> = 0 "\01"
;;!   response_headers| size(upstream_filter_state) -> = 0 "\00\00\00\00\00\00\00\00"
;;!   response_headers| 'x' in upstream_filter_state -> = 0 "\00"
;;!   response_headers| upstream_filter_state -> = 3
;;!   ^ GET /x?q=1
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (drop (call $proxy_set_property @"mine" @"1"))
  (call $expression @"'wasm.mine' in filter_state")
  (call $expression @"'wasm.nosuch' in filter_state")
  (call $expression @"1 in filter_state")
  (call $expression @"size(filter_state)")
  (call $expression @"filter_state.size()")
  (call $expression @"filter_state.map(k, k)")
  (call $expression @"filter_state.filter(k, true)")
  (call $expression @"filter_state.exists(k, true)")
  (call $expression @"filter_state.all(k, false)")
  (call $expression @"filter_state.exists_one(k, true)")
  (call $expression @"has(filter_state.x)")
  (call $expression @"filter_state['wasm.mine']")
  (call $expression @"filter_state")
  (call $expression @"'path' in request")
  (call $expression @"'nosuch' in request")
  (call $expression @"1 in request")
  (call $expression @"'referer' in request")
  (call $expression @"size(request)")
  (call $expression @"request.map(k, k)")
  (call $expression @"request.exists(k, true)")
  (call $expression @"'code' in response")
  (call $expression @"size(response)")
  (call $expression @"response.map(k, k)")
  (call $expression @"'mtls' in connection")
  (call $expression @"'uri_san_peer_certificate' in connection")
  (call $expression @"size(connection)")
  (call $expression @"connection.map(k, k)")
  (call $expression @"'address' in source")
  (call $expression @"size(source)")
  (call $expression @"'port' in destination")
  (call $expression @"'address' in upstream")
  (call $expression @"size(upstream)")
  (call $expression @"upstream.map(k, k)")
  (call $expression @"'x' in upstream_filter_state")
  (call $expression @"size(upstream_filter_state)")
  (call $expression @"'route_name' in xds")
  (call $expression @"'node' in xds")
  (call $expression @"size(xds)")
  (call $expression @"xds.map(k, k)")
  (call $expression @"'id' in xds.node")
  (call $expression @"'x' in metadata")
  (call $expression @"'x' in metadata.filter_metadata")
  (call $expression @"size(metadata.filter_metadata)")
  (call $expression @"filter_state == filter_state")
  (call $expression @"type(filter_state) == map")
  (call $expression @"request == response")
  (call $expression @"request == {}")
  (call $expression @"{'a': 1} == request")
  (call $expression @"request == 1")
  (call $expression @"request.nosuch == 1")
  (call $expression @"[request].map(r, has(r.path))")
  (call $expression @"[request].map(r, has(r.nosuch))")
  (call $expression @"[request].map(r, r['path'])")
  (call $expression @"[request].map(r, r.nosuch)")
  (call $expression @"request + request")
  (call $expression @"string(request)")
  (call $expression @"size(nosuch)")
  (call $expression @"'x' in nosuch")
  (call $expression @"nosuch.map(k, k)")
  (call $expression @"'a' in 'abc'")
  (call $expression @"size(1)")
  (call $expression @"[filter_state]")
  (call $expression @"{'a': filter_state}")
  (call $expression @"dyn(filter_state)")
  (call $expression @"true ? filter_state : filter_state")
  (call $expression @"size(true ? request : request)")
  (call $expression @"'wasm.mine' in (true ? filter_state : filter_state)")
  (call $expression @"[request].map(r, size(r))")
  (call $expression @"[request].map(r, r.path)")
  (call $expression @"'abc'.matches('(')")
  (call $expression @"'abc'.matches('(') || true")
  (call $expression @"false && 'abc'.matches('(')")
  (call $expression @"'abc'.matches('b')")
  (call $expression @"'abc'.matches('(' + '')")
  (call $expression @"matches('abc', '*')")
  (i32.const 0))
(on response_headers
  (call $expression @"'code' in response")
  (call $expression @"'backend_latency' in response")
  (call $expression @"'address' in upstream")
  (call $expression @"size(upstream_filter_state)")
  (call $expression @"'x' in upstream_filter_state")
  (call $expression @"upstream_filter_state")
  (i32.const 0))
