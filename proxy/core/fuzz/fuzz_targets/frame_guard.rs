//! The HTTP/2 frame guard: never panics, and says the same however the bytes are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_core::downstream::guard::http2::{Credit, FrameGuard, FrameLimits, MAX_FRAME_SIZE, SentFrames};
use std::{rc::Rc, time::Duration};

fn limits() -> Rc<FrameLimits> {
    Rc::new(FrameLimits {
        window: Duration::from_secs(1),
        resets: 3,
        reset_by_us: 3,
        pings: 3,
        settings: 3,
        empty_data: 3,
        window_updates: 3,
        priorities: 3,
        continuations: 3,
        block_bytes: 1_000,
        frame_bytes: MAX_FRAME_SIZE,
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0, 0, 0, 4, 0, 0, 0, 0, 0][..]].concat();
    let bytes = if cut & 0x80 == 0 { [&opening, bytes].concat() } else { bytes.to_vec() };
    let mut whole = FrameGuard::new(limits());
    let expected = whole.feed(&bytes, &mut Credit::default(), || 0);
    let mut pieces = FrameGuard::new(limits());
    let mut result = Ok(());
    for piece in bytes.chunks(usize::from(cut & 0x7f) + 1) {
        result = pieces.feed(piece, &mut Credit::default(), || 0);
        if let Err(stopped) = result {
            assert!(stopped.at < piece.len());
            break;
        }
    }
    assert_eq!(result.map_err(|stopped| stopped.breach), expected.map_err(|stopped| stopped.breach));
    if result.is_ok() {
        assert_eq!((pieces.owed(), pieces.weight(), pieces.opened()), (whole.owed(), whole.weight(), whole.opened()));
    }
    let mut sent = SentFrames::new(limits());
    let mut sent_pieces = SentFrames::new(limits());
    let (mut credit, mut credit_pieces) = (Credit::default(), Credit::default());
    let all = sent.feed(&bytes, &mut credit, || 0);
    let mut any = Ok(());
    for piece in bytes.chunks(usize::from(cut & 0x7f) + 1) {
        any = any.and(sent_pieces.feed(piece, &mut credit_pieces, || 0));
    }
    assert_eq!((all, credit, sent.blamed()), (any, credit_pieces, sent_pieces.blamed()));
});
