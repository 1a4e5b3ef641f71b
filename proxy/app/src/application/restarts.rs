//! When a Job's application that is not seen has ended, rather than waits for its restart, or is still to come. Pure.
//!
//! A kubelet starts a pod's containers one after the other, each when its image is there, and starts one of a pod with
//! `restartPolicy: OnFailure` anew when it has failed, the first time at once and then after 10 s, 20 s, 40 s, … 300 s, and from
//! the beginning again when it ran for ten minutes. A proxy that left meanwhile would not come back, since it did not fail. Whether
//! the application failed cannot be seen from another container, so the proxy waits for as long as a kubelet might; and of several
//! containers until each was seen, or must be taken to have lived unseen.

use super::record::Earlier;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// What a kubelet does with containers that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarts {
    /// Nothing: one failure is the pod's.
    Never,
    /// Starts those anew that failed.
    OnFailure,
}

/// The first back-off; doubled by each restart.
const FIRST: Duration = Duration::from_secs(10);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(300);
/// What a container takes to be made, beside the back-off.
const MAKING: Duration = Duration::from_secs(10);
/// How long a container must run for its back-offs to be forgotten.
const STEADY: Duration = Duration::from_secs(600);
/// How long a container is waited for of which nobody knows whether it is still to come, while none other runs: kubelets pull
/// images of many gigabytes in less, and one that lived too short to be seen delays the pod's end by no more.
const COMING: Duration = Duration::from_secs(600);

/// A look at a Job's processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether there are some.
    pub there: bool,
    /// Somebody was started since the look before.
    pub came: bool,
    /// Whose they are; looked for until it is [`Absence::complete`].
    pub containers: BTreeSet<String>,
}

/// What follows from the looks at a Job's processes.
#[derive(Debug)]
pub(super) struct Absence {
    restarts: Restarts,
    /// Containers that are to come.
    expected: usize,
    /// Those that came.
    seen: BTreeSet<String>,
    /// What an earlier proxy of the pod knew, of which we saw nothing.
    earlier: Option<Duration>,
    /// When it was looked at first.
    begun: Option<Instant>,
    /// When somebody was seen first.
    first: Option<Instant>,
    /// When it was started last, as far as one can see.
    started: Option<Instant>,
    /// Since when it is not seen.
    since: Option<Instant>,
    /// Restarts, since the last time that it ran long.
    count: u32,
}

impl Absence {
    pub(super) fn new(restarts: Restarts, expected: usize, earlier: Option<Earlier>, now: Instant) -> Self {
        // What was seen once has been there when this proxy begins.
        let first = earlier.as_ref().filter(|earlier| earlier.came).map(|_| now);
        let (ago, seen) = earlier.map(|earlier| (earlier.ago, earlier.containers)).unzip();
        Self {
            restarts,
            expected,
            seen: seen.unwrap_or_default(),
            earlier: ago,
            begun: None,
            first,
            started: None,
            since: None,
            count: 0,
        }
    }

    /// Whether every container was seen.
    pub(super) fn complete(&self) -> bool {
        // One that was seen is the one there is, whether its container was told apart or not.
        self.first.is_some() && (self.expected <= 1 || self.seen.len() >= self.expected)
    }

    /// The containers that were seen; `None`: nobody was.
    pub(super) fn seen(&self) -> Option<&BTreeSet<String>> {
        self.first.map(|_| &self.seen)
    }

    /// Whether the application has ended, by a look at `now`.
    pub(super) fn ended(&mut self, look: Look, now: Instant) -> bool {
        let begun = *self.begun.get_or_insert(now);
        let alone = self.since.is_some() || self.first.is_none();
        if look.there || look.came {
            if look.came && !look.there && alone && !self.complete() {
                // Nobody was there who could have started somebody else: a container came and went.
                self.seen.insert(format!("unseen {}", self.seen.len()));
            }
            self.seen.extend(look.containers);
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
        if look.there {
            return false;
        }
        let Some(first) = self.first else {
            // A first proxy was there before anybody could come, and nobody has.
            return self.earlier.is_some() && now.duration_since(begun) >= COMING;
        };
        let since = *self.since.get_or_insert(now);
        let lived = match self.earlier {
            // Of what it did before, all may have been waiting for this start.
            Some(ago) => since.duration_since(first.min(begun)) + ago,
            None => since.duration_since(first),
        };
        now.duration_since(since) >= self.patience(lived)
    }

    /// How long it must not be seen. `lived`: from the first start to the last end, or longer.
    fn patience(&self, lived: Duration) -> Duration {
        let back_off = match self.restarts {
            Restarts::Never => FIRST,
            // Every restart was seen.
            Restarts::OnFailure if self.expected <= 1 && self.earlier.is_none() => {
                FIRST.saturating_mul(2_u32.saturating_pow(self.count))
            }
            // All back-offs before have passed since, and their sum is 10 s less than the next.
            Restarts::OnFailure => FIRST + lived,
        };
        let patience = back_off.min(LONGEST) + MAKING;
        if self.complete() { patience } else { patience.max(COMING) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Restarts::{Never, OnFailure};

    /// Looks, at a second each.
    struct Looks(Absence, Instant);

    impl Looks {
        fn new(restarts: Restarts, containers: usize) -> Self {
            Self::after(restarts, containers, None)
        }

        fn after(restarts: Restarts, containers: usize, earlier: Option<Earlier>) -> Self {
            let now = Instant::now();
            Self(Absence::new(restarts, containers, earlier, now), now)
        }

        fn look(&mut self, second: u64, there: bool, came: bool, containers: &[&str]) -> bool {
            let containers = containers.iter().map(|name| (*name).to_owned()).collect();
            self.0.ended(Look { there, came, containers }, self.1 + Duration::from_secs(second))
        }

        fn there(&mut self, second: u64) -> bool {
            self.look(second, true, true, &[])
        }

        fn gone(&mut self, second: u64) -> bool {
            self.look(second, false, false, &[])
        }

        /// Seconds from a first look that does not see it to the one that says it has ended.
        fn patience(&mut self, from: u64) -> u64 {
            (from..from + 1000).find(|second| self.gone(*second)).expect("it ends") - from
        }
    }

    fn earlier(ago: u64, came: bool, containers: &[&str]) -> Option<Earlier> {
        let containers = containers.iter().map(|name| (*name).to_owned()).collect();
        Some(Earlier { ago: Duration::from_secs(ago), came, containers })
    }

    #[test]
    fn who_is_still_to_come_has_not_ended() {
        let mut job = Looks::new(Never, 1);
        assert!(!job.gone(0) && !job.gone(6000) && !job.there(6001));
        assert_eq!(job.patience(6002), 20);
        // It came back before anybody left.
        assert!(!job.there(6040) && !job.gone(6041));
    }

    #[test]
    fn who_lived_for_less_than_a_look_has_ended() {
        let mut job = Looks::new(Never, 1);
        assert!(!job.gone(0) && !job.look(1, false, true, &[]));
        assert_eq!(job.patience(2), 19);
    }

    #[test]
    fn each_restart_of_a_kubelet_is_waited_for() {
        for seen in [true, false] {
            let mut job = Looks::new(OnFailure, 1);
            let mut second = 0;
            // Failing at once, seen or not, behind the back-offs of a kubelet and five seconds for the container.
            for back_off in [0, 10, 20, 40, 80, 160, 300, 300] {
                for _ in 0..back_off + 5 {
                    assert!(!job.gone(second), "second {second}, back-off {back_off}");
                    second += 1;
                }
                assert!(!job.look(second, seen, true, &[]));
                second += 1;
            }
            let patience = job.patience(second);
            assert!((309..=310).contains(&patience), "{patience}");
        }
    }

    #[test]
    fn who_succeeds_at_once_is_not_waited_for_long_and_a_long_run_is_a_new_beginning() {
        let mut job = Looks::new(OnFailure, 1);
        assert!(!job.there(0) && !job.there(3000));
        assert_eq!(job.patience(3001), 20);
        let mut job = Looks::new(OnFailure, 1);
        for second in [0, 20, 40] {
            assert!(!job.there(second) && !job.gone(second + 1));
        }
        assert!(!job.there(60) && !job.there(700));
        assert_eq!(job.patience(701), 20);
    }

    #[test]
    fn one_of_several_may_have_failed_while_another_ran() {
        let mut job = Looks::new(OnFailure, 2);
        assert!(!job.look(0, true, true, &["a", "b"]) && !job.there(49));
        assert_eq!(job.patience(50), 70);
        let mut job = Looks::new(OnFailure, 2);
        assert!(!job.look(0, true, true, &["a"]) && !job.look(1, true, true, &["b"]) && !job.there(4000));
        assert_eq!(job.patience(4001), 310);
    }

    #[test]
    fn one_of_several_whose_image_takes_long_is_waited_for() {
        for restarts in [Never, OnFailure] {
            let mut job = Looks::new(restarts, 2);
            assert!(!job.look(0, true, true, &["a"]) && !job.look(5, true, false, &["a"]));
            for second in 6..500 {
                assert!(!job.gone(second), "{restarts:?}, second {second}");
            }
            assert!(!job.look(500, true, true, &["b"]));
            assert!(job.patience(501) <= 310);
        }
        // The last has come while another still runs.
        let mut job = Looks::new(Never, 3);
        assert!(!job.look(0, true, true, &["a", "b"]) && !job.look(100, true, true, &["a", "c"]));
        assert_eq!(job.patience(101), 20);
    }

    #[test]
    fn one_of_several_that_lived_for_less_than_a_look_was_there() {
        // Nobody else was: it is known.
        let mut job = Looks::new(Never, 2);
        assert!(!job.look(0, false, true, &[]) && !job.gone(1) && !job.look(2, true, true, &["b"]));
        assert_eq!(job.patience(3), 20);
        // Others were, who start processes as well: it is waited for, and not for ever.
        let mut job = Looks::new(Never, 2);
        assert!(!job.look(0, true, true, &["a"]) && !job.look(1, false, true, &[]));
        assert_eq!(job.patience(2), 599);
    }

    #[test]
    fn a_proxy_that_was_started_anew_ends_behind_an_application_that_it_never_saw() {
        let mut job = Looks::after(OnFailure, 1, earlier(30, true, &["a"]));
        assert_eq!(job.patience(5), 45 + 10, "what it lived at most, and a back-off");
        let mut job = Looks::after(OnFailure, 1, earlier(86_400, true, &["a"]));
        assert_eq!(job.patience(0), 310);
        // It failed, and comes back.
        let mut job = Looks::after(OnFailure, 1, earlier(86_400, true, &["a"]));
        assert!(!job.gone(0) && !job.gone(299) && !job.there(300) && !job.there(900));
        assert_eq!(job.patience(901), 310, "how often it failed before is not known");
        // One of two was seen before, and the other one comes.
        let mut job = Looks::after(OnFailure, 2, earlier(10, true, &["a"]));
        assert!(!job.gone(0) && !job.gone(400) && !job.look(401, true, true, &["b"]));
        assert_eq!(job.patience(402), 310);
    }

    #[test]
    fn an_application_that_was_let_go_and_never_seen_is_waited_for_and_not_for_ever() {
        let mut job = Looks::after(OnFailure, 1, earlier(0, false, &[]));
        assert_eq!(job.patience(0), 600);
        let mut job = Looks::after(OnFailure, 1, earlier(0, false, &[]));
        assert!(!job.gone(0) && !job.gone(599) && !job.there(600) && !job.there(601));
        assert!(job.patience(602) <= 310);
    }
}
