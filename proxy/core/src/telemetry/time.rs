//! Points in time as text: RFC 3339 in UTC with milliseconds. Never reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
/// Days of 400 years, after which the Gregorian calendar repeats.
const ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Appends `2026-11-22T04:10:36.123Z`. A time before 1970 is written as 1970, one beyond year 9999 with more digits.
pub(super) fn write_rfc3339(time: SystemTime, out: &mut Vec<u8>) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / DAY);
    let second = since.as_secs() % DAY;
    digits(year, 4, out);
    out.push(b'-');
    digits(month, 2, out);
    out.push(b'-');
    digits(day, 2, out);
    out.push(b'T');
    digits(second / 3600, 2, out);
    out.push(b':');
    digits(second / 60 % 60, 2, out);
    out.push(b':');
    digits(second % 60, 2, out);
    out.push(b'.');
    digits(u64::from(since.subsec_millis()), 3, out);
    out.push(b'Z');
}

/// A second since 1970 in the same form, for people: `2026-11-22T04:10:36.000Z`.
#[must_use]
pub fn utc(second: u64) -> String {
    let mut out = Vec::with_capacity(24);
    // X.509 and all who read such a time know years of four digits.
    write_rfc3339(UNIX_EPOCH + Duration::from_secs(second.min(LAST)), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Counted in years that begin in March, so that the leap day is a year's last and months have a pattern: five of
/// them always have 153 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(since: Duration) -> String {
        let mut out = Vec::new();
        write_rfc3339(UNIX_EPOCH + since, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_second_for_people() {
        assert_eq!(utc(1_000_000_000), "2001-09-09T01:46:40.000Z");
        assert_eq!(utc(u64::MAX), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_000_000_000, "2001-09-09T01:46:40.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(text(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(text(Duration::from_millis(1_999)), "1970-01-01T00:00:01.999Z");
        let mut out = Vec::new();
        write_rfc3339(UNIX_EPOCH - Duration::from_secs(5), &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }

    /// The calendar by its definition, a day at a time.
    #[test]
    fn every_day_until_2500_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..194_000 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    proptest! {
        #[test]
        fn order_of_text_is_order_of_time(a in 0u64..253_402_300_800_000, b in 0u64..253_402_300_800_000) {
            let (x, y) = (text(Duration::from_millis(a)), text(Duration::from_millis(b)));
            prop_assert_eq!(x.len(), 24);
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }
    }
}
