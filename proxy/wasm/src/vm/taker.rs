//! [`Taker`]: who takes memory for a machine that starts.

use super::{Had, Starts};
use crate::census::{
    starts::{self, Debt, Ending, LITTLE, Trial},
    touched::Range,
};
use std::sync::Arc;

/// Who takes memory for a start.
#[derive(Debug)]
pub(super) enum Taker {
    /// A trial, which may wait for it.
    Trial(Arc<Trial>),
    /// A worker, which may not.
    Worker {
        /// Bytes that it took,
        debt: Arc<Debt>,
        /// those of them that are given back where it never serves,
        taken: usize,
        /// what it may grow by yet of what is left to who serves, where it starts again,
        again: Option<Had>,
        /// and those that it may grow by yet though they are not there.
        unasked: usize,
    },
}

impl Taker {
    /// For a machine that will touch so many bytes of what its module declares, which it takes. `None`: they are not there.
    pub(super) fn of(starts: &Starts, needs: usize) -> Option<Self> {
        let mut taker = match starts {
            Starts::OnTrial(trial) => Self::Trial(Arc::clone(trial)),
            Starts::ToServe => Self::Worker { debt: Debt::new(), taken: 0, again: None, unasked: LITTLE },
            Starts::Again(had) => {
                Self::Worker { debt: Debt::new(), taken: 0, again: Some(had.beyond(needs)), unasked: LITTLE }
            }
        };
        let takes = match starts {
            // What a small one needs to serve was promised to it; what the one before it gave back may be others' by now.
            Starts::OnTrial(_) | Starts::ToServe => {
                taker.take_now(needs) || starts::is_small(needs) || taker.take(needs)
            }
            // All of that is touched.
            Starts::Again(had) => {
                taker.take_now(needs) || taker.take_left(needs, had.took, needs) || starts::take_unasked(needs)
            }
        };
        takes.then_some(taker)
    }

    /// Takes so many bytes that it grows by. `false`: they are not there.
    pub(super) fn take(&mut self, more: usize) -> bool {
        if self.take_now(more) || self.take_again(more) {
            return true;
        }
        match self {
            Self::Trial(trial) => trial.take(more),
            // What all who take little have together.
            Self::Worker { again: Some(_), .. } => starts::take_unasked(more),
            Self::Worker { unasked, .. } => {
                let left = unasked.checked_sub(more);
                *unasked = left.unwrap_or(*unasked);
                left.is_some()
            }
        }
    }

    /// Takes so many bytes, if they are there.
    fn take_now(&mut self, more: usize) -> bool {
        match self {
            Self::Trial(trial) => trial.take_now(more),
            Self::Worker { debt, taken, .. } => {
                let is_there = starts::take_both(more);
                if is_there {
                    *taken += more;
                    debt.grows(more);
                }
                is_there
            }
        }
    }

    /// Grows by so many bytes of what is left to who serves, if the one before it had them.
    fn take_again(&mut self, more: usize) -> bool {
        let Self::Worker { again: Some(had), .. } = self else { return false };
        // What is grown by first is touched first: who grows by more than it touches gave back no more than that.
        let (most, touches) = (had.took, had.touched.min(more));
        let is_there = self.take_left(more, most, touches);
        if let Self::Worker { again: Some(had), .. } = self
            && is_there
        {
            *had = had.beyond(more);
        }
        is_there
    }

    /// Takes so many bytes of what is left to who serves, at most so many, where it starts again; of them it will touch no more than that.
    fn take_left(&mut self, more: usize, most: usize, touches: usize) -> bool {
        match self {
            Self::Worker { debt, again: Some(_), .. } => {
                let is_there = more <= most && starts::take_again(more, touches);
                if is_there {
                    debt.grows(more);
                }
                is_there
            }
            Self::Worker { .. } | Self::Trial(_) => false,
        }
    }

    /// What the module declares is there.
    pub(super) fn is_at(&self, memory: Range) {
        match self {
            Self::Trial(trial) => trial.is_at(memory),
            Self::Worker { debt, .. } => debt.is_at(memory),
        }
    }

    /// Why its machine is to end before its guest has come to an end, if it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self {
            Self::Trial(trial) => trial.ending(),
            Self::Worker { .. } => None,
        }
    }

    /// It serves: what it took is its own.
    pub(super) fn keeps(&mut self) {
        if let Self::Worker { taken, .. } = self {
            *taken = 0;
        }
    }
}

impl Drop for Taker {
    /// Its machine is gone, and never served.
    fn drop(&mut self) {
        match self {
            Self::Trial(trial) => trial.gone(),
            Self::Worker { taken, .. } => starts::give_both(*taken),
        }
    }
}
