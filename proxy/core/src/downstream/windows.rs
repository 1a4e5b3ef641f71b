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
//! then (RFC 9113 §6.9.2). Servers bear that. There are clients that fail an upload then (Python's httpcore), and one that begins an upload
//! has not heard yet what it was told meanwhile: so towards them it never goes back ([`Back`]). It grows only as far as the connection's has room
//! for twice as many such as receive then. What streams hold beyond what they began with, since nobody takes it, is given back to the connection's
//! as it comes, as nginx and h2o do with all that comes, so that a few that stand still do not stop the others; to a bound ([`Window::bears`]).

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
    /// Bytes that all of them may, now and at most,
    size: u32,
    most: u32,
    /// and so many beside that of what streams hold beyond what they began with.
    borne: u32,
    /// Bytes of what it begins with that are counted too, since fewer streams can fill it.
    fast: u32,
}

/// When the window of streams goes back to where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// At once.
    Now,
    /// Never.
    Never,
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

    fn give_back(&self, bytes: u32) {
        self.granted.set(self.granted.get() - bytes as usize);
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
        Self { windows, pace, back, stream, widest, size: Self::first(stream, most), most, borne: 0, fast: 0 }
    }

    /// It grows beyond its most by what streams hold that nobody takes, until it is this.
    pub(crate) fn bears(mut self, all: u32) -> Self {
        self.borne = all.saturating_sub(self.most);
        self
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
        let for_all = streams.saturating_mul(self.stream as usize);
        for_all.saturating_add(self.for_speed(window)).saturating_add(self.pace.surplus())
    }

    /// Bytes of that which are for those that may be ahead by more than in any case.
    #[inline]
    fn for_speed(&self, window: u32) -> usize {
        let fast = match self.back {
            Back::Now => FAST,
            Back::Never => FAST * self.pace.receiving().max(1),
        };
        fast.saturating_mul((window - self.stream) as usize)
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
        let most = self.most + self.pace.surplus().min(self.borne as usize) as u32;
        let wanted = needs.min(most as usize);
        let for_all = wanted.min(needs.saturating_sub(self.for_speed(window)));
        while (self.size as usize) < for_all && self.grow(self.stream, most, PART) {}
        while (self.size as usize) < wanted && self.grow(self.stream, most, SPEED) {}
        if self.size > before {
            codec.set_connection_window(self.size);
        }
        let too_large =
            needs > self.size as usize || self.pace.surplus() > (self.most / BORNE) as usize || self.windows.is_short();
        if window > self.stream && too_large && self.back == Back::Now {
            self.go_back(codec);
        }
    }

    fn go_back(&mut self, codec: &mut impl Codec) {
        if codec.set_stream_window(self.stream).is_ok() {
            self.pace.changed(self.stream, true);
            self.pace.owe();
            self.uncount();
        }
    }

    /// Its streams are owed what they need to go on, since their window went back: they are given it once the peer has acknowledged that.
    /// To be asked whenever something of the peer was read, which may be its acknowledgement; no other answer of it is waited for.
    pub(crate) fn pay(&mut self, codec: &mut impl Codec) {
        // What was told last is acknowledged where more can be told; where it cannot, nothing is.
        if codec.set_stream_window(self.pace.window()).is_ok() {
            self.pace.pay();
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
            && self.count(window)
            && (needs <= self.size as usize || self.grow((needs - self.size as usize) as u32, self.most, SPEED));
        if self.size > before {
            codec.set_connection_window(self.size);
        }
        if has_room && codec.set_stream_window(window).is_ok() {
            // Each is SETTINGS, and worth it.
            self.pace.changed(window, window <= self.widest / 2);
        } else {
            self.pace.stays();
            self.uncount();
        }
    }

    /// Whether what a connection begins with may be filled so.
    fn count(&mut self, window: u32) -> bool {
        let fast = self.for_speed(window).min(Self::first(self.stream, self.most) as usize) as u32;
        let is_granted = self.windows.grant(fast.saturating_sub(self.fast), SPEED);
        if is_granted {
            self.fast = self.fast.max(fast);
        }
        is_granted
    }

    /// It is as large as it was: that counts no more.
    fn uncount(&mut self) {
        if self.pace.window() == self.stream {
            self.windows.give_back(std::mem::take(&mut self.fast));
        }
    }

    /// Whether there was so much more, up to `most`. By no less than a connection begins with: every change is a WINDOW_UPDATE.
    fn grow(&mut self, least: u32, most: u32, part: usize) -> bool {
        let more = Self::first(least, most - self.size);
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
        self.windows.give_back(grown + self.fast);
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
mod tests;
