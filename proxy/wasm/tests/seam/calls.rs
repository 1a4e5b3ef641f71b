//! A guest's calls to clusters.

use crate::{
    warnings::warned,
    world::{Guest, guest, run},
};
use pillion_config::model::AllowedClusters;
use std::time::Duration;

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
                   (if (call $http_call (i32.const 0) (i32.const {length}) (i32.const 64) (i32.const 66)
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
fn a_call_of_which_no_request_can_be_made_is_logged_once() {
    for (path, status, words) in [("/a bc", 201, ":path"), ("/ab\\0d\\0a", 418, "cannot be said")] {
        let text = caller(&cluster()).replace(":path\\00/call", &format!(":path\\00{path}"));
        let ((), said) = warned(|| {
            run(vec![Guest::new("odd", text)], async |world| {
                for _ in 0..2 {
                    assert_eq!(world.get("/").await.status, status);
                }
                assert_eq!(world.last(), "", "no server was asked");
            });
        });
        assert_eq!(said.len(), 1, "{said:?}");
        for word in ["odd", "is not sent", words] {
            assert!(said[0].contains(word), "{said:?}");
        }
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
                   (call $http_call (i32.const 0) (i32.const {length}) (i32.const 64) (i32.const 66)
                       (i32.const 131072) (i32.const 4193804) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 48)))
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

/// A guest that opens a gRPC stream by `$open`, which answers a status, and sends a message of so many bytes on it by `$send`.
fn streamer(more: &[(&str, usize)], body: &str) -> String {
    let called = cluster();
    let imports = [&[("grpc_stream", 9), ("grpc_send", 4)], more].concat();
    guest(
        &imports,
        &format!(
            r#"(data (i32.const 0) "{called}")
               (data (i32.const 64) "s.S")
               (data (i32.const 72) "M")
               (func $open (result i32)
                   (call $grpc_stream (i32.const 0) (i32.const {length}) (i32.const 64) (i32.const 3) (i32.const 72) (i32.const 1)
                       (i32.const 0) (i32.const 0) (i32.const 48)))
               (func $send (param $bytes i32) (result i32)
                   (call $grpc_send (i32.load (i32.const 48)) (i32.const 131072) (local.get $bytes) (i32.const 0)))
               {body}"#,
            length = called.len(),
        ),
    )
}

#[test]
fn a_stream_takes_what_its_filter_may_hold_and_fails_beyond() {
    // Sends messages of 1 MB, one for each letter of the path behind the first, and answers what that and the stream's end say.
    let text = streamer(
        &[("set_effective_context", 1), ("get_header_map_value", 5), ("send_local_response", 8), ("grpc_close", 1)],
        r#"(data (i32.const 80) ":path")
           (global $waits (mut i32) (i32.const 0))
           (global $said (mut i32) (i32.const 0))
           (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
               (local $left i32)
               (if (i32.eq (memory.size) (i32.const 2)) (then (drop (memory.grow (i32.const 16)))))
               (global.set $waits (local.get $id))
               (drop (call $get_header_map_value (i32.const 0) (i32.const 80) (i32.const 5) (i32.const 52) (i32.const 56)))
               (local.set $left (i32.sub (i32.load (i32.const 56)) (i32.const 1)))
               (global.set $said (call $open))
               (loop $next
                   (global.set $said (i32.add (global.get $said) (call $send (i32.const 1000000))))
                   (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
               (global.set $said (i32.add (global.get $said) (call $grpc_close (i32.load (i32.const 48)))))
               (i32.const 1))
           (func (export "proxy_on_grpc_close") (param i32 i32) (param $status i32)
               (drop (call $set_effective_context (global.get $waits)))
               (drop (call $send_local_response
                   (i32.add (i32.const 400) (i32.add (local.get $status) (i32.mul (i32.const 20) (global.get $said))))
                   (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1))))"#,
    );
    let ((), said) = warned(|| {
        run(vec![Guest::new("scan", text)], async |world| {
            // The origin reads them all, though it knows no gRPC: what it answers is no message (13).
            assert_eq!(world.get("/777777").await.status, 413, "6 MB of the 8 there are");
            let zeros = world.last().bytes().filter(|byte| *byte == 0).count();
            assert_eq!(zeros, 6 * (1_000_000 + 2), "all of it arrived, and what stands before a message");
            for _ in 0..2 {
                assert_eq!(world.get("/777777777").await.status, 408, "9 MB");
            }
            assert_eq!(world.get("/7").await.status, 413, "there is room again");
        });
    });
    assert_eq!(said.len(), 1, "{said:?}");
    for word in ["scan", "limits.memory", "16777216 bytes"] {
        assert!(said[0].contains(word), "{said:?}");
    }
}

#[test]
fn calls_beyond_those_that_may_be_under_way_are_refused_by_a_limit_that_is_named() {
    let text = streamer(
        &[],
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (local $opened i32)
               (loop $next (br_if $next (i32.eqz (call $open))))
               (drop (call $open))
               (i32.const 0))"#,
    );
    let ((), said) = warned(|| {
        run(vec![Guest::new("scan", text)], async |world| {
            assert_eq!(world.get("/").await.status, 200);
        });
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("limits.calls of 10 under way") && said[0].contains("scan"), "{said:?}");
}

#[test]
fn a_call_to_a_cluster_that_is_not_the_filters_is_refused_by_words_that_name_it() {
    let text = streamer(
        &[],
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
               (drop (call $open))
               (drop (call $open))
               (i32.const 0))"#,
    );
    let elsewhere = text.replace(&cluster(), "zz");
    let nobodys = Guest { allowed: AllowedClusters::Only(Vec::new()), ..Guest::new("scan", text) };
    for (guest, name, why) in [
        (nobodys, cluster(), "the cluster is not among allowed_clusters"),
        (Guest::new("scan", elsewhere), "zz".to_owned(), "unknown cluster"),
    ] {
        let ((), said) = warned(|| {
            run(vec![guest], async |world| {
                assert_eq!(world.get("/").await.status, 200);
            });
        });
        assert_eq!(said.len(), 1, "{said:?}");
        for word in ["scan", &name, why] {
            assert!(said[0].contains(word), "{word}: {said:?}");
        }
    }
}

#[test]
fn what_a_plugin_has_under_way_is_given_up_as_it_goes() {
    let text = streamer(
        &[("set_tick_period_milliseconds", 1)],
        r#"(global $opened (mut i32) (i32.const 0))
           (func (export "proxy_on_configure") (param i32 i32) (result i32)
               (drop (call $set_tick_period_milliseconds (i32.const 1)))
               (i32.const 1))
           (func (export "proxy_on_tick") (param i32)
               (if (global.get $opened) (then (return)))
               (if (i32.eqz (call $open)) (then (global.set $opened (i32.const 1)) (drop (call $send (i32.const 3))))))"#,
    );
    run(vec![Guest::new("watch", text.clone()).configured("one")], async |world| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.last(), "", "the stream is open");
        world.reload(vec![Guest::new("watch", text).configured("two")]).await;
        world.until("/", |_| world.seen.lock().unwrap().iter().any(|seen| seen.starts_with("cut POST /s.S/M"))).await;
    });
}
