//! When a name is asked again.

use pillion_config::model::Dns;
use std::time::Duration;

/// The pause after an answer: its TTL within the bounds. A zone that says 0 must not become a flood, one that says
/// a day must not hide a move for a day.
#[must_use]
pub fn after_answer(ttl: Duration, settings: &Dns) -> Duration {
    // The upper bound first, so that the lower one wins where the two contradict each other.
    ttl.min(settings.max_refresh).max(settings.min_refresh)
}

/// The pause after so many failures in a row: one second doubled each time, within the bounds.
#[must_use]
pub fn after_failure(failures: u32, settings: &Dns) -> Duration {
    let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause = Duration::from_secs(doubled.min(3600));
    pause.min(settings.max_refresh).max(settings.min_refresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(min: u64, max: u64) -> Dns {
        let seconds = Duration::from_secs;
        Dns { servers: Vec::new(), min_refresh: seconds(min), max_refresh: seconds(max), timeout: seconds(1) }
    }

    #[test]
    fn a_ttl_counts_within_its_bounds() {
        for (ttl, expected) in [(0, 5), (5, 5), (30, 30), (300, 300), (86_400, 300)] {
            assert_eq!(after_answer(Duration::from_secs(ttl), &settings(5, 300)).as_secs(), expected, "{ttl}");
        }
    }

    #[test]
    fn failures_are_retried_ever_more_rarely() {
        let pauses: Vec<_> = (1..=8).map(|n| after_failure(n, &settings(1, 60)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(after_failure(u32::MAX, &settings(1, 60)).as_secs(), 60);
        assert_eq!(after_failure(0, &settings(5, 60)).as_secs(), 5);
    }
}
