//! A guest's calls to clusters.

use crate::{
    warnings::warned,
    world::{Guest, guest, run},
};
use pillion_config::model::AllowedClusters;

/// A guest that calls the cluster `upstream` and answers with the body that comes back.
fn caller(cluster: &str) -> String {
    guest(
        &[
            ("http_call", 10),
            ("set_effective_context", 1),
            ("get_buffer_bytes", 5),
            ("send_local_response", 8),
            ("get_header_map_value", 5),
        ],
        &format!(
            r#"(data (i32.const 0) "{cluster}")
               (data (i32.const 64) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/call\00:authority\00x\00")
               (data (i32.const 256) "called")
               (global $waits (mut i32) (i32.const 0))
               (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
                   (global.set $waits (local.get $id))
                   (if (call $http_call (i32.const 0) (i32.const {length}) (i32.const 64) (i32.const 69)
                       (i32.const 256) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 300))
                     (then (drop (call $send_local_response (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 0)
                         (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))))
                   (i32.const 1))
               (func (export "proxy_on_http_call_response") (param i32 i32 i32) (param $size i32) (param i32)
                   (drop (call $set_effective_context (global.get $waits)))
                   (drop (call $get_buffer_bytes (i32.const 4) (i32.const 0) (local.get $size) (i32.const 320) (i32.const 324)))
                   (drop (call $send_local_response (i32.const 201) (i32.const 0) (i32.const 0)
                       (i32.load (i32.const 320)) (i32.load (i32.const 324)) (i32.const 0) (i32.const 0) (i32.const -1))))"#,
            length = cluster.len(),
        ),
    )
}

#[test]
fn a_call_goes_to_a_cluster_and_its_answer_back_into_the_guest() {
    let called = cluster();
    run(vec![Guest::new("call", caller(&called))], async |world| {
        let answer = world.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (201, "called"));
        assert!(world.last().starts_with("POST /call HTTP/1.1"), "{}", world.last());
    });
    run(vec![Guest::new("call", caller("nobody"))], async |world| assert_eq!(world.get("/").await.status, 418));
    let forbidden = Guest { allowed: AllowedClusters::Only(Vec::new()), ..Guest::new("call", caller(&called)) };
    run(vec![forbidden], async |world| assert_eq!(world.get("/").await.status, 418));
}

/// The name of the only cluster.
fn cluster() -> String {
    let config = pillion_config::simple("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2").unwrap();
    config.clusters[0].name.as_str().to_owned()
}

#[test]
fn an_answer_larger_than_the_filter_takes_is_none_and_is_logged_once() {
    // Answers 203 where the call's answer has no headers.
    let text = caller(&cluster())
        .replace("(param i32 i32 i32) (param $size i32)", "(param i32 i32) (param $n i32) (param $size i32)")
        .replace("(i32.const 201)", "(select (i32.const 201) (i32.const 203) (local.get $n))");
    let ((), said) = warned(|| {
        run(vec![Guest { call_response: 5, ..Guest::new("small", text) }], async |world| {
            for _ in 0..2 {
                let answer = world.get("/").await;
                assert_eq!((answer.status, answer.body.as_str()), (203, ""));
            }
        });
    });
    assert_eq!(said.len(), 1, "{said:?}");
    for word in ["small", "limits.call_response", "5 bytes"] {
        assert!(said[0].contains(word), "{said:?}");
    }
}

#[test]
fn calls_hold_so_many_bytes_and_what_is_refused_is_logged_once() {
    let called = cluster();
    // Three calls of almost 4 MiB each, of which half of the memory's 16 MiB holds two; answers what they say, added up.
    let text = guest(
        &[("http_call", 10), ("send_local_response", 8)],
        &format!(
            r#"(data (i32.const 0) "{called}")
               (data (i32.const 64) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/call\00:authority\00x\00")
               (func $one (result i32)
                   (call $http_call (i32.const 0) (i32.const {length}) (i32.const 64) (i32.const 69)
                       (i32.const 131072) (i32.const 4194204) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 48)))
               (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                   (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 65)))))
                   (drop (call $send_local_response
                       (i32.add (i32.const 400) (i32.add (call $one) (i32.add (call $one) (call $one))))
                       (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
                   (i32.const 1))"#,
            length = called.len(),
        ),
    );
    let ((), said) = warned(|| {
        run(vec![Guest { call_response: 8 << 20, ..Guest::new("shadow", text) }], async |world| {
            assert_eq!(world.get("/").await.status, 410, "the third is refused");
            // There is room again once they are written.
            world.until("/", |answer| answer.status == 410 && world.seen.lock().unwrap().len() > 2).await;
        });
    });
    assert_eq!(said.len(), 1, "{said:?}");
    for word in ["shadow", "limits.memory", "16777216 bytes"] {
        assert!(said[0].contains(word), "{said:?}");
    }
}
