;;! covers: proxy_on_queue_ready proxy_enqueue_shared_queue proxy_dequeue_shared_queue
;;! about: The root is told of each message however many come at once.
;;! step: GET /x
;;! step: wait told 1500
;;! expect:
;;!   # GET /x
;;!   request_headers| refused 0
;;!   queue_ready| told 1500
;;!   queue_ready| dequeue = 7
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"
;;!   # wait told 1500

(global $queue (mut i32) (i32.const 0))
(global $told (mut i32) (i32.const 0))
(on configure
  (drop (call $proxy_register_shared_queue @"many" (i32.const 16)))
  (global.set $queue (i32.load (i32.const 16)))
  (i32.const 1))
(on request_headers
  (local $left i32) (local $refused i32)
  (local.set $left (i32.const 1500))
  (loop $again
    (local.set $refused (i32.add (local.get $refused)
      (i32.ne (call $proxy_enqueue_shared_queue (global.get $queue) @"a") (i32.const 0))))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $begin) (call $w @"refused ") (call $n (local.get $refused)) (call $end)
  (i32.const 0))
(on queue_ready
  (global.set $told (i32.add (global.get $told) (i32.const 1)))
  (drop (call $proxy_dequeue_shared_queue (local.get $queue) (i32.const 16) (i32.const 20)))
  (if (i32.eq (global.get $told) (i32.const 1500)) (then
    (call $begin) (call $w @"told ") (call $n (global.get $told)) (call $end)
    (call $dequeue (local.get $queue)))))
