//! [`ByteMeter`]: what of a request is noted where it passes, while its record waits.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, SystemTime},
};

/// Bytes of the two bodies, counted where they pass, the endpoint they pass to, and when it began by the calendar. Not `Send`:
/// both bodies live on their connection's worker.
#[derive(Debug, Default)]
struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Beside the counts because whoever chooses it works while the record waits, and may never come back.
    upstream: Cell<Option<SocketAddr>>,
    began: Cell<Option<SystemTime>>,
}

/// A handle with which a body adds to its request's record. What is added after the record is finished is not told.
#[derive(Debug, Clone)]
pub struct ByteMeter(Rc<Meter>);

impl ByteMeter {
    /// A meter of a request that has no record.
    #[must_use]
    pub fn detached() -> Self {
        Self(Rc::default())
    }

    /// Bytes of the request's body so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.0.received.get()
    }

    /// Bytes of the response's body so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.0.sent.get()
    }

    /// Bytes of the request's body that came from downstream.
    pub fn received(&self, bytes: u64) {
        self.0.received.set(self.0.received.get() + bytes);
    }

    /// Where the endpoint chosen is noted.
    #[must_use]
    pub fn upstream(&self) -> &Cell<Option<SocketAddr>> {
        &self.0.upstream
    }

    /// Bytes of the response's body that were handed to downstream.
    pub fn sent(&self, bytes: u64) {
        self.0.sent.set(self.0.sent.get() + bytes);
    }

    /// Of the bytes that were handed to downstream, those that it will not be sent.
    pub fn not_sent(&self, bytes: u64) {
        self.0.sent.set(self.0.sent.get().saturating_sub(bytes));
    }

    /// When its request began, by the calendar. The first who asks says how old it is, and the clock is read: what one is
    /// told, all are, filters and the access log, however the clock is set meanwhile.
    pub(crate) fn began(&self, elapsed: impl FnOnce() -> Duration) -> SystemTime {
        self.0.began.get().unwrap_or_else(|| {
            let now = SystemTime::now();
            let began = now.checked_sub(elapsed()).unwrap_or(now);
            self.0.began.set(Some(began));
            began
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_is_told_of_the_beginning_all_are() {
        let meter = ByteMeter::detached();
        let began = meter.began(|| Duration::from_secs(5));
        assert!(began < SystemTime::now() - Duration::from_secs(4));
        // As if the clock had been set an hour back or forth meanwhile.
        assert_eq!(meter.clone().began(|| Duration::from_secs(3605)), began);
        assert_eq!(meter.began(|| Duration::ZERO), began);
    }

    #[test]
    fn what_is_not_sent_does_not_count() {
        let meter = ByteMeter::detached();
        meter.sent(5);
        meter.not_sent(3);
        assert_eq!(meter.sent_bytes(), 2);
        meter.not_sent(3);
        assert_eq!(meter.sent_bytes(), 0);
    }
}
