;;! covers: proxy_close_stream
;;! about: A stream closed by its filter: the client gets no answer, the log still runs.
;;! deviation: Envoy keeps the details of a response that its filter cut; here they say that a filter closed the stream
;;! step: GET /x | x-kit-do: close request
;;! step: GET /x | x-kit-do: response
;;! step: h2 GET /h2/x | x-kit-do: close request
;;! step: GET /x | x-kit-do: types
;;! expect:
;;!   # GET /x | x-kit-do: close request
;;!   request_headers| close = 0
;;!   log| property response.code_details = 0 "wasm_close_stream"
;;!   > connection cut
;;!   # GET /x | x-kit-do: response
;;!   response_headers| close = 0
;;!   log| property response.code_details = 0 "via_upstream"
;;!   ^ GET /x x-kit-do="response"
;;!   > connection cut
;;!   # h2 GET /h2/x | x-kit-do: close request
;;!   request_headers| close = 0
;;!   log| property response.code_details = 0 "wasm_close_stream"
;;!   > reset INTERNAL_ERROR
;;!   # GET /x | x-kit-do: types
;;!   request_headers| type 4 = 2
;;!   request_headers| type 9 = 2
;;!   log| property response.code_details = 0 "via_upstream"
;;!   ^ GET /x x-kit-do="types"
;;!   > 200 x-kit-up="yes" body "hello"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: close request
;;!   request_headers| close = 0
;;!   log| property response.code_details = 0 "wasm_close_stream"
;;!   > connection cut
;;!   # GET /x | x-kit-do: response
;;!   response_headers| close = 0
;;!   log| property response.code_details = 0 "wasm_close_stream"
;;!   ^ GET /x x-kit-do="response"
;;!   > connection cut
;;!   # h2 GET /h2/x | x-kit-do: close request
;;!   request_headers| close = 0
;;!   log| property response.code_details = 0 "wasm_close_stream"
;;!   > reset INTERNAL_ERROR
;;!   # GET /x | x-kit-do: types
;;!   request_headers| type 4 = 2
;;!   request_headers| type 9 = 2
;;!   log| property response.code_details = 0 "via_upstream"
;;!   ^ GET /x x-kit-do="types"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 99)) (then
    (call $show @"close" (call $proxy_close_stream (i32.const 0)))
    (return (i32.const 1))))
  (if (call $doing_is (i32.const 116)) (then
    (call $show @"type 4" (call $proxy_close_stream (i32.const 4)))
    (call $show @"type 9" (call $proxy_close_stream (i32.const 9)))))
  (i32.const 0))
(on response_headers
  (if (call $doing_is (i32.const 114)) (then
    (call $show @"close" (call $proxy_close_stream (i32.const 1)))
    (return (i32.const 1))))
  (i32.const 0))
(on log (call $property @"response\00code_details"))
