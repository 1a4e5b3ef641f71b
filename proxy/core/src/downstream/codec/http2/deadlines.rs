//! The deadlines of one connection, on one timer.
//!
//! Ordinary traffic neither reads the clock nor touches the timer: silence is noticed by a coarse tick, and only a
//! header block cut in two or a socket that takes no more arms a deadline of its own.

use crate::downstream::guard::http2::{Breach, Watch};
use pillion_config::model::HttpTimeouts;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the peer may take to read our GOAWAY after an abrupt end.
const LINGER: Duration = Duration::from_secs(1);

/// How long the peer may take to answer the announced end once no stream is open. Most answer within a round trip; a
/// peer that does not must not hold the process up.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ticks of silence that make the idle timeout.
const QUIET: u8 = 4;

pub(super) struct Deadlines {
    timer: Pin<Box<Sleep>>,
    due: Instant,
    /// Whether the timer, as it is set now, knows whom to wake: the connection's task, always the same.
    registered: bool,
    header: Duration,
    write: Duration,
    tick: Duration,
    next_tick: Instant,
    handshake_by: Option<Instant>,
    /// What the peer owes, and by when.
    owed: Option<(u32, Instant)>,
    /// At which write the socket stopped taking, and by when it must take more.
    blocked: Option<(u32, Instant)>,
    drain_by: Option<Instant>,
    close_by: Option<Instant>,
    /// Streams accepted when the last tick came, and ticks since without one.
    accepted: u32,
    quiet: u8,
}

/// What ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// A deadline that the peer broke.
    Breach(Breach),
    /// No stream for the idle timeout.
    Idle,
    /// The peer did not answer the announced end.
    Drain,
    /// The time for the last GOAWAY.
    Close,
}

impl Deadlines {
    pub(super) fn new(timeouts: &HttpTimeouts) -> Self {
        let now = Instant::now();
        let tick = (timeouts.idle / u32::from(QUIET)).max(Duration::from_millis(10));
        let handshake_by = now + timeouts.header;
        let due = handshake_by.min(now + tick);
        Self {
            timer: Box::pin(sleep_until(due)),
            due,
            registered: false,
            header: timeouts.header,
            write: timeouts.write,
            tick,
            next_tick: now + tick,
            handshake_by: Some(handshake_by),
            owed: None,
            blocked: None,
            drain_by: None,
            close_by: None,
            accepted: 0,
            quiet: 0,
        }
    }

    /// The end is announced: the peer must answer soon.
    pub(super) fn draining(&mut self) {
        let by = Instant::now() + FAREWELL;
        self.drain_by = Some(by);
        self.arm(by);
    }

    /// The connection ends after what is buffered.
    pub(super) fn closing(&mut self) {
        let by = Instant::now() + LINGER;
        self.close_by = Some(by);
        self.arm(by);
    }

    /// Ready when one ran out. `accepted` counts streams; `streams` tells whether one is open.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        watch: &Watch,
        accepted: u32,
        streams: impl Fn() -> bool,
    ) -> Poll<Expired> {
        self.follow(watch);
        if self.registered && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.registered = false;
            if let Some(expired) = self.expired(now, watch, accepted, &streams) {
                return Poll::Ready(expired);
            }
            self.rearm();
        }
        self.registered = true;
        Poll::Pending
    }

    fn follow(&mut self, watch: &Watch) {
        let (header, write) = (self.header, self.write);
        if let Some(by) = changed(&mut self.owed, watch.owed(), header) {
            self.arm(by);
        }
        if let Some(by) = changed(&mut self.blocked, watch.blocked_at(), write) {
            self.arm(by);
        }
    }

    fn expired(&mut self, now: Instant, watch: &Watch, accepted: u32, streams: &impl Fn() -> bool) -> Option<Expired> {
        let past = |by: Option<Instant>| by.is_some_and(|by| now >= by);
        if past(self.close_by) {
            return Some(Expired::Close);
        }
        if past(self.blocked.map(|(_, by)| by)) {
            return Some(Expired::Breach(Breach::WriteTimeout));
        }
        if past(self.owed.map(|(_, by)| by)) {
            self.owed = None;
            return Some(Expired::Breach(Breach::HeaderTimeout));
        }
        if past(self.handshake_by) {
            self.handshake_by = None;
            if !watch.started() {
                return Some(Expired::Breach(Breach::HandshakeTimeout));
            }
        }
        if past(self.drain_by) {
            self.drain_by = Some(now + FAREWELL);
            if !streams() {
                return Some(Expired::Drain);
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + self.tick;
            let silent = accepted == self.accepted && !streams();
            self.accepted = accepted;
            self.quiet = if silent { self.quiet + 1 } else { 0 };
            if self.quiet >= QUIET {
                self.quiet = 0;
                return Some(Expired::Idle);
            }
        }
        None
    }

    /// Brings the timer forward, never back: what it was set for is looked at when it fires.
    fn arm(&mut self, by: Instant) {
        if by < self.due {
            self.due = by;
            self.registered = false;
            self.timer.as_mut().reset(by);
        }
    }

    fn rearm(&mut self) {
        let others = [self.handshake_by, self.owed.map(|(_, by)| by), self.blocked.map(|(_, by)| by)];
        let ends = [self.drain_by, self.close_by];
        self.due = others.into_iter().chain(ends).flatten().fold(self.next_tick, Instant::min);
        self.timer.as_mut().reset(self.due);
    }
}

/// Follows what is owed now; the deadline of something new.
fn changed(known: &mut Option<(u32, Instant)>, now: Option<u32>, allowed: Duration) -> Option<Instant> {
    if known.map(|(what, _)| what) == now {
        return None;
    }
    *known = now.map(|what| (what, Instant::now() + allowed));
    known.map(|(_, by)| by)
}
