//! What the codec adds to h2: refusals, cancellation, early responses, tunnels, draining.

use crate::{
    peer::{Event, Peer, healthy, model, run},
    wire::*,
};
use pillion_core::{downstream::codec::http2::End, drain::Signal};
use std::time::Duration;
use tokio::time::{Instant, sleep};

#[test]
fn too_many_fields_are_refused_through_the_service() {
    run(async {
        let mut peer = Peer::open().await;
        // Cookie crumbs count one by one (RFC 9113 §8.2.3).
        let crumbs = vec![("cookie", "a=b"); 129];
        peer.send(&headers(WHOLE, 1, &with(get("/"), &crumbs))).await;
        assert_eq!(peer.status(1).await, 431);
        assert_eq!(*peer.seen.refused.borrow(), ["too_many_fields"]);
        peer.send(&headers(WHOLE, 3, &with(get("/"), &crumbs[..128]))).await;
        assert_eq!(peer.status(3).await, 200);
        let served = peer.leave().await;
        assert_eq!((served.tally.refused.get(), served.tally.requests.get()), (1, 2));
        healthy().await;
    });
}

#[test]
fn a_large_head_is_refused_through_the_service_and_a_huge_one_by_h2() {
    run(async {
        let mut peer = Peer::open().await;
        let value = "x".repeat(8_000);
        let large = |count| {
            let block = with(get("/"), &vec![("x-large", &*value); count]);
            let (first, rest) = block.split_at(block.len().min(16_384));
            let mut frames = headers(END_STREAM, 0, first);
            let pieces: Vec<_> = rest.chunks(16_384).collect();
            for piece in &pieces {
                frames.extend(frame(CONTINUATION, 0, 0, piece));
            }
            frames.extend(frame(CONTINUATION, END_HEADERS, 0, b""));
            frames
        };
        let on = |mut frames: Vec<u8>, stream: u8| {
            let mut at = 0;
            while at < frames.len() {
                frames[at + 8] = stream;
                at += 9 + u32::from_be_bytes([0, frames[at], frames[at + 1], frames[at + 2]]) as usize;
            }
            frames
        };
        peer.send(&on(large(5), 1)).await;
        assert_eq!(peer.status(1).await, 431);
        assert_eq!(*peer.seen.refused.borrow(), ["head_too_large"]);
        // Over twice the limit, which only references to the dynamic table reach: h2's own 431, which is counted.
        let mut references = with(get("/"), &[]);
        references.extend(literal(0x40, b"x-large", &[b'x'; 4_000]));
        references.extend([0xbe; 17]);
        peer.send(&headers(WHOLE, 3, &references)).await;
        // The same status again is one byte, from the dynamic table.
        assert_eq!(peer.find(HEADERS, 3).await.payload, [0xbf]);
        assert_eq!(peer.seen.calls.get(), 1);
        peer.serves(5).await;
        // A block that never ends is no request.
        peer.send(&headers(END_STREAM, 7, &get("/"))).await;
        let seen = peer.seen.clone();
        let served = peer.leave().await;
        assert_eq!((served.tally.requests.get(), served.tally.unserved.get()), (2, 1));
        assert_eq!(*seen.reset.borrow(), ["http2_refused"]);
        healthy().await;
    });
}

#[test]
fn a_request_given_up_drops_its_service_at_once() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/hang"))).await;
        peer.send(&headers(END_HEADERS, 3, &post("/"))).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(peer.seen.running.get(), 2);
        peer.send(&[reset(1, CANCEL), reset(3, NO_ERROR)].concat()).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(peer.seen.running.get(), 0);
        peer.serves(5).await;
        assert_eq!(peer.leave().await.tally.cancelled.get(), 2);
    });
}

#[test]
fn a_connection_that_ends_drops_its_services() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/hang"))).await;
        sleep(Duration::from_millis(1)).await;
        let seen = peer.seen.clone();
        assert_eq!(seen.running.get(), 1);
        assert_eq!(peer.leave().await.end, End::Closed);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(seen.running.get(), 0);
        healthy().await;
    });
}

#[test]
fn a_panic_ends_its_stream_only() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&[headers(WHOLE, 1, &get("/panic")), headers(WHOLE, 3, &get("/"))].concat()).await;
        assert_eq!(peer.find(RST_STREAM, 1).await.payload, INTERNAL_ERROR.to_be_bytes());
        peer.serves(5).await;
        assert_eq!(peer.leave().await.tally.panics.get(), 1);
    });
}

#[test]
fn an_early_response_ends_with_no_error() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&[headers(END_HEADERS, 1, &post("/early")), data(0, 1, &[0; 100])].concat()).await;
        assert_eq!(peer.status(1).await, 200);
        assert_eq!(peer.find(RST_STREAM, 1).await.payload, NO_ERROR.to_be_bytes());
        // What was on its way is ignored, and its window comes back.
        peer.send(&data(END_STREAM, 1, &[0; 100])).await;
        peer.serves(3).await;
        assert_eq!(peer.leave().await.tally.resets_sent.get(), 0);
    });
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&[headers(WHOLE, 1, &request("HEAD", "/")), headers(WHOLE, 3, &get("/empty"))].concat()).await;
        for (stream, expected) in [(1, 200), (3, 204)] {
            let head = peer.find(HEADERS, stream).await;
            assert_eq!((status(&head.payload), head.flags & END_STREAM), (expected, END_STREAM));
        }
        // Connection-specific fields are gone: `:status` and `date` are left, some thirty bytes.
        peer.send(&headers(WHOLE, 5, &get("/hop"))).await;
        let head = peer.find(HEADERS, 5).await;
        assert_eq!(status(&head.payload), 200);
        assert!(head.payload.len() < 40, "{:x?}", head.payload);
        // Trailers come through.
        peer.send(&headers(WHOLE, 7, &get("/trailers"))).await;
        assert_eq!(peer.find(DATA, 7).await.flags & END_STREAM, 0);
        let trailers = peer.find(HEADERS, 7).await;
        assert_eq!(trailers.flags & END_STREAM, END_STREAM);
    });
}

#[test]
fn request_trailers_and_interim_responses() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(END_HEADERS, 1, &with(post("/"), &[("expect", "100-continue")]))).await;
        let interim = peer.find(HEADERS, 1).await;
        assert_eq!((status(&interim.payload), interim.flags & END_STREAM), (100, 0));
        peer.send(&[data(0, 1, b"x"), headers(WHOLE, 1, &field("x-sum", "1"))].concat()).await;
        assert_eq!(peer.status(1).await, 200);
        assert_eq!(peer.seen.trailers.borrow()[0]["x-sum"], "1");
    });
}

#[test]
fn connect_and_extended_connect_become_tunnels() {
    run(async {
        let mut peer = Peer::open().await;
        let plain = block(&[(":method", "CONNECT"), (":authority", "far.example:443")]);
        let extended = with(request("CONNECT", "/chat"), &[(":protocol", "websocket")]);
        for (stream, block) in [(1, plain), (3, extended)] {
            peer.send(&headers(END_HEADERS, stream, &block)).await;
            let head = peer.find(HEADERS, stream).await;
            assert_eq!((status(&head.payload), head.flags & END_STREAM), (200, 0));
            peer.send(&data(0, stream, b"there and back")).await;
            assert_eq!(peer.find(DATA, stream).await.payload, b"there and back");
            peer.send(&data(END_STREAM, stream, b"!")).await;
            assert_eq!(peer.finish(stream).await, 1);
        }
        let refused = block(&[(":method", "CONNECT"), (":authority", "refuse.example:443")]);
        peer.send(&headers(END_HEADERS, 5, &refused)).await;
        assert_eq!(peer.status(5).await, 405);
        assert_eq!(peer.find(RST_STREAM, 5).await.payload, NO_ERROR.to_be_bytes());
        peer.serves(7).await;
    });
}

#[test]
fn settings_announced() {
    run(async {
        let mut peer = Peer::connect();
        peer.send(PREFACE).await;
        let Event::Frame(first) = peer.next().await else { panic!("no frame") };
        let mut values: Vec<_> = first
            .payload
            .chunks(6)
            .map(|c| (u16::from_be_bytes([c[0], c[1]]), u32::from_be_bytes([c[2], c[3], c[4], c[5]])))
            .collect();
        values.sort_unstable();
        // MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL.
        assert_eq!(values, [(3, 100), (4, 65_536), (5, 16_384), (6, 65_536), (8, 1)]);
    });
}

#[test]
fn draining_announces_then_finishes() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(END_HEADERS, 1, &post("/"))).await;
        sleep(Duration::from_millis(1)).await;
        peer.tell(Signal::Drain);
        let goaway = peer.find(GOAWAY, 0).await;
        assert_eq!(goaway.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let ping = peer.find(PING, 0).await;
        // A request that was on its way is still served.
        peer.send(&headers(WHOLE, 3, &get("/"))).await;
        peer.send(&frame(PING, ACK, 0, &ping.payload)).await;
        let last = peer.find(GOAWAY, 0).await;
        assert_eq!(last.payload, [0, 0, 0, 3, 0, 0, 0, 0]);
        peer.send(&data(END_STREAM, 1, b"")).await;
        let served = loop {
            match peer.next().await {
                Event::Frame(_) => {}
                Event::Closed => break peer.leave().await,
                Event::Silence => panic!("not closed"),
            }
        };
        assert_eq!((served.end, served.tally.requests.get()), (End::Drained, 2));
        healthy().await;
    });
}

#[test]
fn draining_a_peer_that_never_answers_the_ping() {
    run(async {
        let mut peer = Peer::open().await;
        peer.serves(1).await;
        peer.tell(Signal::Drain);
        let began = Instant::now();
        assert_eq!(peer.goaway_after(Duration::from_secs(20)).await, NO_ERROR);
        assert!(began.elapsed() <= Duration::from_secs(13));
        assert_eq!(peer.leave().await.end, End::Drained);
    });
}

#[test]
fn close_if_idle_and_abort() {
    run(async {
        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/hang"))).await;
        sleep(Duration::from_millis(1)).await;
        peer.tell(Signal::CloseIfIdle);
        peer.serves(3).await;
        peer.send(&reset(1, CANCEL)).await;
        sleep(Duration::from_millis(1)).await;
        peer.tell(Signal::CloseIfIdle);
        assert_eq!(peer.goaway().await, NO_ERROR);
        assert_eq!(peer.leave().await.end, End::Shed);

        // A request that has come and was not read yet is none that can be refused.
        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/"))).await;
        peer.tell(Signal::CloseIfIdle);
        peer.serves(3).await;
        peer.tell(Signal::CloseIfIdle);
        assert_eq!(peer.goaway().await, NO_ERROR);
        assert_eq!(peer.leave().await.end, End::Shed);

        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/hang"))).await;
        sleep(Duration::from_millis(1)).await;
        peer.tell(Signal::Abort);
        while let Event::Frame(_) = peer.next().await {}
        assert_eq!(peer.next().await, Event::Closed);
        let seen = peer.seen.clone();
        assert_eq!(peer.leave().await.end, End::Aborted);
        assert_eq!(seen.running.get(), 0);
        healthy().await;
    });
}

#[test]
fn an_idle_connection_is_asked_to_leave() {
    run(async {
        let mut peer = Peer::open().await;
        peer.serves(1).await;
        let began = Instant::now();
        assert_eq!(peer.goaway_after(Duration::from_secs(100)).await, NO_ERROR);
        let waited = began.elapsed();
        assert!((60..=90).contains(&waited.as_secs()), "{waited:?}");
        assert_eq!(peer.leave().await.end, End::Idle);
        // A stream that is open keeps it.
        let mut peer = Peer::open().await;
        peer.send(&headers(WHOLE, 1, &get("/hang"))).await;
        sleep(Duration::from_secs(300)).await;
        peer.serves(3).await;
        healthy().await;
    });
}

#[test]
fn what_detection_read_is_not_lost() {
    run(async {
        let model = model();
        let mut peer = Peer::connect_ahead(&model, &[PREFACE, &settings(&[]), &headers(WHOLE, 1, &get("/"))].concat());
        assert_eq!(peer.status(1).await, 200);
    });
}
