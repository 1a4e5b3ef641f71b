//! Floods and slow peers: each ends by its limit, holds no more memory than the figure beside it, and leaves other
//! connections alone.

use crate::{
    memory,
    peer::{Event, Peer, healthy, model, run},
    wire::*,
};
use pillion_core::downstream::{codec::http2::End, guard::http2::Breach};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sends `bytes` on a connection that began with `opening`; it must end with ENHANCE_YOUR_CALM for this breach, having
/// held at most `most` bytes: pipe (256 KiB), client and server together.
fn flood(opening: Vec<u8>, bytes: Vec<u8>, breach: Breach, most: usize) {
    let base = memory::begin();
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&opening).await;
        // Reading and writing at once, as an attacker who wants the answers too.
        peer.send_while_reading(&bytes).await;
        assert_eq!(peer.goaway().await, ENHANCE_YOUR_CALM, "{breach:?}");
        assert_eq!(peer.leave().await.end, End::Breach(breach));
        healthy().await;
    });
    let held = memory::most_above(base);
    eprintln!("{breach:?}: {} KiB held", held / KIB);
    assert!(held <= most, "{} KiB held", held / KIB);
}

fn each(count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| frames(1 + 2 * n)).collect()
}

#[test]
fn rapid_reset() {
    let attack = |path: &'static str| {
        each(10_000, move |stream| [headers(WHOLE, stream, &get(path)), reset(stream, CANCEL)].concat())
    };
    // 10,000 streams are some 900 KB in the client's hand.
    flood(vec![], attack("/hang"), Breach::ResetsReceived, 3 * MIB);
    flood(vec![], attack("/"), Breach::ResetsReceived, 3 * MIB);
}

#[test]
fn rapid_reset_without_client_resets() {
    // MadeYouReset: what makes a server reset streams that it has begun to serve.
    let no_path = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]);
    let malformed = each(10_000, |stream| headers(WHOLE, stream, &no_path));
    flood(vec![], malformed, Breach::ResetsSent, 3 * MIB);
    let short = with(post("/hang"), &[("content-length", "1")]);
    let lengths =
        each(10_000, |stream| [headers(END_HEADERS, stream, &short), data(END_STREAM, stream, b"xx")].concat());
    flood(vec![], lengths, Breach::ResetsSent, 4 * MIB);
    let trailers = each(10_000, |stream| {
        [headers(END_HEADERS, stream, &post("/hang")), headers(END_HEADERS, stream, &field("x", "y"))].concat()
    });
    flood(vec![], trailers, Breach::ResetsSent, 4 * MIB);
    let concurrency = each(10_000, |stream| headers(WHOLE, stream, &get("/hang")));
    flood(vec![], concurrency, Breach::ResetsSent, 3 * MIB);
    let depends = each(200, |stream| priority(stream, stream, 1));
    flood(vec![], [depends.clone(), depends].concat(), Breach::Priorities, 2 * MIB);
    // Each stream is begun, then made to fail by its window.
    let windows = each(10_000, |stream| {
        let twice = window_update(stream, 0x7fff_ffff).repeat(2);
        [headers(END_HEADERS, stream, &post("/hang")), twice].concat()
    });
    flood(vec![], windows, Breach::WindowUpdates, 4 * MIB);
}

#[test]
fn data_on_a_closed_stream_is_ignored() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&[headers(END_HEADERS, 1, &post("/hang")), reset(1, CANCEL)].concat()).await;
        peer.send_while_reading(&data(0, 1, b"x").repeat(3_000)).await;
        peer.serves(3).await;
        // Not one for each, which would be an amplifier.
        assert!(peer.leave().await.tally.resets_sent.get() <= 2);
    });
}

#[test]
fn continuations() {
    let open = headers(END_STREAM, 1, &get("/"));
    let empty = frame(CONTINUATION, 0, 1, b"").repeat(100_000);
    flood(open.clone(), empty, Breach::Continuations, 3 * MIB);
    let large = frame(CONTINUATION, 0, 1, &literal(0, b"x", &[b'x'; 16_000])).repeat(100);
    flood(open, large, Breach::HeaderBlockBytes, 5 * MIB);
}

#[test]
fn control_frames() {
    let stream = || headers(END_HEADERS, 1, &post("/hang"));
    let cases: [(Vec<u8>, Breach); 7] = [
        (frame(PING, 0, 0, &[0; 8]), Breach::Pings),
        (frame(PING, ACK, 0, &[0; 8]), Breach::Pings),
        (settings(&[(INITIAL_WINDOW_SIZE, 65_535)]), Breach::Settings),
        (priority(3, 1, 9), Breach::Priorities),
        (frame(0xbb, 0, 1, b"anything"), Breach::Priorities),
        (data(0, 1, b""), Breach::EmptyData),
        (window_update(0, 1), Breach::WindowUpdates),
    ];
    for (frame, breach) in cases {
        flood(stream(), frame.repeat(20_000), breach, 2 * MIB);
    }
}

#[test]
fn ordinary_counts_are_borne() {
    run(async {
        let mut peer = Peer::open().await;
        for round in 0..20 {
            // Windows pass; each is nearly full.
            peer.send_while_reading(&frame(PING, 0, 0, &[0; 8]).repeat(95)).await;
            peer.send_while_reading(&priority(1, 0, 9).repeat(190)).await;
            let cancelled = (0..90).flat_map(|n| {
                let stream = 1 + 2 * (round * 91 + n);
                [headers(WHOLE, stream, &get("/hang")), reset(stream, CANCEL)].concat()
            });
            peer.send_while_reading(&cancelled.collect::<Vec<_>>()).await;
            peer.serves(1 + 2 * (round * 91 + 90)).await;
            sleep(Duration::from_secs(31)).await;
        }
        // WINDOW_UPDATE in step with DATA is no flood.
        for n in 0..40 {
            let stream = 10_001 + 2 * n;
            peer.send(&headers(WHOLE, stream, &get("/bytes/163840"))).await;
            let mut left = 163_840;
            while left > 0 {
                let taken = peer.find(DATA, stream).await.payload.len();
                left -= taken;
                let more = [window_update(0, taken as u32), window_update(stream, taken as u32)].concat();
                peer.send(if left > 0 { &more } else { &more[..13] }).await;
            }
        }
        assert_eq!(peer.leave().await.end, End::Closed);
    });
}

/// h2 bears a hundred of them in a connection's life.
#[test]
fn data_without_a_byte_is_borne_now_and_then() {
    run(async {
        let mut peer = Peer::open().await;
        for round in 0..5 {
            let stream = 1 + 2 * round;
            peer.send(&headers(END_HEADERS, stream, &post("/"))).await;
            peer.send_while_reading(&data(0, stream, b"").repeat(95)).await;
            peer.send(&data(END_STREAM, stream, b"x")).await;
            assert_eq!(peer.status(stream).await, 200, "round {round}");
            sleep(Duration::from_secs(31)).await;
        }
    });
}

#[test]
fn http2_bomb_of_references() {
    // One byte on the wire is a field: 5,000 to one and more.
    let bomb = |count: usize| {
        let mut block = with(get("/bytes/100000"), &[]);
        block.extend(literal(0x40, b"cookie", &[b'a'; 4_000]));
        block.extend(vec![0xbe; count]);
        block
    };
    let base = memory::begin();
    run(async {
        // Far over the limit: the connection ends while the block is decoded.
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        peer.send(&headers(WHOLE, 1, &bomb(12_000))).await;
        assert_eq!(peer.goaway().await, ENHANCE_YOUR_CALM);
        healthy().await;
        // Below what h2 bears, on every stream at once: 1,900 fields of one byte each are refused by their count.
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        let first = [get("/bytes/100000"), literal(0x40, b"a", b"")].concat();
        peer.send(&headers(WHOLE, 1, &first)).await;
        let block = [get("/bytes/100000"), vec![0xbe; 1_900]].concat();
        let attack: Vec<u8> = (1..100).flat_map(|n| headers(WHOLE, 1 + 2 * n, &block)).collect();
        peer.send_while_reading(&attack).await;
        // Each bomb is a 431 with nothing behind it but a stalled body of three bytes.
        assert_eq!(peer.seen.refused.borrow().len(), 99);
        assert!(peer.seen.refused.borrow().iter().all(|name| *name == "too_many_fields"));
        // The stalled ones are reaped.
        sleep(Duration::from_secs(31)).await;
        assert_eq!(peer.seen.running.get(), 0);
        peer.send(&[settings(&[(INITIAL_WINDOW_SIZE, 65_535)]), headers(WHOLE, 301, &get("/"))].concat()).await;
        assert_eq!(peer.finish(301).await, 5);
        assert_eq!(peer.leave().await.tally.stalled.get(), 100);
        healthy().await;
    });
    let held = memory::most_above(base);
    eprintln!("bomb of references: {} KiB held", held / KIB);
    assert!(held <= 4 * MIB, "{} KiB held", held / KIB);
}

#[test]
fn http2_bomb_of_crumbs() {
    let base = memory::begin();
    run(async {
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        peer.send(&headers(WHOLE, 1, &[get("/hang"), literal(0x40, b"cookie", b"")].concat())).await;
        let block = [get("/hang"), vec![0xbe; 129]].concat();
        let attack: Vec<u8> = (1..100).flat_map(|n| headers(WHOLE, 1 + 2 * n, &block)).collect();
        peer.send_while_reading(&attack).await;
        assert_eq!(peer.seen.refused.borrow().len(), 99);
        healthy().await;
    });
    let held = memory::most_above(base);
    eprintln!("bomb of crumbs: {} KiB held", held / KIB);
    assert!(held <= 4 * MIB, "{} KiB held", held / KIB);
}

#[test]
fn zero_window_stall() {
    let base = memory::begin();
    run(async {
        let mut peer = Peer::open_to(&model(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
        peer.send_while_reading(&each(100, |stream| headers(WHOLE, stream, &get("/bytes/10000000")))).await;
        assert_eq!(peer.seen.running.get(), 100);
        sleep(Duration::from_secs(31)).await;
        assert_eq!(peer.seen.running.get(), 0, "reaped");
        assert_eq!(peer.find(RST_STREAM, 199).await.payload, CANCEL.to_be_bytes());
        assert_eq!(peer.leave().await.tally.stalled.get(), 100);
        healthy().await;
    });
    let held = memory::most_above(base);
    eprintln!("zero window: {} KiB held", held / KIB);
    assert!(held <= 2 * MIB, "{} KiB held", held / KIB);
}

#[test]
fn slow_headers() {
    run(async {
        let block = get("/");
        let request = headers(END_STREAM, 1, &block[..5]);
        let rest = frame(CONTINUATION, 0, 1, &block[5..]);
        // Silent after HEADERS; silent within a frame's head, within its payload; a byte a second for ever.
        for (at_once, each_second) in [
            (request.clone(), vec![]),
            (request[..4].to_vec(), vec![]),
            (request[..12].to_vec(), vec![]),
            (request.clone(), rest),
            (frame(SETTINGS, 0, 0, &[0; 12])[..11].to_vec(), vec![]),
        ] {
            let mut peer = Peer::open().await;
            peer.send(&at_once).await;
            let began = Instant::now();
            for byte in each_second.iter().take(9) {
                sleep(Duration::from_secs(1)).await;
                peer.send(&[*byte]).await;
            }
            assert_eq!(peer.goaway_after(Duration::from_secs(20)).await, ENHANCE_YOUR_CALM);
            assert!((10..=11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
            assert_eq!(peer.leave().await.end, End::Breach(Breach::HeaderTimeout));
        }
        healthy().await;
    });
}

#[test]
fn slow_handshake() {
    run(async {
        for bytes in [&b""[..], &PREFACE[..10], PREFACE] {
            let mut peer = Peer::connect();
            peer.send(bytes).await;
            let began = Instant::now();
            while !matches!(peer.next().await, Event::Closed) {}
            assert!((10..=12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
            assert_eq!(peer.leave().await.end, End::Breach(Breach::HandshakeTimeout));
        }
        healthy().await;
    });
}

#[test]
fn slow_body() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(END_HEADERS, 1, &post("/"))).await;
        // A byte now and then keeps it; silence does not.
        for _ in 0..10 {
            sleep(Duration::from_secs(20)).await;
            peer.send(&data(0, 1, b"x")).await;
        }
        let began = Instant::now();
        let status = loop {
            match peer.next().await {
                Event::Frame(frame) if frame.kind == HEADERS => break status(&frame.payload),
                Event::Closed => panic!("closed"),
                Event::Frame(_) | Event::Silence => {}
            }
        };
        assert_eq!(status, 408);
        assert!((30..=62).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert_eq!(*peer.seen.broken.borrow(), ["body given up: the peer fell silent"]);
        peer.serves(3).await;
        healthy().await;
    });
}

#[test]
fn slow_read() {
    let base = memory::begin();
    run(async {
        let mut model = model();
        model.http2.window_updates = 1_000;
        let mut peer = Peer::connect_to(&model, 4 * KIB);
        peer.shake_hands(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]).await;
        // All the window there is, and then nothing is read.
        peer.send(&window_update(0, 0x7fff_0000)).await;
        for n in 0..100 {
            peer.send(&headers(WHOLE, 1 + 2 * n, &get("/bytes/100000000"))).await;
        }
        let seen = peer.seen.clone();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(seen.running.get(), 100);
        sleep(Duration::from_secs(45)).await;
        assert_eq!(seen.running.get(), 0, "given up");
        assert_eq!(peer.leave().await.end, End::Breach(Breach::WriteTimeout));
        healthy().await;
    });
    let held = memory::most_above(base);
    eprintln!("slow read: {} KiB held", held / KIB);
    assert!(held <= 10 * MIB, "{} KiB held", held / KIB);
}

#[test]
fn small_data_frames_that_nobody_takes() {
    // The second is what is configured where nothing is.
    for (connection_window, most) in [(1 << 20, 5 * MIB), (6_553_500, 6 * MIB)] {
        let base = memory::begin();
        run(async {
            let mut model = model();
            model.http2.connection_window = connection_window;
            model.http2.connection_most = connection_window;
            let mut peer = Peer::open_to(&model, &[]).await;
            for n in 0..100 {
                peer.send(&headers(END_HEADERS, 1 + 2 * n, &post("/hang"))).await;
            }
            // One byte of window each, but a frame to keep for it; what waits is moved together.
            let one: Vec<u8> = (0..100).flat_map(|n| data(0, 1 + 2 * n, b"x")).collect();
            peer.send_while_reading(&one.repeat(2_000)).await;
            peer.send(&headers(WHOLE, 201, &get("/"))).await;
            peer.find(RST_STREAM, 201).await;
            peer.send(&[reset(1, CANCEL), headers(WHOLE, 203, &get("/"))].concat()).await;
            assert_eq!(peer.status(203).await, 200);
        });
        let held = memory::most_above(base);
        eprintln!("small DATA: {} KiB held", held / KIB);
        assert!(held <= most, "{} KiB held", held / KIB);
    }
}

#[test]
fn small_data_frames_that_were_under_way_when_their_request_was_answered() {
    run(async {
        let mut peer = Peer::open().await;
        // Fewer than what h2 remembers for a second; their frames would cost more than all that may wait.
        for stream in (1..).step_by(2).take(45) {
            peer.send(&headers(END_HEADERS, stream, &post("/early"))).await;
            assert_eq!(peer.status(stream).await, 200);
            peer.find(RST_STREAM, stream).await;
            peer.send_while_reading(&data(0, stream, b"x").repeat(120)).await;
            // Padding does not count for it.
            peer.send(&data(PADDED, stream, &[[10].as_slice(), b"x", &[0; 10]].concat())).await;
        }
        peer.send(&headers(WHOLE, 101, &get("/"))).await;
        assert_eq!(peer.status(101).await, 200);
    });
}
