//! The client's doing: it stops, it leaves, it does not read.

use super::*;
use tokio::time::Instant;

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

/// Reads all that comes of a request, and says nothing.
fn never_answers() -> Step {
    h2_server(|request, respond| async move {
        let (_parts, mut stream) = request.into_parts();
        while let Some(Ok(_)) = stream.data().await {}
        drop(respond);
    })
}

#[test]
fn a_body_that_stops_is_408() {
    let setup = Setup { listener: "    timeouts: { body: 2s }", ..PLAIN };
    run(
        setup,
        |_, _| silent(),
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
        |_, _| never_answers(),
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
fn a_body_over_http2_may_be_slow_but_not_silent() {
    let routes = "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: none";
    run(
        Setup { listener: "    timeouts: { body: 20s }", routes, ..PLAIN },
        |_, _| silent(),
        |world| async move {
            let mut sender = http2(&world).await;
            let (response, mut stream) = send(&mut sender, request("POST", "/").body(()).unwrap(), false).await;
            for _ in 0..5 {
                stream.send_data("a".into(), false).unwrap();
                sleep(Duration::from_secs(19)).await;
            }
            stream.send_data("a".into(), false).unwrap();
            sleep(Duration::from_secs(6)).await;
            stream.send_data("a".into(), false).unwrap();
            let silent = Instant::now();
            assert_eq!(response.await.unwrap().status(), 408);
            let took = silent.elapsed().as_secs();
            assert!((20..26).contains(&took), "{took} s");
            ended(&world, 408, "DPE", "body_timeout", "downstream").await;
        },
    );
}

/// A watch over a bidirectional stream: its client has asked and waits, its server says nothing before something happens.
#[test]
fn a_grpc_stream_may_be_silent_as_long_as_its_route_lets_it() {
    let routes = "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: 100s";
    run(
        Setup { cluster: "    protocol: http2", routes, ..PLAIN },
        |_, _| never_answers(),
        |world| async move {
            let mut sender = http2(&world).await;
            let head = request("POST", "/s.S/Watch").header("content-type", "application/grpc").body(()).unwrap();
            let (response, mut stream) = send(&mut sender, head, false).await;
            stream.send_data("abc".into(), false).unwrap();
            let silent = Instant::now();
            assert_eq!(response.await.unwrap().headers()["grpc-status"], "4");
            let took = silent.elapsed().as_secs();
            assert!((100..130).contains(&took), "{took} s");
            ended(&world, 200, "SI", "stream_idle_timeout", "proxy").await;
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
        |_, _| silent(),
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
        |_, _| silent(),
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
    // Within its own body, or by half-closing there, where Envoy says nothing either.
    for (framing, half_closes) in [
        ("content-length: 9\r\n\r\nabc", false),
        ("content-length: 9\r\n\r\nabc", true),
        ("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true),
    ] {
        run(
            PLAIN,
            |_, _| silent(),
            move |world| async move {
                let mut client = world.connect();
                client.write_all(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}").as_bytes()).await.unwrap();
                sleep(Duration::from_millis(50)).await;
                if half_closes {
                    client.shutdown().await.unwrap();
                    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0, "nothing is said to it");
                }
                drop(client);
                ended(&world, 0, "DC", GONE, "downstream").await;
                world.assert_quiet().await;
            },
        );
    }
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
