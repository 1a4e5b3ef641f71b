//! How the process goes away: readiness fails, load balancers look away, listeners close, what is in flight
//! finishes, and what does not finish is cut.
//!
//! ```text
//!  asked ──► Announced ──(delay)──► Draining ──(all workers idle)────────► exit 0
//!               │                      └──────(deadline) ──► Cut ──────────► exit 3
//!               └── a second signal, in any phase ─────────────────────────► exit 3
//! ```
//!
//! The deadline is counted from the end of the delay, so a pod's grace period should exceed the sum of both. The
//! machine is pure; the control thread asks it when to look again and does what it says.

use pillion_config::model;
use std::time::Instant;

/// How far the process has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Readiness fails; connections are still accepted.
    Announced,
    /// Listeners are closed; connections finish.
    Draining,
    /// The deadline has passed: everything still open is cut.
    Cut,
    /// Nothing is open.
    Gone,
}

/// A drain under way.
#[derive(Debug)]
pub struct Drain {
    phase: Phase,
    close_at: Instant,
    cut_at: Instant,
}

/// What the control thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Wait until then, or until the workers are idle.
    WaitUntil(Instant),
    /// Tell the workers to close their listeners and drain.
    CloseListeners,
    /// Tell the workers to cut what is open.
    Abort,
    /// Exit: nothing was cut.
    Finished,
    /// Exit: something was cut.
    Overrun,
}

impl Drain {
    /// Begins now. Times too far away to be represented are taken to be a century off.
    #[must_use]
    pub fn begin(now: Instant, times: &model::Drain) -> Self {
        const CENTURY: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 86_400);
        let after = |at: Instant, time| at.checked_add(time).unwrap_or(now + CENTURY);
        let close_at = after(now, times.delay);
        Self { phase: Phase::Announced, close_at, cut_at: after(close_at, times.deadline) }
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The listeners are already closed (`/drain_listeners` came first): no delay is owed to anybody.
    pub fn skip_delay(&mut self, now: Instant) {
        let saved = self.close_at.saturating_duration_since(now);
        self.close_at = self.close_at.min(now);
        self.cut_at = self.cut_at.checked_sub(saved).unwrap_or(now);
    }

    /// When [`Self::step`] has something new to say at the latest; `None`: at once.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Announced => Some(self.close_at),
            Phase::Draining => Some(self.cut_at),
            Phase::Cut | Phase::Gone => None,
        }
    }

    /// The next step. `idle`: every worker has closed its listeners and has no connection.
    pub fn step(&mut self, now: Instant, idle: bool) -> Step {
        match self.phase {
            Phase::Announced if now < self.close_at => Step::WaitUntil(self.close_at),
            Phase::Announced => {
                self.phase = Phase::Draining;
                Step::CloseListeners
            }
            Phase::Draining if idle => {
                self.phase = Phase::Gone;
                Step::Finished
            }
            Phase::Draining if now < self.cut_at => Step::WaitUntil(self.cut_at),
            Phase::Draining => {
                self.phase = Phase::Cut;
                Step::Abort
            }
            Phase::Cut => Step::Overrun,
            Phase::Gone => Step::Finished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn drain(delay: u64, deadline: u64) -> (Instant, Drain) {
        let now = Instant::now();
        let times = model::Drain { delay: Duration::from_secs(delay), deadline: Duration::from_secs(deadline) };
        (now, Drain::begin(now, &times))
    }

    #[test]
    fn it_leaves_as_soon_as_it_is_idle() {
        let (now, mut drain) = drain(5, 30);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(drain.step(now, true), Step::WaitUntil(at(5)), "idle or not, balancers must look away first");
        assert_eq!(drain.step(at(5), true), Step::CloseListeners);
        assert_eq!(drain.step(at(5), false), Step::WaitUntil(at(35)));
        assert_eq!(drain.step(at(6), true), Step::Finished);
        assert_eq!(drain.phase(), Phase::Gone);
    }

    #[test]
    fn it_cuts_at_the_deadline() {
        let (now, mut drain) = drain(0, 30);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(drain.step(now, false), Step::CloseListeners);
        assert_eq!(drain.step(at(29), false), Step::WaitUntil(at(30)));
        assert_eq!(drain.step(at(30), false), Step::Abort);
        assert_eq!(drain.step(at(30), true), Step::Overrun);
    }

    #[test]
    fn closed_listeners_owe_no_delay() {
        let (now, mut drain) = drain(10, 30);
        drain.skip_delay(now);
        assert_eq!(drain.step(now, false), Step::CloseListeners);
        assert_eq!(drain.step(now, false), Step::WaitUntil(now + Duration::from_secs(30)));
    }

    #[test]
    fn absurd_times_are_survived() {
        let now = Instant::now();
        let mut drain = Drain::begin(now, &model::Drain { delay: Duration::ZERO, deadline: Duration::MAX });
        assert_eq!(drain.step(now, false), Step::CloseListeners);
        assert!(matches!(drain.step(now, false), Step::WaitUntil(_)));
    }
}
