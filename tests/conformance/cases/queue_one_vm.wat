;;! covers: proxy_register_shared_queue proxy_on_queue_ready
;;! about: Two plugins of one VM register a queue: the last that did is told of each message.
;;! chain: one second
;;! option: one-vm
;;! step: GET /a
;;! step: wait ready
;;! step: GET /b
;;! step: wait ready
;;! expect:
;;!   # GET /a
;;!   queue_ready| ready at 2
;;!   ^ GET /a
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # wait ready
;;!   # GET /b
;;!   ^ GET /b
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # wait ready

(global $queue (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_register_shared_queue @"both" (i32.const 16)))
  (global.set $queue (i32.load (i32.const 16)))
  (i32.const 1))
(on request_headers
  (drop (call $proxy_enqueue_shared_queue (global.get $queue) @"a"))
  (i32.const 0))
(on queue_ready
  (call $begin) (call $w @"ready at ") (call $n (local.get $ctx)) (call $end)
  (drop (call $proxy_dequeue_shared_queue (local.get $queue) (i32.const 16) (i32.const 20))))
