//! How far the windows of HTTP/2 connections are opened, on either side.
//!
//! Beside the path. Streams share their connection's window: where those that stand still have used it up, all others stop. So
//! it grows with the streams that are open, until each has room. What it may hold is memory, and a flood of streams comes in
//! less than memory is looked at: what windows grow by, over all connections of a worker, is held to half of what its clients
//! may hold ([`Allowance`]). Where there is no more, a window stays as it is, and its streams share it. Nothing is taken back
//! before the connection ends: its peer keeps a window that it was told of.

use super::unfinished::Allowance;
use std::{cell::Cell, rc::Rc, sync::Arc};

/// Bytes of every connection's window, which nobody counts: sixteen streams at full window, where that is not more than 64 KiB.
const FIRST: u32 = 1024 * 1024;

/// This part of what clients may hold is for what windows grow by.
const PART: usize = 2;

/// What the windows of a worker's connections have grown by.
#[derive(Debug, Default)]
pub struct Windows {
    allowance: Arc<Allowance>,
    granted: Cell<usize>,
}

/// A connection's window.
#[derive(Debug)]
pub(crate) struct Window {
    windows: Rc<Windows>,
    /// Bytes that each stream may be ahead of its consumer.
    stream: u32,
    /// Bytes that all of them may, now and at most.
    size: u32,
    most: u32,
}

impl Windows {
    pub(crate) fn within(allowance: Arc<Allowance>) -> Rc<Self> {
        Rc::new(Self { allowance, granted: Cell::new(0) })
    }

    /// Whether it may be so much more; it is counted then.
    fn grant(&self, more: u32) -> bool {
        let granted = self.granted.get() + more as usize;
        let is_granted = granted <= self.allowance.each() / PART;
        if is_granted {
            self.granted.set(granted);
        }
        is_granted
    }
}

impl Window {
    /// The window of a new connection.
    pub(crate) fn new(windows: Rc<Windows>, stream: u32, most: u32) -> Self {
        Self { windows, stream, size: Self::first(stream, most), most }
    }

    /// Bytes with which a connection begins.
    pub(crate) fn first(stream: u32, most: u32) -> u32 {
        FIRST.max(stream).min(most)
    }

    /// Bytes that it has from now on, if so many streams need more and there is more.
    #[inline]
    pub(crate) fn grown(&mut self, streams: usize) -> Option<u32> {
        let wanted = streams.saturating_mul(self.stream as usize).min(self.most as usize);
        if wanted <= self.size as usize { None } else { self.grow(wanted) }
    }

    #[cold]
    fn grow(&mut self, wanted: usize) -> Option<u32> {
        let before = self.size;
        while (self.size as usize) < wanted {
            // Not for each stream: every change is a WINDOW_UPDATE.
            let more = Self::first(self.stream, self.most - self.size);
            if !self.windows.grant(more) {
                break;
            }
            self.size += more;
        }
        (self.size > before).then_some(self.size)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let grown = self.size - Self::first(self.stream, self.most);
        self.windows.granted.set(self.windows.granted.get() - grown as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: u32 = 65_535;

    #[test]
    fn a_window_has_room_for_each_of_its_streams() {
        let mut window = Window::new(Rc::default(), STREAM, 100 * STREAM);
        assert_eq!((window.grown(1), window.grown(16)), (None, None));
        assert_eq!((window.grown(17), window.grown(32)), (Some(2 << 20), None));
        assert_eq!((window.grown(100), window.grown(usize::MAX)), (Some(100 * STREAM), None));
    }

    #[test]
    fn windows_grow_within_what_clients_may_hold_and_give_it_back() {
        let allowance = Arc::<Allowance>::default();
        allowance.allow(6 << 20);
        let windows = Windows::within(allowance);
        let open = || Window::new(Rc::clone(&windows), STREAM, 100 * STREAM);
        let (mut one, mut other) = (open(), open());
        assert_eq!((one.grown(48), other.grown(100), one.grown(100)), (Some(3 << 20), Some(2 << 20), None));
        drop(other);
        assert_eq!(one.grown(100), Some(4 << 20));
        drop(one);
        assert_eq!(windows.granted.get(), 0);
    }

    #[test]
    fn a_small_window_never_grows_and_a_large_stream_has_its_own() {
        assert_eq!(Window::new(Rc::default(), STREAM, STREAM).grown(100), None);
        let mut large = Window::new(Rc::default(), 4 << 20, 10 << 20);
        assert_eq!((large.size, large.grown(2), large.grown(3)), (4 << 20, Some(8 << 20), Some(10 << 20)));
    }
}
