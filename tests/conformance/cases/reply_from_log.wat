;;! covers: proxy_send_local_response
;;! about: A reply from the log callback, when everything is over.
;;! envoy-crashes: segmentation fault (on_log calls itself without end)
;;! deviation: Envoy crashes; here the call is refused with BadArgument, since everything is over
;;! step: GET /x
;;! expect-pillion:
;;!   # GET /x
;;!   log| reply = 2
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on log (call $reply (i32.const 500) @"no"))
