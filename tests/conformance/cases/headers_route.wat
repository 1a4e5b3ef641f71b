;;! covers: proxy_replace_header_map_value proxy_get_property
;;! about: The route is chosen again after a filter changed headers or the path.
;;! step: GET /x | x-kit-do: header
;;! step: GET /x | x-kit-do: path
;;! step: GET /x | x-kit-do: nothing
;;! expect:
;;!   # GET /x | x-kit-do: header
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| property xds.cluster_name = 0 "origin"
;;!   request_headers| replace 0 "x-kit-route" = 0
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   response_headers| property xds.route_name = 0 "by-header"
;;!   response_headers| property xds.cluster_name = 1
;;!   > 210 content-type="text/plain" body "other"
;;!   # GET /x | x-kit-do: path
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| property xds.cluster_name = 0 "origin"
;;!   request_headers| replace 0 ":path" = 0
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   response_headers| property xds.route_name = 0 "h2-route"
;;!   response_headers| property xds.cluster_name = 0 "origin-h2"
;;!   ^ GET /moved x-kit-do="path"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: nothing
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   request_headers| property xds.cluster_name = 0 "origin"
;;!   request_headers| property xds.route_name = 0 "main-route"
;;!   response_headers| property xds.route_name = 0 "main-route"
;;!   response_headers| property xds.cluster_name = 0 "origin"
;;!   ^ GET /x x-kit-do="nothing"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $note_do)
  (call $property @"xds\00route_name")
  (call $property @"xds\00cluster_name")
  (if (call $doing_is (i32.const 104)) (then (call $replace (i32.const 0) @"x-kit-route" @"other")))
  (if (call $doing_is (i32.const 112)) (then (call $replace (i32.const 0) @":path" @"/h2/moved")))
  (call $property @"xds\00route_name")
  (i32.const 0))
(on response_headers
  (call $property @"xds\00route_name")
  (call $property @"xds\00cluster_name")
  (i32.const 0))
