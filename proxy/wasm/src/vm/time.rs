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
//!
//! The limit goes with what the callback has to work on: what its guest was handed in it, whatever it is, and what it was handed before of
//! its stream ([`StreamContext::handed`](super::state::StreamContext::handed)), which it may have kept. Bytes are counted as they are
//! handed over; what they are worth is reckoned at a deadline.

use crate::ticker::TICK;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Ticks from a callback's begin until its clock is noted: the next one, which may come at once.
pub(super) const FIRST: u64 = 1;

/// Bytes for which a callback whose guest was handed them has its time once more: who parses and writes a megabyte of JSON needs 15 to
/// 30 ms, and is no spin.
const WORK: usize = 256 * 1024;

/// Times that a callback has its time at most, whatever its guest was handed.
const MOST: u32 = 5;

/// The time of the callback that runs.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// What it has where there is nothing to work on.
    own: Duration,
    /// Bytes that the guest was handed in it,
    handed: usize,
    /// those of them that its stream counts,
    counted: usize,
    /// and those that came while host functions acted on no stream: one that is named afterwards counts them.
    unnamed: usize,
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
        Self { own: limit, handed: 0, counted: 0, unnamed: 0, noted: None }
    }

    /// The guest is handed so many bytes.
    #[inline]
    pub fn hand(&mut self, bytes: usize) {
        self.handed = self.handed.saturating_add(bytes);
    }

    /// A host function begins that may work for as long as a callback may run: its time counts from here on, whatever ticks find.
    pub fn note(&mut self, now: Duration) {
        self.noted.get_or_insert(now);
    }

    /// So many of those are among what the callback's stream counts.
    #[inline]
    pub fn count(&mut self, bytes: usize) {
        self.counted = self.counted.saturating_add(bytes);
    }

    /// So many of those came while host functions acted on no stream.
    #[inline]
    pub fn count_unnamed(&mut self, bytes: usize) {
        self.unnamed = self.unnamed.saturating_add(bytes);
    }

    /// A stream is named, which is to count what came on no stream's behalf.
    #[inline]
    pub fn name(&mut self) -> usize {
        std::mem::take(&mut self.unnamed)
    }

    /// What it has where there is nothing to work on.
    #[must_use]
    pub fn own(&self) -> Duration {
        self.own
    }

    /// What it has, where the callback's stream counts so many bytes.
    #[must_use]
    pub fn limit(&self, stream: usize) -> Duration {
        let bytes = self.handed.saturating_sub(self.counted).saturating_add(stream);
        let nanos = self.own.as_nanos().saturating_mul(bytes as u128) / WORK as u128;
        let more = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.own.saturating_add(more).min(self.own.saturating_mul(MOST))
    }

    /// At a deadline, when the thread's CPU clock says `now` and the callback's stream counts so many bytes.
    pub fn judge(&mut self, now: Duration, stream: usize) -> Verdict {
        let used = now.saturating_sub(*self.noted.get_or_insert(now));
        let left = self.limit(stream).saturating_sub(used);
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
        assert_eq!(time.judge(7 * MS, 0), Verdict::GoesOn(4));
        // An interrupt took a little of it.
        assert_eq!(time.judge(26 * MS, 0), Verdict::GoesOn(1));
        assert_eq!(time.judge(31 * MS, 0), Verdict::UsedUp);
        assert_eq!(time.burnt(31 * MS), 24 * MS + TICK);
    }

    #[test]
    fn a_thread_that_does_not_run_uses_nothing_up() {
        let mut time = Allowance::new(20 * MS);
        for _ in 0..1_000 {
            assert_eq!(time.judge(7 * MS, 0), Verdict::GoesOn(4));
        }
    }

    #[test]
    fn time_goes_with_what_the_guest_was_handed() {
        let mut time = Allowance::new(10 * MS);
        assert_eq!(time.limit(0), 10 * MS);
        // In parts of any size.
        for _ in 0..WORK / 64 {
            time.hand(64);
        }
        assert_eq!(time.judge(Duration::ZERO, 0), Verdict::GoesOn(4));
        assert_eq!(time.judge(19 * MS, 0), Verdict::GoesOn(1));
        assert_eq!(time.judge(20 * MS, 0), Verdict::UsedUp);
        time.hand(2 * WORK);
        assert_eq!(time.judge(39 * MS, 0), Verdict::GoesOn(1));
        for _ in 0..100 {
            time.hand(usize::MAX);
        }
        assert_eq!(time.judge(49 * MS, 0), Verdict::GoesOn(1));
        assert_eq!(time.judge(50 * MS, usize::MAX), Verdict::UsedUp, "not for ever");
    }

    #[test]
    fn what_the_stream_was_handed_before_counts_and_nothing_twice() {
        let mut time = Allowance::new(10 * MS);
        assert_eq!(time.limit(WORK), 20 * MS);
        // Of a stream's body that had as much before.
        time.hand(WORK);
        time.count(WORK);
        assert_eq!(time.limit(2 * WORK), 30 * MS);
        // Of something else.
        time.hand(WORK);
        assert_eq!(time.limit(2 * WORK), 40 * MS);
        assert_eq!(time.limit(3 * WORK), 50 * MS);
        assert_eq!(time.limit(4 * WORK), 50 * MS);
    }

    #[test]
    fn no_time_at_all_ends_at_the_first_tick() {
        assert_eq!(Allowance::new(Duration::ZERO).judge(7 * MS, usize::MAX), Verdict::UsedUp);
    }

    proptest! {
        #[test]
        fn what_goes_on_is_asked_again_before_it_has_more_than_a_tick_too_much(limit in 0u64..1_000_000, used in 0u64..1_000_000) {
            let (limit, used) = (Duration::from_micros(limit), Duration::from_micros(used));
            let mut time = Allowance::new(limit);
            let _ = time.judge(Duration::ZERO, 0);
            match time.judge(used, 0) {
                Verdict::UsedUp => prop_assert!(used >= limit),
                Verdict::GoesOn(ticks) => {
                    let then = used + TICK * u32::try_from(ticks).unwrap();
                    prop_assert!(then >= limit && then < limit + TICK);
                }
            }
        }
    }
}
