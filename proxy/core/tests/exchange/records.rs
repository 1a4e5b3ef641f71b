//! Exactly one record for a request, whichever way it ends, and what it says.

use crate::{
    client::{answer, ask, body, fetch, get, http2, next, request, send},
    server::{HELLO, Step, canned, head, http2 as h2_server, serve},
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
fn a_bad_chunk_within_a_body_is_the_clients_fault() {
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client
                .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .await
                .unwrap();
            sleep(Duration::from_millis(10)).await;
            client.write_all(b"zz\r\n").await.unwrap();
            let answer = answer(&mut client).await;
            assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
            ended(&world, 400, "DPE", "bad_chunk_size", "downstream").await;
            assert_eq!(world.refusals("bad_chunk_size"), 1.0);
        },
    );
}

#[test]
fn a_body_that_stops_is_408() {
    let setup = Setup { listener: "    timeouts: { body: 2s }", ..PLAIN };
    run(
        setup,
        |_, _| {
            serve(|mut stream| async move {
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            assert_eq!(answer(&mut client).await.status, 408);
            ended(&world, 408, "DPE", "body_timeout", "downstream").await;
            assert_eq!(world.refusals("body_timeout"), 1.0);
            assert_eq!(world.record().await.received, 3);
        },
    );
    run(
        Setup { cluster: "    protocol: http2", ..setup },
        |_, _| {
            h2_server(|request, respond| async move {
                let (_parts, mut stream) = request.into_parts();
                while let Some(Ok(_)) = stream.data().await {}
                drop(respond);
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            stream.send_data("abc".into(), false).unwrap();
            assert_eq!(response.await.unwrap().status(), 408);
            ended(&world, 408, "DPE", "body_timeout", "downstream").await;
            assert_eq!(world.refusals("body_timeout"), 1.0);
        },
    );
}

#[test]
fn a_head_that_stops_is_408() {
    run(
        PLAIN,
        |_, _| hello(),
        |world| async move {
            assert_eq!(ask(&world, "GET / HTTP/1.1\r\nhost").await.status, 408);
            ended(&world, 408, "DPE", "head_timeout", "downstream").await;
        },
    );
}

#[test]
fn clients_that_leave() {
    // Before the answer.
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            drop(client);
            ended(&world, 0, "DC", GONE, "downstream").await;
            assert_eq!(world.record().await.host, "10.0.0.1:80");
        },
    );
    // Within the answer.
    let streaming = || {
        serve(|mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nhello").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
    };
    run(
        PLAIN,
        move |_, _| streaming(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            head(&mut client).await;
            drop(client);
            ended(&world, 200, "DC", GONE, "downstream").await;
        },
    );
    // By a reset, before the answer.
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("GET", "/").body(()).unwrap(), true).await;
            sleep(Duration::from_millis(50)).await;
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
            sleep(Duration::from_millis(50)).await;
            ended(&world, 0, "DC", GONE, "downstream").await;
        },
    );
    // Within its own body.
    run(
        PLAIN,
        |_, _| {
            serve(|mut stream| async move {
                stream.read_to_end(&mut Vec::new()).await.ok();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            sleep(Duration::from_millis(50)).await;
            drop(client);
            let record = world.record().await;
            assert_eq!(
                (record.flags.as_str(), record.details.as_str(), record.by.as_str()),
                ("DC", GONE, "downstream")
            );
            world.assert_quiet().await;
        },
    );
    // After it.
    run(
        PLAIN,
        |_, _| hello(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            answer(&mut client).await;
            drop(client);
            ended(&world, 200, "-", VIA, "-").await;
        },
    );
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
    let silent = || {
        serve(|mut stream| async move {
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
    };
    let timeout = Setup { routes: "      - match: { prefix: / }\n        cluster: up\n        timeout: 1s", ..PLAIN };
    run(
        timeout,
        move |_, _| silent(),
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
        move |_, _| silent(),
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
fn a_slow_client_is_not_a_slow_upstream() {
    let timeout = Setup { routes: "      - match: { prefix: / }\n        cluster: up\n        timeout: 1s", ..PLAIN };
    run(
        timeout,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.read_exact(&mut [0; 6]).await.unwrap();
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
            sleep(Duration::from_secs(5)).await;
            client.write_all(b"def").await.unwrap();
            assert_eq!(answer(&mut client).await.status, 200);
            ended(&world, 200, "-", VIA, "-").await;
            assert_eq!(world.record().await.received, 6);
        },
    );
}

fn grpc(path: &str) -> http::request::Builder {
    request("POST", path).header("content-type", "application/grpc").header("te", "trailers")
}

#[test]
fn grpc_endings() {
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    let trailers = |status: &'static str| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(status));
        trailers
    };
    // Well.
    run(
        setup,
        move |_, _| {
            h2_server(move |_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                stream.send_trailers(trailers("0")).unwrap();
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, grpc("/s/m").body(()).unwrap()).await.unwrap();
            let (text, trailers) = body(&mut response.into_body()).await.unwrap();
            assert_eq!((text.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("abc", "0"));
            let record = world.record().await;
            assert_eq!((record.end(), record.grpc.as_str()), ((200, "-", VIA, "-"), "0"));
        },
    );
    // Its deadline, before the answer.
    run(
        setup,
        |_, _| {
            h2_server(|_, respond| async move {
                sleep(Duration::from_secs(60)).await;
                drop(respond);
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let call = grpc("/s/m").header("grpc-timeout", "100m").body(()).unwrap();
            let response = fetch(&mut sender, call).await.unwrap();
            assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "4"));
            ended(&world, 200, "UT", "grpc_timeout", "proxy").await;
        },
    );
    // Its deadline, within the answer.
    run(
        setup,
        |_, _| {
            h2_server(|_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_secs(60)).await;
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let call = grpc("/s/m").header("grpc-timeout", "100m").body(()).unwrap();
            let response = fetch(&mut sender, call).await.unwrap();
            let (text, trailers) = body(&mut response.into_body()).await.unwrap();
            assert_eq!((text.as_str(), trailers.unwrap()["grpc-status"].to_str().unwrap()), ("abc", "4"));
            ended(&world, 200, "DT", "grpc_timeout", "proxy").await;
            assert_eq!(world.record().await.grpc, "4");
        },
    );
    // Nobody there.
    run(
        setup,
        |_, _| Step::Fail(io::ErrorKind::ConnectionRefused),
        |world| async move {
            let mut sender = http2(&world).await;
            let response = fetch(&mut sender, grpc("/s/m").body(()).unwrap()).await.unwrap();
            assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "14"));
            assert_eq!(world.record().await.flags, "UF");
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
    let silent = || {
        serve(|mut stream| async move {
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
    };
    run(
        PLAIN,
        move |_, _| silent(),
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
        move |_, _| silent(),
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

#[test]
fn an_empty_last_frame_is_no_cut() {
    // Go's servers end a stream by an empty frame of its own; hyper stops asking once the length is used up.
    let setup = Setup { cluster: "    protocol: http2", ..PLAIN };
    run(
        setup,
        |_, _| {
            h2_server(|_, mut respond| async move {
                let response = Response::builder().header("content-length", "3").body(()).unwrap();
                let mut stream = respond.send_response(response, false).unwrap();
                stream.send_data("abc".into(), false).unwrap();
                sleep(Duration::from_millis(10)).await;
                stream.send_data(Bytes::new(), true).unwrap();
            })
        },
        |world| async move {
            assert_eq!(get(&world, "/").await.body, "abc");
            ended(&world, 200, "-", VIA, "-").await;
        },
    );
}

#[test]
fn a_client_that_does_not_read_is_cut_by_the_proxy() {
    let impatient = Setup { listener: "    timeouts: { write: 2s }", ..PLAIN };
    run(
        impatient,
        |_, _| {
            serve(|mut stream| async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n").await.unwrap();
                while stream.write_all(&[7; 4096]).await.is_ok() {}
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            sleep(Duration::from_secs(10)).await;
            ended(&world, 200, "SI", "write_timeout", "proxy").await;
            drop(client);
        },
    );
}

/// Preface and SETTINGS, then frames.
fn raw_http2(settings: &[u8], frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, settings.len() as u8, 4, 0, 0, 0, 0, 0]);
    bytes.extend(settings);
    bytes.extend(frames.concat());
    bytes
}

/// HEADERS that are a whole request.
fn raw_request(stream: u8, block: &[u8]) -> Vec<u8> {
    [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, stream], block].concat()
}

/// GET http://a/ (RFC 7541, appendix A).
const GET_A: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

#[test]
fn an_http2_client_that_does_not_read_is_cut_by_the_proxy() {
    let endless = |_: usize, _: std::net::SocketAddr| {
        serve(|mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n").await.unwrap();
            while stream.write_all(&[7; 4096]).await.is_ok() {}
        })
    };
    let impatient = Setup { listener: "    timeouts: { write: 2s }", ..PLAIN };
    // A window of zero stalls the stream; windows without end and an unread socket stall the connection.
    let closed: &[u8] = &[0, 4, 0, 0, 0, 0];
    let open: &[u8] = &[0, 4, 0x7f, 0xff, 0xff, 0xff];
    for settings in [closed, open] {
        run(impatient, endless, move |world| async move {
            let mut client = world.connect();
            let wide = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0];
            client.write_all(&raw_http2(settings, &[&wide, &raw_request(1, GET_A)])).await.unwrap();
            sleep(Duration::from_secs(10)).await;
            ended(&world, 200, "SI", "write_timeout", "proxy").await;
            drop(client);
        });
    }
}

#[test]
fn http2_requests_that_are_reset_have_their_record() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut client = world.connect();
            // By the codec: a value that begins with a space. By h2: no method, then an index that is none: the end.
            let spaced = raw_request(1, &[GET_A, b"\x00\x01x\x02 x"].concat());
            let (nameless, fine) = (raw_request(3, &GET_A[1..]), raw_request(5, GET_A));
            client.write_all(&raw_http2(&[], &[&spaced, &nameless, &fine])).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            client.write_all(&raw_request(7, &[0x80])).await.unwrap();
            sleep(Duration::from_secs(10)).await;
            drop(client);
            let records = world.records().await;
            let mut ends: Vec<_> = records.iter().map(|record| record.end()).collect();
            ends.sort_unstable();
            let refused = (0, "DPE", "http2_refused", "downstream");
            assert_eq!(ends, [refused, refused, (0, "DPE", "surrounding_space", "downstream"), (200, "-", VIA, "-")]);
        },
    );
}
