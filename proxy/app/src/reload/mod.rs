//! Reading the configuration again: when ([`Watcher`]), what it changes ([`mod@diff`]), and how it went ([`Outcome`]).
//!
//! Beside the path. The last good configuration stays in force on any error; nothing here applies anything.

mod diff;
mod watch;

pub use diff::{Changes, Names, diff};
pub use watch::{Reason, Watcher, trail};

use std::time::SystemTime;

/// How the last attempts went, for `/config_dump` and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Configurations put in force since start, the first included.
    pub applied: u64,
    /// Attempts that were refused.
    pub rejected: u64,
    /// The last attempt; `None` before the first.
    pub last: Option<Attempt>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: SystemTime,
    /// How.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In force.
    Applied(Changes),
    /// It says the same as the one in force.
    Unchanged,
    /// Refused, with every reason; the one before stays in force.
    Rejected(String),
}

impl History {
    /// Enters an attempt that ended now.
    pub fn enter(&mut self, outcome: Outcome) {
        match &outcome {
            Outcome::Applied(_) => self.applied += 1,
            Outcome::Unchanged => {}
            Outcome::Rejected(_) => self.rejected += 1,
        }
        self.last = Some(Attempt { at: SystemTime::now(), outcome });
    }
}
