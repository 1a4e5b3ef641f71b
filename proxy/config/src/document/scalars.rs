//! Numbers, durations, sizes and words: how a person writes them and what is said when they are written wrongly.

use super::value::FromText;
use crate::model::Workers;
use std::{borrow::Cow, num::NonZeroUsize, time::Duration};

/// Longer than any sane timeout, and short enough that adding it to a clock never overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Int<MIN, MAX> {
    /// The bounds of each use fit the type it is put in.
    pub(crate) fn to<N: TryFrom<u64> + Default>(self) -> N {
        N::try_from(self.0).unwrap_or_default()
    }
}

impl<const MIN: u64, const MAX: u64> FromText for Int<MIN, MAX> {
    const NUMBER: bool = true;

    fn words() -> Cow<'static, str> {
        format!("a whole number from {MIN} to {MAX}").into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits && text.len() > 1 && text.starts_with('0') {
            let plain = text.trim_start_matches('0');
            let plain = if plain.is_empty() { "0" } else { plain };
            return Err(Self::expected(text, &format!("some readers take a leading zero for octal: write {plain}")));
        }
        let number = if digits { text.parse::<u64>().ok() } else { None };
        match number {
            Some(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(Self::expected(text, "")),
        }
    }
}

/// A duration that may be zero.
impl FromText for Duration {
    fn words() -> Cow<'static, str> {
        "a duration such as 5s or 250ms".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        duration(text).map_err(|remedy| Self::expected(text, &remedy))
    }
}

/// A duration longer than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period(pub(crate) Duration);

impl FromText for Period {
    fn words() -> Cow<'static, str> {
        Duration::words()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match Duration::from_text(text)? {
            Duration::ZERO => Err(format!("{text} would leave no time at all; write a duration of at least 1ms")),
            period => Ok(Self(period)),
        }
    }
}

/// A duration, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl FromText for Limit {
    fn words() -> Cow<'static, str> {
        "a duration such as 5s or 250ms, or none".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let limit = duration(text).map_err(|remedy| Self::expected(text, &remedy))?;
        Ok(Self((limit > Duration::ZERO).then_some(limit)))
    }
}

/// A number of bytes within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> FromText for Bytes<MIN, MAX> {
    fn words() -> Cow<'static, str> {
        format!("a size from {} to {}", write_size(MIN.into()), write_size(MAX.into())).into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let size = size(text).map_err(|remedy| Self::expected(text, &remedy))?;
        match u32::try_from(size) {
            Ok(size) if (MIN..=MAX).contains(&size) => Ok(Self(size)),
            _ => Err(Self::expected(text, "")),
        }
    }
}

/// A connection's window, at least what the protocol gives it (RFC 9113 §6.9.2); `None`: room for each of its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window(pub(crate) Option<u32>);

impl Window {
    pub(crate) const LEAST: u32 = 65_535;
    pub(crate) const MOST: u32 = (1 << 31) - 1;

    /// So many times as much may be there with what nobody takes of streams that began with less: by default 25 MiB, as Envoy's
    /// whole window is 24.
    const BORNE: u32 = 4;

    /// Bytes, for so many streams of so much each; and with what is there since nobody takes it.
    pub(crate) fn within(self, streams: u32, each: u32) -> (u32, u32) {
        let clamp = |bytes: u32| bytes.clamp(Self::LEAST, Self::MOST);
        match self.0 {
            Some(bytes) => (bytes, bytes),
            None => {
                let all = clamp(streams.saturating_mul(each));
                (all, clamp(all.saturating_mul(Self::BORNE)))
            }
        }
    }
}

impl FromText for Window {
    fn words() -> Cow<'static, str> {
        format!("auto or a size from {} to {}", Self::LEAST, Self::MOST).into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let size = size(text).map_err(|remedy| Self::expected(text, &remedy))?;
        match u32::try_from(size) {
            Ok(size) if (Self::LEAST..=Self::MOST).contains(&size) => Ok(Self(Some(size))),
            _ => Err(Self::expected(text, "")),
        }
    }
}

/// A share of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u8);

impl FromText for Percent {
    fn words() -> Cow<'static, str> {
        "a percentage from 1% to 100%".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        match number.parse::<u8>() {
            Ok(percent @ 1..=100) if digits && number.len() < text.len() => Ok(Self(percent)),
            Ok(percent @ 1..=100) if digits => Err(Self::expected(text, &format!("write {percent}%"))),
            _ => Err(Self::expected(text, "")),
        }
    }
}

impl FromText for Workers {
    fn words() -> Cow<'static, str> {
        "auto or a whole number from 1 to 1024".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count = Int::<1, 1024>::from_text(text).map_err(|_| Self::expected(text, ""))?;
        NonZeroUsize::new(count.to()).map(Self::Count).ok_or_else(|| Self::expected(text, ""))
    }
}

/// The word `off`, in place of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Off;

impl FromText for Off {
    fn words() -> Cow<'static, str> {
        "off or a mapping".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self) } else { Err(Self::expected(text, "")) }
    }
}

/// Any text. Numbers and `true` are text as they are written.
impl FromText for String {
    fn words() -> Cow<'static, str> {
        "text".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// `1h30m` and the like; an error is the remedy.
fn duration(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("add a unit: {text}s or {text}ms"));
    }
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ if number.is_empty() || unit.is_empty() => {
                return Err("write whole numbers with units, as 1m30s".into());
            }
            _ => return Err("units are ms, s, m, h and d".into()),
        };
        let number: u64 = number.parse().map_err(|_| "write whole numbers with units, as 1m30s".to_owned())?;
        let part = number.checked_mul(millis).map(Duration::from_millis);
        sum = part
            .and_then(|part| sum.checked_add(part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| "at most 366d".to_owned())?;
        rest = after;
    }
    if text.is_empty() { Err("write whole numbers with units, as 1m30s".into()) } else { Ok(sum) }
}

/// `64KiB` and the like; an error is the remedy.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "K" | "k" | "KB" | "kB" | "kb" | "Ki" => return Err(format!("write {number}KiB")),
        "M" | "m" | "MB" | "mb" | "Mi" => return Err(format!("write {number}MiB")),
        "G" | "g" | "GB" | "gb" | "Gi" => return Err(format!("write {number}GiB")),
        _ => return Err("units are B, KiB, MiB and GiB".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number with a unit, as 64KiB".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is too large".to_owned())
}

/// Bytes as a document has them: `64KiB`, or a number where no unit fits.
#[must_use]
pub fn write_size(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}
