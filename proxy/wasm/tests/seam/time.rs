//! A callback has time for what its guest has to work on, whenever that was handed over.

use crate::world::{Guest, run};
use std::time::Duration;

/// CPU time of a callback that works on nothing; with the clock's tick it is some 16 ms.
const LIMIT: Duration = Duration::from_millis(10);

/// Bytes of a body: time for 48 ms.
const BODY: usize = 1_000_000;

/// A guest whose `$work` takes 44 ms of time, of which the thread may get less on a busy machine: then one passes that should die, and none dies; `$read` gets bytes of the request's body,
/// whose number is at 20 then.
fn works(body: &str) -> Guest {
    let text = format!(
        r#"(module
            (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
            (import "env" "proxy_set_effective_context" (func $act_on (param i32) (result i32)))
            (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
            (memory (export "memory") 32)
            (global $known (mut i32) (i32.const 0)) (global $waits (mut i32) (i32.const 0))
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 65536))
            (func $read (param $from i32) (param $size i32)
                (if (call $get (i32.const 0) (local.get $from) (local.get $size) (i32.const 16) (i32.const 20)) (then (unreachable))))
            (func $work (local $from i64)
                (drop (call $now (i32.const 32)))
                (local.set $from (i64.load (i32.const 32)))
                (loop $on (drop (call $now (i32.const 32)))
                    (br_if $on (i64.lt_u (i64.sub (i64.load (i32.const 32)) (local.get $from)) (i64.const 44000000)))))
            {body})"#
    );
    Guest { callback: LIMIT, ..Guest::new("works", text) }
}

/// `body` with the parameters `$id`, `$size` and `$end`.
fn on_body(body: &str) -> String {
    format!(
        r#"(func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end i32) (result i32) (local $at i32)
            {body} (i32.const 0))"#
    )
}

/// Reads a part of a body.
const READ: &str = "(call $read (i32.const 0) (local.get $size))";

/// The control.
#[test]
fn who_is_handed_nothing_dies_of_it() {
    let head =
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $work) (i32.const 0))"#;
    run(vec![works(head)], async |world| {
        world.until("/", |answer| answer.status == 503).await;
    });
}

#[test]
fn who_has_a_body_to_work_on_has_time_for_it() {
    // Parts are kept as they come, and worked on at the end, which brings a byte.
    let end = on_body(&format!("{READ} (if (local.get $end) (then (call $work)))"));
    let trailers =
        r#"(func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $work) (i32.const 0))"#;
    let trailers = format!("{} {trailers}", on_body(READ));
    let log = format!("{} {}", on_body(READ), r#"(func (export "proxy_on_log") (param i32) (call $work))"#);
    // The way of coraza-proxy-wasm: what is new of a body that is held.
    let new = on_body(
        "(call $read (global.get $known) (i32.sub (local.get $size) (global.get $known))) (global.set $known (local.get $size))
         (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
         (global.set $known (i32.const 0)) (call $work)",
    );
    let windows = on_body(
        "(if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
         (loop $on (call $read (local.get $at) (i32.const 2048))
             (br_if $on (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 2048))) (local.get $size))))
         (call $work)",
    );
    // Another callback names the stream.
    let tick = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 5))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (if (global.get $waits) (then
                (drop (call $act_on (global.get $waits))) (global.set $waits (i32.const 0))
                (call $work) (drop (call $continue (i32.const 0))))))"#;
    let held = "(if (i32.eqz (local.get $end)) (then (return (i32.const 0)))) (global.set $waits (local.get $id)) (return (i32.const 1))";
    let tick = format!("{tick} {}", on_body(&format!("{READ} {held}")));
    let (most, last) = (BODY - 1, "\r\n1\r\nx\r\n0\r\n");
    let head =
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\nConnection: close\r\n\r\n";
    let first = format!("{head}{most:x}\r\n{}", "x".repeat(most));
    for (what, text) in
        [("end", &end), ("trailers", &trailers), ("log", &log), ("new", &new), ("windows", &windows), ("tick", &tick)]
    {
        // Where trailers come, no part of the body is the end.
        let last = if what == "trailers" { format!("{last}x-t: 1\r\n\r\n") } else { format!("{last}\r\n") };
        run(vec![works(text)], async |world| {
            // More than one: what kills the machine after its answer shows with the next.
            for turn in 0..3 {
                assert_eq!(world.send(&[&first, &last]).await.status, 200, "{what}, {turn}");
            }
        });
    }
}

#[test]
fn who_has_shared_data_to_work_on_has_time_for_it() {
    let text = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.eqz (call $set_shared (i32.const 0) (i32.const 1) (i32.const 65536) (i32.const 1000000) (i32.const 0))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (drop (call $get_shared (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20) (i32.const 24)))
            (call $work) (i32.const 0))"#;
    run(vec![works(text)], async |world| {
        for _ in 0..3 {
            assert_eq!(world.get("/").await.status, 200);
        }
    });
}

/// The SDKs of C++ and AssemblyScript hand a call's answer to whom it is for before they name that.
#[test]
fn who_has_a_calls_answer_to_work_on_has_time_for_it_whoever_read_it() {
    let cluster =
        pillion_config::simple("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2").unwrap().clusters[0].name.clone();
    let read = "(drop (call $get (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 16) (i32.const 20)))";
    let named = "(drop (call $act_on (global.get $waits)))";
    for (first, then) in [(read, named), (named, read)] {
        let text = format!(
            r#"(data (i32.const 64) "{cluster}")
            (data (i32.const 128) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/call\00:authority\00x\00")
            (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
                (global.set $waits (local.get $id))
                (if (call $call (i32.const 64) (i32.const {length}) (i32.const 128) (i32.const 66) (i32.const 65536) (i32.const 1000000)
                    (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 40)) (then (unreachable)))
                (i32.const 1))
            (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
                {first} {then} (drop (call $continue (i32.const 0))))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $work) (i32.const 0))"#,
            length = cluster.as_str().len(),
        );
        run(vec![works(&text)], async |world| {
            for turn in 0..3 {
                assert_eq!(world.get("/").await.status, 200, "{turn}: {first}");
            }
        });
    }
}
