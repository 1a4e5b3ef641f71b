//! The bounds of a cluster over all workers: counters that are never exceeded and permits that are never lost.
//!
//! Beside the path: taken before a wait, a connection or a request, given back on drop. It never waits.

use super::error::Limit;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use tokio::sync::{Notify, futures::Notified};

/// What a cluster has in use. Shared by all workers because the limits are the cluster's, not a worker's.
#[derive(Debug, Default)]
pub(super) struct InUse {
    connections: AtomicUsize,
    pending: AtomicUsize,
    requests: AtomicUsize,
    silent: AtomicUsize,
}

impl InUse {
    pub(super) fn get(&self, limit: Limit) -> usize {
        self.counter(limit).load(Ordering::Relaxed)
    }

    /// Takes one unless `max` are taken.
    pub(super) fn take(&self, limit: Limit, max: usize) -> Result<(), Limit> {
        // Not add-and-look: two workers at the edge would refuse each other although one is free.
        self.counter(limit)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < max).then_some(used + 1))
            .map(|_| ())
            .map_err(|_| limit)
    }

    pub(super) fn give_back(&self, limit: Limit) {
        self.counter(limit).fetch_sub(1, Ordering::Relaxed);
    }

    fn counter(&self, limit: Limit) -> &AtomicUsize {
        match limit {
            Limit::Connections => &self.connections,
            Limit::Pending => &self.pending,
            Limit::Requests => &self.requests,
            Limit::Silent => &self.silent,
        }
    }
}

/// The row of requests that wait for a connection at the limit, over all workers: a place that one worker gives back
/// is as good for a request of another, and what rests in one worker makes room for all.
#[derive(Debug, Default)]
pub(super) struct Row {
    waiting: AtomicUsize,
    turn: Notify,
    wanted: Notify,
}

/// A request in the row; it has left when this is dropped.
#[derive(Debug)]
pub(super) struct InRow<'a>(&'a Row);

impl Row {
    /// Takes a place in the row. Who then sees no place in the limit is called when there is one.
    pub(super) fn join(&self) -> InRow<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Whoever gives back a place and does not see this one gave it back before the look that follows.
        fence(Ordering::SeqCst);
        InRow(self)
    }

    /// Requests that wait, in all workers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Calls the first.
    pub(super) fn call_next(&self) {
        if self.waiting() > 0 {
            self.turn.notify_one();
        }
    }

    /// Asks all workers to close what rests.
    pub(super) fn want(&self) {
        self.wanted.notify_waiters();
    }

    /// Ready at the next [`want`](Self::want).
    pub(super) fn wanted(&self) -> Notified<'_> {
        self.wanted.notified()
    }
}

impl InRow<'_> {
    /// Ready when it is this request's turn to look again. Passed on to the next when dropped unheard.
    pub(super) fn turn(&self) -> Notified<'_> {
        self.0.turn.notified()
    }
}

impl Drop for InRow<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
