;;! covers: proxy_on_queue_ready proxy_enqueue_shared_queue proxy_dequeue_shared_queue
;;! about: The root that registered a queue is told of each message.
;;! step: GET /x
;;! step: wait told 2
;;! expect:
;;!   configure| register = 0
;;!   # GET /x
;;!   request_headers| enqueue = 0
;;!   request_headers| enqueue = 0
;;!   queue_ready| told 1 same queue 1
;;!   queue_ready| dequeue = 0 "a"
;;!   queue_ready| told 2 same queue 1
;;!   queue_ready| dequeue = 0 "b"
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # wait told 2

(global $queue (mut i32) (i32.const 0))
(global $told (mut i32) (i32.const 0))
(on configure
  (call $show @"register" (call $proxy_register_shared_queue @"ready" (i32.const 16)))
  (global.set $queue (i32.load (i32.const 16)))
  (i32.const 1))
(on request_headers
  (call $show @"enqueue" (call $proxy_enqueue_shared_queue (global.get $queue) @"a"))
  (call $show @"enqueue" (call $proxy_enqueue_shared_queue (global.get $queue) @"b"))
  (i32.const 0))
(on queue_ready
  (global.set $told (i32.add (global.get $told) (i32.const 1)))
  (call $begin) (call $w @"told ") (call $n (global.get $told))
  (call $w @" same queue ") (call $n (i32.eq (local.get $queue) (global.get $queue))) (call $end)
  (call $dequeue (local.get $queue)))
