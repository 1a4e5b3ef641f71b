;;! covers: proxy_log proxy_get_log_level
;;! about: Levels of the log, those that do not exist, bad pointers, an empty line.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| trace = 0
;;!   request_headers| debug = 0
;;!   request_headers| info
;;!   request_headers| info = 0
;;!   request_headers| warn
;;!   request_headers| warn = 0
;;!   request_headers| error
;;!   request_headers| error = 0
;;!   request_headers| critical
;;!   request_headers| critical = 0
;;!   request_headers| 6 = 2
;;!   request_headers| 7 = 2
;;!   request_headers| -1 = 2
;;!   request_headers| bad pointer = 6
;;!   request_headers| level = 0
;;!   request_headers| is info = 1
;;!   request_headers| bad pointer = 6
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (call $show @"trace" (call $proxy_log (i32.const 0) @"kit:log_levels: request_headers| trace is not shown"))
  (call $show @"debug" (call $proxy_log (i32.const 1) @"kit:log_levels: request_headers| debug is not shown"))
  (call $show @"info" (call $proxy_log (i32.const 2) @"kit:log_levels: request_headers| info"))
  (call $show @"warn" (call $proxy_log (i32.const 3) @"kit:log_levels: request_headers| warn"))
  (call $show @"error" (call $proxy_log (i32.const 4) @"kit:log_levels: request_headers| error"))
  (call $show @"critical" (call $proxy_log (i32.const 5) @"kit:log_levels: request_headers| critical"))
  (call $show @"6" (call $proxy_log (i32.const 6) @"kit:log_levels: request_headers| six"))
  (call $show @"7" (call $proxy_log (i32.const 7) @"kit:log_levels: request_headers| seven"))
  (call $show @"-1" (call $proxy_log (i32.const -1) @"kit:log_levels: request_headers| minus"))
  (call $show @"bad pointer" (call $proxy_log (i32.const 2) (i32.const 0x7ffffff0) (i32.const 16)))
  (call $show @"level" (call $proxy_get_log_level (i32.const 16)))
  (call $show @"is info" (i32.eq (i32.load (i32.const 16)) (i32.const 2)))
  (call $show @"bad pointer" (call $proxy_get_log_level (i32.const 0x7ffffff0)))
  (i32.const 0))
