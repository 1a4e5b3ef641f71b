//! CONNECT and upgrades, between every pairing of protocols, and how tunnels end.

use crate::{
    client::{answer, ask, fetch, http2, request, send},
    server::{HELLO, Step, canned, echo, head, http2 as h2_server, serve},
    world::{PLAIN, Setup, World, run, settle},
};
use bytes::Bytes;
use h2::{SendStream, ext::Protocol};
use http::{Request, Response};
use pillion_core::{
    drain::Signal,
    tunnel::{h2_stream::H2Stream, websocket},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep},
};

const CONNECT: Setup = Setup { listener: "    connect: allow", ..PLAIN };
const HTTP2: Setup = Setup { cluster: "    protocol: http2", ..PLAIN };
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Says what it hears, after a greeting.
async fn parrot(mut stream: DuplexStream) {
    stream.write_all(b"early").await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(stream);
    tokio::io::copy(&mut reading, &mut writing).await.ok();
    writing.shutdown().await.ok();
}

pub(crate) async fn talk(client: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    let mut early = [0; 5];
    client.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"early");
    client.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

/// The WebSocket handshake of an HTTP/1.1 server, and then a parrot.
pub(crate) fn websocket_server() -> Step {
    serve(|mut stream| async move {
        let head = head(&mut stream).await.unwrap();
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("upgrade: websocket\r\n") && lower.contains("connection: upgrade\r\n"), "{head}");
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
        let proof = websocket::accept(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n",
            proof.to_str().unwrap()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        parrot(stream).await;
    })
}

pub(crate) fn websocket_request() -> String {
    format!(
        "GET /chat HTTP/1.1\r\nhost: a.example\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {KEY}\r\n\r\n"
    )
}

pub(crate) fn extended(protocol: &'static str) -> Request<()> {
    request("CONNECT", "/chat").extension(Protocol::from_static(protocol)).body(()).unwrap()
}

pub(crate) async fn open(
    world: &World,
    head: Request<()>,
) -> (http::StatusCode, H2Stream, h2::client::SendRequest<Bytes>) {
    let mut sender = http2(world).await;
    // The server's SETTINGS allow extended CONNECT.
    sleep(Duration::from_millis(5)).await;
    let (response, stream): (_, SendStream<Bytes>) = send(&mut sender, head, false).await;
    let response = response.await.unwrap();
    (response.status(), H2Stream::new(stream, response.into_body(), &std::rc::Rc::default()), sender)
}

#[test]
fn connect_is_refused_unless_allowed() {
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            assert_eq!(ask(&world, "CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.status, 405);
            assert_eq!(world.record().await.details, "connect_refused");
            assert!(world.dialed.borrow().is_empty());
        },
    );
    run(
        PLAIN,
        |_, _| canned(HELLO),
        |world| async move {
            let mut sender = http2(&world).await;
            let head = Request::builder().method("CONNECT").uri("b:443").body(()).unwrap();
            assert_eq!(fetch(&mut sender, head).await.unwrap().status(), 405);
            assert_eq!(world.record().await.details, "connect_refused");
        },
    );
}

#[test]
fn connect_leads_to_the_endpoint_itself() {
    for cluster in ["", "    protocol: http2"] {
        run(
            Setup { cluster, ..CONNECT },
            |_, _| serve(parrot),
            |world| async move {
                let mut client = world.connect();
                client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
                let head = head(&mut client).await.unwrap();
                assert!(
                    head.starts_with("HTTP/1.1 200 ") && !head.to_ascii_lowercase().contains("content-length"),
                    "{head}"
                );
                talk(&mut client).await;
                drop(client);
                let record = world.record().await;
                assert_eq!(record.end(), (200, "-", "via_upstream", "-"));
                assert_eq!((record.received, record.sent, record.host.as_str()), (4, 9, "10.0.0.1:80"));
                world.assert_quiet().await;
            },
        );
    }
    run(
        CONNECT,
        |_, _| serve(parrot),
        |world| async move {
            let head = Request::builder().method("CONNECT").uri("b:443").body(()).unwrap();
            let (status, mut stream, _sender) = open(&world, head).await;
            assert_eq!(status, 200);
            talk(&mut stream).await;
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            assert_eq!(world.record().await.end(), (200, "-", "via_upstream", "-"));
        },
    );
    run(
        CONNECT,
        |_, _| Step::Fail(std::io::ErrorKind::ConnectionRefused),
        |world| async move {
            assert_eq!(ask(&world, "CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.status, 503);
            assert_eq!(world.record().await.flags, "UF");
        },
    );
}

#[test]
fn websocket_from_http1_to_http1() {
    run(
        PLAIN,
        |_, _| websocket_server(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(websocket_request().as_bytes()).await.unwrap();
            let answer = answer(&mut client).await;
            assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
            assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            talk(&mut client).await;
            drop(client);
            assert_eq!(world.record().await.end(), (101, "-", "via_upstream", "-"));
            world.assert_quiet().await;
        },
    );
}

#[test]
fn websocket_from_http2_to_http1() {
    run(
        PLAIN,
        |_, _| websocket_server(),
        |world| async move {
            let (status, mut stream, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 200);
            talk(&mut stream).await;
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            assert_eq!(world.record().await.end(), (200, "-", "via_upstream", "-"));
        },
    );
    // A proof of nothing.
    let liar = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
    // 2xx is no switch on HTTP/1, and must not look like one on HTTP/2.
    for answer in [liar, HELLO] {
        run(
            PLAIN,
            move |_, _| canned(answer),
            |world| async move {
                let (status, _, _sender) = open(&world, extended("websocket")).await;
                assert_eq!(status, 502);
                assert_eq!(world.record().await.end(), (502, "UPE", "upgrade_failed", "upstream"));
            },
        );
    }
    // A refusal is passed on.
    run(
        PLAIN,
        |_, _| canned("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
        |world| async move {
            let (status, mut stream, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 403);
            let mut body = String::new();
            stream.read_to_string(&mut body).await.unwrap();
            assert_eq!(body, "no");
        },
    );
}

fn websocket_http2_server() -> Step {
    h2_server(|request, mut respond| async move {
        assert_eq!((request.method().as_str(), request.uri().path()), ("CONNECT", "/chat"));
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert!(!request.headers().contains_key("sec-websocket-key"));
        assert_eq!(
            request.headers().get("sec-websocket-version").map_or("13", |version| version.to_str().unwrap()),
            "13"
        );
        let send = respond.send_response(Response::new(()), false).unwrap();
        let mut stream = H2Stream::new(send, request.into_body(), &std::rc::Rc::default());
        stream.write_all(b"early").await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(stream);
        tokio::io::copy(&mut reading, &mut writing).await.ok();
        writing.shutdown().await.ok();
    })
}

#[test]
fn websocket_to_http2() {
    run(
        HTTP2,
        |_, _| websocket_http2_server(),
        |world| async move {
            let mut client = world.connect();
            client.write_all(websocket_request().as_bytes()).await.unwrap();
            let answer = answer(&mut client).await;
            assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
            assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            talk(&mut client).await;
        },
    );
    run(
        HTTP2,
        |_, _| websocket_http2_server(),
        |world| async move {
            let (status, mut stream, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 200);
            talk(&mut stream).await;
        },
    );
}

#[test]
fn protocols_the_route_does_not_let_through() {
    let none = Setup { routes: "      - match: { prefix: / }\n        cluster: up\n        upgrades: []", ..PLAIN };
    run(
        none,
        |_, _| echo(),
        |world| async move {
            let answer = ask(&world, &websocket_request()).await;
            assert_eq!(answer.status, 200);
            let lower = answer.body.to_ascii_lowercase();
            assert!(!lower.contains("\nupgrade:") && !lower.contains("\nconnection:"), "{}", answer.body);
        },
    );
    run(
        none,
        |_, _| echo(),
        |world| async move {
            let (status, _, _sender) = open(&world, extended("websocket")).await;
            assert_eq!(status, 501);
            assert_eq!(world.record().await.details, "upgrade_refused");
        },
    );
    // h2c is never let through.
    run(
        PLAIN,
        |_, _| echo(),
        |world| async move {
            let answer = ask(
            &world,
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
            assert_eq!(answer.status, 200);
            assert!(!answer.body.to_ascii_lowercase().contains("h2c"), "{}", answer.body);
        },
    );
}

#[test]
fn tunnels_end() {
    // By the upstream.
    run(
        CONNECT,
        |_, _| {
            serve(|mut stream| async move {
                stream.write_all(b"bye").await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            let mut said = Vec::new();
            client.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, b"bye");
            drop(client);
            assert_eq!(world.record().await.end(), (200, "-", "via_upstream", "-"));
            world.worker.drain();
            world.worker.idle().await;
        },
    );
    // By the upstream, which hears no more.
    run(
        CONNECT,
        |_, _| {
            serve(|mut stream| async move {
                stream.write_all(b"early").await.unwrap();
            })
        },
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            client.read_exact(&mut [0; 5]).await.unwrap();
            client.write_all(b"more").await.unwrap();
            client.read_to_end(&mut Vec::new()).await.ok();
            assert_eq!(world.record().await.end(), (200, "UC", "upstream_broken", "upstream"));
        },
    );
    // By the client, which does not wait for the answer.
    run(
        CONNECT,
        |_, _| serve(parrot),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            talk(&mut client).await;
            client.write_all(b"more").await.unwrap();
            drop(client);
            assert_eq!(world.record().await.end(), (200, "DC", "downstream_broken", "downstream"));
        },
    );
    // By silence.
    let idle =
        Setup { routes: "      - match: { prefix: / }\n        cluster: up\n        idle_timeout: 2s", ..CONNECT };
    run(
        idle,
        |_, _| serve(parrot),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            // Wherever between two looks it falls silent.
            sleep(Duration::from_millis(1_050)).await;
            talk(&mut client).await;
            let silent = Instant::now();
            client.read_to_end(&mut Vec::new()).await.ok();
            let lasted = silent.elapsed().as_millis();
            assert!((2_000..2_200).contains(&lasted), "{lasted} ms");
            assert_eq!(world.record().await.end(), (200, "SI", "idle_timeout", "proxy"));
        },
    );
    // By the drain's deadline, on either protocol.
    run(
        CONNECT,
        |_, _| serve(parrot),
        |world| async move {
            let mut client = world.connect();
            client.write_all(b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n").await.unwrap();
            head(&mut client).await.unwrap();
            talk(&mut client).await;
            world.worker.drain();
            sleep(Duration::from_secs(5)).await;
            client.write_all(b"more").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
            assert!(world.records().await.is_empty());
            world.worker.tell(Signal::Abort);
            world.worker.idle().await;
            assert_eq!(world.record().await.end(), (200, "LR", "drain_deadline", "proxy"));
        },
    );
    run(
        CONNECT,
        |_, _| serve(parrot),
        |world| async move {
            let head = Request::builder().method("CONNECT").uri("b:443").body(()).unwrap();
            let (_, mut stream, _sender) = open(&world, head).await;
            talk(&mut stream).await;
            world.worker.drain();
            sleep(Duration::from_millis(100)).await;
            stream.write_all(b"more").await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            world.worker.tell(Signal::Abort);
            world.worker.idle().await;
            assert_eq!(world.record().await.end(), (200, "LR", "drain_deadline", "proxy"));
        },
    );
}

#[test]
fn an_extended_connect_takes_the_routes_of_the_request_it_stands_for() {
    let routes = "      - match: { prefix: /chat, method: GET, headers: { upgrade: websocket } }
        cluster: up
      - match: { prefix: / }
        respond: { status: 404 }";
    run(
        Setup { routes, ..PLAIN },
        |_, _| websocket_server(),
        |world| async move {
            let (status, mut stream, _connection) = open(&world, extended("websocket")).await;
            assert_eq!(status, 200);
            talk(&mut stream).await;
        },
    );
    // And is held to the rules for it.
    let listener = "    authorization: { rules: [{ action: deny, requests: [{ headers: { upgrade: websocket } }] }] }";
    run(
        Setup { listener, ..PLAIN },
        |_, _| websocket_server(),
        |world| async move {
            assert_eq!(open(&world, extended("websocket")).await.0, 403);
        },
    );
}

#[test]
fn small_messages_that_a_tunnels_other_end_does_not_take_do_not_end_its_clients_connection() {
    run(
        CONNECT,
        |_, _| {
            serve(|stream| async move {
                let _unread = stream;
                std::future::pending().await
            })
        },
        |world| async move {
            let mut sender = http2(&world).await;
            let mut held = Vec::new();
            for _ in 0..5 {
                let head = Request::builder().method("CONNECT").uri("b:443").body(()).unwrap();
                let (response, mut stream) = send(&mut sender, head, false).await;
                held.push(response.await.unwrap());
                // More than the pipe to the server takes, and a window beside.
                tokio::task::spawn_local(async move {
                    for _ in 0..20_000 {
                        stream.reserve_capacity(14);
                        let Some(Ok(14..)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                            continue;
                        };
                        stream.send_data(Bytes::from_static(&[b'x'; 14]), false).unwrap();
                    }
                });
            }
            for _ in 0..10 {
                settle().await;
            }
            let head = Request::builder().method("CONNECT").uri("b:443").body(()).unwrap();
            let (response, _stream) = send(&mut sender, head, false).await;
            assert_eq!(response.await.expect("the connection lives").status(), 200);
        },
    );
}
