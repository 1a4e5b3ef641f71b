//! How the process goes away: readiness fails, load balancers look away, listeners close, what is in flight
//! finishes, and what does not finish is cut.
//!
//! ```text
//!  asked ──► Announced ──(delay)──► Draining ──(all workers idle)────────► exit 0
//!               │                   ▲  └──────(deadline) ──► Cut ──────────► exit 3, or 0
//!               │                   │
//!               ├──(delay, a sidecar)► OutboundOnly ──(the application has gone, or the deadline)
//!               └── a second signal, in any phase ─────────────────────────► exit 3, or 0
//! ```
//!
//! Whatever is cut, the exit code tells whether anybody lost something: 3 where something was in flight, 0 where all that
//! was open were connections at rest.
//!
//! A sidecar's drain is asymmetric: who comes in is told to go elsewhere at once, while what the application sends out is
//! accepted until it has gone. It has gone when that is seen of it ([`Until::Absent`]; [`crate::application`] says by
//! what), or when the signal comes that follows it ([`Until::Told`], as native sidecars get it behind the announcement of
//! their `preStop` hook).
//!
//! The deadline is counted from the end of the delay, so a pod's grace period should exceed the sum of both. The
//! machine is pure; the control thread asks it when to look again and does what it says.

use crate::application::Presence;
use pillion_config::model;
use std::time::{Duration, Instant};

/// How far the process has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Readiness fails; connections are still accepted.
    Announced,
    /// Inbound listeners are closed and their connections finish; outbound connections are accepted.
    OutboundOnly,
    /// Listeners are closed; connections finish.
    Draining,
    /// The deadline has passed: everything still open is cut.
    Cut,
    /// Nothing is open.
    Gone,
}

/// How long outbound connections are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// As long as inbound ones.
    Closed,
    /// Until the application is seen to have gone, and not to be back a moment later; at most until shortly before the deadline.
    Absent,
    /// Until somebody says so; there is no deadline before.
    Told,
}

/// A drain under way.
#[derive(Debug)]
pub struct Drain {
    phase: Phase,
    until: Until,
    close_at: Instant,
    cut_at: Instant,
    deadline: Duration,
    wait_until: Instant,
    look_at: Instant,
    absences: u32,
}

/// Time between two looks at the application.
const LOOK: Duration = Duration::from_millis(250);
/// How long before the deadline an application that still may be there is not waited for any more, so that what it sent last
/// finishes and a proxy with nothing open is not said to have cut something; a quarter of short deadlines.
const FINISHING: Duration = Duration::from_secs(2);
/// Looks that must see nothing of it, one after the other: between two connections of its own it may have no socket.
const ABSENCES: u32 = 8;

/// What the control thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Wait until then, or until the workers are idle.
    WaitUntil(Instant),
    /// Tell the workers to close their inbound listeners and drain those.
    CloseInbound,
    /// Look whether the application is there, and say so with [`Drain::saw`].
    Look,
    /// Tell the workers to close their listeners and drain.
    CloseListeners,
    /// Tell the workers to cut what is open, and exit.
    Abort,
    /// Exit: nothing was cut.
    Finished,
}

/// Farther off than any process lives.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Drain {
    /// Begins now. Times too far away to be represented are taken to be a century off.
    #[must_use]
    pub fn begin(now: Instant, times: &model::Drain, until: Until) -> Self {
        let after = |at: Instant, time| at.checked_add(time).unwrap_or(now + CENTURY);
        let close_at = after(now, times.delay);
        let cut_at = after(close_at, times.deadline);
        let deadline = cut_at.saturating_duration_since(close_at);
        let wait_until = last_wait(cut_at, deadline);
        Self { phase: Phase::Announced, until, close_at, cut_at, deadline, wait_until, look_at: close_at, absences: 0 }
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How long outbound connections are accepted.
    #[must_use]
    pub fn until(&self) -> Until {
        self.until
    }

    /// A drain that waited to be told is told: the application has gone, so no delay is owed to anybody.
    pub fn told(&mut self, now: Instant) {
        if self.until == Until::Told {
            self.until = Until::Closed;
            self.close_at = self.close_at.min(now);
            self.cut_at = now + self.deadline;
        }
    }

    /// A drain that waited to be told is asked to leave while the application is there.
    pub fn watch(&mut self, now: Instant) {
        if self.until == Until::Told {
            self.until = Until::Absent;
            self.cut_at = self.close_at.max(now) + self.deadline;
            self.wait_until = last_wait(self.cut_at, self.deadline);
        }
    }

    /// What a look at the application saw.
    pub fn saw(&mut self, presence: Presence) {
        self.absences = if presence == Presence::Gone { self.absences + 1 } else { 0 };
        if self.absences >= ABSENCES && self.until == Until::Absent {
            self.until = Until::Closed;
        }
    }

    /// The listeners are already closed (`/drain_listeners` came first): no delay is owed to anybody.
    pub fn skip_delay(&mut self, now: Instant) {
        let saved = self.close_at.saturating_duration_since(now);
        self.close_at = self.close_at.min(now);
        self.cut_at = self.cut_at.checked_sub(saved).unwrap_or(now);
        self.wait_until = last_wait(self.cut_at, self.deadline);
    }

    /// When [`Self::step`] has something new to say at the latest; `None`: at once.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Announced => Some(self.close_at),
            Phase::OutboundOnly => match self.until {
                Until::Closed => None,
                Until::Absent => Some(self.look_at.min(self.wait_until)),
                Until::Told => Some(self.close_at + CENTURY),
            },
            Phase::Draining => Some(self.cut_at),
            Phase::Cut | Phase::Gone => None,
        }
    }

    /// The next step. `idle`: every worker has closed its listeners and has no connection.
    pub fn step(&mut self, now: Instant, idle: bool) -> Step {
        match self.phase {
            Phase::Announced if now < self.close_at => Step::WaitUntil(self.close_at),
            Phase::Announced if self.until != Until::Closed => {
                self.phase = Phase::OutboundOnly;
                Step::CloseInbound
            }
            Phase::OutboundOnly if self.until == Until::Told => Step::WaitUntil(self.close_at + CENTURY),
            Phase::OutboundOnly if self.until == Until::Absent && now < self.wait_until => {
                if now < self.look_at {
                    return Step::WaitUntil(self.look_at.min(self.wait_until));
                }
                self.look_at = now + LOOK;
                Step::Look
            }
            Phase::Announced | Phase::OutboundOnly => {
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
            Phase::Cut => Step::Abort,
            Phase::Gone => Step::Finished,
        }
    }
}

/// Until when an application is waited for, of a drain that cuts at `cut_at`.
fn last_wait(cut_at: Instant, deadline: Duration) -> Instant {
    cut_at.checked_sub(FINISHING.min(deadline / 4)).unwrap_or(cut_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn drain(delay: u64, deadline: u64) -> (Instant, Drain) {
        let now = Instant::now();
        let times = model::Drain { delay: Duration::from_secs(delay), deadline: Duration::from_secs(deadline) };
        (now, Drain::begin(now, &times, Until::Closed))
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
        assert_eq!(drain.phase(), Phase::Cut);
    }

    #[test]
    fn closed_listeners_owe_no_delay() {
        let (now, mut drain) = drain(10, 30);
        drain.skip_delay(now);
        assert_eq!(drain.step(now, false), Step::CloseListeners);
        assert_eq!(drain.step(now, false), Step::WaitUntil(now + Duration::from_secs(30)));
    }

    #[test]
    fn outbound_is_accepted_until_the_application_has_gone() {
        let now = Instant::now();
        let times = model::Drain { delay: Duration::from_secs(2), deadline: Duration::from_secs(30) };
        let mut drain = Drain::begin(now, &times, Until::Absent);
        let at = |millis| now + Duration::from_millis(millis);
        assert_eq!(drain.step(at(0), false), Step::WaitUntil(at(2000)));
        assert_eq!(drain.step(at(2000), false), Step::CloseInbound);
        let mut time = 2000;
        for presence in [Presence::There, Presence::Gone, Presence::There].into_iter().chain([Presence::Gone; 8]) {
            assert_eq!(drain.step(at(time), false), Step::Look);
            drain.saw(presence);
            if time < 2000 + 250 * 10 {
                assert_eq!(drain.step(at(time + 1), false), Step::WaitUntil(at(time + 250)));
            }
            time += 250;
        }
        assert_eq!(drain.step(at(time), false), Step::CloseListeners);
        assert_eq!(drain.step(at(time), true), Step::Finished);
    }

    #[test]
    fn an_application_that_stays_is_not_waited_for_beyond_the_deadline() {
        let now = Instant::now();
        let times = model::Drain { delay: Duration::ZERO, deadline: Duration::from_secs(30) };
        let mut drain = Drain::begin(now, &times, Until::Absent);
        assert_eq!(drain.step(now, false), Step::CloseInbound);
        let at = |millis| now + Duration::from_millis(millis);
        assert_eq!(drain.step(at(27_999), false), Step::Look);
        assert_eq!(drain.step(at(27_999), false), Step::WaitUntil(at(28_000)));
        assert_eq!(drain.due(), Some(at(28_000)));
        assert_eq!(drain.step(at(28_000), false), Step::CloseListeners);
        assert_eq!(drain.step(at(28_000), false), Step::WaitUntil(at(30_000)), "what it sent last finishes");
        assert_eq!(drain.step(at(30_000), false), Step::Abort);
    }

    #[test]
    fn a_native_sidecar_announces_and_waits_for_its_signal() {
        let now = Instant::now();
        let times = model::Drain { delay: Duration::from_secs(5), deadline: Duration::from_secs(30) };
        let hours = now + Duration::from_secs(7200);
        let mut drain = Drain::begin(now, &times, Until::Told);
        assert!(matches!(drain.step(now, false), Step::WaitUntil(_)));
        assert_eq!(drain.step(now + Duration::from_secs(5), false), Step::CloseInbound);
        assert!(matches!(drain.step(hours, false), Step::WaitUntil(_)));
        drain.told(hours);
        assert_eq!(drain.due(), None);
        assert_eq!(drain.step(hours, false), Step::CloseListeners);
        assert_eq!(drain.step(hours, false), Step::WaitUntil(hours + Duration::from_secs(30)));
        // Told before the delay was over.
        let mut drain = Drain::begin(now, &times, Until::Told);
        drain.told(now);
        assert_eq!(drain.step(now, false), Step::CloseListeners);
    }

    #[test]
    fn absurd_times_are_survived() {
        let now = Instant::now();
        let mut drain =
            Drain::begin(now, &model::Drain { delay: Duration::ZERO, deadline: Duration::MAX }, Until::Closed);
        assert_eq!(drain.step(now, false), Step::CloseListeners);
        assert!(matches!(drain.step(now, false), Step::WaitUntil(_)));
    }
}
