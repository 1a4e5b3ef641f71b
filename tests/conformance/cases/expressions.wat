;;! covers: proxy_call_foreign_function
;;! about: CEL expressions: created, evaluated in a stream, deleted; what does not parse.
;;! step: GET /x | x-kit-a: 1
;;! expect:
;;!   # GET /x | x-kit-a: 1
;;!   request_headers| create = 0
;;!   request_headers| size = 4
;;!   request_headers| foreign expr_evaluate = 0 "GET /x"
;;!   request_headers| foreign expr_delete = 0 empty
;;!   request_headers| foreign expr_evaluate = 1
;;!   request_headers| no expression = 2
;;!   ^ GET /x x-kit-a="1"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (local $id i32)
  (call $clear)
  (call $show @"create" (call $proxy_call_foreign_function @"expr_create" @"request.method + ' ' + request.path" (i32.const 16) (i32.const 20)))
  (call $show @"size" (i32.load (i32.const 20)))
  (local.set $id (i32.load (i32.const 16)))
  (call $foreign @"expr_evaluate" (local.get $id) (i32.const 4))
  (call $foreign @"expr_delete" (local.get $id) (i32.const 4))
  (call $foreign @"expr_evaluate" (local.get $id) (i32.const 4))
  (call $show @"no expression" (call $proxy_call_foreign_function @"expr_create" @"1 +" (i32.const 16) (i32.const 20)))
  (i32.const 0))
