//! [`ByteMeter`]: what of a request is noted where it passes, while its record waits.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

/// Bytes of the two bodies, counted where they pass, and the endpoint they pass to. Not `Send`: both bodies live on their connection's worker.
#[derive(Debug, Default)]
struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Beside the counts because whoever chooses it works while the record waits, and may never come back.
    upstream: Cell<Option<SocketAddr>>,
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
}
