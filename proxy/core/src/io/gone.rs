//! [`Gone`]: HTTP/2 streams that we reset, so that what their peers had sent already costs their connections nothing.
//!
//! Beside the path, between a connection's socket and the h2 crate. h2 bears so many DATA frames of less than 256 bytes that wait for
//! their consumers and ends the connection beyond; what comes for a stream that we reset it throws away, counts all the same, and
//! never takes back. It does not count the last of a stream, and of one that is reset it looks at nothing else. So whoever reads the
//! socket sets END_STREAM on such frames.

use crate::downstream::guard::http2::head::{DATA, END_STREAM, HEADERS, Head, PADDED, RST_STREAM};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// The streams of a connection that were reset last. One connection's reader and those who carry its streams share it.
#[derive(Debug, Default)]
pub struct Gone(RefCell<Generations>);

/// Ordered, each; the younger one becomes the elder when it is full.
#[derive(Debug, Default)]
struct Generations {
    younger: Vec<u32>,
    elder: Vec<u32>,
}

/// Streams in a generation: as many as one connection carries, so that all of them may be given up at once.
const GENERATION: usize = 1_024;

/// Held by all who hold a part of a stream, to be dropped behind it: with the last of them h2 has reset what was not over.
#[derive(Debug)]
pub struct Hold {
    stream: u32,
    over: Cell<bool>,
    gone: Rc<Gone>,
}

/// Follows the frames of a connection and marks those that h2 is to throw away. [`FrameGuard`] does it where it follows them.
///
/// [`FrameGuard`]: crate::downstream::guard::http2::FrameGuard
#[derive(Debug, Default)]
pub(crate) struct Marker {
    gone: Rc<Gone>,
    /// Bytes to come of the payload that passes.
    left: u32,
    /// A frame header that came in part.
    head: [u8; 9],
    filled: u8,
    /// Frames begun since its reader last gave way.
    begun: u32,
}

/// Frames of which a reader that has no other bound lets others run: what comes at once is not all held by h2 before it is taken.
const TURN: u32 = 1_024;

/// Where in a frame's header its kind is.
pub(crate) const KIND: usize = 3;

/// A kind that is none: such frames are passed over (RFC 9113 §5.5). DATA without a byte becomes one, since h2 counts it over the
/// life of a connection and ends that at the hundred-and-first.
pub(crate) const NOTHING: u8 = 0xfa;

/// Where in a frame's header its flags are.
pub(crate) const FLAGS: usize = 4;

/// DATA of fewer bytes is what h2 counts.
const SMALL: u32 = 256;

impl Gone {
    /// Whether no stream is known.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let known = self.0.borrow();
        known.younger.is_empty() && known.elder.is_empty()
    }

    /// Whether this one was reset.
    #[must_use]
    pub fn has(&self, stream: u32) -> bool {
        let known = self.0.borrow();
        known.younger.binary_search(&stream).is_ok() || known.elder.binary_search(&stream).is_ok()
    }

    /// Whether the frame that begins so is DATA of a stream that was reset, and h2 would count it. Its last one is looked for too.
    pub(crate) fn concerns(&self, head: Head) -> bool {
        match head.kind {
            DATA if head.flags & END_STREAM == 0 => {
                (head.length < SMALL || head.flags & PADDED != 0) && self.has(head.stream)
            }
            DATA | HEADERS if head.flags & END_STREAM != 0 => {
                self.remove(head.stream);
                false
            }
            RST_STREAM => {
                self.remove(head.stream);
                false
            }
            _ => false,
        }
    }

    /// Nothing more comes for it.
    pub fn remove(&self, stream: u32) {
        let known = &mut *self.0.borrow_mut();
        for streams in [&mut known.younger, &mut known.elder] {
            if let Ok(place) = streams.binary_search(&stream) {
                streams.remove(place);
            }
        }
    }

    /// h2 has reset it.
    pub fn add(&self, stream: u32) {
        let known = &mut *self.0.borrow_mut();
        if known.younger.len() == GENERATION {
            std::mem::swap(&mut known.younger, &mut known.elder);
            known.younger.clear();
        }
        if let Err(place) = known.younger.binary_search(&stream) {
            known.younger.insert(place, stream);
        }
    }
}

impl Hold {
    /// Of a stream that its peer has not ended.
    #[must_use]
    pub fn new(stream: h2::StreamId, gone: &Rc<Gone>) -> Self {
        Self { stream: stream.into(), over: Cell::new(false), gone: Rc::clone(gone) }
    }

    /// The peer has ended it, or reset it.
    #[inline]
    pub fn over(&self) {
        self.over.set(true);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.over.get() {
            self.gone.add(self.stream);
        }
    }
}

impl Marker {
    /// Told of its streams by those who carry them.
    pub(crate) fn gone(&self) -> &Rc<Gone> {
        &self.gone
    }

    /// Whether to let others run now.
    pub(crate) fn gives_way(&mut self) -> bool {
        let gives_way = self.begun >= TURN;
        if gives_way {
            self.begun = 0;
        }
        gives_way
    }

    /// The next bytes that were read. DATA without a byte says nothing and is made nothing. A frame whose header came in two parts,
    /// what would be written with the first one, stays as it is.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) {
        let watched = !self.gone.is_empty();
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let here = (bytes.len() - at).min(self.left as usize);
                self.left -= here as u32;
                at += here;
                continue;
            }
            let before = usize::from(self.filled);
            let taken = (bytes.len() - at).min(9 - before);
            self.head[before..before + taken].copy_from_slice(&bytes[at..at + taken]);
            if before + taken < 9 {
                self.filled = (before + taken) as u8;
                return;
            }
            self.filled = 0;
            let head = Head::parse(&self.head);
            if head.is_empty_data() {
                if before <= KIND {
                    bytes[at + KIND - before] = NOTHING;
                }
            } else if watched && self.gone.concerns(head) && before <= FLAGS {
                bytes[at + FLAGS - before] |= END_STREAM;
            }
            self.left = head.length;
            self.begun += 1;
            at += taken;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn small_data_of_a_stream_that_was_reset_is_marked_wherever_it_is_cut() {
        let sent = [
            frame(DATA, 0, 1, b"stays"),
            frame(DATA, 0, 3, b"goes"),
            frame(DATA, PADDED, 3, &[b'p'; 300]),
            frame(DATA, 0, 3, &[b'l'; 300]),
            frame(HEADERS, 4, 3, b"goes not"),
            frame(DATA, 0, 3, b""),
        ]
        .concat();
        let mut want = sent.clone();
        for at in [14, 27] {
            want[at + FLAGS] |= END_STREAM;
        }
        let empty = sent.len() - 9;
        want[empty + KIND] = NOTHING;
        for cut in 0..=sent.len() {
            let mut marker = Marker::default();
            marker.gone().add(3);
            let mut bytes = sent.clone();
            let (first, second) = bytes.split_at_mut(cut);
            marker.pass(first);
            marker.pass(second);
            let missed = want.iter().zip(&bytes).filter(|(want, is)| want != is).count();
            let split =
                [14, 27].iter().any(|at| (at + 5..at + 9).contains(&cut)) || (empty + 4..empty + 9).contains(&cut);
            assert_eq!(missed, usize::from(split), "cut at {cut}");
        }
    }

    #[test]
    fn what_ends_a_stream_ends_its_place() {
        let mut marker = Marker::default();
        for stream in [1, 3, 5, 7] {
            marker.gone().add(stream);
        }
        let mut ends = [
            frame(DATA, END_STREAM, 1, b"x"),
            frame(HEADERS, END_STREAM | 4, 3, b"x"),
            frame(RST_STREAM, 0, 5, &[0; 4]),
            frame(DATA, 0, 9, b"x"),
        ]
        .concat();
        let before = ends.clone();
        marker.pass(&mut ends);
        assert_eq!(ends, before);
        assert_eq!([1, 3, 5, 7, 9].map(|stream| marker.gone().has(stream)), [false, false, false, true, false]);
    }

    #[test]
    fn as_many_are_known_as_a_connection_carries_at_once() {
        let gone = Rc::<Gone>::default();
        for stream in 0..5_000 {
            gone.add(2 * stream + 1);
            assert!(gone.has(2 * stream + 1));
        }
        let known = (0..5_000).filter(|stream| gone.has(2 * stream + 1)).count();
        assert!((GENERATION..=2 * GENERATION).contains(&known), "{known}");
        assert!((4_000..5_000).all(|stream| gone.has(2 * stream + 1)), "the last ones");
    }
}
