//! Exactly one record for a request, whichever way it ends, and what it says.

mod claims;
mod client;
mod conversation;
mod http2;

use crate::{
    client::{answer, ask, body, fetch, get, http2, next, request, send},
    server::{HELLO, Step, canned, head, http2 as h2_server, serve, silent},
    world::{PLAIN, Setup, World, run},
};
use bytes::Bytes;
use http::Response;
use pillion_core::drain::Signal;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_local,
    time::sleep,
};

const VIA: &str = "via_upstream";
const GONE: &str = "downstream_remote_disconnect";

async fn ended(world: &World, status: u16, flags: &str, details: &str, by: &str) {
    let record = world.record().await;
    assert_eq!(record.end(), (status, flags, details, by), "{record:?}");
    world.assert_quiet().await;
}

fn hello() -> Step {
    canned(HELLO)
}

#[test]
fn answers_that_end_well() {
    run(
        PLAIN,
        |_, _| hello(),
        |world| async move {
            let answer = get(&world, "/x").await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
            ended(&world, 200, "-", VIA, "-").await;
            let record = world.record().await;
            assert_eq!((record.sent, record.attempts, record.host.as_str()), (5, 1, "10.0.0.1:80"));
        },
    );
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                head(&mut stream).await;
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let answer = next(&mut client, true).await;
            assert_eq!((answer.status, answer.field("content-length")), (200, Some("5")));
            ended(&world, 200, "-", VIA, "-").await;
        },
    );
    for (line, status) in [("204 No Content", 204), ("304 Not Modified\r\netag: \"x\"", 304)] {
        run(
            PLAIN,
            move |_, _| canned(format!("HTTP/1.1 {line}\r\n\r\n")),
            move |world| async move {
                let answer = get(&world, "/").await;
                assert_eq!((answer.status, answer.field("content-length")), (status, None));
                ended(&world, status, "-", VIA, "-").await;
            },
        );
    }
}

const ROUTES: Setup = Setup {
    routes: "      - match: { path: /direct }
        respond: { status: 418, body: teapot }
      - match: { path: /redirect }
        redirect: { path: /there }
      - match: { path: /up }
        cluster: up",
    ..PLAIN
};

#[test]
fn answers_made_here() {
    for (path, status, flags, details, by) in [
        ("/direct", 418, "-", "direct_response", "-"),
        ("/redirect", 301, "-", "direct_response", "-"),
        ("/none", 404, "NR", "route_not_found", "proxy"),
    ] {
        run(
            ROUTES,
            |_, _| hello(),
            move |world| async move {
                assert_eq!(get(&world, path).await.status, status);
                ended(&world, status, flags, details, by).await;
            },
        );
    }
}

#[test]
fn refusals_of_the_guard() {
    for (bytes, status, name) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "several_hosts"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
        ("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_target"),
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", 400, "bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", 400, "obs_fold"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx_y: 1\r\n\r\n", 400, "underscore"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
            "length_and_encoding",
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501, "unsupported_encoding"),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: x\r\n\r\n", 417, "unknown_expectation"),
        ("GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505, "bad_version"),
    ] {
        run(
            PLAIN,
            |_, _| hello(),
            move |world| async move {
                let answer = ask(&world, bytes).await;
                assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{bytes:?}");
                ended(&world, status, "DPE", name, "downstream").await;
                assert_eq!(world.refusals(name), 1.0);
                assert!(world.dialed.borrow().is_empty());
            },
        );
    }
}

#[test]
fn heads_that_the_path_or_the_target_spoil() {
    for (bytes, name) in [
        ("GET /../x HTTP/1.1\r\nhost: a\r\n\r\n", "above_root"),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: authorization\r\n\r\n", "connection_names_end_to_end"),
    ] {
        run(
            PLAIN,
            |_, _| hello(),
            move |world| async move {
                assert_eq!(ask(&world, bytes).await.status, 400);
                let record = world.record().await;
                assert_eq!(
                    (record.status, record.flags.as_str(), record.by.as_str()),
                    (400, "DPE", "downstream"),
                    "{name}"
                );
                assert_eq!(world.refusals(&record.details), 1.0, "{record:?}");
            },
        );
    }
}

#[test]
fn upstreams_that_cannot_be_reached() {
    const DETAILS: &str = "upstream_reset_before_response_started{connection_failure}";
    run(
        PLAIN,
        |_, _| Step::Fail(io::ErrorKind::ConnectionRefused),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            ended(&world, 503, "UF", DETAILS, "upstream").await;
            let record = world.record().await;
            assert_eq!((record.attempts, world.dialed.borrow().len()), (1, 1), "one address is tried once");
            assert_eq!(record.host, "10.0.0.1:80");
        },
    );
    run(
        PLAIN,
        |_, _| Step::Hang,
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            ended(&world, 503, "UF", DETAILS, "upstream").await;
        },
    );
    let unresolved = Setup { endpoints: "[\"nowhere.example:80\"]", ..PLAIN };
    run(
        unresolved,
        |_, _| hello(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            ended(&world, 503, "UH,DF", "no_healthy_upstream", "upstream").await;
        },
    );
}

#[test]
fn trailers_end_an_answer_and_its_connection_serves_again() {
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n";
    let answer = format!("{start}3\r\nabc\r\n0\r\nx-t: v\r\n\r\n");
    run(
        PLAIN,
        move |_, _| {
            let answer = answer.clone();
            serve(move |mut stream| async move {
                loop {
                    head(&mut stream).await;
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            })
        },
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 200);
            ended(&world, 200, "-", VIA, "-").await;
            assert_eq!(get(&world, "/").await.status, 200);
            assert_eq!(world.recorded.get("pillion_connect_attempts_total{cluster=up}"), 1.0);
        },
    );
}

#[test]
fn upstreams_that_fail_before_their_answer() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
            })
        },
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            let details = "upstream_reset_before_response_started{connection_termination}";
            ended(&world, 503, "UC", details, "upstream").await;
            assert_eq!(world.recorded.get("pillion_upstream_resets_total{cluster=up,reason=closed}"), 1.0);
        },
    );
    run(
        PLAIN,
        |_, _| canned("NONSENSE\r\n\r\n"),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 502);
            ended(&world, 502, "UPE", "bad_status_line", "upstream").await;
        },
    );
    let http2 = Setup { cluster: "    protocol: http2", ..PLAIN };
    run(
        http2,
        |_, _| h2_server(|_, mut respond| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) }),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 503);
            ended(&world, 503, "UR", "upstream_reset_before_response_started{remote_reset}", "upstream").await;
        },
    );
}

#[test]
fn upstreams_that_fail_within_their_answer() {
    for (bytes, flags, details) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "UC", "upstream_reset_after_response_started"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", "UPE", "bad_chunk_size"),
    ] {
        run(
            PLAIN,
            move |_, _| {
                serve(move |mut stream| async move {
                    head(&mut stream).await;
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                    sleep(Duration::from_millis(10)).await;
                })
            },
            move |world| async move {
                let mut client = world.connect();
                client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.ok();
                assert!(!all.ends_with(b"0\r\n\r\n"));
                ended(&world, 200, flags, details, "upstream").await;
            },
        );
    }
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    run(
        setup,
        |_, _| {
            h2_server(|_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_millis(10)).await;
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, request("GET", "/").body(()).unwrap()).await.unwrap();
            assert!(body(&mut response.into_body()).await.is_err());
            ended(&world, 200, "UR", "upstream_reset_after_response_started{remote_reset}", "upstream").await;
        },
    );
}

#[test]
fn times_that_run_out() {
    let timeout = Setup { routes: "      - match: { prefix: / }\n        cluster: up\n        timeout: 1s", ..PLAIN };
    run(
        timeout,
        |_, _| silent(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 504);
            ended(&world, 504, "UT", "response_timeout", "proxy").await;
            assert_eq!(world.record().await.host, "10.0.0.1:80");
        },
    );
    let idle = Setup {
        routes: "      - match: { prefix: / }\n        cluster: up\n        timeout: none\n        idle_timeout: 1s",
        ..PLAIN
    };
    run(
        idle,
        |_, _| silent(),
        |world| async move {
            assert_eq!(get(&world, "/").await.status, 504);
            ended(&world, 504, "SI", "stream_idle_timeout", "proxy").await;
        },
    );
    run(
        idle,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            assert_eq!(get(&world, "/").await.body, "abc<cut>");
            ended(&world, 200, "SI", "stream_idle_timeout", "proxy").await;
        },
    );
}

#[test]
fn a_circuit_that_is_full() {
    let setup = Setup { cluster: "    limits: { requests: 1 }", ..PLAIN };
    run(
        setup,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                sleep(Duration::from_secs(1)).await;
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            })
        },
        |world| async move {
            let first = spawn_local({
                let world = std::rc::Rc::clone(&world);
                async move { get(&world, "/").await.status }
            });
            sleep(Duration::from_millis(50)).await;
            assert_eq!(get(&world, "/").await.status, 503);
            assert_eq!(first.await.unwrap(), 200);
            let records = world.records().await;
            assert_eq!(records[0].end(), (503, "UO", "request_overflow", "proxy"));
            assert_eq!(records[1].end(), (200, "-", VIA, "-"));
            assert_eq!(records.len(), 2);
        },
    );
}

#[test]
fn an_abort_is_the_proxys_own_doing() {
    run(
        PLAIN,
        |_, _| silent(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            world.worker.tell(Signal::Abort);
            ended(&world, 0, "LR", "drain_deadline", "proxy").await;
            world.worker.idle().await;
        },
    );
    run(
        PLAIN,
        |_, _| silent(),
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, _stream) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
            sleep(Duration::from_millis(50)).await;
            world.worker.tell(Signal::Abort);
            assert!(response.await.is_err());
            ended(&world, 0, "LR", "drain_deadline", "proxy").await;
            world.worker.idle().await;
        },
    );
}
