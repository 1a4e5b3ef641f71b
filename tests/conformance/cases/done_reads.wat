;;! covers: proxy_on_done proxy_on_delete proxy_get_header_map_value proxy_get_property
;;! about: What can still be read when a stream is logged, done and deleted.
;;! deviation: what the log was shown of both heads can be read to the end; in Envoy it is gone behind the log
;;! step: POST /x | x-kit-a: 1 || body
;;! expect:
;;!   # POST /x | x-kit-a: 1 || body
;;!   request_headers| set property mine = 0
;;!   log| get 0 ":path" = 0 "/x"
;;!   log| get 0 "x-kit-a" = 0 "1"
;;!   log| get 0 "x-kit-none" = 1
;;!   log| get 2 ":status" = 0 "200"
;;!   log| get 2 "x-kit-up" = 0 "yes"
;;!   log| get 1 "x" = 1
;;!   log| get 3 "x" = 1
;;!   log| pairs 0 = 0 :authority="kit" :path="/x" :method="POST" :scheme="http" x-kit-a="1"
;;!   log| replace 2 "x-kit-b" = 2
;;!   log| property request.path = 0 "/x"
;;!   log| property request.method = 0 "POST"
;;!   log| property request.headers.x-kit-a = 0 "1"
;;!   log| property response.headers.x-kit-up = 0 "yes"
;;!   log| property response.code = 0 200
;;!   log| property request.size = 0 4
;;!   log| property xds.cluster_name = 0 "origin"
;;!   log| property xds.route_name = 0 "main-route"
;;!   log| property mine = 0 "1"
;;!   log| set property mine = 0
;;!   log| property mine = 0 "2"
;;!   log| buffer 0 0+10 = 0 empty
;;!   log| buffer 1 0+10 = 0 empty
;;!   done| get 0 ":path" = 2
;;!   done| get 0 "x-kit-a" = 2
;;!   done| get 0 "x-kit-none" = 2
;;!   done| get 2 ":status" = 2
;;!   done| get 2 "x-kit-up" = 2
;;!   done| get 1 "x" = 2
;;!   done| get 3 "x" = 2
;;!   done| pairs 0 = 0 empty
;;!   done| replace 2 "x-kit-b" = 2
;;!   done| property request.path = 1
;;!   done| property request.method = 1
;;!   done| property request.headers.x-kit-a = 1
;;!   done| property response.headers.x-kit-up = 1
;;!   done| property response.code = 0 200
;;!   done| property request.size = 0 4
;;!   done| property xds.cluster_name = 0 "origin"
;;!   done| property xds.route_name = 0 "main-route"
;;!   done| property mine = 0 "2"
;;!   done| set property mine = 0
;;!   done| property mine = 0 "2"
;;!   done| buffer 0 0+10 = 0 empty
;;!   done| buffer 1 0+10 = 0 empty
;;!   delete| get 0 ":path" = 2
;;!   delete| get 0 "x-kit-a" = 2
;;!   delete| get 0 "x-kit-none" = 2
;;!   delete| get 2 ":status" = 2
;;!   delete| get 2 "x-kit-up" = 2
;;!   delete| get 1 "x" = 2
;;!   delete| get 3 "x" = 2
;;!   delete| pairs 0 = 0 empty
;;!   delete| replace 2 "x-kit-b" = 2
;;!   delete| property request.path = 1
;;!   delete| property request.method = 1
;;!   delete| property request.headers.x-kit-a = 1
;;!   delete| property response.headers.x-kit-up = 1
;;!   delete| property response.code = 0 200
;;!   delete| property request.size = 0 4
;;!   delete| property xds.cluster_name = 0 "origin"
;;!   delete| property xds.route_name = 0 "main-route"
;;!   delete| property mine = 0 "2"
;;!   delete| set property mine = 0
;;!   delete| property mine = 0 "2"
;;!   delete| buffer 0 0+10 = 0 empty
;;!   delete| buffer 1 0+10 = 0 empty
;;!   ^ POST /x x-kit-a="1" body "body"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # POST /x | x-kit-a: 1 || body
;;!   request_headers| set property mine = 0
;;!   log| get 0 ":path" = 0 "/x"
;;!   log| get 0 "x-kit-a" = 0 "1"
;;!   log| get 0 "x-kit-none" = 1
;;!   log| get 2 ":status" = 0 "200"
;;!   log| get 2 "x-kit-up" = 0 "yes"
;;!   log| get 1 "x" = 1
;;!   log| get 3 "x" = 1
;;!   log| pairs 0 = 0 :authority="kit" :path="/x" :method="POST" :scheme="http" x-kit-a="1"
;;!   log| replace 2 "x-kit-b" = 2
;;!   log| property request.path = 0 "/x"
;;!   log| property request.method = 0 "POST"
;;!   log| property request.headers.x-kit-a = 0 "1"
;;!   log| property response.headers.x-kit-up = 0 "yes"
;;!   log| property response.code = 0 200
;;!   log| property request.size = 0 4
;;!   log| property xds.cluster_name = 0 "origin"
;;!   log| property xds.route_name = 0 "main-route"
;;!   log| property mine = 0 "1"
;;!   log| set property mine = 0
;;!   log| property mine = 0 "2"
;;!   log| buffer 0 0+10 = 0 empty
;;!   log| buffer 1 0+10 = 0 empty
;;!   done| get 0 ":path" = 0 "/x"
;;!   done| get 0 "x-kit-a" = 0 "1"
;;!   done| get 0 "x-kit-none" = 1
;;!   done| get 2 ":status" = 0 "200"
;;!   done| get 2 "x-kit-up" = 0 "yes"
;;!   done| get 1 "x" = 1
;;!   done| get 3 "x" = 1
;;!   done| pairs 0 = 0 :authority="kit" :path="/x" :method="POST" :scheme="http" x-kit-a="1"
;;!   done| replace 2 "x-kit-b" = 2
;;!   done| property request.path = 0 "/x"
;;!   done| property request.method = 0 "POST"
;;!   done| property request.headers.x-kit-a = 0 "1"
;;!   done| property response.headers.x-kit-up = 0 "yes"
;;!   done| property response.code = 0 200
;;!   done| property request.size = 0 4
;;!   done| property xds.cluster_name = 0 "origin"
;;!   done| property xds.route_name = 0 "main-route"
;;!   done| property mine = 0 "2"
;;!   done| set property mine = 0
;;!   done| property mine = 0 "2"
;;!   done| buffer 0 0+10 = 0 empty
;;!   done| buffer 1 0+10 = 0 empty
;;!   delete| get 0 ":path" = 0 "/x"
;;!   delete| get 0 "x-kit-a" = 0 "1"
;;!   delete| get 0 "x-kit-none" = 1
;;!   delete| get 2 ":status" = 0 "200"
;;!   delete| get 2 "x-kit-up" = 0 "yes"
;;!   delete| get 1 "x" = 1
;;!   delete| get 3 "x" = 1
;;!   delete| pairs 0 = 0 :authority="kit" :path="/x" :method="POST" :scheme="http" x-kit-a="1"
;;!   delete| replace 2 "x-kit-b" = 2
;;!   delete| property request.path = 0 "/x"
;;!   delete| property request.method = 0 "POST"
;;!   delete| property request.headers.x-kit-a = 0 "1"
;;!   delete| property response.headers.x-kit-up = 0 "yes"
;;!   delete| property response.code = 0 200
;;!   delete| property request.size = 0 4
;;!   delete| property xds.cluster_name = 0 "origin"
;;!   delete| property xds.route_name = 0 "main-route"
;;!   delete| property mine = 0 "2"
;;!   delete| set property mine = 0
;;!   delete| property mine = 0 "2"
;;!   delete| buffer 0 0+10 = 0 empty
;;!   delete| buffer 1 0+10 = 0 empty
;;!   ^ POST /x x-kit-a="1" body "body"
;;!   > 200 x-kit-up="yes" body "hello"

(func $reads
  (call $get (i32.const 0) @":path")
  (call $get (i32.const 0) @"x-kit-a")
  (call $get (i32.const 0) @"x-kit-none")
  (call $get (i32.const 2) @":status")
  (call $get (i32.const 2) @"x-kit-up")
  (call $get (i32.const 1) @"x")
  (call $get (i32.const 3) @"x")
  (call $list (i32.const 0))
  (call $replace (i32.const 2) @"x-kit-b" @"1")
  (call $property @"request\00path")
  (call $property @"request\00method")
  (call $property @"request\00headers\00x-kit-a")
  (call $property @"response\00headers\00x-kit-up")
  (call $property_number @"response\00code")
  (call $property_number @"request\00size")
  (call $property @"xds\00cluster_name")
  (call $property @"xds\00route_name")
  (call $property @"mine")
  (call $set_property @"mine" @"2")
  (call $property @"mine")
  (call $buffer (i32.const 0) (i32.const 0) (i32.const 10))
  (call $buffer (i32.const 1) (i32.const 0) (i32.const 10)))
(on request_headers
  (call $set_property @"mine" @"1")
  (i32.const 0))
(on log (call $reads))
(on done (call $reads) (i32.const 1))
(on delete (call $reads))
