;;! covers: proxy_send_local_response
;;! about: A reply whose fields do not parse: a count too large, sizes beyond the end, three bytes.
;;! step: GET /x | x-kit-do: count
;;! step: GET /x | x-kit-do: sizes
;;! step: GET /x | x-kit-do: three
;;! expect:
;;!   # GET /x | x-kit-do: count
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"
;;!   # GET /x | x-kit-do: sizes
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"
;;!   # GET /x | x-kit-do: three
;;!   request_headers| reply = 0
;;!   > 418 content-type="text/plain" body "body"

(on request_headers
  (call $note_do)
  (i32.store (i32.const 49152) (i32.const 1000))
  (if (call $doing_is (i32.const 115)) (then
    (i32.store (i32.const 49152) (i32.const 1))
    (i32.store (i32.const 49156) (i32.const 1))
    (i32.store (i32.const 49160) (i32.const 100000))))
  (call $show @"reply" (call $proxy_send_local_response (i32.const 418) (i32.const 0) (i32.const 0) @"body"
    (i32.const 49152) (select (i32.const 3) (i32.const 16) (call $doing_is (i32.const 116))) (i32.const -1)))
  (i32.const 1))
