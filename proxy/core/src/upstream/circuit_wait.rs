//! Who waits for a connection of a cluster in this worker, and what it has.
//!
//! Beside the path: counts only, so that a request that waits for nothing pays nothing. A connection or a stream that is
//! free is this worker's alone; a place in the limit is everybody's, and those who wait for one stand in the cluster's row.

use super::cluster::{ClusterState, Permit};
use crate::{io::Entry, telemetry::metrics::Active};
use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Notify;

/// This worker's connections to a cluster, and those who wait for one.
#[derive(Debug)]
pub(super) struct Waiting {
    state: Arc<ClusterState>,
    waiters: Cell<usize>,
    freed: Notify,
    open: Cell<usize>,
    resting: Cell<usize>,
    /// What this worker owes to those who wait in others, in parts of a connection.
    debt: Cell<usize>,
}

/// A connection that is open or being made: its place in the limit, which the row hears of when it is closed.
#[derive(Debug)]
pub(super) struct Opened {
    _permit: Permit,
    _gauge: Active,
    waiting: Rc<Waiting>,
    /// Its place among the process's connections, where those are remembered.
    entry: RefCell<Option<Rc<Entry>>>,
}

impl Opened {
    pub(super) fn new(permit: Permit, gauge: Active, waiting: &Rc<Waiting>) -> Self {
        waiting.open.set(waiting.open.get() + 1);
        Self { _permit: permit, _gauge: gauge, waiting: Rc::clone(waiting), entry: RefCell::default() }
    }

    /// Keeps the connection's place among the process's as long as the connection.
    pub(super) fn keep(&self, entry: Option<Rc<Entry>>) {
        *self.entry.borrow_mut() = entry;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.waiting.open.set(self.waiting.open.get() - 1);
    }
}

impl Waiting {
    pub(super) fn new(state: &Arc<ClusterState>) -> Rc<Self> {
        Rc::new(Self {
            state: Arc::clone(state),
            waiters: Cell::default(),
            freed: Notify::default(),
            open: Cell::default(),
            resting: Cell::default(),
            debt: Cell::default(),
        })
    }

    /// Waits until a connection or a stream of this worker may be free, or a place in the limit.
    pub(super) async fn wait(&self) {
        struct Leave<'a>(&'a Cell<usize>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let row = self.state.row();
        let in_row = row.join();
        self.waiters.set(self.waiters.get() + 1);
        let _leave = Leave(&self.waiters);
        let mut turn = pin!(in_row.turn());
        turn.as_mut().enable();
        if self.state.has_room() {
            // The first in the row is called, who may be this one.
            row.call_next();
        } else {
            row.want();
        }
        tokio::select! {
            () = turn => {}
            () = self.freed.notified() => {}
        }
    }

    /// One who waited goes without what it was called for: if that is a place, the next in the row is called.
    pub(super) fn pass_on(&self) {
        if self.state.has_room() {
            self.state.call_next();
        }
    }

    /// Requests that wait in other workers.
    pub(super) fn others(&self) -> usize {
        self.state.in_row().saturating_sub(self.waiters.get())
    }

    /// Whether a connection that comes free here is given up because others wait: as often as their part in the row says.
    pub(super) fn yields(&self) -> bool {
        let all = self.state.in_row();
        if all == 0 {
            return false;
        }
        let debt = self.debt.get() + all.saturating_sub(self.waiters.get());
        self.debt.set(debt % all);
        debt >= all
    }

    /// An HTTP/2 connection has nothing in flight: if others wait, the sweeper closes it.
    pub(super) fn idle(&self) {
        if self.others() > 0 {
            self.state.row().want();
        }
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
