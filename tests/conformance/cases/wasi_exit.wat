;;! covers: proc_exit
;;! about: A guest that says it exits.
;;! step: GET /x | x-kit-do: exit
;;! step: GET /x
;;! expect:
;;!   # GET /x | x-kit-do: exit
;;!   request_headers| before
;;!   request_headers| after
;;!   ^ GET /x x-kit-do="exit"
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # GET /x
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (if (i32.eq (call $do) (i32.const 101)) (then (call $say @"before") (call $proc_exit (i32.const 3)) (call $say @"after")))
  (i32.const 0))
