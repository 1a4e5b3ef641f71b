;;! covers: proxy_on_request_headers proxy_on_response_headers proxy_on_log
;;! about: A request that no route takes and no filter leads to one: filters see the 404, may change it, and log it.
;;! deviation: the 404 says why in a few words, as all of the proxy's answers do; Envoy's is empty
;;! step: GET /x | x-kit-nowhere: 1
;;! step: POST /echo | x-kit-nowhere: 1 || abc
;;! expect:
;;!   # GET /x | x-kit-nowhere: 1
;;!   request_headers| property xds.route_name = 1
;;!   response_headers| get 2 ":status" = 0 "404"
;;!   response_headers| property response.code_details = 0 "route_not_found"
;;!   response_headers| add 2 "x-kit-seen" = 0
;;!   log| property response.code = 0 "\94\01\00\00\00\00\00\00"
;;!   log| property xds.route_name = 1
;;!   > 404 x-kit-seen="yes"
;;!   # POST /echo | x-kit-nowhere: 1 || abc
;;!   request_headers| property xds.route_name = 1
;;!   response_headers| get 2 ":status" = 0 "404"
;;!   response_headers| property response.code_details = 0 "route_not_found"
;;!   response_headers| add 2 "x-kit-seen" = 0
;;!   log| property response.code = 0 "\94\01\00\00\00\00\00\00"
;;!   log| property xds.route_name = 1
;;!   > 404 x-kit-seen="yes"
;;! expect-pillion:
;;!   # GET /x | x-kit-nowhere: 1
;;!   request_headers| property xds.route_name = 1
;;!   response_headers| get 2 ":status" = 0 "404"
;;!   response_headers| property response.code_details = 0 "route_not_found"
;;!   response_headers| add 2 "x-kit-seen" = 0
;;!   log| property response.code = 0 "\94\01\00\00\00\00\00\00"
;;!   log| property xds.route_name = 1
;;!   > 404 content-type="text/plain" x-kit-seen="yes" body "no route\n"
;;!   # POST /echo | x-kit-nowhere: 1 || abc
;;!   request_headers| property xds.route_name = 1
;;!   response_headers| get 2 ":status" = 0 "404"
;;!   response_headers| property response.code_details = 0 "route_not_found"
;;!   response_headers| add 2 "x-kit-seen" = 0
;;!   log| property response.code = 0 "\94\01\00\00\00\00\00\00"
;;!   log| property xds.route_name = 1
;;!   > 404 content-type="text/plain" x-kit-seen="yes" body "no route\n"


(on request_headers
  (call $property @"xds\00route_name")
  (i32.const 0))
(on response_headers
  (call $get (i32.const 2) @":status")
  (call $property @"response\00code_details")
  (call $add (i32.const 2) @"x-kit-seen" @"yes")
  (i32.const 0))
(on log
  (call $property @"response\00code")
  (call $property @"xds\00route_name"))
