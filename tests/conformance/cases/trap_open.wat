;;! covers: trap
;;! about: With fail_open a trap lets the traffic pass without the filter.
;;! option: fail_open
;;! step: GET /x | x-kit-do: trap
;;! step: GET /x | x-kit-do: trap
;;! expect:
;;!   # GET /x | x-kit-do: trap
;;!   ^ GET /x x-kit-do="trap"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x | x-kit-do: trap
;;!   ^ GET /x x-kit-do="trap"
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (if (call $do) (then (unreachable)))
  (call $say @"called")
  (i32.const 0))
