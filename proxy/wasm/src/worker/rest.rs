//! [`Rests`]: how long a machine's place stays empty after a death. Pure: it is told what the clock says.
//!
//! ```text
//!  death ── 100 ms ─► start ─ serves ─► death ──────── until even ────────► start ─ …
//!    └ owes SHARE times what it took ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄► even
//! ```
//!
//! A death is not paid for at once: who dies now and then is away for a moment. Who dies again before it is even waits until
//! it is, so that in the long run deaths and starts take one part in [`SHARE`] of the worker's time, and one death more; the
//! callbacks in which machines die take less, one part in [`SPUN`]: those that are ended for their time hold everybody up for all of it at once.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

/// The share of a worker's time that deaths and starts may take: one part in so many. Half of what would be bearable by
/// itself: requests that were held up should not be among the slowest hundredth of all.
const SHARE: u32 = 400;

/// The share of a worker's time that callbacks may take by which machines die: one part in so many. Less, since one that spins holds up
/// everything for ten milliseconds and more, and the requests that came meanwhile are served one behind the other.
const SPUN: u32 = 1_000;

/// What of a callback's time is paid for so. Who had more, since it read a large body, is not away for minutes.
const SPIN: Duration = Duration::from_millis(25);

/// What touching memory for the first time takes, in times of giving it back: 0.7 ms a MiB and 0.09 were measured.
const TOUCHING: u32 = 8;

/// The shortest wait before a start.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait before a start.
const LONGEST: Duration = Duration::from_secs(60);

/// A machine that lived for so long has served: its death begins no crash loop, and goes on with none.
const STEADY: Duration = Duration::from_secs(1);

/// The time over which restarts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// For how long a place stays empty, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) wait: Duration,
    pub(super) why: Why,
}

/// What makes a rest as long as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// So many deaths in a row, without a machine that was steady.
    Row(u32),
    /// Deaths and starts took more of the worker's time than their share.
    Share,
    /// So many restarts in a minute are as many as there may be.
    Window(u32),
}

/// What is remembered of a place's machines.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// When it was started again, of the last minute.
    restarts: VecDeque<Instant>,
    /// When it owes nothing any more; `None`: it never owed anything.
    even: Option<Instant>,
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

    /// Giving back what a dead machine had touched took so much of the worker's time. The next death pays for it, and for having
    /// touched it: a guest that fills its memory in no time took that of the worker, too, a callback at a time.
    pub(super) fn freed(&mut self, took: Duration, now: Instant) {
        self.owes(took.saturating_mul((1 + TOUCHING) * SHARE), now);
    }

    /// It is even so much later.
    fn owes(&mut self, time: Duration, now: Instant) {
        let from = self.even.map_or(now, |even| even.max(now));
        // Out of range: after some five hundred thousand million years.
        self.even = Some(from.checked_add(time).unwrap_or(from));
    }

    /// A machine died in a callback, or did not start, which took so much of the worker's time: how long to wait before the next,
    /// of which there may be so many in a minute.
    pub(super) fn died(&mut self, burnt: Duration, most: u32, now: Instant) -> Rest {
        while self.restarts.front().is_some_and(|at| now.duration_since(*at) > WINDOW) {
            self.restarts.pop_front();
        }
        let owed = self.even.map_or(Duration::ZERO, |even| even.saturating_duration_since(now));
        // The first start is no crash loop's.
        let start = std::mem::take(&mut self.start_took);
        let again = if self.restarts.is_empty() { Duration::ZERO } else { start };
        let spun = burnt.min(SPIN);
        self.owes(spun.saturating_mul(SPUN).saturating_add((burnt - spun + again).saturating_mul(SHARE)), now);
        let steady = self.up_since.take().is_some_and(|since| now.duration_since(since) >= STEADY);
        let before = if steady { 0 } else { self.in_a_row };
        self.in_a_row = before.saturating_add(1);
        let all =
            [(backoff(before), Why::Row(self.in_a_row)), (owed, Why::Share), (self.over(most, now), Why::Window(most))];
        let [first, others @ ..] = all.map(|(wait, why)| Rest { wait, why });
        others.into_iter().fold(first, |longest, rest| if rest.wait > longest.wait { rest } else { longest })
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

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(deaths) => {
                write!(
                    f,
                    "it died, or could not be started, {deaths} times in a row and never served for {STEADY:?} between"
                )
            }
            Self::Share => write!(
                f,
                "dying and starting took more of the worker's time than it may, one part in {SHARE}, and in {SPUN} of the first {SPIN:?} \
                 of each death"
            ),
            Self::Window(most) => {
                write!(f, "it was started again as often as it may be in a minute (limits.restarts of {most})")
            }
        }
    }
}

/// How long to wait after so many deaths in a row before this one.
fn backoff(before: u32) -> Duration {
    SHORTEST.saturating_mul(1 << before.min(10)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const OFTEN: u32 = 1_000_000;

    #[test]
    fn waits_double_with_each_death_in_a_row() {
        let now = Instant::now();
        let mut rests = Rests::default();
        for (doubled, deaths) in [(1, 1), (2, 2), (4, 3), (8, 4)] {
            let rest = rests.died(Duration::ZERO, OFTEN, now);
            assert_eq!(rest, Rest { wait: SHORTEST * doubled, why: Why::Row(deaths) });
        }
        let last = (0..100).map(|_| rests.died(Duration::ZERO, OFTEN, now).wait).last();
        assert_eq!(last, Some(LONGEST));
    }

    proptest! {
        #[test]
        fn deaths_take_their_share_in_the_long_run_and_one_more(deaths in proptest::collection::vec((0u64..200_000, 0u64..60_000), 2..100)) {
            let begun = Instant::now();
            let (mut rests, mut now, mut all, mut largest) = (Rests::default(), begun, Duration::ZERO, Duration::ZERO);
            for (micros, lives) in deaths {
                let burnt = Duration::from_micros(micros);
                // What was burnt so far, but for the last death, has been paid for by now.
                let before = all.saturating_sub(largest);
                prop_assert!(before * SHARE <= now - begun);
                now += rests.died(burnt, OFTEN, now).wait;
                rests.restart(now);
                (all, largest) = (all + burnt, burnt);
                rests.started(Duration::ZERO, now);
                now += Duration::from_millis(lives);
            }
        }
    }

    #[test]
    fn who_dies_now_and_then_is_away_for_a_moment() {
        let begun = Instant::now();
        let burnt = Duration::from_millis(15);
        let mut rests = Rests::default();
        for at in [0, 16, 32] {
            rests.started(Duration::ZERO, begun + at * SECOND);
            assert_eq!(rests.died(burnt, 30, begun + at * SECOND + STEADY).wait, SHORTEST, "{at}");
        }
        rests.started(Duration::ZERO, begun + 34 * SECOND);
        let owed = Rest { wait: burnt * SPUN - 2 * SECOND, why: Why::Share };
        assert_eq!(rests.died(burnt, 30, begun + 35 * SECOND), owed, "before it was even");
    }

    #[test]
    fn who_served_in_between_is_in_no_crash_loop() {
        let begun = Instant::now();
        let mut rests = Rests::default();
        for at in [0, 10, 20] {
            rests.started(Duration::ZERO, begun + at * SECOND);
            assert_eq!(rests.died(Duration::ZERO, 30, begun + at * SECOND + STEADY).wait, SHORTEST, "{at}");
        }
        rests.started(Duration::ZERO, begun + 30 * SECOND);
        assert_eq!(rests.died(Duration::ZERO, 30, begun + 30 * SECOND).wait, SHORTEST * 2);
    }

    #[test]
    fn what_a_restart_took_is_paid_for_and_the_first_start_is_not() {
        let now = Instant::now();
        let mut rests = Rests::default();
        rests.started(SECOND, now);
        assert_eq!(rests.died(Duration::ZERO, 30, now).wait, SHORTEST);
        rests.restart(now);
        rests.started(SECOND, now);
        assert_eq!(rests.died(SECOND, 30, now).wait, SHORTEST * 2, "the first start");
        rests.freed(SECOND, now);
        let owed = SPIN * SPUN + (SECOND - SPIN) * SHARE + SECOND * (1 + (1 + TOUCHING)) * SHARE;
        assert_eq!(rests.died(Duration::ZERO, 30, now).wait, owed, "restart, death, memory touched and given back");
    }

    #[test]
    fn restarts_beyond_those_of_a_minute_wait_until_it_is_over() {
        let begun = Instant::now();
        let now = begun + 25 * SECOND;
        for (restarts, most, wait, why) in [
            (&[0, 10, 20][..], 4, SHORTEST, Why::Row(1)),
            (&[0, 10, 20], 3, 35 * SECOND, Why::Window(3)),
            (&[], 1, SHORTEST, Why::Row(1)),
            (&[], 0, WINDOW, Why::Window(0)),
        ] {
            let mut rests = Rests::default();
            restarts.iter().for_each(|at| rests.restart(begun + *at * SECOND));
            assert_eq!(rests.died(Duration::ZERO, most, now), Rest { wait, why }, "{restarts:?} {most}");
        }
    }
}
