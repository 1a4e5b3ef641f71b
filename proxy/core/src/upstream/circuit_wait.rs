//! Who waits for a connection of a cluster in this worker, and what it has.
//!
//! Beside the path: counts only, so that a request that waits for nothing pays nothing.

use super::cluster::Permit;
use crate::{io::Entry, telemetry::metrics::Active};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use tokio::sync::Notify;

/// This worker's connections to a cluster, and those who wait for one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Cell<usize>,
    freed: Notify,
    open: Cell<usize>,
    resting: Cell<usize>,
}

/// A connection that is open or being made: its place in the limit, and the word to those who wait when it is closed.
#[derive(Debug)]
pub(super) struct Opened {
    permit: Option<Permit>,
    _gauge: Active,
    waiting: Rc<Waiting>,
    /// Its place among the process's connections, where those are remembered.
    entry: RefCell<Option<Rc<Entry>>>,
}

impl Opened {
    pub(super) fn new(permit: Permit, gauge: Active, waiting: &Rc<Waiting>) -> Self {
        waiting.open.set(waiting.open.get() + 1);
        Self { permit: Some(permit), _gauge: gauge, waiting: Rc::clone(waiting), entry: RefCell::default() }
    }

    /// Keeps the connection's place among the process's as long as the connection.
    pub(super) fn keep(&self, entry: Option<Rc<Entry>>) {
        *self.entry.borrow_mut() = entry;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // First the place, then the word: whoever wakes must find it free.
        self.permit = None;
        self.waiting.open.set(self.waiting.open.get() - 1);
        self.waiting.freed();
    }
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

    /// Connections this worker has open to the cluster, those being made included.
    pub(super) fn open(&self) -> usize {
        self.open.get()
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
