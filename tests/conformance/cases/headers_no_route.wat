;;! covers: proxy_send_local_response proxy_replace_header_map_value proxy_remove_header_map_value proxy_get_property proxy_on_log
;;! about: A request that no route takes: filters may answer it or lead it to a route, and log it.
;;! chain: a b
;;! step: GET /x | x-kit-nowhere: 1 | x-kit-do: header
;;! step: POST /echo | x-kit-nowhere: 1 | x-kit-do: remove || abc
;;! step: GET /x | x-kit-nowhere: 1 | x-kit-do: path
;;! step: GET /x | x-kit-nowhere: 1 | x-kit-do: answer
;;! expect:
;;!   # GET /x | x-kit-nowhere: 1 | x-kit-do: header
;;!   a: request_headers| property xds.route_name = 1
;;!   a: request_headers| property xds.cluster_name = 1
;;!   a: request_headers| replace 0 "x-kit-route" = 0
;;!   b: request_headers| property xds.route_name = 1
;;!   b: request_headers| property xds.cluster_name = 1
;;!   b: request_headers| replace 0 "x-kit-route" = 0
;;!   b: response_headers| get 2 ":status" = 0 "210"
;;!   b: response_headers| property xds.route_name = 0 "by-header"
;;!   b: response_headers| property response.code_details = 0 "direct_response"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "210"
;;!   a: response_headers| property xds.route_name = 0 "by-header"
;;!   a: response_headers| property response.code_details = 0 "direct_response"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   a: log| property response.code = 0 "\d2\00\00\00\00\00\00\00"
;;!   a: log| property xds.route_name = 0 "by-header"
;;!   b: log| property response.code = 0 "\d2\00\00\00\00\00\00\00"
;;!   b: log| property xds.route_name = 0 "by-header"
;;!   > 210 content-type="text/plain" x-kit-seen="yes" x-kit-seen="yes" body "other"
;;!   # POST /echo | x-kit-nowhere: 1 | x-kit-do: remove || abc
;;!   a: request_headers| property xds.route_name = 1
;;!   a: request_headers| property xds.cluster_name = 1
;;!   a: request_headers| remove 0 "x-kit-nowhere" = 0
;;!   b: request_headers| property xds.route_name = 1
;;!   b: request_headers| property xds.cluster_name = 1
;;!   b: request_headers| remove 0 "x-kit-nowhere" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| property xds.route_name = 0 "main-route"
;;!   b: response_headers| property response.code_details = 0 "via_upstream"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "200"
;;!   a: response_headers| property xds.route_name = 0 "main-route"
;;!   a: response_headers| property response.code_details = 0 "via_upstream"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   a: log| property response.code = 0 "\c8\00\00\00\00\00\00\00"
;;!   a: log| property xds.route_name = 0 "main-route"
;;!   b: log| property response.code = 0 "\c8\00\00\00\00\00\00\00"
;;!   b: log| property xds.route_name = 0 "main-route"
;;!   ^ POST /echo x-kit-do="remove" body "abc"
;;!   > 200 x-kit-seen="yes" x-kit-seen="yes" body "abc"
;;!   # GET /x | x-kit-nowhere: 1 | x-kit-do: path
;;!   a: request_headers| property xds.route_name = 1
;;!   a: request_headers| property xds.cluster_name = 1
;;!   a: request_headers| replace 0 ":path" = 0
;;!   b: request_headers| property xds.route_name = 1
;;!   b: request_headers| property xds.cluster_name = 1
;;!   b: request_headers| replace 0 ":path" = 0
;;!   b: response_headers| get 2 ":status" = 0 "200"
;;!   b: response_headers| property xds.route_name = 0 "h2-route"
;;!   b: response_headers| property response.code_details = 0 "via_upstream"
;;!   b: response_headers| add 2 "x-kit-seen" = 0
;;!   a: response_headers| get 2 ":status" = 0 "200"
;;!   a: response_headers| property xds.route_name = 0 "h2-route"
;;!   a: response_headers| property response.code_details = 0 "via_upstream"
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   a: log| property response.code = 0 "\c8\00\00\00\00\00\00\00"
;;!   a: log| property xds.route_name = 0 "h2-route"
;;!   b: log| property response.code = 0 "\c8\00\00\00\00\00\00\00"
;;!   b: log| property xds.route_name = 0 "h2-route"
;;!   ^ GET /moved x-kit-do="path" x-kit-nowhere="1"
;;!   > 200 x-kit-seen="yes" x-kit-seen="yes" x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-nowhere: 1 | x-kit-do: answer
;;!   a: request_headers| property xds.route_name = 1
;;!   a: request_headers| property xds.cluster_name = 1
;;!   a: request_headers| reply = 0
;;!   a: response_headers| get 2 ":status" = 0 "401"
;;!   a: response_headers| property xds.route_name = 1
;;!   a: response_headers| property response.code_details = 0 empty
;;!   a: response_headers| add 2 "x-kit-seen" = 0
;;!   a: log| property response.code = 0 "\91\01\00\00\00\00\00\00"
;;!   a: log| property xds.route_name = 1
;;!   b: log| property response.code = 0 "\91\01\00\00\00\00\00\00"
;;!   b: log| property xds.route_name = 1
;;!   > 401 content-type="text/plain" x-kit-seen="yes" body "log in"

(on request_headers
  (call $note_do)
  (call $property @"xds\00route_name")
  (call $property @"xds\00cluster_name")
  (if (call $doing_is (i32.const 104)) (then (call $replace (i32.const 0) @"x-kit-route" @"other")))
  (if (call $doing_is (i32.const 114)) (then (call $remove (i32.const 0) @"x-kit-nowhere")))
  (if (call $doing_is (i32.const 112)) (then (call $replace (i32.const 0) @":path" @"/h2/moved")))
  (if (call $doing_is (i32.const 97)) (then (call $reply (i32.const 401) @"log in") (return (i32.const 1))))
  (i32.const 0))
(on response_headers
  (call $get (i32.const 2) @":status")
  (call $property @"xds\00route_name")
  (call $property @"response\00code_details")
  (call $add (i32.const 2) @"x-kit-seen" @"yes")
  (i32.const 0))
(on log
  (call $property @"response\00code")
  (call $property @"xds\00route_name"))
