;;! covers: proxy_send_local_response
;;! about: Replies from the request's body, from the response's headers, from the response's body after its headers went out.
;;! option: upstream-races
;;! step: POST /echo | x-kit-do: body || abc
;;! step: GET /x | x-kit-do: response
;;! step: GET /drip | x-kit-do: late
;;! expect:
;;!   # POST /echo | x-kit-do: body || abc
;;!   request_body| reply = 0
;;!   response_headers| get 2 ":status" = 0 "400"
;;!   response_body| end = 1
;;!   log| property response.code_details = 0 empty
;;!   > 400 content-type="text/plain" body "bad body"
;;!   # GET /x | x-kit-do: response
;;!   response_headers| get 2 ":status" = 0 "200"
;;!   response_headers| reply = 0
;;!   log| property response.code_details = 0 empty
;;!   > 502 content-type="text/plain" body "worse"
;;!   # GET /drip | x-kit-do: late
;;!   response_headers| get 2 ":status" = 0 "200"
;;!   response_body| end = 0
;;!   response_body| reply = 0
;;!   log| property response.code_details = 0 empty
;;!   > connection cut

(on request_headers (call $note_do) (i32.const 0))
(on request_body
  (if (call $doing_is (i32.const 98)) (then (call $reply (i32.const 400) @"bad body") (return (i32.const 1))))
  (i32.const 0))
(on response_headers
  (call $get (i32.const 2) @":status")
  (if (call $doing_is (i32.const 114)) (then (call $reply (i32.const 502) @"worse") (return (i32.const 1))))
  (i32.const 0))
(on response_body
  (call $show @"end" (local.get $end))
  (if (call $doing_is (i32.const 108)) (then (call $reply (i32.const 500) @"too late") (return (i32.const 1))))
  (i32.const 0))
(on log (call $property @"response\00code_details"))
