;;! covers: trap proxy_on_request_headers
;;! about: A trap fails closed: 503, and later streams of the VM too.
;;! deviation: Envoy answers 503 for ever; here the VM is built anew and later streams are served
;;! step: GET /x
;;! step: GET /x | x-kit-do: trap
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| called
;;!   log| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: trap
;;!   request_headers| called
;;!   > 503
;;!   # GET /x
;;!   > 503

(on request_headers
  (call $say @"called")
  (if (call $do) (then (unreachable)))
  (i32.const 0))
(on log (call $say @"called"))
