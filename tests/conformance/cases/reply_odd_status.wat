;;! covers: proxy_send_local_response
;;! about: Statuses that are none.
;;! deviation: Envoy writes statuses that no client can read; here they are 500
;;! step: GET /x | x-kit-do: below
;;! step: GET /x | x-kit-do: zero
;;! step: GET /x | x-kit-do: large
;;! expect:
;;!   # GET /x | x-kit-do: below
;;!   request_headers| reply = 0
;;!   > status line: "HTTP/1.1 99 Unknown"
;;!   # GET /x | x-kit-do: zero
;;!   request_headers| reply = 0
;;!   > status line: "HTTP/1.1 0 Unknown"
;;!   # GET /x | x-kit-do: large
;;!   request_headers| reply = 0
;;!   > 100 content-type="text/plain"
;;! expect-pillion:
;;!   # GET /x | x-kit-do: below
;;!   request_headers| reply = 0
;;!   > 500 content-type="text/plain" body "b"
;;!   # GET /x | x-kit-do: zero
;;!   request_headers| reply = 0
;;!   > 500 content-type="text/plain" body "z"
;;!   # GET /x | x-kit-do: large
;;!   request_headers| reply = 0
;;!   > 500 content-type="text/plain" body "l"

(on request_headers
  (call $note_do)
  (if (call $doing_is (i32.const 98)) (then (call $reply (i32.const 99) @"b")))
  (if (call $doing_is (i32.const 122)) (then (call $reply (i32.const 0) @"z")))
  (if (call $doing_is (i32.const 108)) (then (call $reply (i32.const 1000) @"l")))
  (i32.const 1))
