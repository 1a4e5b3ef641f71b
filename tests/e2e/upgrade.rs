//! Upgrades: bytes pass only after 101 or a 2xx to extended CONNECT, in both directions between the protocols.

use pillion_tests::{
    client::End,
    frames::{END_HEADERS, Frames, kind, status_of},
    origin::Origin,
    proxy::{Proxy, Shape},
    scripted::Scripted,
    wait::{self, SOON},
};
use std::time::Duration;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn bytes_pass_after_101() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    let response = client.exchange(UPGRADE);
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")));
    for message in [&b"\x81\x05hello"[..], b"\0\xff\r\n\r\n", b"GET /smuggled HTTP/1.1\r\n\r\n"] {
        assert_eq!(client.send(message).bytes(message.len()), message);
    }
    client.half_close();
    assert_eq!(client.end_within(SOON), End::Closed);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn bytes_sent_before_101_do_not_pass_when_it_does_not_come() {
    // Sent at once behind the upgrade: to a server that refuses it they must not arrive as its next request.
    let server = Scripted::start(|mut peer| {
        if peer.request().is_ok() {
            std::thread::sleep(Duration::from_millis(200));
            peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            peer.until_closed();
        }
    });
    let proxy = Proxy::to(server.address);
    let mut client = proxy.connect();
    client.send(format!("{UPGRADE}\x01\x02garbage that is no request\r\n\r\n"));
    assert_eq!(client.receive().status, 403);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!server.received_text().contains("garbage"), "{}", server.received_text());
}

#[test]
fn an_upgrade_the_route_does_not_allow_is_not_offered() {
    let origin = Origin::start();
    let proxy = Shape { route: "upgrades: []", ..Shape::default() }.start(origin.address);
    let response = proxy.connect().exchange(UPGRADE);
    assert_ne!(response.status, 101);
}

#[test]
fn a_server_that_switches_unasked_is_an_error() {
    let server =
        Scripted::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let proxy = Proxy::to(server.address);
    assert_eq!(proxy.connect().get("/").status, 502);
}

#[test]
fn a_server_that_switches_to_something_else_is_an_error() {
    let server =
        Scripted::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n");
    let proxy = Proxy::to(server.address);
    assert_eq!(proxy.connect().exchange(UPGRADE).status, 502);
}

/// Opens an extended CONNECT stream and returns when the server has said 200.
fn extended_connect(frames: &mut Frames) {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "test"),
        ("sec-websocket-version", "13"),
    ];
    frames.headers(1, &fields, false).expect("a head is sent");
    let head = wait::until("the answer", SOON, || {
        frames.next(SOON).filter(|frame| frame.kind == kind::HEADERS || frame.kind == kind::RST_STREAM)
    });
    assert_eq!((head.kind, head.flags & END_HEADERS), (kind::HEADERS, END_HEADERS));
    assert_eq!(status_of(&head.payload), Some(200), "{:?}", head.payload);
}

fn echo(frames: &mut Frames, message: &[u8]) {
    frames.data(1, message, false).expect("data is sent");
    let mut back = Vec::new();
    while back.len() < message.len() {
        let frame = frames.next(SOON).expect("the echo comes");
        if frame.kind == kind::DATA {
            back.extend(frame.payload);
        }
    }
    assert_eq!(back, message);
}

#[test]
fn extended_connect_goes_on_as_an_http1_upgrade() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut frames = Frames::connect(proxy.address);
    extended_connect(&mut frames);
    echo(&mut frames, b"hello");
    echo(&mut frames, &[7; 4000]);
}

#[test]
fn extended_connect_goes_on_as_extended_connect() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let mut frames = Frames::connect(proxy.address);
    extended_connect(&mut frames);
    echo(&mut frames, b"hello");
}

#[test]
fn an_http1_upgrade_goes_on_as_extended_connect() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let mut client = proxy.connect();
    let response = client.exchange(UPGRADE);
    assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")), "{}", response.head);
    // RFC 8441 §5 has no Sec-WebSocket-Key; the proxy answers it itself (RFC 6455 §4.2.2, its own example).
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(client.send("hello").bytes(5), b"hello");
}

#[test]
fn connect_tunnels_only_where_it_is_allowed() {
    let origin = Origin::start();
    let refusing = Proxy::to(origin.address);
    assert_eq!(refusing.connect().exchange("CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n").status, 405);
    let server = Scripted::start(|mut peer| {
        while let Ok(bytes) = peer.some() {
            if bytes.is_empty() || !peer.send(bytes) {
                return;
            }
        }
    });
    let allowing = Shape { listener: "connect: allow", ..Shape::default() }.start(server.address);
    let mut client = allowing.connect();
    let response = client.exchange("CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.head);
    assert_eq!(client.send("\x16\x03\x01raw").bytes(6), b"\x16\x03\x01raw");
    assert_eq!(server.received_text(), "\x16\x03\x01raw");
}
