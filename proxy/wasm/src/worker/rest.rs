//! [`Rests`]: how long a machine's place stays empty after a death. Pure: it is told what the clock says.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The share of a worker's time that deaths and starts may take: one part in so many.
const SHARE: u32 = 200;

/// The shortest wait before a start.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait before a start.
const LONGEST: Duration = Duration::from_secs(60);

/// A machine that lived for so long has served: its death begins no crash loop, and goes on with none.
const STEADY: Duration = Duration::from_secs(1);

/// The time over which restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// What is remembered of a place's machines.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// When it was started again, of the last minute.
    restarts: VecDeque<Instant>,
    /// What starting the machine that runs took of the worker's time.
    start_took: Duration,
    /// When it was started.
    up_since: Option<Instant>,
    /// Deaths in a row without a machine that was steady.
    in_a_row: u32,
}

impl Rests {
    /// A machine is to be started again.
    pub(super) fn restart(&mut self, now: Instant) {
        self.restarts.push_back(now);
    }

    /// A machine runs, and its start took so much of the worker's time.
    pub(super) fn started(&mut self, took: Duration, now: Instant) {
        (self.start_took, self.up_since) = (took, Some(now));
    }

    /// A machine died, or did not start, which took so much of the worker's time: how long to wait before the next, of which there
    /// may be so many in a minute.
    pub(super) fn died(&mut self, burnt: Duration, most: u32, now: Instant) -> Duration {
        while self.restarts.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
            self.restarts.pop_front();
        }
        // The first start is no crash loop's.
        let start = std::mem::take(&mut self.start_took);
        let burnt = if self.restarts.is_empty() { burnt } else { burnt + start };
        let steady = self.up_since.take().is_some_and(|since| now.duration_since(since) >= STEADY);
        let before = if steady { 0 } else { self.in_a_row };
        self.in_a_row = before.saturating_add(1);
        backoff(before, burnt).max(self.over(most, now))
    }

    /// How long to wait until there was one restart less than may be in a minute.
    fn over(&self, most: u32, now: Instant) -> Duration {
        if self.restarts.len() < most as usize {
            return Duration::ZERO;
        }
        let oldest = self.restarts.front().map_or(now, |oldest| *oldest);
        WINDOW.saturating_sub(now.duration_since(oldest))
    }
}

/// How long to wait after so many deaths in a row before this one, when so much time was burnt.
fn backoff(before: u32, burnt: Duration) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << before.min(10)).min(LONGEST);
    doubled.max(after(burnt))
}

/// How long to wait at least where so much of the worker's time was taken.
pub(super) fn after(burnt: Duration) -> Duration {
    burnt.saturating_mul(SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_crash_loop_takes_half_a_percent_at_most() {
        for millis in [0, 1, 50, 1_000] {
            let burnt = Duration::from_millis(millis);
            for before in 0..100 {
                assert!(backoff(before, burnt) >= burnt * SHARE);
                assert!(backoff(before, burnt) >= SHORTEST);
            }
        }
        assert_eq!(backoff(0, Duration::ZERO), SHORTEST);
        assert_eq!(backoff(3, Duration::ZERO), SHORTEST * 8);
        assert_eq!(backoff(u32::MAX, Duration::ZERO), LONGEST);
    }

    #[test]
    fn who_served_in_between_is_in_no_crash_loop() {
        let begun = Instant::now();
        let mut rests = Rests::default();
        for at in [0, 10, 20] {
            rests.started(Duration::ZERO, begun + at * SECOND);
            assert_eq!(rests.died(Duration::ZERO, 30, begun + at * SECOND + STEADY), SHORTEST, "{at}");
        }
        rests.started(Duration::ZERO, begun + 30 * SECOND);
        assert_eq!(rests.died(Duration::ZERO, 30, begun + 30 * SECOND), SHORTEST * 2);
    }

    #[test]
    fn what_a_restart_took_is_waited_for_and_the_first_start_is_not() {
        let now = Instant::now();
        let mut rests = Rests::default();
        rests.started(SECOND, now);
        assert_eq!(rests.died(Duration::ZERO, 30, now + STEADY), SHORTEST);
        rests.restart(now + STEADY);
        rests.started(SECOND, now + STEADY);
        assert_eq!(rests.died(SECOND, 30, now + STEADY * 2), 2 * SECOND * SHARE);
    }

    #[test]
    fn restarts_beyond_those_of_a_minute_wait_until_it_is_over() {
        let begun = Instant::now();
        let now = begun + 25 * SECOND;
        for (restarts, most, wait) in
            [(&[0, 10, 20][..], 4, SHORTEST), (&[0, 10, 20], 3, 35 * SECOND), (&[], 1, SHORTEST), (&[], 0, WINDOW)]
        {
            let mut rests = Rests::default();
            restarts.iter().for_each(|at| rests.restart(begun + *at * SECOND));
            assert_eq!(rests.died(Duration::ZERO, most, now), wait, "{restarts:?} {most}");
        }
    }
}
