//! h2spec `generic`: what every server must take.

use crate::{
    peer::{Event, Peer},
    table::{Case, Expect, Step, alone, case, play, steps},
    wire::*,
};

#[test]
fn g1_connection_preface() {
    alone("1/1 the server's preface", async {
        let mut peer = Peer::connect();
        peer.send(&[PREFACE, &settings(&[])].concat()).await;
        let Event::Frame(first) = peer.next().await else { panic!("no frame") };
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "SETTINGS comes first");
        peer.send(&frame(SETTINGS, ACK, 0, b"")).await;
        peer.serves(1).await;
    });
}

fn ok(name: &'static str, bytes: Vec<u8>) -> Case {
    case(name, bytes, Expect::Response(1, 200))
}

fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

/// All that RFC 7540 defines, none of which may trouble the request that follows.
const SIX: [(u16, u32); 6] =
    [(1, 4096), (ENABLE_PUSH, 1), (3, 100), (INITIAL_WINDOW_SIZE, 65_535), (MAX_FRAME_SIZE, 16_384), (6, 100)];

#[test]
fn g2_streams() {
    let blocked = |name, bytes: Vec<u8>| {
        let closed = settings(&[(INITIAL_WINDOW_SIZE, 0)]);
        case(name, [closed, headers(WHOLE, 1, &get("/")), bytes].concat(), Expect::Octet(1))
    };
    let after_end = |name, bytes: Vec<u8>| {
        steps(name, vec![Step::Send(headers(WHOLE, 1, &get("/"))), Step::End(1), Step::Send(bytes)], Expect::Nothing)
    };
    play(vec![
        ok("2/1 idle: PRIORITY", [priority(1, 0, 255), headers(WHOLE, 1, &get("/"))].concat()),
        blocked("2/2 half closed (remote): WINDOW_UPDATE", window_update(1, 1)),
        blocked("2/3 half closed (remote): PRIORITY", [priority(1, 0, 255), window_update(1, 1)].concat()),
        steps(
            "2/4 half closed (remote): RST_STREAM",
            vec![Step::Send([headers(WHOLE, 1, &get("/hang")), reset(1, CANCEL), ping()].concat())],
            Expect::Pong([7; 8]),
        ),
        after_end("2/5 closed: PRIORITY", priority(1, 0, 255)),
        // Not in h2spec: what a client may have sent before it saw the end.
        after_end("closed: WINDOW_UPDATE", window_update(1, 1)),
        after_end("closed: RST_STREAM", reset(1, CANCEL)),
    ]);
}

#[test]
fn g3_frames() {
    let body = |frames: Vec<Vec<u8>>| [vec![headers(END_HEADERS, 1, &post("/"))], frames].concat().concat();
    let prioritised =
        |payload: &[u8]| [headers(WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 0, 15], payload].concat())].concat();
    let with_priority = |frame: Vec<u8>| [frame, headers(WHOLE, 1, &get("/"))].concat();
    let (first, rest) = (get("/")[..10].to_vec(), get("/")[10..].to_vec());
    play(vec![
        ok("3.1/1 DATA", body(vec![data(END_STREAM, 1, b"test")])),
        ok("3.1/2 several DATA", body(vec![data(0, 1, b"test"), data(END_STREAM, 1, b"test")])),
        ok("3.1/3 DATA with padding", body(vec![data(END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0")])),
        ok("3.2/1 HEADERS", headers(WHOLE, 1, &get("/"))),
        ok("3.2/2 HEADERS with padding", headers(WHOLE | PADDED, 1, &[&[3], &get("/")[..], &[0; 3]].concat())),
        ok("3.2/3 HEADERS with priority", prioritised(&get("/"))),
        ok("3.3/1 PRIORITY with weight 1", with_priority(priority(1, 0, 0))),
        ok("3.3/2 PRIORITY with weight 256", with_priority(priority(1, 0, 255))),
        ok("3.3/3 PRIORITY with a dependency", with_priority([priority(1, 0, 255), priority(3, 1, 255)].concat())),
        ok("3.3/4 PRIORITY, exclusive", with_priority(priority(3, 0x8000_0001, 255))),
        ok("3.3/5 PRIORITY on idle, then a lower stream", with_priority(priority(5, 0, 255))),
        case("3.4/1 RST_STREAM", [headers(END_HEADERS, 1, &post("/")), reset(1, CANCEL)].concat(), Expect::Nothing),
        case("3.5/1 SETTINGS", settings(&SIX), Expect::SettingsAck),
        case("3.7/1 PING", frame(PING, 0, 0, b"h2spec\0\0"), Expect::Pong(*b"h2spec\0\0")),
        case("3.8/1 GOAWAY", frame(GOAWAY, 0, 0, &[0; 8]), Expect::Closed),
        ok("3.9/1 WINDOW_UPDATE on the connection", with_priority(window_update(0, 1))),
        steps(
            "3.9/2 WINDOW_UPDATE on a stream",
            vec![Step::Send(
                [headers(END_HEADERS, 1, &post("/")), window_update(1, 1), data(END_STREAM, 1, b"x")].concat(),
            )],
            Expect::Response(1, 200),
        ),
        ok(
            "3.10/1 CONTINUATION",
            [headers(END_STREAM, 1, &first), frame(CONTINUATION, END_HEADERS, 1, &rest)].concat(),
        ),
        ok(
            "3.10/2 several CONTINUATION",
            [
                headers(END_STREAM, 1, &first),
                frame(CONTINUATION, 0, 1, &rest[..5]),
                frame(CONTINUATION, 0, 1, b""),
                frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
            ]
            .concat(),
        ),
    ]);
}

#[test]
fn g4_http_messages() {
    play(vec![
        ok("4/1 GET", headers(WHOLE, 1, &get("/"))),
        ok("4/2 HEAD", headers(WHOLE, 1, &request("HEAD", "/"))),
        ok("4/3 POST", [headers(END_HEADERS, 1, &post("/")), data(END_STREAM, 1, b"test")].concat()),
        ok(
            "4/4 POST with trailers",
            [
                headers(END_HEADERS, 1, &with(post("/"), &[("trailer", "x-test")])),
                data(0, 1, b"test"),
                headers(WHOLE, 1, &field("x-test", "ok")),
            ]
            .concat(),
        ),
    ]);
}

#[test]
fn g5_hpack() {
    // Indexed GET, http, / and :authority as literal with an indexed name.
    let base = |extra: &[u8]| {
        let mut block = vec![0x82, 0x86, 0x84, 0x01, 12];
        block.extend(b"test.example");
        block.extend(extra);
        headers(WHOLE, 1, &block)
    };
    // "custom-key" and "custom-value" in the Huffman code (RFC 7541 appendix C.4.3).
    const KEY: &[u8] = &[0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
    const VALUE: &[u8] = &[0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf];
    let huffman = |first: u8| [&[first], KEY, VALUE].concat();
    let named = |first: u8, prefix| [integer(first, prefix, 19), b"\x04test".to_vec()].concat();
    let named_huffman = |first: u8, prefix| [integer(first, prefix, 19), VALUE.to_vec()].concat();
    let resize = |size: usize| integer(0x20, 5, size);
    let front = |updates: Vec<Vec<u8>>| {
        let mut block = updates.concat();
        block.extend(get("/"));
        headers(WHOLE, 1, &block)
    };
    play(vec![
        ok("5/1 indexed field", base(&[0x90])),
        ok("5/2 incremental indexing, indexed name", base(&named(0x40, 6))),
        ok("5/3 incremental indexing, indexed name, Huffman", base(&named_huffman(0x40, 6))),
        ok("5/4 incremental indexing, new name", base(&literal(0x40, b"custom-key", b"custom-value"))),
        ok("5/5 incremental indexing, new name, Huffman", base(&huffman(0x40))),
        ok("5/6 without indexing, indexed name", base(&named(0x00, 4))),
        ok("5/7 without indexing, indexed name, Huffman", base(&named_huffman(0x00, 4))),
        ok("5/8 without indexing, new name", base(&literal(0x00, b"custom-key", b"custom-value"))),
        ok("5/9 without indexing, new name, Huffman", base(&huffman(0x00))),
        ok("5/10 never indexed, indexed name", base(&named(0x10, 4))),
        ok("5/11 never indexed, indexed name, Huffman", base(&named_huffman(0x10, 4))),
        ok("5/12 never indexed, new name", base(&literal(0x10, b"custom-key", b"custom-value"))),
        ok("5/13 never indexed, new name, Huffman", base(&huffman(0x10))),
        ok("5/14 table size update", front(vec![resize(128)])),
        ok("5/15 several table size updates", front(vec![resize(128), resize(4096)])),
        // Not in h2spec: an entry of the dynamic table is found again.
        ok("dynamic table entry", base(&[literal(0x40, b"custom-key", b"custom-value"), vec![0xbe]].concat())),
    ]);
}
