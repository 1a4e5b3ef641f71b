;;! covers: proxy_remove_header_map_value proxy_get_property
;;! about: A request whose host a filter took away, and which it answers: of which route that is told.
;;! deviation: a request without a host takes the routes of no host; Envoy, where it has several virtual hosts, finds none for it, though the one for any host would take it (with that alone it does)
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| remove 0 ":authority" = 0
;;!   request_headers| reply = 0
;;!   response_headers| property xds.route_name = 1
;;!   log| property xds.route_name = 1
;;!   > 403 content-type="text/plain" body "no"
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| remove 0 ":authority" = 0
;;!   request_headers| reply = 0
;;!   response_headers| property xds.route_name = 0 "main-route"
;;!   log| property xds.route_name = 0 "main-route"
;;!   > 403 content-type="text/plain" body "no"

(on request_headers
  (call $property @"xds\00route_name")
  (call $remove (i32.const 0) @":authority")
  (call $reply (i32.const 403) @"no")
  (i32.const 1))
(on response_headers
  (call $property @"xds\00route_name")
  (i32.const 0))
(on log
  (call $property @"xds\00route_name"))
