;;! covers: trap proxy_close_stream
;;! about: A stream that a callback closed before it trapped.
;;! envoy-crashes: it fails a stream that is closed already (SIGSEGV)
;;! step: GET /x
;;! expect-pillion:
;;!   # GET /x
;;!   request_headers| close = 0
;;!   > 503

(on request_headers
  (call $show @"close" (call $proxy_close_stream (i32.const 0)))
  (unreachable))
