//! Detection: HTTP/1 and HTTP/2 on one port, told apart from the first bytes.

use pillion_tests::{
    client::End,
    frames::{Frames, Outcome},
    origin::Origin,
    proxy::{Proxy, Shape},
    wait::SOON,
};
use std::{thread, time::Duration};

#[test]
fn both_protocols_share_a_port() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    assert_eq!(proxy.get("/").status, 200);
    let mut frames = Frames::connect(proxy.address);
    frames.get(1, "/").expect("a request is sent");
    assert!(matches!(frames.outcome(1), Outcome::Answered(200, _)));
    assert_eq!(proxy.get("/").status, 200);
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"http2\""], |count| count >= 1.0);
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"http1\""], |count| count >= 2.0);
}

#[test]
fn a_request_in_single_bytes_is_http1() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    for byte in b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n" {
        client.send([*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.receive_for("PUT").json()["method"], "PUT");
}

#[test]
fn a_method_that_begins_like_the_preface_is_http1() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    let response = client.exchange("PRINT / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(response.json()["method"], "PRINT");
}

#[test]
fn the_preface_in_single_bytes_is_http2() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        client.send([*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    let head = client.bytes(9);
    assert_eq!(head[3], 4, "the first frame is SETTINGS: {head:?}");
}

#[test]
fn a_preface_cut_short_ends_the_connection_and_nothing_else() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let mut client = proxy.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    match client.end_within(SOON) {
        End::Open => panic!("the connection stays open"),
        End::Closed | End::Reset | End::Bytes(_) => {}
    }
    proxy.assert_healthy();
}

#[test]
fn a_silent_connection_is_closed_after_the_deadline() {
    let origin = Origin::start();
    let proxy =
        Shape { listener: "timeouts: { header: 300ms, idle: 300ms }", ..Shape::default() }.start(origin.address);
    let mut silent = proxy.connect();
    assert_eq!(silent.end_within(SOON), End::Closed);
    proxy.assert_healthy();
}

#[test]
fn a_tls_handshake_in_clear_text_is_closed_at_once_and_counted() {
    let origin = Origin::start();
    // Were it taken for the beginning of a head, it would stay open longer than the test waits.
    let proxy = Shape { listener: "timeouts: { header: 10m }", ..Shape::default() }.start(origin.address);
    let mut client = proxy.connect();
    client.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
    match client.end_within(SOON) {
        // A socket that is closed with bytes unread is reset.
        End::Closed | End::Reset => {}
        other => panic!("{other:?}"),
    }
    proxy.await_metric("pillion_detect_outcomes_total", &["outcome=\"tls\""], |count| count == 1.0);
    proxy.assert_healthy();
}
