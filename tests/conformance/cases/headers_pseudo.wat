;;! covers: proxy_remove_header_map_value proxy_replace_header_map_value
;;! about: Pseudo headers removed and replaced: method, path, authority; status of a response.
;;! step: GET /x | x-kit-do: path removed
;;! step: GET /x | x-kit-do: method removed
;;! step: GET /x | x-kit-do: status removed
;;! step: GET /x | x-kit-do: numberless status
;;! step: GET /x | x-kit-do: all replaced
;;! expect:
;;!   # GET /x | x-kit-do: path removed
;;!   request_headers| remove 0 ":path" = 0
;;!   > 404
;;!   # GET /x | x-kit-do: method removed
;;!   request_headers| remove 0 ":method" = 0
;;!   > 503 content-type="text/plain" body "missing required header: :method"
;;!   # GET /x | x-kit-do: status removed
;;!   response_headers| remove 2 ":status" = 0
;;!   ^ GET /x x-kit-do="status removed"
;;!   > 502 content-type="text/plain" body "missing required header: :status"
;;!   # GET /x | x-kit-do: numberless status
;;!   response_headers| replace 2 ":status" = 0
;;!   ^ GET /x x-kit-do="numberless status"
;;!   > 502 content-type="text/plain" body "missing required header: :status"
;;!   # GET /x | x-kit-do: all replaced
;;!   request_headers| replace 0 ":path" = 0
;;!   request_headers| replace 0 ":method" = 0
;;!   request_headers| replace 0 ":authority" = 0
;;!   ^ DELETE /twice?z=9 x-kit-do="all replaced"
;;!   > 200 x-kit-rep="one" x-kit-rep="two" body "twice"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 112)) (then (call $remove (i32.const 0) @":path")))
  (if (call $doing_is (i32.const 109)) (then (call $remove (i32.const 0) @":method")))
  (if (call $doing_is (i32.const 97)) (then
    (call $replace (i32.const 0) @":path" @"/twice?z=9")
    (call $replace (i32.const 0) @":method" @"DELETE")
    (call $replace (i32.const 0) @":authority" @"else.where")))
  (i32.const 0))
(on response_headers
  (if (call $doing_is (i32.const 115)) (then (call $remove (i32.const 2) @":status")))
  (if (call $doing_is (i32.const 110)) (then (call $replace (i32.const 2) @":status" @"abc")))
  (i32.const 0))
