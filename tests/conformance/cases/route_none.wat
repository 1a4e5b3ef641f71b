;;! covers: proxy_remove_header_map_value proxy_get_property
;;! about: A request that a filter led to no route, or to what is none, is told as one without, answered by a filter or not.
;;! chain: a b
;;! step: GET /x | x-kit-do: path
;;! step: GET /x | x-kit-do: path | x-kit-reply: b
;;! step: GET /x | x-kit-do: path | x-kit-reply: a
;;! step: GET /x | x-kit-do: method
;;! step: GET /x | x-kit-do: method | x-kit-reply: b
;;! step: GET /x | x-kit-do: none | x-kit-reply: b
;;! step: GET /x | x-kit-do: bad
;;! step: GET /x | x-kit-do: bad | x-kit-reply: b
;;! step: GET /x | x-kit-reply: b
;;! expect:
;;!   # GET /x | x-kit-do: path
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| remove 0 ":path" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 1
;;!   b: response_headers| property xds.cluster_name = 1
;;!   a: response_headers| property xds.route_name = 1
;;!   a: response_headers| property xds.cluster_name = 1
;;!   a: log| property xds.route_name = 1
;;!   a: log| property xds.cluster_name = 1
;;!   b: log| property xds.route_name = 1
;;!   b: log| property xds.cluster_name = 1
;;!   > 404
;;!   # GET /x | x-kit-do: path | x-kit-reply: b
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| remove 0 ":path" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 1
;;!   b: response_headers| property xds.cluster_name = 1
;;!   a: response_headers| property xds.route_name = 1
;;!   a: response_headers| property xds.cluster_name = 1
;;!   a: log| property xds.route_name = 1
;;!   a: log| property xds.cluster_name = 1
;;!   b: log| property xds.route_name = 1
;;!   b: log| property xds.cluster_name = 1
;;!   > 403 content-type="text/plain" body "no"
;;!   # GET /x | x-kit-do: path | x-kit-reply: a
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| remove 0 ":path" = 0
;;!   a: response_headers| property xds.route_name = 1
;;!   a: response_headers| property xds.cluster_name = 1
;;!   a: log| property xds.route_name = 1
;;!   a: log| property xds.cluster_name = 1
;;!   b: log| property xds.route_name = 1
;;!   b: log| property xds.cluster_name = 1
;;!   > 403 content-type="text/plain" body "no"
;;!   # GET /x | x-kit-do: method
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| remove 0 ":method" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   a: log| property xds.cluster_name = 0 "origin"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   b: log| property xds.cluster_name = 0 "origin"
;;!   > 503 content-type="text/plain" body "missing required header: :method"
;;!   # GET /x | x-kit-do: method | x-kit-reply: b
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| remove 0 ":method" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   a: log| property xds.cluster_name = 0 "origin"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   b: log| property xds.cluster_name = 0 "origin"
;;!   > 403 content-type="text/plain" body "no"
;;!   # GET /x | x-kit-do: none | x-kit-reply: b
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| replace 0 ":path" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 1
;;!   b: response_headers| property xds.cluster_name = 1
;;!   a: response_headers| property xds.route_name = 1
;;!   a: response_headers| property xds.cluster_name = 1
;;!   a: log| property xds.route_name = 1
;;!   a: log| property xds.cluster_name = 1
;;!   b: log| property xds.route_name = 1
;;!   b: log| property xds.cluster_name = 1
;;!   > 403 content-type="text/plain" body "no"
;;!   # GET /x | x-kit-do: bad
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| add 0 "x-bad" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   a: log| property xds.cluster_name = 0 "origin"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   b: log| property xds.cluster_name = 0 "origin"
;;!   > 503 content-type="text/plain" body "invalid header value for: x-bad"
;;!   # GET /x | x-kit-do: bad | x-kit-reply: b
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   a: request_headers| add 0 "x-bad" = 0
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   a: log| property xds.cluster_name = 0 "origin"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   b: log| property xds.cluster_name = 0 "origin"
;;!   > 403 content-type="text/plain" body "no"
;;!   # GET /x | x-kit-reply: b
;;!   a: request_headers| property xds.route_name = 0 "main-route"
;;!   a: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: request_headers| property xds.route_name = 0 "main-route"
;;!   b: request_headers| property xds.cluster_name = 0 "origin"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property xds.cluster_name = 0 "origin"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   a: log| property xds.cluster_name = 0 "origin"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   b: log| property xds.cluster_name = 0 "origin"
;;!   > 403 content-type="text/plain" body "no"

;; Which filter of the chain this is: its configuration's letter.
(global $me (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
  (global.set $me (i32.load8_u (i32.load (i32.const 16))))
  (i32.const 1))
(func $told (call $property @"xds\00route_name") (call $property @"xds\00cluster_name"))
(func $answers (result i32)
  (i32.store (i32.const 20) (i32.const 0))
  (drop (call $proxy_get_header_map_value (i32.const 0) @"x-kit-reply" (i32.const 16) (i32.const 20)))
  (if (i32.eqz (i32.load (i32.const 20))) (then (return (i32.const 0))))
  (i32.eq (i32.load8_u (i32.load (i32.const 16))) (global.get $me)))
(on request_headers
  (call $note_do)
  (call $told)
  (if (i32.eq (global.get $me) (i32.const 97)) (then
    (if (call $doing_is (i32.const 112)) (then (call $remove (i32.const 0) @":path")))
    (if (call $doing_is (i32.const 109)) (then (call $remove (i32.const 0) @":method")))
    (if (call $doing_is (i32.const 110)) (then (call $replace (i32.const 0) @":path" @"none")))
    (if (call $doing_is (i32.const 98)) (then (call $add (i32.const 0) @"x-bad" @"a\0ab")))))
  (if (call $answers) (then
    (drop (call $proxy_send_local_response (i32.const 403) @"" @"no" (i32.const 0) (i32.const 0) (i32.const -1)))
    (return (i32.const 1))))
  (i32.const 0))
(on response_headers (call $told) (i32.const 0))
(on log (call $told))
