//! When somebody who did not answer is asked again. Pure but for the numbers that keep the proxies of a fleet apart.

use std::time::Duration;

/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest that a server's own wish (Retry-After) is followed.
const OBEYED: Duration = Duration::from_secs(60);

/// The pause after so many failures in a row: half a second, doubled each time up to `longest`, between half and all of it by
/// chance (`random` is any number), so that the proxies of a cluster do not come back in step; never less than what the
/// server wished for. After none, a tenth of a second at most.
#[must_use]
pub fn pause(failures: u32, longest: Duration, wish: Option<Duration>, random: u64) -> Duration {
    let whole = match failures {
        0 => Duration::from_millis(100),
        _ => FIRST.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(longest),
    };
    let least = if failures == 0 { Duration::ZERO } else { whole / 2 };
    least + share(whole - least, random) + wish.unwrap_or_default().min(OBEYED)
}

/// A part of a time.
fn share(of: Duration, random: u64) -> Duration {
    let parts = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    Duration::from_secs_f64(of.as_secs_f64() * f64::from(parts) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        let most = |failures| pause(failures, LONGEST, None, u64::MAX).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(most),
            [100, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        );
        assert_eq!([0, 1, 7].map(|failures| pause(failures, LONGEST, None, 0).as_millis()), [0, 250, 15_000]);
        assert_eq!(pause(1, LONGEST, Some(Duration::from_secs(7)), 0).as_millis(), 7250);
        assert_eq!(pause(1, LONGEST, Some(Duration::from_secs(7000)), 0).as_millis(), 60_250);
    }
}
