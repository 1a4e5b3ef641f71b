//! Who waits for a connection of a cluster in this worker, and what it has.
//!
//! Beside the path: counts only, so that a request that waits for nothing pays nothing.

use std::cell::Cell;
use tokio::sync::Notify;

/// This worker's connections to a cluster, and those who wait for one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Cell<usize>,
    freed: Notify,
    open: Cell<usize>,
    resting: Cell<usize>,
}

impl Waiting {
    /// Waits until a connection or a stream may be free.
    pub(super) async fn wait(&self) {
        struct Leave<'a>(&'a Cell<usize>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        self.waiters.set(self.waiters.get() + 1);
        let _leave = Leave(&self.waiters);
        self.freed.notified().await;
    }

    /// A connection or a stream is free: the first in the row looks again.
    pub(super) fn freed(&self) {
        if self.anyone() {
            self.freed.notify_one();
        }
    }

    pub(super) fn anyone(&self) -> bool {
        self.waiters.get() > 0
    }

    /// Connections this worker has open to the cluster.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    pub(super) fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    pub(super) fn closed(&self) {
        self.open.set(self.open.get() - 1);
        self.freed();
    }

    /// HTTP/1.1 connections that rest.
    pub(super) fn resting(&self) -> usize {
        self.resting.get()
    }

    pub(super) fn rest(&self) {
        self.resting.set(self.resting.get() + 1);
        self.freed();
    }

    pub(super) fn unrest(&self, count: usize) {
        self.resting.set(self.resting.get() - count);
    }
}
