//! The hand-over from workers to the writer thread: one buffer, bounded in records and bytes.
//!
//! Workers append under a lock that is held for a copy; the writer swaps the buffer for an empty one. So a record
//! costs no allocation, and waking the writer happens once for a batch.

use crate::telemetry::metrics::AccessLogMetrics;
use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Flushed;

/// Bytes that may wait: some 15,000 usual records, and a bound on what long headers can take.
pub(super) const QUEUE_BYTES: usize = 4 << 20;
/// How long the writer gathers records after the first: bounds its wake-ups to 50 a second.
const GATHER: Duration = Duration::from_millis(20);
/// Waiting bytes at which the writer no longer gathers.
const BATCH_BYTES: usize = 64 << 10;
/// Largest buffer kept for the next batch; a burst's memory is given back.
const KEPT_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Queue {
    /// Most records that may wait.
    records: usize,
    metrics: AccessLogMetrics,
    state: Mutex<State>,
    /// The writer sleeps here.
    work: Condvar,
    /// Those who flush sleep here.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Bytes that the writer holds.
    writing: usize,
    /// Records pushed since the beginning.
    pushed: u64,
    /// Records written, or lost in writing, since the beginning.
    settled: u64,
    reopen: bool,
    hurry: bool,
    closed: bool,
}

/// What the writer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Write the batch of so many records, on a fresh file if asked to.
    Write { records: u64, reopen: bool },
    /// Nothing is left and nothing more will come.
    End,
}

impl Queue {
    pub(super) fn new(records: usize) -> Self {
        Self {
            records,
            metrics: AccessLogMetrics::register(),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    pub(super) fn metrics(&self) -> &AccessLogMetrics {
        &self.metrics
    }

    /// Hands a line over, or drops and counts it. Never waits for the writer's work.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let waiting = usize::try_from(state.pushed - state.settled).unwrap_or(usize::MAX);
        let before = state.pending.len();
        if waiting >= self.records || before + state.writing + line.len() > QUEUE_BYTES {
            drop(state);
            return self.metrics.queue_full();
        }
        state.pending.extend_from_slice(line);
        state.pushed += 1;
        drop(state);
        if before == 0 || (before < BATCH_BYTES && before + line.len() >= BATCH_BYTES) {
            self.work.notify_one();
        }
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    /// No more records will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn flush(&self, within: Duration) -> Flushed {
        let mut state = self.lock();
        let target = state.pushed;
        state.hurry = true;
        self.work.notify_one();
        let (_state, waited) = self
            .done
            .wait_timeout_while(state, within, |state| state.settled < target)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Flushed::TimedOut } else { Flushed::All }
    }

    /// Waits for work and exchanges the empty `batch` for what is pending. For the writer thread alone.
    pub(super) fn take(&self, batch: &mut Vec<u8>) -> Task {
        batch.clear();
        if batch.capacity() > KEPT_BYTES {
            *batch = Vec::new();
        }
        let idle = |state: &mut State| state.pending.is_empty() && !state.reopen && !state.closed;
        let state = self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let gathering =
            |state: &mut State| !state.hurry && !state.reopen && !state.closed && state.pending.len() < BATCH_BYTES;
        let (mut state, _) =
            self.work.wait_timeout_while(state, GATHER, gathering).unwrap_or_else(PoisonError::into_inner);
        if state.closed && state.pending.is_empty() {
            return Task::End;
        }
        mem::swap(&mut state.pending, batch);
        state.writing = batch.len();
        state.hurry = false;
        let reopen = mem::take(&mut state.reopen);
        Task::Write { records: state.pushed - state.settled, reopen }
    }

    /// The batch is dealt with, well or not.
    pub(super) fn settle(&self, records: u64) {
        let mut state = self.lock();
        state.settled += records;
        state.writing = 0;
        drop(state);
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
