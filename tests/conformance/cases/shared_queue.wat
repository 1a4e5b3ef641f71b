;;! covers: proxy_register_shared_queue proxy_resolve_shared_queue proxy_enqueue_shared_queue proxy_dequeue_shared_queue
;;! about: Queues: the same name is the same queue, what is unknown, order, emptiness.
;;! step: GET /x
;;! expect:
;;!   # GET /x
;;!   request_headers| register = 0
;;!   request_headers| again = 0
;;!   request_headers| the same = 1
;;!   request_headers| another = 0
;;!   request_headers| differs = 1
;;!   request_headers| resolve = 0
;;!   request_headers| the same = 1
;;!   request_headers| resolve unknown = 1
;;!   request_headers| resolve elsewhere = 1
;;!   request_headers| resolve without vm = 0
;;!   request_headers| dequeue = 7
;;!   request_headers| dequeue = 1
;;!   request_headers| enqueue = 0
;;!   request_headers| enqueue = 0
;;!   request_headers| enqueue nothing = 0
;;!   request_headers| enqueue unknown = 1
;;!   request_headers| dequeue = 0 "first"
;;!   request_headers| dequeue = 0 "second"
;;!   request_headers| dequeue = 0 empty
;;!   request_headers| dequeue = 7
;;!   ^ GET /x
;;!   > 200 x-kit-up="yes" body "hello"

(on request_headers
  (local $id i32)
  (call $show @"register" (call $proxy_register_shared_queue @"q" (i32.const 16)))
  (local.set $id (i32.load (i32.const 16)))
  (call $show @"again" (call $proxy_register_shared_queue @"q" (i32.const 16)))
  (call $show @"the same" (i32.eq (local.get $id) (i32.load (i32.const 16))))
  (call $show @"another" (call $proxy_register_shared_queue @"q2" (i32.const 16)))
  (call $show @"differs" (i32.ne (local.get $id) (i32.load (i32.const 16))))
  (call $show @"resolve" (call $proxy_resolve_shared_queue @"vm-shared_queue" @"q" (i32.const 16)))
  (call $show @"the same" (i32.eq (local.get $id) (i32.load (i32.const 16))))
  (call $show @"resolve unknown" (call $proxy_resolve_shared_queue @"vm-shared_queue" @"none" (i32.const 16)))
  (call $show @"resolve elsewhere" (call $proxy_resolve_shared_queue @"other-vm" @"q" (i32.const 16)))
  (call $show @"resolve without vm" (call $proxy_resolve_shared_queue (i32.const 0) (i32.const 0) @"q" (i32.const 16)))
  (call $dequeue (local.get $id))
  (call $dequeue (i32.const 4242))
  (call $show @"enqueue" (call $proxy_enqueue_shared_queue (local.get $id) @"first"))
  (call $show @"enqueue" (call $proxy_enqueue_shared_queue (local.get $id) @"second"))
  (call $show @"enqueue nothing" (call $proxy_enqueue_shared_queue (local.get $id) (i32.const 0) (i32.const 0)))
  (call $show @"enqueue unknown" (call $proxy_enqueue_shared_queue (i32.const 4242) @"x"))
  (call $dequeue (local.get $id))
  (call $dequeue (local.get $id))
  (call $dequeue (local.get $id))
  (call $dequeue (local.get $id))
  (i32.const 0))
