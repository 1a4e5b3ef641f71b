//! Guests that fail: their streams are answered as their policy says, and others' as ever.

use crate::{
    warnings::{warned, warned_by},
    world::{Guest, guest, run},
};
use std::time::Duration;

/// A guest that does `what` in `callback` when the path is `/bad`.
fn fails(callback: &str, words: usize, what: &str) -> String {
    let params = "i32 ".repeat(words);
    guest(
        &[("get_header_map_value", 5)],
        &format!(
            r#"(data (i32.const 0) ":path") (global $bad (mut i32) (i32.const 0))
               (func $look (drop (call $get_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 20)))
                   (global.set $bad (i32.eq (i32.load (i32.load (i32.const 16))) (i32.const 0x6461622f))))
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $look)
                   (if (i32.and (global.get $bad) (i32.const {request})) (then {what})) (i32.const 0))
               {other}"#,
            request = u8::from(callback == "proxy_on_request_headers"),
            other = if callback == "proxy_on_request_headers" {
                String::new()
            } else {
                format!(
                    r#"(func (export "{callback}") (param {params}) (result i32) (if (global.get $bad) (then {what})) (i32.const 0))"#
                )
            },
        ),
    )
}

#[test]
fn a_trap_is_answered_503_and_the_machine_comes_back() {
    run(vec![Guest::new("trap", fails("proxy_on_request_headers", 3, "(unreachable)"))], async |world| {
        assert_eq!(world.get("/good").await.status, 200);
        assert_eq!(world.get("/bad").await.status, 503);
        world.until("/good", |answer| answer.status == 200).await;
        assert_eq!(world.get("/bad").await.status, 503);
        world.until("/good", |answer| answer.status == 200).await;
    });
}

/// Its rests do not double, as those of one that does not come to serve do. (What they are paid for by, the time that a death takes, is
/// long where nothing is optimised.)
#[test]
fn who_kills_a_machine_now_and_then_does_not_keep_it_from_others() {
    let ((), said) = warned(|| {
        run(vec![Guest::new("trap", fails("proxy_on_request_headers", 3, "(unreachable)"))], async |world| {
            for death in 1..=6 {
                // It has served for a while.
                tokio::time::sleep(Duration::from_millis(1100)).await;
                assert_eq!(world.get("/good").await.status, 200, "death {death}");
                assert_eq!(world.get("/bad").await.status, 503);
                world.until("/good", |answer| answer.status == 200).await;
            }
        });
    });
    assert!(!said.iter().any(|line| line.contains("in a row")), "{said:?}");
}

/// Whose guest dies of several things in turn reads each once, and not without end.
#[test]
fn each_kind_of_death_is_logged_once() {
    let text = guest(
        &[("get_header_map_value", 5)],
        r#"(data (i32.const 0) ":path")
           (func $spin (loop (br 0)))
           (func $trap (unreachable))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $letter i32)
               (drop (call $get_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 20)))
               (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 16))))
               (if (i32.eq (local.get $letter) (i32.const 116)) (then (call $trap)))
               (if (i32.eq (local.get $letter) (i32.const 115)) (then (call $spin)))
               (i32.const 0))"#,
    );
    let ((), said) = warned(|| {
        let guest = Guest { callback: Duration::from_millis(1), ..Guest::new("both", text) };
        run(vec![guest], async |world| {
            for path in ["/trap", "/spin", "/trap"] {
                world.until("/good", |answer| answer.status == 200).await;
                assert_eq!(world.get(path).await.status, 503);
            }
        });
    });
    let said: Vec<_> = said.iter().filter(|line| line.starts_with("the wasm filter died")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("trap < ") && said[1].contains("limits.callback of 1ms"), "{said:?}");
}

#[test]
fn a_spin_is_answered_503_too() {
    run(vec![Guest::new("spin", fails("proxy_on_request_headers", 3, "(loop (br 0))"))], async |world| {
        assert_eq!(world.get("/bad").await.status, 503);
    });
}

#[test]
fn a_filter_that_fails_open_is_gone_round() {
    run(vec![Guest::new("trap", fails("proxy_on_request_headers", 3, "(unreachable)")).open()], async |world| {
        assert_eq!(world.get("/bad").await.status, 200);
        assert_eq!(world.get("/bad").await.status, 200, "while its machine is down");
    });
}

#[test]
fn a_trap_at_the_responses_head_is_answered_503() {
    run(vec![Guest::new("late", fails("proxy_on_response_headers", 3, "(unreachable)"))], async |world| {
        assert_eq!(world.get("/good").await.status, 200);
        assert_eq!(world.get("/bad").await.status, 503);
    });
}

#[test]
fn streams_of_a_machine_that_dies_are_answered() {
    // The first request waits; the second kills the machine.
    let text = guest(
        &[],
        r#"(global $count (mut i32) (i32.const 0))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (global.set $count (i32.add (global.get $count) (i32.const 1)))
               (if (i32.gt_u (global.get $count) (i32.const 1)) (then (unreachable)))
               (i32.const 1))"#,
    );
    run(vec![Guest::new("both", text)], async |world| {
        let (first, second) = tokio::join!(world.get("/first"), async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            world.get("/second").await
        });
        assert_eq!((first.status, second.status), (503, 503));
    });
}

#[test]
fn a_local_reply_from_the_log_is_refused() {
    let text = guest(
        &[("send_local_response", 8), ("continue_stream", 1)],
        r#"(global $told (mut i32) (i32.const 99))
           (func (export "proxy_on_log") (param i32)
               (global.set $told (call $send_local_response (i32.const 500) (i32.const 0) (i32.const 0) (i32.const 0)
                   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
               (if (i32.ne (global.get $told) (i32.const 2)) (then (unreachable))))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               ;; In Envoy this is the end of the process.
               (drop (call $continue_stream (i32.const 1))) (i32.const 0))"#,
    );
    run(vec![Guest::new("log", text)], async |world| {
        for _ in 0..3 {
            assert_eq!(world.get("/").await.status, 200);
        }
    });
}

/// As Envoy takes it, but for the bound: one value is as large as all may be.
#[test]
fn a_property_beyond_what_a_stream_holds_is_refused_and_logged() {
    let text = guest(
        &[("set_property", 4), ("send_local_response", 8)],
        r#"(data (i32.const 0) "onetwo")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (memory.grow (i32.const 80)))
               (if (call $set_property (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 4000000)) (then (unreachable)))
               (drop (call $send_local_response
                   (i32.add (i32.const 400) (i32.add
                       (call $set_property (i32.const 3) (i32.const 3) (i32.const 0) (i32.const 200000))
                       (call $set_property (i32.const 0) (i32.const 4097) (i32.const 0) (i32.const 0))))
                   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
               (i32.const 1))"#,
    );
    let ((), said) = warned(|| {
        run(vec![Guest::new("keeps", text)], async |world| {
            assert_eq!(world.get("/").await.status, 420, "both are InternalFailure");
        });
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("4 MiB in all") && said[0].contains("filter=keeps"), "{said:?}");
}

/// Two filters of one machine: neither is silent for what the other says.
#[test]
fn each_filter_of_a_machine_logs_as_many_lines_a_second_as_it_may() {
    let text = guest(
        &[("log", 3)],
        r#"(data (i32.const 64) "audit")
           (func (export "proxy_on_request_headers") (param $n i32) (param i32 i32) (result i32)
               (local.set $n (i32.const 30))
               (loop $again
                   (drop (call $log (i32.const 3) (i32.const 64) (i32.const 5)))
                   (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
               (i32.const 0))"#,
    );
    let of = |name, log_lines| Guest { log_lines, ..Guest::new(name, text.clone()) };
    let ((), said) = warned_by("pillion::wasm::guest", || {
        run(vec![of("loud", 20), of("all", 40), of("none", 0)], async |world| {
            assert_eq!(world.get("/").await.status, 200);
            tokio::time::sleep(Duration::from_millis(1100)).await;
            assert_eq!(world.get("/").await.status, 200);
        });
    });
    let lines = |name: &str| said.iter().filter(|line| **line == format!("audit filter=\"{name}\"")).count();
    assert_eq!((lines("loud"), lines("all"), lines("none")), (40, 60, 0), "{said:?}");
    let lost: Vec<_> = said.iter().filter(|line| !line.starts_with("audit")).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("limits.log_lines, 20 a second") && lost[0].contains("lost=10"), "{lost:?}");
}

#[test]
fn a_storm_of_traps_leaves_other_filters_alone() {
    let bad = Guest::new("storm", fails("proxy_on_request_headers", 3, "(unreachable)")).open();
    let good = Guest::new("good", fails("proxy_on_request_body", 3, "(nop)"));
    run(vec![bad, good], async |world| {
        for turn in 0..100 {
            let path = if turn % 10 == 0 { "/bad" } else { "/good" };
            assert_eq!(world.get(path).await.status, 200, "{turn}");
        }
    });
}
