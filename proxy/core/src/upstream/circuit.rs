//! The bounds of a cluster over all workers: counters that are never exceeded and permits that are never lost.
//!
//! Beside the path: taken before a wait, a connection or a request, given back on drop. It never waits.

use super::error::Limit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a cluster has in use. Shared by all workers because the limits are the cluster's, not a worker's.
#[derive(Debug, Default)]
pub(super) struct InUse {
    connections: AtomicUsize,
    pending: AtomicUsize,
    requests: AtomicUsize,
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
        }
    }
}
