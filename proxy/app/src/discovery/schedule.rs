//! When an API server is asked again. Pure but for the numbers that keep a cluster's proxies apart.

use std::time::Duration;

/// The longest pause: a server that comes back is noticed within half a minute.
const LONGEST: Duration = Duration::from_secs(30);
/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest that a server's own wish (Retry-After) is followed.
const OBEYED: Duration = Duration::from_secs(60);
/// How long a watch is asked to last at least. client-go asks for 5 to 10 minutes.
const WATCH: u64 = 300;

/// The pause after so many failures in a row: doubled each time, between half and all of it by chance (`random` is any
/// number), so that the proxies of a cluster do not come back in step; never less than what the server wished for. After
/// none, a tenth of a second at most.
#[must_use]
pub(super) fn pause(failures: u32, wish: Option<Duration>, random: u64) -> Duration {
    let whole = match failures {
        0 => Duration::from_millis(100),
        _ => FIRST.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(LONGEST),
    };
    let least = if failures == 0 { Duration::ZERO } else { whole / 2 };
    least + share(whole - least, random) + wish.unwrap_or_default().min(OBEYED)
}

/// The seconds a watch is asked to last.
#[must_use]
pub(super) fn watch_seconds(random: u64) -> u64 {
    WATCH + random % WATCH
}

/// A part of a time.
fn share(of: Duration, random: u64) -> Duration {
    let parts = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    Duration::from_secs_f64(of.as_secs_f64() * f64::from(parts) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        let most = |failures| pause(failures, None, u64::MAX).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(most),
            [100, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!([0, 1, 7].map(|failures| pause(failures, None, 0).as_millis()), [0, 250, 15_000]);
        assert_eq!(pause(1, Some(Duration::from_secs(7)), 0).as_millis(), 7250);
        assert_eq!(pause(1, Some(Duration::from_secs(7000)), 0).as_millis(), 60_250);
        assert!((300..600).contains(&watch_seconds(12_345)));
    }
}
