;;! covers: proxy_send_local_response
;;! about: A reply from the request's headers, whatever is returned: headers, details, body, HEAD, empty body, the first wins.
;;! step: GET /x | x-kit-do: plain
;;! step: GET /x | x-kit-do: continue
;;! step: GET /x | x-kit-do: headers
;;! step: GET /x | x-kit-do: twice
;;! step: GET /x | x-kit-do: empty
;;! step: HEAD /x | x-kit-do: plain
;;! step: h2 GET /x | x-kit-do: plain
;;! step: POST /x | x-kit-do: plain || body
;;! expect:
;;!   # GET /x | x-kit-do: plain
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "teapot"
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes" body "teapot"
;;!   # GET /x | x-kit-do: continue
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "teapot"
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes" body "teapot"
;;!   # GET /x | x-kit-do: headers
;;!   request_headers| with headers
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "403"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "{}"
;;!   log| property response.code_details = 0 "kit_says_no"
;;!   log| property response.code = 0 403
;;!   > 403 content-type="application/json" x-kit-encoded="yes" x-kit-reply="one" x-kit-reply="two" body "{}"
;;!   # GET /x | x-kit-do: twice
;;!   request_headers| reply = 0
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "teapot"
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes" body "teapot"
;;!   # GET /x | x-kit-do: empty
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "204"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 204
;;!   > 204 x-kit-encoded="yes"
;;!   # HEAD /x | x-kit-do: plain
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes"
;;!   # h2 GET /x | x-kit-do: plain
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "teapot"
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes" body "teapot"
;;!   # POST /x | x-kit-do: plain || body
;;!   request_headers| reply = 0
;;!   response_headers| get 2 ":status" = 0 "418"
;;!   response_headers| add 2 "x-kit-encoded" = 0
;;!   response_body| buffer 1 0+100 = 0 "teapot"
;;!   log| property response.code_details = 0 empty
;;!   log| property response.code = 0 418
;;!   > 418 content-type="text/plain" x-kit-encoded="yes" body "teapot"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 101)) (then (call $reply (i32.const 204) (i32.const 0) (i32.const 0)) (return (i32.const 1))))
  (call $map_begin (i32.const 4))
  (call $pair @"x-kit-reply" @"one")
  (call $pair @"x-kit-reply" @"two")
  (call $pair @"Content-Type" @"application/json")
  (call $pair @":status" @"299")
  (if (call $doing_is (i32.const 104)) (then
    (global.set $pairs (i32.const 1))
    (call $say @"with headers")
    (call $show @"reply" (call $reply_with (i32.const 403) (call $map_end)))
    (return (i32.const 1))))
  (call $reply (i32.const 418) @"teapot")
  (if (call $doing_is (i32.const 116)) (then (call $reply (i32.const 500) @"second")))
  (i32.eqz (call $doing_is (i32.const 99))))
(func $reply_with (param $code i32) (param $at i32) (param $n i32) (result i32)
  (call $proxy_send_local_response (local.get $code) @"kit says no" @"{}" (local.get $at) (local.get $n) (i32.const -1)))
(on request_body (call $say @"called") (i32.const 0))
(on response_headers (call $get (i32.const 2) @":status") (call $add (i32.const 2) @"x-kit-encoded" @"yes") (i32.const 0))
(on response_body (call $buffer (i32.const 1) (i32.const 0) (i32.const 100)) (i32.const 0))
(on log (call $property @"response\00code_details") (call $property_number @"response\00code"))
