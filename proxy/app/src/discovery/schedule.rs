//! When an API server is asked again. Pure but for the numbers that keep a cluster's proxies apart.

use crate::backoff;
use std::time::Duration;

/// The longest pause: a server that comes back is noticed within half a minute.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a watch is asked to last at least. client-go asks for 5 to 10 minutes.
const WATCH: u64 = 300;

/// The pause after so many failures in a row, no less than the server wished for.
#[must_use]
pub(super) fn pause(failures: u32, wish: Option<Duration>, random: u64) -> Duration {
    backoff::pause(failures, LONGEST, wish, random)
}

/// The seconds a watch is asked to last.
#[must_use]
pub(super) fn watch_seconds(random: u64) -> u64 {
    WATCH + random % WATCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_last_minutes_and_differ() {
        assert!((300..600).contains(&watch_seconds(12_345)));
    }
}
