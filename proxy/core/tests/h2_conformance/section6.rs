//! h2spec `http2/6`: each frame type.

use crate::{
    peer::{Event, Peer, healthy, model, run},
    table::{Case, Expect, alone, case, play},
    wire::*,
};

fn broken(name: &'static str, bytes: Vec<u8>, codes: &'static [u32]) -> Case {
    case(name, bytes, Expect::Connection(codes))
}

#[test]
fn s6_1_to_6_4() {
    let open = headers(END_HEADERS, 1, &post("/"));
    play(vec![
        broken("6.1/1 DATA on stream 0", data(END_STREAM, 0, b"test"), &[PROTOCOL_ERROR]),
        broken(
            "6.1/2 DATA on a half-closed stream",
            [headers(WHOLE, 1, &post("/")), data(END_STREAM, 1, b"test")].concat(),
            &[STREAM_CLOSED],
        ),
        broken(
            "6.1/3 DATA with too much padding",
            [open.clone(), data(END_STREAM | PADDED, 1, b"\x06test")].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken(
            "6.2/1 HEADERS without END_HEADERS, then PRIORITY",
            [headers(END_STREAM, 1, &get("/")), priority(1, 0, 255)].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken(
            "6.2/2 HEADERS without END_HEADERS, then another stream's",
            [headers(END_STREAM, 1, &get("/")), headers(WHOLE, 3, &get("/"))].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken("6.2/3 HEADERS on stream 0", headers(WHOLE, 0, &get("/")), &[PROTOCOL_ERROR]),
        broken(
            "6.2/4 HEADERS with too much padding",
            headers(WHOLE | PADDED, 1, &[&[200], &get("/")[..]].concat()),
            &[PROTOCOL_ERROR],
        ),
        broken("6.3/1 PRIORITY on stream 0", priority(0, 1, 255), &[PROTOCOL_ERROR]),
        // A stream error by RFC 9113 §6.3, which §5.4 lets be a connection error.
        broken("6.3/2 PRIORITY of 4 octets", frame(PRIORITY, 0, 1, &[0, 0, 0, 3]), &[FRAME_SIZE_ERROR]),
        broken("6.4/1 RST_STREAM on stream 0", reset(0, CANCEL), &[PROTOCOL_ERROR]),
        broken("6.4/2 RST_STREAM on an idle stream", reset(1, CANCEL), &[PROTOCOL_ERROR]),
        broken("6.4/3 RST_STREAM of 3 octets", [open, frame(RST_STREAM, 0, 1, &[0; 3])].concat(), &[FRAME_SIZE_ERROR]),
    ]);
}

#[test]
fn s6_5_settings() {
    play(vec![
        broken("6.5/1 acknowledged with a payload", frame(SETTINGS, ACK, 0, &[0]), &[FRAME_SIZE_ERROR]),
        broken("6.5/2 on a stream", frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100]), &[PROTOCOL_ERROR]),
        broken("6.5/3 of 3 octets", frame(SETTINGS, 0, 0, &[0, 3, 0]), &[FRAME_SIZE_ERROR]),
        broken("6.5.2/1 ENABLE_PUSH 2", settings(&[(ENABLE_PUSH, 2)]), &[PROTOCOL_ERROR]),
        broken("6.5.2/2 INITIAL_WINDOW_SIZE 2^31", settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]), &[FLOW_CONTROL_ERROR]),
        broken("6.5.2/3 MAX_FRAME_SIZE 16383", settings(&[(MAX_FRAME_SIZE, 16_383)]), &[PROTOCOL_ERROR]),
        broken("6.5.2/4 MAX_FRAME_SIZE 2^24", settings(&[(MAX_FRAME_SIZE, 1 << 24)]), &[PROTOCOL_ERROR]),
        case(
            "6.5.2/5 unknown identifier",
            [settings(&[(0xff, 1)]), frame(PING, 0, 0, &[7; 8])].concat(),
            Expect::Pong([7; 8]),
        ),
        case("6.5.3/2 acknowledged", settings(&[(ENABLE_PUSH, 0)]), Expect::SettingsAck),
        broken("an acknowledgement of nothing", frame(SETTINGS, ACK, 0, b""), &[PROTOCOL_ERROR]),
    ]);
}

#[test]
fn s6_5_3_last_value_counts() {
    alone("6.5.3/1 the last of two values counts", async {
        let values = [(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)];
        let mut peer = Peer::open_to(&model(), &values).await;
        peer.send(&headers(WHOLE, 1, &get("/"))).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 1);
    });
}

#[test]
fn s6_7_to_6_9() {
    let ping = || frame(PING, 0, 0, b"visible!");
    play(vec![
        case("6.7/1 PING", ping(), Expect::Pong(*b"visible!")),
        case(
            "6.7/2 PING acknowledged is not answered",
            [frame(PING, ACK, 0, b"invisibl"), ping()].concat(),
            Expect::Pong(*b"visible!"),
        ),
        broken("6.7/3 PING on a stream", frame(PING, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        broken("6.7/4 PING of 6 octets", frame(PING, 0, 0, &[0; 6]), &[FRAME_SIZE_ERROR]),
        broken("6.8/1 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        broken("GOAWAY of 4 octets", frame(GOAWAY, 0, 0, &[0; 4]), &[FRAME_SIZE_ERROR]),
        broken("6.9/1 WINDOW_UPDATE 0 on the connection", window_update(0, 0), &[PROTOCOL_ERROR]),
        // A stream error by RFC 9113 §6.9, which §5.4 lets be a connection error.
        broken(
            "6.9/2 WINDOW_UPDATE 0 on a stream",
            [headers(END_HEADERS, 1, &post("/")), window_update(1, 0)].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken("6.9/3 WINDOW_UPDATE of 3 octets", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), &[FRAME_SIZE_ERROR]),
        broken(
            "6.9.1/2 the connection's window over 2^31-1",
            [window_update(0, 0x7fff_ffff), window_update(0, 0x7fff_ffff)].concat(),
            &[FLOW_CONTROL_ERROR],
        ),
        case(
            "6.9.1/3 a stream's window over 2^31-1",
            [headers(END_HEADERS, 1, &post("/hang")), window_update(1, 0x7fff_ffff), window_update(1, 0x7fff_ffff)]
                .concat(),
            Expect::Stream(1, &[FLOW_CONTROL_ERROR]),
        ),
        broken(
            "6.9.2/3 INITIAL_WINDOW_SIZE over 2^31-1",
            settings(&[(INITIAL_WINDOW_SIZE, u32::MAX)]),
            &[FLOW_CONTROL_ERROR],
        ),
    ]);
}

#[test]
fn s6_9_flow_control() {
    alone("6.9.1/1 a window of one octet", async {
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 1)]).await;
        peer.send(&headers(WHOLE, 1, &get("/"))).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 1);
        assert_eq!(peer.next().await, Event::Silence);
    });
    alone("6.9.2/1 SETTINGS changes the window of an open stream", async {
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        peer.send(&[headers(WHOLE, 1, &get("/")), settings(&[(INITIAL_WINDOW_SIZE, 1)])].concat()).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 1);
        assert_eq!(peer.next().await, Event::Silence);
    });
    alone("6.9.2/2 a window below zero is made good before anything comes", async {
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 1)]).await;
        peer.send(&headers(WHOLE, 1, &get("/"))).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 1);
        peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 3)])).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 2);
        peer.send(&settings(&[(INITIAL_WINDOW_SIZE, 0)])).await;
        peer.find(SETTINGS, 0).await;
        peer.send(&window_update(1, 3)).await;
        assert_eq!(peer.next().await, Event::Silence, "three owed, three given: zero");
        peer.send(&window_update(1, 1)).await;
        assert_eq!(peer.find(DATA, 1).await.payload.len(), 1);
        peer.send(&window_update(1, 1)).await;
        assert_eq!(peer.finish(1).await, 1);
    });
}

#[test]
fn s6_9_more_than_the_window() {
    run(async {
        // Not in h2spec: the client overruns the window we gave.
        let mut peer = Peer::open().await;
        let flood: Vec<u8> = (0..5).flat_map(|_| data(0, 1, &[0; 16_384])).collect();
        peer.send(&[headers(END_HEADERS, 1, &post("/hang")), flood].concat()).await;
        let reset = peer.find(RST_STREAM, 1).await;
        assert_eq!(reset.payload, FLOW_CONTROL_ERROR.to_be_bytes());
        peer.serves(3).await;
        healthy().await;
    });
}

#[test]
fn s6_10_continuation() {
    let whole = get("/");
    let part = frame(CONTINUATION, 0, 1, &whole[10..12]);
    let last = frame(CONTINUATION, END_HEADERS, 1, &whole[12..]);
    let open = headers(END_STREAM, 1, &whole[..10]);
    let extra = || frame(CONTINUATION, END_HEADERS, 1, &field("x", "y"));
    play(vec![
        case(
            "6.10/1 several CONTINUATION",
            [open.clone(), part.clone(), last.clone()].concat(),
            Expect::Response(1, 200),
        ),
        broken("6.10/2 followed by another type", [open.clone(), part, data(0, 1, b"x")].concat(), &[PROTOCOL_ERROR]),
        broken(
            "6.10/3 on stream 0",
            [open.clone(), frame(CONTINUATION, END_HEADERS, 0, &whole[10..])].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken(
            "6.10/4 after HEADERS with END_HEADERS",
            [headers(WHOLE, 1, &get("/hang")), extra()].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken(
            "6.10/5 after CONTINUATION with END_HEADERS",
            [open, frame(CONTINUATION, END_HEADERS, 1, &whole[10..]), extra()].concat(),
            &[PROTOCOL_ERROR],
        ),
        broken(
            "6.10/6 after DATA",
            [headers(END_HEADERS, 1, &post("/hang")), data(0, 1, b"x"), extra()].concat(),
            &[PROTOCOL_ERROR],
        ),
    ]);
}
