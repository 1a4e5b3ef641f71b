//! What a guest can do to a request and its response.

use crate::world::{Guest, guest, run};

/// A guest that writes `letter` behind the request's `x-way` and the response's.
fn marker(letter: char) -> String {
    guest(
        &[("add_header_map_value", 5)],
        &format!(
            r#"(data (i32.const 0) "x-way{letter}")
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                   (drop (call $add_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1)))
                   (i32.const 0))
               (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
                   (drop (call $add_header_map_value (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 1)))
                   (i32.const 0))"#
        ),
    )
}

#[test]
fn requests_pass_in_order_and_responses_in_reverse() {
    run(vec![Guest::new("a", marker('a')), Guest::new("b", marker('b'))], async |world| {
        let answer = world.get("/").await;
        assert_eq!(answer.status, 200);
        let ways = |text: &str| {
            text.to_ascii_lowercase().split("x-way: ").skip(1).map(|rest| rest[..1].to_owned()).collect::<String>()
        };
        assert_eq!(ways(&world.last()), "ab");
        assert_eq!(ways(&answer.head), "ba");
    });
}

/// As Envoy tells: it chooses the route again when one of its own filters, its router or an answer asks.
#[test]
fn a_guest_right_behind_one_that_moved_the_request_is_told_the_former_route() {
    let moves = guest(
        &[("replace_header_map_value", 5)],
        r#"(data (i32.const 0) ":path/second")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (call $replace_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 7)))
               (i32.const 0))"#,
    );
    let tells = guest(
        &[("get_property", 4), ("add_header_map_value", 5)],
        r#"(data (i32.const 0) "xds\00route_name") (data (i32.const 32) "x-route")
           (func $tell (param $map i32) (result i32)
               (drop (call $get_property (i32.const 0) (i32.const 14) (i32.const 48) (i32.const 52)))
               (drop (call $add_header_map_value (local.get $map) (i32.const 32) (i32.const 7)
                   (i32.load (i32.const 48)) (i32.load (i32.const 52))))
               (i32.const 0))
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $tell (i32.const 0)))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $tell (i32.const 2)))"#,
    );
    run(vec![Guest::new("moves", moves), Guest::new("tells", tells)], async |world| {
        let answer = world.get("/").await;
        assert_eq!(answer.status, 200);
        let seen = world.last().to_ascii_lowercase();
        assert!(seen.starts_with("get /second ") && seen.contains("x-route: listener/0"), "{seen}");
        assert!(answer.head.contains("x-route: second"), "{}", answer.head);
    });
}

#[test]
fn a_local_reply_ends_the_request_here() {
    let text = guest(
        &[("send_local_response", 8)],
        r#"(data (i32.const 0) "no token") (data (i32.const 16) "denied")
           ;; x-why: me
           (data (i32.const 32) "\01\00\00\00\05\00\00\00\02\00\00\00x-why\00me\00")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (call $send_local_response (i32.const 403) (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 6)
                   (i32.const 32) (i32.const 21) (i32.const -1)))
               (i32.const 1))"#,
    );
    run(vec![Guest::new("deny", text)], async |world| {
        let answer = world.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (403, "denied"));
        assert!(answer.head.contains("x-why: me"), "{}", answer.head);
        assert_eq!(world.last(), "", "nothing went upstream");
    });
}

/// A guest that does not look at what it is told would keep its client waiting.
#[test]
fn a_reply_that_is_too_large_is_answered_503() {
    let text = guest(
        &[("send_local_response", 8)],
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (memory.grow (i32.const 65)))
               (drop (call $send_local_response (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4194305)
                   (i32.const 0) (i32.const 0) (i32.const -1)))
               (i32.const 1))"#,
    );
    run(vec![Guest::new("large", text)], async |world| {
        let answer = world.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, ""));
        assert_eq!(world.last(), "", "nothing went upstream");
    });
}

#[test]
fn bodies_are_gathered_and_replaced() {
    let text = guest(
        &[("set_buffer_bytes", 5), ("remove_header_map_value", 3)],
        r#"(data (i32.const 0) "content-length") (data (i32.const 16) "<replaced>")
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
               (drop (call $remove_header_map_value (i32.const 2) (i32.const 0) (i32.const 14)))
               (i32.const 0))
           (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end i32) (result i32)
               (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
               (drop (call $set_buffer_bytes (i32.const 1) (i32.const 0) (local.get $size) (i32.const 16) (i32.const 10)))
               (i32.const 0))"#,
    );
    run(vec![Guest::new("replace", text)], async |world| {
        let answer = world.ask("POST / HTTP/1.1", "something").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("<replaced>") && !answer.body.contains("something"), "{answer:?}");
    });
}

#[test]
fn a_paused_request_goes_on_from_a_tick() {
    // The tick names the stream that waits, which is context 2, and lets it go on.
    let text = guest(
        &[
            ("set_tick_period_milliseconds", 1),
            ("set_effective_context", 1),
            ("continue_stream", 1),
            ("add_header_map_value", 5),
        ],
        r#"(data (i32.const 0) "x-tick1") (global $waits (mut i32) (i32.const 0))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (drop (call $set_tick_period_milliseconds (i32.const 5))) (i32.const 1))
           (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
               (global.set $waits (local.get $id)) (i32.const 1))
           (func (export "proxy_on_tick") (param i32)
               (if (global.get $waits) (then
                   (drop (call $set_effective_context (global.get $waits)))
                   (drop (call $add_header_map_value (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 1)))
                   (drop (call $continue_stream (i32.const 0)))
                   (global.set $waits (i32.const 0)))))"#,
    );
    run(vec![Guest::new("wait", text)], async |world| {
        assert_eq!(world.get("/").await.status, 200);
        assert!(world.last().contains("x-tick: 1"), "{}", world.last());
    });
}

/// As Envoy's `WasmService`: it ticks, and what it learns others read.
#[test]
fn a_filter_that_no_chain_names_runs_all_the_same() {
    let service = guest(
        &[("set_tick_period_milliseconds", 1), ("set_shared_data", 5)],
        r#"(data (i32.const 0) "told")
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (drop (call $set_tick_period_milliseconds (i32.const 5))) (i32.const 1))
           (func (export "proxy_on_tick") (param i32)
               (drop (call $set_shared_data (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 0))))"#,
    );
    let reader = guest(
        &[("get_shared_data", 5), ("send_local_response", 8)],
        r#"(data (i32.const 0) "told")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (if (call $get_shared_data (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 20) (i32.const 24)) (then
                   (drop (call $send_local_response (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0)
                       (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
                   (return (i32.const 1))))
               (i32.const 0))"#,
    );
    let service = Guest { chained: false, ..Guest::new("service", service) };
    run(vec![service, Guest::new("reader", reader)], async |world| {
        world.until("/", |answer| answer.status == 200).await;
    });
}

#[test]
fn properties_are_there_in_their_phases() {
    // The request's path in `x-prop` of the request; gone in the response, where the code is there.
    let text = guest(
        &[("get_property", 4), ("add_header_map_value", 5)],
        r#"(data (i32.const 0) "request\00path") (data (i32.const 32) "response\00code") (data (i32.const 64) "x-prop")
           (data (i32.const 80) "x-gone1") (data (i32.const 100) "cluster_name")
           (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (call $get_property (i32.const 0) (i32.const 12) (i32.const 200) (i32.const 204)))
               (drop (call $add_header_map_value (i32.const 0) (i32.const 64) (i32.const 6)
                   (i32.load (i32.const 200)) (i32.load (i32.const 204))))
               (i32.const 0))
           (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
               (if (i32.eq (i32.const 1) (call $get_property (i32.const 0) (i32.const 12) (i32.const 200) (i32.const 204)))
                   (then (drop (call $add_header_map_value (i32.const 2) (i32.const 80) (i32.const 6) (i32.const 86) (i32.const 1)))))
               (drop (call $get_property (i32.const 32) (i32.const 13) (i32.const 200) (i32.const 204)))
               (if (i64.ne (i64.load (i32.load (i32.const 200))) (i64.const 200)) (then (unreachable)))
               (drop (call $get_property (i32.const 100) (i32.const 12) (i32.const 200) (i32.const 204)))
               (drop (call $add_header_map_value (i32.const 2) (i32.const 64) (i32.const 6)
                   (i32.load (i32.const 200)) (i32.load (i32.const 204))))
               (i32.const 0))"#,
    );
    run(vec![Guest::new("props", text)], async |world| {
        let answer = world.get("/a/b?c=1").await;
        assert_eq!(answer.status, 200);
        assert!(world.last().contains("x-prop: /a/b?c=1"), "{}", world.last());
        assert!(answer.head.contains("x-gone: 1") && answer.head.contains("x-prop: "), "{}", answer.head);
    });
}
