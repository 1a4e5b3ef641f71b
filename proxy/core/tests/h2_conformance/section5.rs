//! h2spec `http2/5`: streams and errors.

use crate::{
    peer::{Event, Peer},
    table::{Case, Expect, Step, alone, case, play, steps},
    wire::*,
};

#[test]
fn s5_1_idle() {
    let refused = |name, bytes| case(name, bytes, Expect::Connection(&[PROTOCOL_ERROR]));
    play(vec![
        refused("5.1/1 idle: DATA", data(END_STREAM, 1, b"test")),
        refused("5.1/2 idle: RST_STREAM", reset(1, CANCEL)),
        refused("5.1/3 idle: WINDOW_UPDATE", window_update(1, 100)),
        refused("5.1/4 idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, &get("/"))),
    ]);
}

#[test]
fn s5_1_half_closed_remote() {
    let after = |name, bytes: Vec<u8>, codes| {
        case(name, [headers(WHOLE, 1, &get("/hang")), bytes].concat(), Expect::Connection(codes))
    };
    play(vec![
        // Stream errors, which RFC 9113 §5.4.1 lets be connection errors.
        after("5.1/5 half closed (remote): DATA", data(END_STREAM, 1, b"test"), &[STREAM_CLOSED]),
        after("5.1/6 half closed (remote): HEADERS", headers(WHOLE, 1, &get("/")), &[STREAM_CLOSED]),
        after(
            "5.1/7 half closed (remote): CONTINUATION",
            frame(CONTINUATION, END_HEADERS, 1, &field("x", "y")),
            &[PROTOCOL_ERROR],
        ),
    ]);
}

#[test]
fn s5_1_closed() {
    let after_reset = |name, bytes: Vec<u8>, expect| -> Case {
        let open = [headers(END_HEADERS, 1, &post("/hang")), reset(1, CANCEL)].concat();
        case(name, [open, bytes].concat(), expect)
    };
    let after_end = |name, bytes: Vec<u8>, expect| -> Case {
        steps(name, vec![Step::Send(headers(WHOLE, 1, &get("/"))), Step::End(1), Step::Send(bytes)], expect)
    };
    let request = || headers(WHOLE, 1, &get("/"));
    let continuation = || frame(CONTINUATION, END_HEADERS, 1, &field("x", "y"));
    const CLOSED: Expect = Expect::Connection(&[STREAM_CLOSED]);
    // Of no stream's state but the connection's (RFC 9113 §6.10).
    const MISPLACED: Expect = Expect::Connection(&[PROTOCOL_ERROR]);
    play(vec![
        after_reset(
            "5.1/8 closed by RST_STREAM: DATA",
            data(END_STREAM, 1, b"test"),
            Expect::Stream(1, &[STREAM_CLOSED]),
        ),
        after_reset("5.1/9 closed by RST_STREAM: HEADERS", request(), CLOSED),
        after_reset("5.1/10 closed by RST_STREAM: CONTINUATION", continuation(), MISPLACED),
        after_end("5.1/11 closed: DATA", data(END_STREAM, 1, b"test"), CLOSED),
        after_end("5.1/12 closed: HEADERS", request(), CLOSED),
        after_end("5.1/13 closed: CONTINUATION", continuation(), MISPLACED),
    ]);
}

#[test]
fn s5_1_1_stream_identifiers() {
    play(vec![
        case("5.1.1/1 even-numbered", headers(WHOLE, 2, &get("/")), Expect::Connection(&[PROTOCOL_ERROR])),
        case(
            "5.1.1/2 smaller than before",
            [headers(WHOLE, 5, &get("/")), headers(WHOLE, 3, &get("/"))].concat(),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
        // Not in h2spec's release: the stream that is named again was opened, others were skipped.
        case(
            "a stream that was opened beyond others, again",
            [headers(WHOLE, 5, &get("/hang")), headers(WHOLE, 5, &get("/"))].concat(),
            Expect::Connection(&[STREAM_CLOSED]),
        ),
    ]);
}

#[test]
fn s5_1_2_concurrency() {
    alone("5.1.2/1 more streams than allowed", async {
        let mut peer = Peer::open().await;
        let requests: Vec<u8> = (0..101).flat_map(|n| headers(WHOLE, 1 + 2 * n, &get("/hang"))).collect();
        peer.send(&requests).await;
        let refused = peer.find(RST_STREAM, 201).await;
        assert_eq!(refused.payload, REFUSED_STREAM.to_be_bytes());
        // One leaves, one may come.
        peer.send(&reset(1, CANCEL)).await;
        peer.serves(203).await;
        assert_eq!(peer.seen.calls.get(), 101);
    });
}

#[test]
fn s5_3_1_dependencies() {
    let own = headers(WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 15], &get("/")[..]].concat());
    play(vec![
        // RFC 9113 dropped priority; a connection error keeps HPACK state whole (h2 skips the block).
        case("5.3.1/1 HEADERS that depends on itself", own, Expect::Connection(&[PROTOCOL_ERROR])),
        case("5.3.1/2 PRIORITY that depends on itself", priority(1, 1, 255), Expect::Stream(1, &[PROTOCOL_ERROR])),
    ]);
}

#[test]
fn s5_4_1_connection_errors() {
    let bad_ping = || [headers(WHOLE, 1, &get("/hang")), frame(PING, 0, 3, &[0; 8])].concat();
    play(vec![case("5.4.1/1 the connection is closed", bad_ping(), Expect::Connection(&[PROTOCOL_ERROR]))]);
    alone("5.4.1/2 GOAWAY comes first and names the last stream", async {
        let mut peer = Peer::open().await;
        peer.send(&bad_ping()).await;
        let goaway = peer.find(GOAWAY, 0).await;
        assert_eq!(goaway.payload[..8], [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(peer.next().await, Event::Closed);
    });
}

#[test]
fn s5_5_extensions() {
    let unknown = frame(0xbb, 0, 0, &[0; 8]);
    play(vec![
        case("5.5/1 unknown frame", [unknown.clone(), frame(PING, 0, 0, &[7; 8])].concat(), Expect::Pong([7; 8])),
        case(
            "5.5/2 unknown frame within a header block",
            [headers(END_STREAM, 1, &get("/")), unknown, frame(CONTINUATION, END_HEADERS, 1, b"")].concat(),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
    ]);
}
