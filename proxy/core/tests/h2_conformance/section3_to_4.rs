//! h2spec `http2/3` and `http2/4`: starting, and frames.

use crate::{
    peer::{Event, Peer, healthy, run},
    table::{Case, Expect, alone, case, play},
    wire::*,
};

#[test]
fn s3_5_connection_preface() {
    alone("3.5/1 the server's preface", async {
        let mut peer = Peer::connect();
        peer.send(&[PREFACE, &settings(&[])].concat()).await;
        assert!(matches!(peer.next().await, Event::Frame(frame) if frame.kind == SETTINGS));
    });
    // GOAWAY may be left out (RFC 9113 §3.4).
    alone("3.5/2 a wrong preface", async {
        let mut peer = Peer::connect();
        peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n").await;
        while let Event::Frame(_) = peer.next().await {}
        assert_eq!(peer.next().await, Event::Closed);
    });
    run(async {
        // Not in h2spec: the first frame is not SETTINGS.
        for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, b""), headers(WHOLE, 1, &get("/"))] {
            let mut peer = Peer::connect();
            peer.send(&[PREFACE, &first].concat()).await;
            assert_eq!(peer.goaway().await, PROTOCOL_ERROR);
        }
        // Every prefix of an opening, then the end.
        let opening = [PREFACE, &settings(&[(3, 1)])].concat();
        for cut in 0..opening.len() {
            let mut peer = Peer::connect();
            peer.send(&opening[..cut]).await;
            peer.leave().await;
        }
        healthy().await;
    });
}

#[test]
fn s4_1_frame_format() {
    let reserved = {
        let mut frame = frame(PING, 0, 0, b"h2spec\0\0");
        frame[5] |= 0x80;
        frame
    };
    play(vec![
        case(
            "4.1/1 unknown type",
            [frame(0x16, 0, 0, &[0; 8]), frame(PING, 0, 0, &[7; 8])].concat(),
            Expect::Pong([7; 8]),
        ),
        case("4.1/2 undefined flag", frame(PING, 0x16, 0, b"h2spec\0\0"), Expect::Pong(*b"h2spec\0\0")),
        case("4.1/3 reserved bit", reserved, Expect::Pong(*b"h2spec\0\0")),
    ]);
}

#[test]
fn s4_2_frame_size() {
    let huge = |kind, stream| frame(kind, 0, stream, &[0; 16_385]);
    play(vec![
        case(
            "4.2/1 DATA of 2^14 octets",
            [headers(END_HEADERS, 1, &post("/")), data(END_STREAM, 1, &[0; 16_384])].concat(),
            Expect::Response(1, 200),
        ),
        case(
            "4.2/2 DATA over SETTINGS_MAX_FRAME_SIZE",
            [headers(END_HEADERS, 1, &post("/")), huge(DATA, 1)].concat(),
            Expect::Connection(&[FRAME_SIZE_ERROR]),
        ),
        case("4.2/3 HEADERS over SETTINGS_MAX_FRAME_SIZE", huge(HEADERS, 1), Expect::Connection(&[FRAME_SIZE_ERROR])),
        case("SETTINGS over SETTINGS_MAX_FRAME_SIZE", huge(SETTINGS, 0), Expect::Connection(&[FRAME_SIZE_ERROR])),
    ]);
}

#[test]
fn s4_3_header_compression() {
    let open = headers(END_STREAM, 1, &get("/"));
    let interrupted =
        |name, by: Vec<u8>| -> Case { case(name, [open.clone(), by].concat(), Expect::Connection(&[PROTOCOL_ERROR])) };
    play(vec![
        case("4.3/1 invalid header block", headers(WHOLE, 1, &[0x40]), Expect::Connection(&[COMPRESSION_ERROR])),
        interrupted("4.3/2 PRIORITY within a header block", priority(1, 0, 255)),
        interrupted("4.3/3 HEADERS of another stream within a header block", headers(WHOLE, 3, &get("/"))),
    ]);
}
