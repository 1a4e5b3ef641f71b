//! How far the windows of HTTP/2 connections are opened, on either side.
//!
//! Beside the path. Streams share their connection's window: where those that stand still have used it up, all others stop. So
//! it grows with the streams that are open, until each has room. What it may hold is memory, and a flood of streams comes in
//! less than memory is looked at: what windows grow by, over all connections of a worker, is held to half of what its clients
//! may hold ([`Allowance`]). Where there is no more, a window stays as it is, and its streams share it. Nothing is taken back
//! before the connection ends: its peer keeps a window that it was told of.
//!
//! A stream's own window grows, for all of a connection, where it is what holds one of them up ([`Pace`]), since then the way is long;
//! the connection's has room for two such beside the others. It goes back to where it began when the streams become too many for that,
//! or hold too much that nobody takes: then each has the room that it has in any case, as before. What streams had in hand they owe
//! then (RFC 9113 §6.9.2). Servers bear that. There are clients that fail an upload then (Python's httpcore), so that towards them it
//! goes back when nothing is uploaded ([`Back`]), and the connection's has room for twice as many such as receive.

use super::unfinished::Allowance;
use crate::io::{Measured, Pace};
use bytes::{Buf, Bytes};
use h2::{client, server};
use std::{cell::Cell, rc::Rc, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of every connection's window, which nobody counts: sixteen streams at full window, where that is not more than 64 KiB.
const FIRST: u32 = 1024 * 1024;

/// This part of what clients may hold is for what windows grow by,
const PART: usize = 2;

/// and this one for speed alone.
const SPEED: usize = 4;

/// Bytes that a stream may be ahead of its consumer, at most: 100 MB/s over 40 ms.
const WIDEST: u32 = 4 * 1024 * 1024;

/// This part of a connection's window is what one of its streams may have, at most.
const OF_ONE: u32 = 4;

/// A window of streams becomes so many times larger at once; since that is seen a round trip later, it doubles in one, as TCP's does.
const STEP: u32 = 4;

/// Streams that may be at it at once with more than they began with.
const FAST: usize = 2;

/// This part of a connection's window is what streams may hold beyond what they began with, before all go back to that.
const BORNE: u32 = 8;

/// What the windows of a worker's connections have grown by.
#[derive(Debug, Default)]
pub struct Windows {
    allowance: Arc<Allowance>,
    granted: Cell<usize>,
}

/// A connection's window, and that of its streams.
#[derive(Debug)]
pub(crate) struct Window {
    windows: Rc<Windows>,
    pace: Rc<Pace>,
    back: Back,
    /// Bytes that each stream may be ahead of its consumer in any case,
    stream: u32,
    /// and at most.
    widest: u32,
    /// Bytes that all of them may, now and at most.
    size: u32,
    most: u32,
}

/// When the window of streams goes back to where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// At once.
    Now,
    /// As soon as no stream receives.
    AtRest,
}

/// What tells the peer of windows.
pub(crate) trait Codec {
    /// Of the connection.
    fn set_connection_window(&mut self, bytes: u32);

    /// Of each stream.
    ///
    /// # Errors
    ///
    /// The peer has not acknowledged what it was told last.
    fn set_stream_window(&mut self, bytes: u32) -> Result<(), h2::Error>;
}

impl Windows {
    pub(crate) fn within(allowance: Arc<Allowance>) -> Rc<Self> {
        Rc::new(Self { allowance, granted: Cell::new(0) })
    }

    /// Whether it may be so much more, within that part of what clients may hold; it is counted then.
    fn grant(&self, more: u32, part: usize) -> bool {
        let granted = self.granted.get() + more as usize;
        let is_granted = granted <= self.allowance.each() / part;
        if is_granted {
            self.granted.set(granted);
        }
        is_granted
    }

    /// Whether there is less than was granted.
    fn is_short(&self) -> bool {
        self.granted.get() > self.allowance.each() / PART
    }
}

impl Window {
    /// The windows of a new connection.
    pub(crate) fn new(windows: Rc<Windows>, stream: u32, most: u32, back: Back) -> Self {
        let widest = WIDEST.min(most / OF_ONE);
        let pace = Rc::new(Pace::new(stream));
        pace.changed(stream, stream <= widest / 2);
        Self { windows, pace, back, stream, widest, size: Self::first(stream, most), most }
    }

    /// Bytes with which a connection begins.
    pub(crate) fn first(stream: u32, most: u32) -> u32 {
        FIRST.max(stream).min(most)
    }

    /// By what its streams are measured.
    pub(crate) fn pace(&self) -> &Rc<Pace> {
        &self.pace
    }

    /// Bytes that the connection needs for so many streams, which may be ahead by `window` each.
    #[inline]
    fn needs(&self, streams: usize, window: u32) -> usize {
        let fast = match self.back {
            Back::Now => FAST,
            Back::AtRest => FAST * self.receiving().max(1),
        };
        let for_speed = fast.saturating_mul((window - self.stream) as usize);
        streams.saturating_mul(self.stream as usize).saturating_add(for_speed).saturating_add(self.pace.surplus())
    }

    /// Streams that receive: each holds on to what it is measured by, as we do, and whoever hands it to them.
    #[inline]
    fn receiving(&self) -> usize {
        Rc::strong_count(&self.pace).saturating_sub(2)
    }

    /// So many streams are open: what they need is told the peer, as far as there is more.
    #[inline]
    pub(crate) fn fit(&mut self, streams: usize, codec: &mut impl Codec) {
        let window = self.pace.window();
        let needs = self.needs(streams, window);
        if needs > self.size as usize || window > self.stream {
            self.change(window, needs, codec);
        }
    }

    #[cold]
    fn change(&mut self, window: u32, needs: usize, codec: &mut impl Codec) {
        let before = self.size;
        let wanted = needs.min(self.most as usize);
        while (self.size as usize) < wanted && self.grow(self.stream, PART) {}
        if self.size > before {
            codec.set_connection_window(self.size);
        }
        let too_large =
            needs > self.size as usize || self.pace.surplus() > (self.most / BORNE) as usize || self.windows.is_short();
        if window > self.stream && too_large {
            match self.back {
                Back::Now => self.go_back(codec),
                Back::AtRest => self.pace.go_back(),
            }
        }
    }

    /// Every stream that was accepted has begun to receive, or is over: where their window waits for that it goes back.
    pub(crate) fn settle(&self, codec: &mut impl Codec) {
        if self.pace.goes_back() && self.receiving() == 0 {
            self.go_back(codec);
        }
    }

    fn go_back(&self, codec: &mut impl Codec) {
        if codec.set_stream_window(self.stream).is_ok() {
            self.pace.changed(self.stream, true);
        }
    }

    /// The answer to a PING came: where a stream was measured by it, and its window holds it up, that grows if there is room.
    pub(crate) fn measured(&mut self, streams: usize, codec: &mut impl Codec) {
        match self.pace.end() {
            None => {}
            Some(Measured::Free) => self.pace.stays(),
            Some(Measured::HeldUp) => self.widen(streams, codec),
        }
    }

    #[cold]
    fn widen(&mut self, streams: usize, codec: &mut impl Codec) {
        let window = self.pace.window().saturating_mul(STEP).min(self.widest);
        let needs = self.needs(streams, window);
        let before = self.size;
        let has_room = needs <= self.most as usize
            && self.pace.surplus() <= (self.most / BORNE / 2) as usize
            && (needs <= self.size as usize || self.grow((needs - self.size as usize) as u32, SPEED));
        if self.size > before {
            codec.set_connection_window(self.size);
        }
        if has_room && codec.set_stream_window(window).is_ok() {
            // Each is SETTINGS, and worth it.
            self.pace.changed(window, window <= self.widest / 2);
        } else {
            self.pace.stays();
        }
    }

    /// Whether there was so much more. By no less than a connection begins with: every change is a WINDOW_UPDATE.
    fn grow(&mut self, least: u32, part: usize) -> bool {
        let more = Self::first(least, self.most - self.size);
        let is_granted = self.windows.grant(more, part);
        if is_granted {
            self.size += more;
        }
        is_granted
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let grown = self.size - Self::first(self.stream, self.most);
        self.windows.granted.set(self.windows.granted.get() - grown as usize);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, B: Buf> Codec for client::Connection<T, B> {
    fn set_connection_window(&mut self, bytes: u32) {
        self.set_target_window_size(bytes);
    }

    fn set_stream_window(&mut self, bytes: u32) -> Result<(), h2::Error> {
        self.set_initial_window_size(bytes)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Codec for server::Connection<T, Bytes> {
    fn set_connection_window(&mut self, bytes: u32) {
        self.set_target_window_size(bytes);
    }

    fn set_stream_window(&mut self, bytes: u32) -> Result<(), h2::Error> {
        self.set_initial_window_size(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Stride;

    const STREAM: u32 = 65_535;
    const MOST: u32 = 100 * STREAM;

    /// What a peer was told last: of the connection, of streams.
    #[derive(Debug, Default, PartialEq)]
    struct Told(Option<u32>, Option<u32>);

    impl Codec for Told {
        fn set_connection_window(&mut self, bytes: u32) {
            self.0 = Some(bytes);
        }

        fn set_stream_window(&mut self, bytes: u32) -> Result<(), h2::Error> {
            self.1 = Some(bytes);
            Ok(())
        }
    }

    fn fit(window: &mut Window, streams: usize) -> Told {
        let mut told = Told::default();
        window.fit(streams, &mut told);
        told
    }

    /// A stream takes as much as windows let it in a round trip, until it is measured no more.
    fn runs(window: &mut Window, streams: usize) -> Vec<Told> {
        let (mut stride, pace) = (Stride::default(), Rc::clone(window.pace()));
        let mut told = Vec::new();
        for _ in 0..40 {
            stride.taken(pace.window() as usize, &pace);
            if pace.wants() {
                pace.begin();
                stride.taken(pace.window() as usize, &pace);
                let mut now = Told::default();
                window.measured(streams, &mut now);
                told.push(now);
            }
        }
        told
    }

    #[test]
    fn a_window_has_room_for_each_of_its_streams() {
        let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
        assert_eq!((fit(&mut window, 1), fit(&mut window, 16)), (Told::default(), Told::default()));
        assert_eq!((fit(&mut window, 17).0, fit(&mut window, 32).0), (Some(2 << 20), None));
        assert_eq!((fit(&mut window, 100).0, fit(&mut window, usize::MAX)), (Some(MOST), Told::default()));
    }

    #[test]
    fn windows_grow_within_what_clients_may_hold_and_give_it_back() {
        let allowance = Arc::<Allowance>::default();
        allowance.allow(6 << 20);
        let windows = Windows::within(allowance);
        let open = || Window::new(Rc::clone(&windows), STREAM, MOST, Back::Now);
        let (mut one, mut other) = (open(), open());
        assert_eq!((fit(&mut one, 48).0, fit(&mut other, 100).0), (Some(3 << 20), Some(2 << 20)));
        assert_eq!(fit(&mut one, 100).0, None);
        drop(other);
        assert_eq!(fit(&mut one, 100).0, Some(4 << 20));
        drop(one);
        assert_eq!(windows.granted.get(), 0);
    }

    #[test]
    fn a_small_window_never_grows_and_a_large_stream_has_its_own() {
        let mut small = Window::new(Rc::default(), STREAM, STREAM, Back::Now);
        assert_eq!((fit(&mut small, 100), runs(&mut small, 1)), (Told::default(), vec![]));
        let mut large = Window::new(Rc::default(), 4 << 20, 10 << 20, Back::Now);
        assert_eq!((large.size, fit(&mut large, 2).0, fit(&mut large, 3).0), (4 << 20, Some(8 << 20), Some(10 << 20)));
        assert_eq!(runs(&mut large, 1), []);
    }

    #[test]
    fn a_stream_that_its_window_holds_up_gets_a_larger_one() {
        let mut window = Window::new(Rc::default(), STREAM, 4 * MOST, Back::Now);
        let told: Vec<_> = runs(&mut window, 1).into_iter().map(|told| (told.1, told.0)).collect();
        let connection = |stream: u32| Some(STREAM + 2 * (stream - STREAM));
        assert_eq!(
            told,
            [
                (Some(4 * STREAM), None),
                (Some(16 * STREAM), connection(16 * STREAM).max(Some(2 << 20))),
                (Some(64 * STREAM), connection(64 * STREAM)),
            ]
        );
    }

    #[test]
    fn a_slow_one_and_a_small_one_do_not() {
        let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
        let pace = Rc::clone(window.pace());
        let mut measured = 0;
        for _ in 0..1_000 {
            // Each is over before it has used its window.
            Stride::default().taken(STREAM as usize, &pace);
        }
        assert!(!pace.wants());
        let (mut stride, mut told) = (Stride::default(), Told::default());
        for _ in 0..1_000_000 {
            stride.taken(1_024, &pace);
            if pace.wants() {
                pace.begin();
                stride.taken(STREAM as usize / 4, &pace);
                window.measured(1, &mut told);
                measured += 1;
            }
        }
        assert_eq!(told, Told::default());
        assert!((10..40).contains(&measured), "{measured} in a gigabyte");
    }

    #[test]
    fn it_goes_back_where_streams_are_many_or_hold_what_nobody_takes() {
        let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
        assert_ne!(runs(&mut window, 1), []);
        assert_eq!(fit(&mut window, 10).1, None, "there is room");
        assert_eq!(fit(&mut window, 90).1, Some(STREAM), "there is none");
        let mut window = Window::new(Rc::default(), STREAM, MOST, Back::Now);
        assert_ne!(runs(&mut window, 1), []);
        let pace = Rc::clone(window.pace());
        let mut stalled: [Stride; 2] = Default::default();
        stalled[0].holds(pace.window() / 2, &pace);
        assert_eq!(fit(&mut window, 2).1, None);
        stalled[1].holds(pace.window() / 2, &pace);
        assert_eq!(fit(&mut window, 2).1, Some(STREAM));
        assert_eq!(runs(&mut window, 2), [], "not soon");
        let held = window.size as usize - pace.surplus();
        assert!(held >= 2 * STREAM as usize, "and there is room for each beside it");
    }

    #[test]
    fn speed_takes_half_of_what_windows_may() {
        let allowance = Arc::<Allowance>::default();
        allowance.allow(8 << 20);
        let windows = Windows::within(Arc::clone(&allowance));
        let mut window = Window::new(Rc::clone(&windows), STREAM, 4 * MOST, Back::Now);
        runs(&mut window, 1);
        assert_eq!((window.pace().window(), windows.granted.get()), (16 * STREAM, 1 << 20));
        allowance.allow(1 << 20);
        assert_eq!(fit(&mut window, 1).1, Some(STREAM), "memory is short");
    }

    #[test]
    fn towards_clients_it_goes_back_when_nothing_is_received() {
        let mut window = Window::new(Rc::default(), STREAM, MOST, Back::AtRest);
        let handed_out = Rc::clone(window.pace());
        let receives = || Rc::clone(&handed_out);
        let one = receives();
        assert_ne!(runs(&mut window, 1), []);
        assert_eq!((window.pace().window(), fit(&mut window, 3).1), (16 * STREAM, None));
        let others = [receives(), receives(), receives()];
        assert_eq!(fit(&mut window, 4), Told(Some(MOST), None), "there is no room for twice as many");
        let mut told = Told::default();
        drop((one, others));
        let last = receives();
        window.settle(&mut told);
        assert_eq!((told.1.take(), runs(&mut window, 1)), (None, vec![]));
        drop(last);
        window.settle(&mut told);
        assert_eq!((told.1.take(), window.pace().window()), (Some(STREAM), STREAM));
        window.settle(&mut told);
        assert_eq!(told.1, None);
    }
}
