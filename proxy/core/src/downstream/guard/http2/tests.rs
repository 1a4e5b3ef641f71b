//! The guard as a pure machine: whole and in every split.

use super::*;
use proptest::prelude::*;
use std::{cell::Cell, rc::Rc};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn limits() -> Rc<FrameLimits> {
    Rc::new(FrameLimits {
        window: Duration::from_secs(10),
        resets: 3,
        reset_by_us: 3,
        pings: 3,
        settings: 3,
        empty_data: 3,
        window_updates: 3,
        priorities: 3,
        continuations: 3,
        block_bytes: 100,
        frame_bytes: MAX_FRAME_SIZE,
    })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, b"")].concat()
}

/// Feeds all of it at once, and cut at every place: both must say the same.
fn verdict(bytes: &[u8]) -> Option<Breach> {
    let whole = FrameGuard::new(limits()).feed(bytes, &mut Credit::default(), || 0).err().map(|stopped| stopped.breach);
    for cut in 0..bytes.len() {
        let mut guard = FrameGuard::new(limits());
        let first = guard.feed(&bytes[..cut], &mut Credit::default(), || 0);
        let both = first.and_then(|()| guard.feed(&bytes[cut..], &mut Credit::default(), || 0));
        assert_eq!(both.err().map(|stopped| stopped.breach), whole, "cut at {cut}");
    }
    whole
}

fn after_opening(frames: &[Vec<u8>]) -> Option<Breach> {
    verdict(&[opening(), frames.concat()].concat())
}

#[test]
fn each_flood_has_its_limit_and_name() {
    let headers = frame(1, 4, 1, &[0x82]);
    let cases: [(Vec<u8>, Breach); 6] = [
        (frame(6, 0, 0, &[0; 8]), Breach::Pings),
        (frame(4, 0, 0, b""), Breach::Settings),
        (frame(2, 0, 1, &[0; 5]), Breach::Priorities),
        (frame(0xbb, 0, 1, b"anything"), Breach::Priorities),
        (frame(0, 0, 1, b""), Breach::EmptyData),
        (frame(8, 0, 1, &[0, 0, 0, 1]), Breach::WindowUpdates),
    ];
    for (flood, breach) in cases {
        // The opening's SETTINGS counts too.
        let borne = if breach == Breach::Settings { 2 } else { 3 };
        let mut frames = vec![headers.clone()];
        frames.extend(std::iter::repeat_n(flood.clone(), borne));
        assert_eq!(after_opening(&frames), None, "{breach:?} below its limit");
        frames.push(flood);
        assert_eq!(after_opening(&frames), Some(breach));
        assert_eq!(breach.code(), Reason::ENHANCE_YOUR_CALM);
    }
}

#[test]
fn resets_are_counted_once_for_a_stream() {
    let reset = |stream: u32| [frame(1, 4, stream, &[0x82]), frame(3, 0, stream, &[0; 4])].concat();
    assert_eq!(after_opening(&[reset(1), reset(3), reset(5)]), None);
    assert_eq!(after_opening(&[reset(1), reset(3), reset(5), reset(7)]), Some(Breach::ResetsReceived));
    assert_eq!(Breach::ResetsReceived.code(), Reason::ENHANCE_YOUR_CALM);
    let late = frame(3, 0, 1, &[0; 4]);
    assert_eq!(after_opening(&[vec![reset(1)], vec![late.clone(); 3]].concat()), None);
    assert_eq!(after_opening(&[vec![reset(1)], vec![late; 4]].concat()), Some(Breach::Priorities));
}

#[test]
fn a_count_is_forgotten_after_its_window() {
    let now = Cell::new(0);
    let clock = || now.get();
    let mut guard = FrameGuard::new(limits());
    let ping = frame(6, 0, 0, &[0; 8]);
    let feed = |guard: &mut FrameGuard, bytes: &[u8]| guard.feed(bytes, &mut Credit::default(), clock);
    feed(&mut guard, &opening()).unwrap();
    for _ in 0..3 {
        feed(&mut guard, &ping).unwrap();
    }
    now.set(10_000);
    for _ in 0..3 {
        feed(&mut guard, &ping).unwrap();
    }
    now.set(19_999);
    assert_eq!(feed(&mut guard, &ping).unwrap_err().breach, Breach::Pings);
}

#[test]
fn what_answers_us_is_not_counted() {
    let (mut guard, mut sent) = (FrameGuard::new(limits()), SentFrames::new(limits()));
    let mut credit = Credit::default();
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    let (ping, pong) = (frame(6, 0, 0, &[0; 8]), frame(6, 1, 0, &[0; 8]));
    let (settings, ack) = (frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]), frame(4, 1, 0, b""));
    for _ in 0..1_000 {
        // What we answer earns nothing.
        sent.feed(&[&ping[..], &settings, &pong, &ack].concat(), &mut credit, || 0).unwrap();
        guard.feed(&[&pong[..], &ack].concat(), &mut credit, || 0).unwrap();
    }
    sent.feed(&[&ping[..], &settings].concat(), &mut credit, || 0).unwrap();
    let until = |guard: &mut FrameGuard, credit: &mut Credit, bytes: &[u8]| {
        (0..).find_map(|n| guard.feed(bytes, credit, || 0).err().map(|stopped| (n, stopped.breach))).unwrap()
    };
    // What it asks is counted, with an answer in credit; then what answers nothing, but for that one.
    assert_eq!(until(&mut guard, &mut credit, &ping), (limits().pings, Breach::Pings));
    let mut guard = FrameGuard::new(limits());
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    assert_eq!(until(&mut guard, &mut credit, &pong), (limits().pings + 1, Breach::Pings));
    let mut guard = FrameGuard::new(limits());
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    // Its own first one is among them.
    assert_eq!(until(&mut guard, &mut credit, &ack), (limits().settings, Breach::Settings));
}

#[test]
fn no_clock_is_read_below_the_limit() {
    let mut guard = FrameGuard::new(limits());
    let bytes = [opening(), frame(6, 0, 0, &[0; 8]), frame(1, 5, 1, &[0x82])].concat();
    guard.feed(&bytes, &mut Credit::default(), || panic!("clock read")).unwrap();
}

/// As Go's `net/http` reads: a pair for every 4 KiB.
#[test]
fn data_sent_earns_window_updates() {
    let mut credit = Credit::default();
    let mut sent = SentFrames::new(limits());
    sent.feed(&[frame(0, 0, 1, b"abc"), frame(0, 1, 1, b"")].concat(), &mut credit, || 0).unwrap();
    assert_eq!(credit.for_data, 40);
    let mut guard = FrameGuard::new(limits());
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    let update = frame(8, 0, 0, &[0, 0, 0, 1]);
    for _ in 0..43 {
        guard.feed(&update, &mut credit, || 0).unwrap();
    }
    assert_eq!(guard.feed(&update, &mut credit, || 0).unwrap_err().breach, Breach::WindowUpdates);
}

/// As grpc-go measures bandwidth: a PING for a message.
#[test]
fn data_sent_earns_pings() {
    let mut credit = Credit::default();
    let (mut sent, mut guard) = (SentFrames::new(limits()), FrameGuard::new(limits()));
    let (message, ping) = (frame(0, 0, 1, b"abc"), frame(6, 0, 0, &[0; 8]));
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    for _ in 0..1_000 {
        sent.feed(&message, &mut credit, || 0).unwrap();
        guard.feed(&ping, &mut credit, || 0).unwrap();
    }
    credit = Credit::default();
    for _ in 0..3 {
        guard.feed(&ping, &mut credit, || 0).unwrap();
    }
    assert_eq!(guard.feed(&ping, &mut credit, || 0).unwrap_err().breach, Breach::Pings);
}

/// As gRPC clients cancel what they have seen enough of. Rapid reset (CVE-2023-44487) waits for no answer.
#[test]
fn answers_that_began_earn_resets() {
    let mut credit = Credit::default();
    let (mut sent, mut guard) = (SentFrames::new(limits()), FrameGuard::new(limits()));
    let reset = |stream: u32| [frame(1, 4, stream, &[0x82]), frame(3, 0, stream, &[0; 4])].concat();
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    for number in 0..5 {
        sent.feed(&frame(1, 4, 2 * number + 1, b"head"), &mut credit, || 0).unwrap();
        guard.feed(&reset(2 * number + 1), &mut credit, || 0).unwrap();
    }
    // A head that is all there is of an answer earns nothing, nor do trailers.
    sent.feed(&frame(1, 5, 11, b"head"), &mut credit, || 0).unwrap();
    for number in 6..9 {
        guard.feed(&reset(2 * number + 1), &mut credit, || 0).unwrap();
    }
    assert_eq!(guard.feed(&reset(19), &mut credit, || 0).unwrap_err().breach, Breach::ResetsReceived);
}

/// An answer to one stream is no leave to begin and reset others without end.
#[test]
fn resets_that_answers_earned_have_a_bound() {
    let mut credit = Credit::default();
    let (mut sent, mut guard) = (SentFrames::new(limits()), FrameGuard::new(limits()));
    guard.feed(&opening(), &mut credit, || 0).unwrap();
    let mut feed = |number: u32| {
        sent.feed(&frame(1, 4, 1, b"head"), &mut credit, || 0).unwrap();
        let reset = [frame(1, 4, 2 * number + 1, &[0x82]), frame(3, 0, 2 * number + 1, &[0; 4])].concat();
        guard.feed(&reset, &mut credit, || 0)
    };
    for number in 0..6 {
        feed(number).unwrap();
    }
    assert_eq!(feed(6).unwrap_err().breach, Breach::ResetsReceived);
}

#[test]
fn resets_that_blame_the_peer_are_counted_in_every_split() {
    let reset = |code: u32| frame(3, 0, 1, &code.to_be_bytes());
    let ours = [reset(0), reset(2), reset(8)].concat();
    let theirs = [reset(1), reset(3), reset(7)].concat();
    let bytes = [frame(1, 4, 1, b"head"), ours, theirs, reset(11)].concat();
    for cut in 0..bytes.len() {
        let mut sent = SentFrames::new(limits());
        let first = sent.feed(&bytes[..cut], &mut Credit::default(), || 0);
        let second = sent.feed(&bytes[cut..], &mut Credit::default(), || 0);
        assert_eq!(first.and(second), Err(Breach::ResetsSent), "cut at {cut}");
        assert_eq!(sent.blamed(), 4);
    }
}

/// What was under way as a request was answered is nobody's fault, and is borne longer.
#[test]
fn resets_of_what_came_late_are_counted_apart() {
    let late = frame(3, 0, 1, &5_u32.to_be_bytes());
    let mut sent = SentFrames::new(limits());
    let borne = limits().reset_by_us as usize * 20;
    assert_eq!(sent.feed(&late.repeat(borne), &mut Credit::default(), || 0), Ok(()));
    assert_eq!((sent.feed(&late, &mut Credit::default(), || 0), sent.blamed()), (Err(Breach::ResetsSent), 0));
}

#[test]
fn a_header_block_has_bounds() {
    let more = |count: usize| vec![frame(9, 0, 1, &[0x84]); count];
    let open = |stream: u32, count: usize| [vec![frame(1, 0, stream, &[0x82])], more(count)].concat();
    let end = vec![frame(9, 4, 1, &[0x84])];
    assert_eq!(after_opening(&[open(1, 2), end.clone(), open(3, 2), end].concat()), None);
    assert_eq!(after_opening(&open(1, 4)), Some(Breach::Continuations));
    assert_eq!(after_opening(&[open(1, 0), vec![frame(9, 4, 1, &[0; 100])]].concat()), Some(Breach::HeaderBlockBytes));
}

#[test]
fn an_unfinished_block_or_frame_is_owed_and_has_an_identity() {
    let mut guard = FrameGuard::new(limits());
    let mut feed = |bytes: &[u8]| {
        guard.feed(bytes, &mut Credit::default(), || 0).unwrap();
        guard.owed()
    };
    assert_eq!(feed(&opening()), None);
    let head = frame(1, 0, 1, &[0x82]);
    let first = feed(&head[..9]);
    assert!(first.is_some());
    assert_eq!(feed(&head[9..]), first, "the block is open");
    assert_eq!(feed(&frame(9, 0, 1, &[0x84])), first);
    assert_eq!(feed(&frame(9, 4, 1, &[0x84])), None);
    let head = frame(1, 0, 3, &[0x82]);
    let second = feed(&head[..9]);
    assert!(second.is_some() && second != first);
    assert_eq!(feed(&[&head[9..], &frame(9, 4, 1, b"")].concat()), None);
    let data = frame(0, 0, 1, b"body");
    assert!(feed(&data[..5]).is_some(), "part of a frame header");
    assert_eq!(feed(&data[5..10]), None, "DATA may take its time here");
}

#[test]
fn lengths_that_a_type_does_not_have() {
    for (kind, flags, length) in
        [(2, 0, 4), (3, 0, 5), (4, 0, 5), (4, 1, 6), (6, 0, 7), (7, 0, 7), (8, 0, 3), (0, 0, 16_385), (0xbb, 0, 16_385)]
    {
        let bytes = [opening(), frame(kind, flags, 1, &vec![0; length])].concat();
        let stopped = FrameGuard::new(limits()).feed(&bytes, &mut Credit::default(), || 0).unwrap_err();
        assert_eq!(stopped, Stopped { at: opening().len(), breach: Breach::FrameSize }, "type {kind}");
    }
}

#[test]
fn what_h2_bears_and_we_do_not() {
    assert_eq!(verdict(&[PREFACE, &frame(6, 0, 0, &[0; 8])].concat()), Some(Breach::FirstFrame));
    assert_eq!(verdict(&[PREFACE, &frame(4, 1, 0, b"")].concat()), Some(Breach::FirstFrame));
    assert_eq!(after_opening(&[frame(5, 4, 1, &[0; 8])]), Some(Breach::PushPromise));
    let window = |value: u32| [&[0, 3, 0, 0, 0, 9, 0, 4][..], &value.to_be_bytes()].concat();
    assert_eq!(after_opening(&[frame(4, 0, 0, &window(0x7fff_ffff))]), None);
    assert_eq!(after_opening(&[frame(4, 0, 0, &window(0x8000_0000))]), Some(Breach::InitialWindow));
    let depends = |on: u32, padded: bool| {
        let mut payload = if padded { vec![1] } else { vec![] };
        payload.extend(on.to_be_bytes());
        payload.extend([15, 0x82, 0x84]);
        frame(1, if padded { 0x2c } else { 0x24 }, 3, &payload)
    };
    for padded in [false, true] {
        assert_eq!(after_opening(&[depends(1, padded)]), None);
        assert_eq!(after_opening(&[depends(3, padded)]), Some(Breach::SelfDependency));
        assert_eq!(after_opening(&[depends(0x8000_0003, padded)]), Some(Breach::SelfDependency));
    }
}

#[test]
fn trailers_that_begin_with_a_pseudo_header_field() {
    let head = frame(1, 4, 1, &[0x82, 0x86, 0x84]);
    let trailers = |block: &[u8]| after_opening(&[head.clone(), frame(1, 5, 1, block)]);
    for pseudo in [
        &[0x82][..],
        &[0x8e],
        &[0x42, 1, b'x'],
        &[0x04, 1, b'/'],
        &[0x11, 0],
        b"\x40\x05:path\x01/",
        &[0x00, 0x84, 0xb8, 0, 0, 0, 0],
    ] {
        assert_eq!(trailers(pseudo), Some(Breach::TrailerPseudo), "{pseudo:x?}");
    }
    for plain in [&[0x8f][..], &[0xbe], &[0x7f, 0x00, 1, b'x'], b"\x00\x01a\x01b", &[0x20, 0x8f], &[]] {
        assert_eq!(trailers(plain), None, "{plain:x?}");
    }
    // A block that opens a stream begins with them always.
    assert_eq!(after_opening(&[head.clone(), frame(1, 5, 3, &[0x82])]), None);
}

#[test]
fn frames_on_streams_that_the_client_has_finished() {
    let open = frame(1, 4, 1, &[0x83]);
    let (data, last) = (frame(0, 0, 1, b"x"), frame(0, 1, 1, b"x"));
    let again = frame(1, 5, 1, &[0x83]);
    let reset = frame(3, 0, 1, &[0; 4]);
    let closed = Some(Breach::StreamClosed);
    let after = |frames: &[&Vec<u8>]| after_opening(&frames.iter().map(|frame| (*frame).clone()).collect::<Vec<_>>());
    assert_eq!(after(&[&open, &data, &last]), None);
    assert_eq!(after(&[&open, &last, &data]), closed);
    assert_eq!(after(&[&open, &last, &again]), closed);
    assert_eq!(after(&[&again, &data]), closed, "ended by its HEADERS");
    assert_eq!(after(&[&open, &reset, &again]), closed);
    assert_eq!(after(&[&open, &reset, &data]), None, "h2 resets that stream");
    // What may still be on its way.
    assert_eq!(after(&[&again, &reset, &frame(8, 0, 1, &[0, 0, 0, 1]), &frame(2, 0, 1, &[0; 5])]), None);
    // Never opened: h2 refuses it by another rule.
    assert_eq!(after(&[&frame(1, 5, 5, &[0x82]), &frame(1, 5, 3, &[0x8f])]), None);
}

#[test]
fn names_are_stable_and_distinct() {
    let mut names: Vec<_> = Breach::ALL.iter().map(|breach| breach.as_str()).collect();
    for (at, breach) in Breach::ALL.iter().enumerate() {
        assert_eq!(breach.index(), at);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Breach::ALL.len());
}

proptest! {
    #[test]
    fn slices_do_not_change_the_verdict(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(1usize..40, 1..40),
    ) {
        let bytes = [opening(), bytes].concat();
        let mut whole = FrameGuard::new(limits());
        let expected = whole.feed(&bytes, &mut Credit::default(), || 0);
        let mut guard = FrameGuard::new(limits());
        let mut at = 0;
        let mut result = Ok(());
        for cut in cuts.iter().cycle() {
            if at == bytes.len() || result.is_err() { break }
            let end = (at + cut).min(bytes.len());
            result = guard.feed(&bytes[at..end], &mut Credit::default(), || 0);
            at = end;
        }
        prop_assert_eq!(result.map_err(|s| s.breach), expected.map_err(|s| s.breach));
        if result.is_ok() {
            prop_assert_eq!(guard.owed(), whole.owed());
            prop_assert_eq!(guard.weight(), whole.weight());
        }
    }

    #[test]
    fn any_bytes_sent_are_followed(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut sent = SentFrames::new(limits());
        let _ = sent.feed(&bytes, &mut Credit::default(), || 0);
    }
}
