//! Messages in queues while a reload takes their consumer's machine away.

use crate::{
    warnings::warned_by,
    world::{Guest, guest, run},
};
use std::time::Duration;

const MESSAGES: usize = 150;

/// Fills its queue at each request, and logs once for each time it is told of it, which it does slowly. `done`: what it answers as
/// it is to go; `build` tells its module from others.
fn consumer(build: u32, done: u32) -> Guest {
    let text = guest(
        &[("register_shared_queue", 3), ("enqueue_shared_queue", 3), ("dequeue_shared_queue", 3), ("log", 3)],
        &format!(
            r#"(data (i32.const 0) "q") (data (i32.const 8) "told") (data (i32.const 256) "{build}")
               (func (export "proxy_on_configure") (param i32 i32) (result i32)
                   (drop (call $register_shared_queue (i32.const 0) (i32.const 1) (i32.const 16))) (i32.const 1))
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $n i32)
                   (loop $again
                       (drop (call $enqueue_shared_queue (i32.load (i32.const 16)) (i32.const 0) (i32.const 1)))
                       (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {MESSAGES}))))
                   (i32.const 0))
               (func (export "proxy_on_queue_ready") (param i32 i32) (local $n i32)
                   (loop $again
                       (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5000000))))
                   (drop (call $dequeue_shared_queue (local.get 1) (i32.const 20) (i32.const 24)))
                   (drop (call $log (i32.const 3) (i32.const 8) (i32.const 4))))
               (func (export "proxy_on_done") (param i32) (result i32)
                   (if (result i32) (i32.eq (local.get 0) (i32.const 1)) (then (i32.const {done})) (else (i32.const 1))))"#
        ),
    );
    Guest::new("queue", text)
}

#[test]
fn what_a_consumer_is_behind_with_is_told_to_the_machine_that_follows() {
    for done in [1, 0] {
        let ((), said) = warned_by("", || {
            run(vec![consumer(1, done)], async |world| {
                assert_eq!(world.get("/").await.status, 200);
                world.reload(vec![consumer(2, 1)]).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert_eq!(world.get("/").await.status, 200);
                // As long as one that is not done may go on, and a moment.
                tokio::time::sleep(Duration::from_secs(6)).await;
            });
        });
        let told = said.iter().filter(|line| line.contains("told")).count();
        assert_eq!(told, 2 * MESSAGES, "done {done}");
    }
}
