;;! covers: proxy_get_property proxy_call_foreign_function
;;! about: Fields that are there twice, by property and by expression: a policy sees all that a server may take.
;;! step: GET /twice | x-kit-a: user | x-kit-a: admin | cookie: a=1 | cookie: b=2 | referer: r1 | user-agent: u1 | user-agent: u2
;;! expect:
;;!   # GET /twice | x-kit-a: user | x-kit-a: admin | cookie: a=1 | cookie: b=2 | referer: r1 | user-agent: u1 | user-agent: u2
;;!   request_headers| property request.headers.x-kit-a = 0 "user,admin"
;;!   request_headers| property request.headers.cookie = 0 "a=1,b=2"
;;!   request_headers| property request.referer = 0 "r1"
;;!   request_headers| property request.useragent = 0 "u1,u2"
;;!   request_headers| request.headers['x-kit-a'] -> = 0 "user,admin"
;;!   request_headers| request.headers['x-kit-a'] == 'user' -> = 0 "\00"
;;!   request_headers| request.headers['cookie'] -> = 0 "a=1,b=2"
;;!   request_headers| request.useragent -> = 0 "u1,u2"
;;!   response_headers| property response.headers.x-kit-rep = 0 "one,two"
;;!   response_headers| response.headers['x-kit-rep'] -> = 0 "one,two"
;;!   log| property request.headers.x-kit-a = 0 "user,admin"
;;!   log| property request.headers.cookie = 0 "a=1,b=2"
;;!   log| property request.referer = 0 "r1"
;;!   log| property request.useragent = 0 "u1,u2"
;;!   log| request.headers['x-kit-a'] -> = 0 "user,admin"
;;!   log| request.headers['x-kit-a'] == 'user' -> = 0 "\00"
;;!   log| request.headers['cookie'] -> = 0 "a=1,b=2"
;;!   log| request.useragent -> = 0 "u1,u2"
;;!   ^ GET /twice x-kit-a="user" x-kit-a="admin"
;;!   > 200 x-kit-rep="one" x-kit-rep="two" body "twice"

(func $try (param $p i32) (param $n i32)
  (local $s i32) (local $id i32)
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_create" (local.get $p) (local.get $n) (i32.const 16) (i32.const 20)))
  (if (local.get $s) (then
    (call $begin)
    (call $w (local.get $p) (local.get $n))
    (call $w @" -> create = ")
    (call $n (local.get $s))
    (call $end)
    (return)))
  (local.set $id (i32.load (i32.const 16)))
  (call $clear)
  (local.set $s (call $proxy_call_foreign_function @"expr_evaluate" (local.get $id) (i32.const 4) (i32.const 16) (i32.const 20)))
  (call $begin)
  (call $w (local.get $p) (local.get $n))
  (call $w @" ->")
  (call $result (local.get $s)))

(func $all
  (call $property @"request\00headers\00x-kit-a")
  (call $property @"request\00headers\00cookie")
  (call $property @"request\00referer")
  (call $property @"request\00useragent")
  (call $try @"request.headers['x-kit-a']")
  (call $try @"request.headers['x-kit-a'] == 'user'")
  (call $try @"request.headers['cookie']")
  (call $try @"request.useragent"))
(on request_headers (call $all) (i32.const 0))
(on response_headers (call $property @"response\00headers\00x-kit-rep") (call $try @"response.headers['x-kit-rep']") (i32.const 0))
(on log (call $all))
