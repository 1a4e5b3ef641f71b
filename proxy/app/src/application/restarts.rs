//! When a Job's application that is not seen has ended, rather than waits for its restart. Pure.
//!
//! A kubelet starts a container of a pod with `restartPolicy: OnFailure` anew when it has failed, the first time at once and then
//! after 10 s, 20 s, 40 s, … 300 s, and from the beginning again when it ran for ten minutes. A proxy that left meanwhile would
//! not come back, since it did not fail. Whether the application failed cannot be seen from another container, so the proxy waits
//! for as long as a kubelet might.

use super::Presence;
use std::time::{Duration, Instant};

/// What a kubelet does with containers that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarts {
    /// Nothing: one failure is the pod's.
    Never,
    /// Starts the one there is anew when it failed.
    One,
    /// Starts those anew that failed, which nobody sees while another one runs.
    Several,
}

/// The first back-off; doubled by each restart.
const FIRST: Duration = Duration::from_secs(10);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(300);
/// What a container takes to be made, beside the back-off.
const MAKING: Duration = Duration::from_secs(10);
/// How long a container must run for its back-offs to be forgotten.
const STEADY: Duration = Duration::from_secs(600);

/// What follows from the looks at a Job's processes.
#[derive(Debug)]
pub(super) struct Absence {
    restarts: Restarts,
    /// When it was seen first.
    first: Option<Instant>,
    /// When it was started last, as far as one can see.
    started: Option<Instant>,
    /// Since when it is not seen.
    since: Option<Instant>,
    /// Restarts, since the last time that it ran long.
    count: u32,
}

impl Absence {
    pub(super) fn new(restarts: Restarts) -> Self {
        Self { restarts, first: None, started: None, since: None, count: 0 }
    }

    /// Whether the application has ended, by a look at `now`. `came`: somebody was started since the look before.
    pub(super) fn ended(&mut self, presence: Presence, came: bool, now: Instant) -> bool {
        if presence == Presence::There || came {
            self.first.get_or_insert(now);
            if self.since.take().is_some() {
                self.count = self.count.saturating_add(1);
                self.started = Some(now);
            }
            let started = *self.started.get_or_insert(now);
            if now.duration_since(started) >= STEADY {
                self.count = 0;
            }
        }
        if presence == Presence::There {
            return false;
        }
        let Some(first) = self.first else { return false };
        let since = *self.since.get_or_insert(now);
        now.duration_since(since) >= self.patience(since.duration_since(first))
    }

    /// How long it must not be seen. `lived`: from the first start to the last end.
    fn patience(&self, lived: Duration) -> Duration {
        let back_off = match self.restarts {
            Restarts::Never => FIRST,
            Restarts::One => FIRST.saturating_mul(2_u32.saturating_pow(self.count)),
            // All back-offs before have passed since, and their sum is 10 s less than the next.
            Restarts::Several => FIRST + lived,
        };
        back_off.min(LONGEST) + MAKING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Presence::{Gone, There};

    /// Looks, at a second each.
    struct Looks(Absence, Instant);

    impl Looks {
        fn new(restarts: Restarts) -> Self {
            Self(Absence::new(restarts), Instant::now())
        }

        fn ended(&mut self, second: u64, presence: Presence, came: bool) -> bool {
            self.0.ended(presence, came, self.1 + Duration::from_secs(second))
        }

        /// Seconds from a first look that does not see it to the one that says it has ended.
        fn patience(&mut self, from: u64) -> u64 {
            (from..from + 1000).find(|second| self.ended(*second, Gone, false)).expect("it ends") - from
        }
    }

    #[test]
    fn who_is_still_to_come_has_not_ended() {
        let mut job = Looks::new(Restarts::Never);
        assert!(!job.ended(0, Gone, false) && !job.ended(600, Gone, false) && !job.ended(601, There, true));
        assert_eq!(job.patience(602), 20);
        // It came back before anybody left.
        assert!(!job.ended(640, There, true) && !job.ended(641, Gone, false));
    }

    #[test]
    fn who_lived_for_less_than_a_look_has_ended() {
        let mut job = Looks::new(Restarts::Never);
        assert!(!job.ended(0, Gone, false) && !job.ended(1, Gone, true));
        assert_eq!(job.patience(2), 19);
    }

    #[test]
    fn each_restart_of_a_kubelet_is_waited_for() {
        for seen in [true, false] {
            let mut job = Looks::new(Restarts::One);
            let mut second = 0;
            // Failing at once, seen or not, behind the back-offs of a kubelet and five seconds for the container.
            for back_off in [0, 10, 20, 40, 80, 160, 300, 300] {
                for _ in 0..back_off + 5 {
                    assert!(!job.ended(second, Gone, false), "second {second}, back-off {back_off}");
                    second += 1;
                }
                assert!(!job.ended(second, if seen { There } else { Gone }, true));
                second += 1;
            }
            let patience = job.patience(second);
            assert!((309..=310).contains(&patience), "{patience}");
        }
    }

    #[test]
    fn who_succeeds_at_once_is_not_waited_for_long_and_a_long_run_is_a_new_beginning() {
        let mut job = Looks::new(Restarts::One);
        assert!(!job.ended(0, There, true) && !job.ended(3000, There, false));
        assert_eq!(job.patience(3001), 20);
        let mut job = Looks::new(Restarts::One);
        for second in [0, 20, 40] {
            assert!(!job.ended(second, There, true) && !job.ended(second + 1, Gone, false));
        }
        assert!(!job.ended(60, There, true) && !job.ended(700, There, false));
        assert_eq!(job.patience(701), 20);
    }

    #[test]
    fn one_of_several_may_have_failed_while_another_ran() {
        let mut job = Looks::new(Restarts::Several);
        assert!(!job.ended(0, There, true) && !job.ended(49, There, false));
        assert_eq!(job.patience(50), 70);
        let mut job = Looks::new(Restarts::Several);
        assert!(!job.ended(0, There, true) && !job.ended(4000, There, false));
        assert_eq!(job.patience(4001), 310);
    }
}
