;;! covers: proxy_on_done proxy_done proxy_on_delete
;;! about: A stream's on_done that answers 0 holds nothing up; proxy_done in a stream.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| done = 1
;;!   log| called
;;!   done| held
;;!   delete| called
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers (call $show @"done" (call $proxy_done)) (i32.const 0))
(on log (call $say @"called"))
(on done (call $say @"held") (i32.const 0))
(on delete (call $say @"called"))
