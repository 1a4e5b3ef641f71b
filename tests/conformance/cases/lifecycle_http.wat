;;! covers: proxy_on_context_create proxy_on_vm_start proxy_on_configure proxy_on_request_headers proxy_on_response_headers proxy_on_request_body proxy_on_response_body proxy_on_log proxy_on_done proxy_on_delete
;;! about: Every callback of an HTTP stream in its order, and of the root context.
;;! deviation: the end of a body comes with its last bytes where they are known to be the last, as Envoy does it over HTTP/2; over HTTP/1 Envoy enters the guest once more, for nothing
;;! vm: vmconf
;;! plugin: plugconf
;;! step: GET /x
;;! step: POST /echo || body
;;! expect:
;;!   context_create| root 1
;;!   vm_start| size = 6
;;!   vm_start| buffer 6 0+100 = 0 "vmconf"
;;!   vm_start| buffer 7 0+100 = 1
;;!   configure| size = 8
;;!   configure| buffer 6 0+100 = 0 "vmconf"
;;!   configure| buffer 7 0+100 = 0 "plugconf"
;;!   # GET /x
;;!   context_create| stream, parent 1
;;!   request_headers| end = 1
;;!   request_headers| buffer 6 0+100 = 0 "vmconf"
;;!   request_headers| buffer 7 0+100 = 1
;;!   response_headers| end = 0
;;!   response_body| size = 5
;;!   response_body| end = 0
;;!   response_body| size = 0
;;!   response_body| end = 1
;;!   log| called
;;!   done| called
;;!   delete| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # POST /echo || body
;;!   context_create| stream, parent 1
;;!   request_headers| end = 0
;;!   request_headers| buffer 6 0+100 = 0 "vmconf"
;;!   request_headers| buffer 7 0+100 = 1
;;!   request_body| size = 4
;;!   request_body| end = 0
;;!   request_body| size = 0
;;!   request_body| end = 1
;;!   response_headers| end = 0
;;!   response_body| size = 4
;;!   response_body| end = 0
;;!   response_body| size = 0
;;!   response_body| end = 1
;;!   log| called
;;!   done| called
;;!   delete| called
;;!   ^ POST /echo body "body"
;;!   > 200 body "body"
;;! expect-pillion:
;;!   context_create| root 1
;;!   vm_start| size = 6
;;!   vm_start| buffer 6 0+100 = 0 "vmconf"
;;!   vm_start| buffer 7 0+100 = 1
;;!   configure| size = 8
;;!   configure| buffer 6 0+100 = 0 "vmconf"
;;!   configure| buffer 7 0+100 = 0 "plugconf"
;;!   # GET /x
;;!   context_create| stream, parent 1
;;!   request_headers| end = 1
;;!   request_headers| buffer 6 0+100 = 0 "vmconf"
;;!   request_headers| buffer 7 0+100 = 1
;;!   response_headers| end = 0
;;!   response_body| size = 5
;;!   response_body| end = 1
;;!   log| called
;;!   done| called
;;!   delete| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # POST /echo || body
;;!   context_create| stream, parent 1
;;!   request_headers| end = 0
;;!   request_headers| buffer 6 0+100 = 0 "vmconf"
;;!   request_headers| buffer 7 0+100 = 1
;;!   request_body| size = 4
;;!   request_body| end = 1
;;!   response_headers| end = 0
;;!   response_body| size = 4
;;!   response_body| end = 1
;;!   log| called
;;!   done| called
;;!   delete| called
;;!   ^ POST /echo body "body"
;;!   > 200 body "body"

(on context_create
  (call $begin)
  (if (local.get $parent) (then (call $w @"stream, parent ") (call $n (local.get $parent))) (else (call $w @"root ") (call $n (local.get $ctx))))
  (call $end))
(on vm_start
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on configure
  (call $show @"size" (local.get $size))
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 1))
(on request_headers (call $show @"end" (local.get $end))
  (call $buffer (i32.const 6) (i32.const 0) (i32.const 100))
  (call $buffer (i32.const 7) (i32.const 0) (i32.const 100))
  (i32.const 0))
(on request_body (call $show @"size" (local.get $size)) (call $show @"end" (local.get $end)) (i32.const 0))
(on request_trailers (call $show @"n" (local.get $n)) (i32.const 0))
(on response_headers (call $show @"end" (local.get $end)) (i32.const 0))
(on response_body (call $show @"size" (local.get $size)) (call $show @"end" (local.get $end)) (i32.const 0))
(on response_trailers (call $show @"n" (local.get $n)) (i32.const 0))
(on log (call $say @"called"))
(on done (call $say @"called") (i32.const 1))
(on delete (call $say @"called"))
