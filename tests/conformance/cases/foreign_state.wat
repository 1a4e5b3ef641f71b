;;! covers: proxy_call_foreign_function
;;! about: set_envoy_filter_state: unknown objects and values that are none.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| foreign set_envoy_filter_state = 1
;;!   request_headers| foreign set_envoy_filter_state = 2
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  ;; message SetEnvoyFilterStateArguments { string path = 1; string value = 2; LifeSpan span = 3; }
  (call $foreign @"set_envoy_filter_state" @"\0a\06nosuch\12\01x")
  (call $foreign @"set_envoy_filter_state" @"\ff\ff\ff")
  (i32.const 0))
