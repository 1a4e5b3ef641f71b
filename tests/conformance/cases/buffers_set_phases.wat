;;! covers: proxy_set_buffer_bytes
;;! about: Where a body can be written: in its own callbacks, and while it is held; elsewhere there is none.
;;! option: upstream-races
;;! step: GET /x
;;! step: POST /echo || abc
;;! step: POST /echo || abc ||| x-kit-t: 1
;;! step: GET /trailers
;;! step: GET /x | x-kit-do: call
;;! step: POST /echo | x-kit-do: call || abc
;;! step: POST /echo | x-kit-do: hold || abc
;;! expect:
;;!   # GET /x
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 x-kit-up="yes" body "<hello"
;;!   # POST /echo || abc
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   request_body| set buffer 0 0+0 = 0
;;!   request_body| set buffer 0 9+9 = 0
;;!   request_body| set buffer 1 0+0 = 2
;;!   request_body| set buffer 4 0+0 = 1
;;!   request_body| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 body "<<abc"
;;!   # POST /echo || abc ||| x-kit-t: 1
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   request_body| set buffer 0 0+0 = 0
;;!   request_body| set buffer 0 9+9 = 0
;;!   request_body| set buffer 1 0+0 = 2
;;!   request_body| set buffer 4 0+0 = 1
;;!   request_body| set buffer 6 0+0 = 2
;;!   request_trailers| set buffer 0 0+0 = 2
;;!   request_trailers| set buffer 0 9+9 = 2
;;!   request_trailers| set buffer 1 0+0 = 2
;;!   request_trailers| set buffer 4 0+0 = 1
;;!   request_trailers| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 body "<<abc"
;;!   # GET /trailers
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 body "<hello"
;;!   # GET /x | x-kit-do: call
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   http_call_response| set buffer 0 0+0 = 2
;;!   http_call_response| set buffer 0 9+9 = 2
;;!   http_call_response| set buffer 1 0+0 = 2
;;!   http_call_response| set buffer 4 0+0 = 2
;;!   http_call_response| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 x-kit-up="yes" body "<hello"
;;!   # POST /echo | x-kit-do: call || abc
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   http_call_response| set buffer 0 0+0 = 2
;;!   http_call_response| set buffer 0 9+9 = 2
;;!   http_call_response| set buffer 1 0+0 = 2
;;!   http_call_response| set buffer 4 0+0 = 2
;;!   http_call_response| set buffer 6 0+0 = 2
;;!   request_body| set buffer 0 0+0 = 0
;;!   request_body| set buffer 0 9+9 = 0
;;!   request_body| set buffer 1 0+0 = 2
;;!   request_body| set buffer 4 0+0 = 1
;;!   request_body| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 0 0+0 = 2
;;!   response_headers| set buffer 0 9+9 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 0 0+0 = 2
;;!   response_body| set buffer 0 9+9 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 0 0+0 = 2
;;!   log| set buffer 0 9+9 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 body "<<abc"
;;!   # POST /echo | x-kit-do: hold || abc
;;!   request_headers| set buffer 0 0+0 = 2
;;!   request_headers| set buffer 0 9+9 = 2
;;!   request_headers| set buffer 1 0+0 = 2
;;!   request_headers| set buffer 4 0+0 = 1
;;!   request_headers| set buffer 6 0+0 = 2
;;!   request_body| set buffer 0 0+0 = 0
;;!   request_body| set buffer 0 9+9 = 0
;;!   request_body| set buffer 1 0+0 = 2
;;!   request_body| set buffer 4 0+0 = 1
;;!   request_body| set buffer 6 0+0 = 2
;;!   http_call_response| set buffer 0 0+0 = 0
;;!   http_call_response| set buffer 0 9+9 = 0
;;!   http_call_response| set buffer 1 0+0 = 2
;;!   http_call_response| set buffer 4 0+0 = 2
;;!   http_call_response| set buffer 6 0+0 = 2
;;!   response_headers| set buffer 1 0+0 = 2
;;!   response_headers| set buffer 4 0+0 = 1
;;!   response_headers| set buffer 6 0+0 = 2
;;!   response_body| set buffer 1 0+0 = 0
;;!   response_body| set buffer 4 0+0 = 1
;;!   response_body| set buffer 6 0+0 = 2
;;!   log| set buffer 1 0+0 = 2
;;!   log| set buffer 4 0+0 = 1
;;!   log| set buffer 6 0+0 = 2
;;!   > 200 body "<<<abc"

(global $stream (mut i32) (i32.const 0))
;; Envoy goes on taking writes to a body that was held once it is gone; nobody reads them.
(global $gone (mut i32) (i32.const 0))
(func $all
  (if (i32.eqz (global.get $gone)) (then
    (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) @"<")
    (call $set_buffer (i32.const 0) (i32.const 9) (i32.const 9) (i32.const 0) (i32.const 0))))
  (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) @"<")
  (call $set_buffer (i32.const 4) (i32.const 0) (i32.const 0) @"<")
  (call $set_buffer (i32.const 6) (i32.const 0) (i32.const 0) @"<"))
(on request_headers
  (call $note_do)
  (global.set $stream (local.get $ctx))
  (global.set $gone (i32.const 0))
  (global.set $told (i32.const 0))
  (drop (call $proxy_remove_header_map_value (i32.const 0) @"content-length"))
  (call $all)
  (if (call $doing_is (i32.const 99)) (then (drop (call $fetch @"origin" @"/x" (i32.const 1000)))))
  (call $doing_is (i32.const 99)))
(global $told (mut i32) (i32.const 0))
(on request_body
  ;; Once: hosts differ in how the end comes.
  (if (i32.and (i32.eqz (global.get $told)) (i32.ne (local.get $size) (i32.const 0)))
    (then (global.set $told (i32.const 1)) (call $all)))
  (if (i32.and (call $doing_is (i32.const 104)) (local.get $end)) (then (drop (call $fetch @"origin" @"/x" (i32.const 1000)))))
  (call $doing_is (i32.const 104)))
(on request_trailers (call $all) (i32.const 0))
(on response_headers
  (drop (call $proxy_remove_header_map_value (i32.const 2) @"content-length"))
  (call $all)
  (i32.const 0))
(on response_body (if (local.get $size) (then (call $all))) (i32.const 0))
(on response_trailers (call $all) (i32.const 0))
(on http_call_response
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (call $all)
  (global.set $gone (call $doing_is (i32.const 104)))
  (drop (call $proxy_continue_stream (i32.const 0))))
(on log (call $all))
