//! [`Allowance`]: the time a callback may take of its thread, told from the thread's CPU clock.
//!
//! ```text
//!  callback begins     1st tick                      limit later                    what was left later
//!        ├─────────────────┼──────────────────────────────┼──────────────────────────────┼──► wall time
//!        │ no clock read   │ the CPU clock is noted       │ used up? ends : goes on      │ used up? …
//! ```
//!
//! Wall time cannot tell a guest that spins from one whose thread does not run: on a busy machine, or in a cgroup whose
//! quota is used up, a callback of microseconds may take a second. So the epoch's deadline only asks the question, and the
//! CPU clock answers it. A callback that ends before the next tick, which nearly every one does, pays nothing for it; a
//! guest that spins gets its limit, the tick in which it began, and a millisecond ([`crate::ticker`]).

use crate::ticker::TICK;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Ticks from a callback's begin until its clock is noted: the next one, which may come at once.
pub(super) const FIRST: u64 = 1;

/// Bytes of a body for which a callback that reads them has its time once more.
const WORK: usize = 256 * 1024;

/// Times that a callback has its time at most, whatever it reads.
const MOST: u32 = 5;

/// Fewer bytes change nothing: heads and the like are not asked about.
const FEW: usize = 4 * 1024;

/// The time of the callback that runs.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// What it has where it reads no body,
    own: Duration,
    /// and with what it has read.
    limit: Duration,
    /// What the thread's CPU clock said at the first tick within the callback.
    noted: Option<Duration>,
}

/// What follows where a deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, and is asked again after so many ticks.
    GoesOn(u64),
    /// It has had its time.
    UsedUp,
}

impl Allowance {
    /// A callback begins.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { own: limit, limit, noted: None }
    }

    /// It reads so many bytes of a body, an answer or a message: who parses and writes a megabyte of JSON needs 15 to 30 ms, and is no
    /// spin.
    #[inline]
    pub fn reads(&mut self, bytes: usize) {
        if bytes >= FEW {
            self.has_more(bytes);
        }
    }

    #[cold]
    fn has_more(&mut self, bytes: usize) {
        let nanos = self.own.as_nanos().saturating_mul(bytes as u128) / WORK as u128;
        let more = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.limit = self.limit.saturating_add(more).min(self.own.saturating_mul(MOST));
    }

    /// At a deadline, when the thread's CPU clock says `now`.
    pub fn judge(&mut self, now: Duration) -> Verdict {
        let used = now.saturating_sub(*self.noted.get_or_insert(now));
        let left = self.limit.saturating_sub(used);
        if left.is_zero() { Verdict::UsedUp } else { Verdict::GoesOn(ticks(left)) }
    }

    /// CPU time that the callback took, rounded up by a tick; nothing if no tick found it running.
    #[must_use]
    pub fn burnt(&self, now: Duration) -> Duration {
        self.noted.map_or(Duration::ZERO, |noted| now.saturating_sub(noted).saturating_add(TICK))
    }
}

/// CPU time of this thread.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// How many ticks a time is, rounded up.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_guest_that_spins_has_its_limit() {
        let mut time = Allowance::new(20 * MS);
        assert_eq!(time.burnt(7 * MS), Duration::ZERO);
        assert_eq!(time.judge(7 * MS), Verdict::GoesOn(4));
        // An interrupt took a little of it.
        assert_eq!(time.judge(26 * MS), Verdict::GoesOn(1));
        assert_eq!(time.judge(31 * MS), Verdict::UsedUp);
        assert_eq!(time.burnt(31 * MS), 24 * MS + TICK);
    }

    #[test]
    fn a_thread_that_does_not_run_uses_nothing_up() {
        let mut time = Allowance::new(20 * MS);
        for _ in 0..1_000 {
            assert_eq!(time.judge(7 * MS), Verdict::GoesOn(4));
        }
    }

    #[test]
    fn who_reads_a_body_has_time_for_it() {
        let mut time = Allowance::new(10 * MS);
        time.reads(FEW - 1);
        assert_eq!(time.judge(Duration::ZERO), Verdict::GoesOn(2));
        time.reads(WORK);
        assert_eq!(time.judge(10 * MS), Verdict::GoesOn(2));
        assert_eq!(time.judge(20 * MS), Verdict::UsedUp);
        time.reads(2 * WORK);
        assert_eq!(time.judge(39 * MS), Verdict::GoesOn(1));
        for _ in 0..100 {
            time.reads(usize::MAX);
        }
        assert_eq!(time.judge(49 * MS), Verdict::GoesOn(1));
        assert_eq!(time.judge(50 * MS), Verdict::UsedUp, "not for ever");
    }

    #[test]
    fn no_time_at_all_ends_at_the_first_tick() {
        assert_eq!(Allowance::new(Duration::ZERO).judge(7 * MS), Verdict::UsedUp);
    }

    proptest! {
        #[test]
        fn what_goes_on_is_asked_again_before_it_has_more_than_a_tick_too_much(limit in 0u64..1_000_000, used in 0u64..1_000_000) {
            let (limit, used) = (Duration::from_micros(limit), Duration::from_micros(used));
            let mut time = Allowance::new(limit);
            let _ = time.judge(Duration::ZERO);
            match time.judge(used) {
                Verdict::UsedUp => prop_assert!(used >= limit),
                Verdict::GoesOn(ticks) => {
                    let then = used + TICK * u32::try_from(ticks).unwrap();
                    prop_assert!(then >= limit && then < limit + TICK);
                }
            }
        }
    }
}
