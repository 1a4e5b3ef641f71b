//! Times and durations: from text and back, and their parts. Nanoseconds in 128 bits: as in Envoy what is beyond 64 bits is
//! known, and given to guests as the bound.
//!
//! Text is RFC 3339, as freely as Abseil reads it. Zones are offsets and UTC: there is no database of zones here.

use super::function::Part;

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Seconds of ten thousand years: what durations are written of.
const MOST_SECONDS: i128 = 315_576_000_000;

/// What says that an offset is none.
const UTC: [&str; 7] = ["", "UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "Universal"];

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    /// From 1.
    day: i64,
}

impl Date {
    /// Days since 1970 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    fn number(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    fn of(number: i64) -> Self {
        let number = number + 719_468;
        let era = number.div_euclid(146_097);
        let of_era = number.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day: of_year - (153 * shifted + 2) / 5 + 1 }
    }
}

/// Nanoseconds since 1970 of a text.
pub(super) fn time(text: &str) -> Option<i128> {
    let rest = text.trim();
    let (year, rest) = match rest.strip_prefix('-') {
        Some(rest) => digits(rest, 9).map(|(year, rest)| (-year, rest))?,
        None => digits(rest, 9)?,
    };
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (hour, rest) = digits(rest.strip_prefix(['T', 't'])?, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => fraction(rest, SECOND)?,
        None => (0, rest),
    };
    let date = Date { year, month, day };
    // A leap second is the next minute's first.
    let there_is = Date::of(date.number()) == date && hour < 24 && minute < 60 && second <= 60;
    let seconds = i128::from(hour * 3600 + minute * 60 + second - offset(rest)?);
    there_is.then(|| i128::from(date.number()) * DAY + seconds * SECOND + fraction)
}

/// A number of so many digits at most, and what follows.
fn digits(text: &str, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// What the digits after a point are worth of a unit, cut to nanoseconds, and what follows them.
fn fraction(text: &str, unit: i128) -> Option<(i128, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    let known = &text[..count.min(18)];
    let number: i128 = known.parse().ok()?;
    Some((number * unit / 10_i128.pow(u32::try_from(known.len()).ok()?), &text[count..]))
}

/// `Z`, `+01:30`, `-0130`, `+01`, in seconds.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let (hours, rest) = digits(rest, 2)?;
    let minutes = match rest.strip_prefix(':').unwrap_or(rest) {
        "" => 0,
        rest => digits(rest, 2).filter(|(_, rest)| rest.is_empty())?.0,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// `2023-05-06T07:08:09.500Z`; `None` beyond the years 1 to 9999.
pub(super) fn time_text(time: i128) -> Option<String> {
    let (day, within) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let Date { year, month, day } = Date::of(i64::try_from(day).ok()?);
    let seconds = within / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = fraction_text(within % SECOND);
    (1..10_000)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// With three, six or nine digits, or nothing.
fn fraction_text(nanoseconds: i128) -> String {
    match nanoseconds {
        0 => String::new(),
        _ if nanoseconds % 1_000_000 == 0 => format!(".{:03}", nanoseconds / 1_000_000),
        _ if nanoseconds % 1_000 == 0 => format!(".{:06}", nanoseconds / 1_000),
        _ => format!(".{nanoseconds:09}"),
    }
}

/// `1h30m`, `-1.5s`, `200ms`, in nanoseconds.
pub(super) fn duration(text: &str) -> Option<i128> {
    const UNITS: [(&str, i128); 6] =
        [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", SECOND), ("m", 60 * SECOND), ("h", 3600 * SECOND)];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = None;
    while !rest.is_empty() {
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(count);
        let after = behind.strip_prefix('.').unwrap_or(behind);
        let decimals =
            if after.len() < behind.len() { after.bytes().take_while(u8::is_ascii_digit).count() } else { 0 };
        if count + decimals == 0 {
            return None;
        }
        let number: i64 = if count == 0 { 0 } else { number.parse().ok()? };
        let named = &after[decimals..];
        let (unit, worth) = UNITS.into_iter().find(|(unit, _)| named.starts_with(unit))?;
        let part = if decimals == 0 { 0 } else { fraction(after, worth)?.0 };
        total = Some(total.unwrap_or(0) + i128::from(number) * worth + part);
        rest = &named[unit.len()..];
    }
    total.map(|total: i128| sign * total)
}

/// `-1.500s`; `None` beyond ten thousand years.
pub(super) fn duration_text(duration: i128) -> Option<String> {
    let (whole, rest) = (duration.abs() / SECOND, duration.abs() % SECOND);
    let sign = if duration < 0 { "-" } else { "" };
    (duration.abs() <= MOST_SECONDS * SECOND).then(|| format!("{sign}{whole}{}s", fraction_text(rest)))
}

/// Whether a zone is one by name, which nothing is known of here.
pub(super) fn is_name(zone: &str) -> bool {
    zone.starts_with(|first: char| first.is_ascii_alphabetic()) && !UTC.contains(&zone)
}

/// A part of a time, in a zone such as `-05:00`; `None`: it is no zone here.
pub(super) fn part(part: Part, time: i128, zone: &str) -> Option<i64> {
    let ahead = if UTC.contains(&zone) {
        0
    } else {
        let (hours, minutes) = zone.split_once(':')?;
        duration(&format!("{hours}h{minutes}m"))?
    };
    let time = time.checked_add(ahead)?;
    let day = i64::try_from(time.div_euclid(DAY)).ok()?;
    let within = i64::try_from(time.rem_euclid(DAY)).ok()?;
    let date = Date::of(day);
    let (milliseconds, seconds) = (within / 1_000_000, within / 1_000_000_000);
    Some(match part {
        Part::FullYear => date.year,
        Part::Month => date.month - 1,
        Part::Date => date.day,
        Part::DayOfMonth => date.day - 1,
        // The first day of 1970 was a Thursday.
        Part::DayOfWeek => (day + 4).rem_euclid(7),
        Part::DayOfYear => day - Date { month: 1, day: 1, ..date }.number(),
        Part::Hours => seconds / 3600,
        Part::Minutes => seconds / 60 % 60,
        Part::Seconds => seconds % 60,
        Part::Milliseconds => milliseconds % 1000,
    })
}

/// What a duration is in a unit, the milliseconds without its seconds; `None`: durations have no such part.
pub(super) fn duration_part(part: Part, duration: i128) -> Option<i64> {
    let found = match part {
        Part::Hours => duration / (3600 * SECOND),
        Part::Minutes => duration / (60 * SECOND),
        Part::Seconds => duration / SECOND,
        Part::Milliseconds => duration / 1_000_000 % 1000,
        Part::FullYear | Part::Month | Part::Date | Part::DayOfMonth | Part::DayOfWeek | Part::DayOfYear => {
            return None;
        }
    };
    i64::try_from(found).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let mut day = Date { year: -5, month: 1, day: 1 };
        for number in day.number()..day.number() + 1_500_000 {
            assert_eq!((day.number(), Date::of(number)), (number, day));
            let leap = day.year % 4 == 0 && (day.year % 100 != 0 || day.year % 400 == 0);
            let last = match day.month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day = match day {
                Date { year, month: 12, day: 31 } => Date { year: year + 1, month: 1, day: 1 },
                Date { year, month, day } if day == last => Date { year, month: month + 1, day: 1 },
                Date { year, month, day } => Date { year, month, day: day + 1 },
            };
        }
    }

    #[test]
    fn text_of_a_time_and_a_duration_is_read_again() {
        for text in ["2023-05-06T07:08:09Z", "1969-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00.500Z"] {
            assert_eq!(time(text).and_then(time_text).as_deref(), Some(text));
        }
        for text in ["0s", "-0.001s", "3661.500s", "0.000000001s"] {
            assert_eq!(duration(text).and_then(duration_text).as_deref(), Some(text));
        }
        for text in ["", "2023", "2023-02-30T00:00:00Z", "2023-05-06T07:08:09", "2023-05-06T07:08:09+24:00", "ä-"] {
            assert_eq!(time(text), None, "{text}");
        }
        for text in ["", "1", "s", ".s", "1d", "1s ", "99999999999999999999s", "-"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
