//! What the process says about itself: start, reload, drain, errors, as `time level message key=value` on stderr.
//!
//! Beside the path. A line never blocks its thread: where stderr is full, the line is dropped and counted. A
//! disabled level costs one relaxed load at each place that would log, which is what `tracing` compiles to. Spans
//! are not recorded.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    fmt::{self, Write as _},
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// The life of the process.
    Info,
    /// Refusals and failures of single connections.
    Debug,
    /// Everything.
    Trace,
}

/// A level nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level {0:?}; one of off, error, warn, info, debug, trace")]
pub struct UnknownLevel(pub String);

/// Shared by all threads: any of them logs, the control thread changes it.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
/// Shared by all threads: lines that found stderr full.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Shared by all threads: between asking whether stderr takes a line and writing it, nobody else may write.
static STDERR: Mutex<()> = Mutex::new(());

/// Bytes of a line. A pipe that is writable takes this much without blocking (PIPE_BUF, pipe(7)).
const LINE: usize = 4096;

/// Starts logging at this level. Only the first call has an effect.
pub fn install(level: Level) {
    set_level(level);
    // An error means that a subscriber is there already, which is this one.
    tracing::subscriber::set_global_default(Stderr).ok();
}

/// The level now.
#[must_use]
pub fn level() -> Level {
    Level::ALL[usize::from(LEVEL.load(Ordering::Relaxed)).min(Level::ALL.len() - 1)]
}

/// Changes the level, at once and everywhere.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

/// Lines lost because stderr took no more.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl Level {
    const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name, as written in `/logging?level=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let known = Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name));
        // Envoy's name for it.
        let known = known.or_else(|| name.eq_ignore_ascii_case("warning").then_some(Self::Warn));
        known.ok_or_else(|| UnknownLevel(name.to_owned()))
    }
}

struct Stderr;

impl Subscriber for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Nobody reads spans here, so their places are switched off for good. What only asks whether a line would be
        // read (`tracing::enabled!`, for lines of wasm filters) is neither span nor event.
        !metadata.is_span() && level().filter() >= *metadata.level() && speaks(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level().filter())
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::begin(SystemTime::now(), *event.metadata().level());
        event.record(&mut line);
        write(line.finish());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Libraries are heard when they warn; what they say below that helps nobody who runs a proxy, except at trace.
fn speaks(target: &str, at: tracing::Level) -> bool {
    target.starts_with("pillion") || at <= tracing::Level::WARN || level() == Level::Trace
}

fn write(line: &[u8]) {
    let _alone = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    let stderr = std::io::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0);
    let written = ready && rustix::io::write(&stderr, line).is_ok();
    if !written {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// A line in the making.
struct Line {
    text: String,
    fields: String,
}

impl Line {
    fn begin(at: SystemTime, level: tracing::Level) -> Self {
        let mut text = String::with_capacity(160);
        timestamp(&mut text, at);
        text.push(' ');
        text.push_str(match level {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        });
        Self { text, fields: String::new() }
    }

    /// The whole line. Of one that is too long the message and its fields have half each, or what the other leaves: who says
    /// something is told, however much it says.
    fn finish(&mut self) -> &[u8] {
        if self.text.len() + self.fields.len() >= LINE {
            cut(&mut self.fields, LINE - 1 - self.text.len().min(LINE / 2));
            cut(&mut self.text, LINE - 1 - self.fields.len());
        }
        self.text.push_str(&self.fields);
        self.text.push('\n');
        self.text.as_bytes()
    }

    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            // The message is our own words; only what is quoted within could carry a line end.
            self.text.push(' ');
            self.text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
        } else {
            self.fields.push(' ');
            self.fields.push_str(field.name());
            self.fields.push('=');
            quote(&mut self.fields, value);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Cuts a text to so many bytes, where it has more.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..most - 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
}

/// A value as one word: quoted where a reader could mistake it for more than one field or line.
fn quote(out: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=' && c != '\\';
    if !value.is_empty() && value.chars().all(plain) {
        out.push_str(value);
    } else {
        write!(out, "{value:?}").ok();
    }
}

/// A time as configurations have it: `0s`, not the `0ns` of a `Debug`.
pub(crate) fn time(time: Duration) -> String {
    if time.is_zero() { "0s".to_owned() } else { format!("{time:?}") }
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp(out: &mut String, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since.subsec_millis();
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z").ok();
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar: years are taken to begin in March, so that
/// the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let mut text = String::new();
            timestamp(&mut text, UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn who_asks_whether_a_line_is_read_hears_the_truth() {
        tracing::subscriber::with_default(Stderr, || {
            assert!(tracing::enabled!(target: "pillion::wasm::guest", tracing::Level::ERROR));
            assert!(!tracing::enabled!(target: "pillion::wasm::guest", tracing::Level::TRACE));
        });
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_a_field() {
        for (value, expected) in [
            ("web", "web"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x\n2026 error forged", "\"x\\n2026 error forged\""),
            ("a=b", "\"a=b\""),
        ] {
            let mut text = String::new();
            quote(&mut text, value);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_line_is_never_longer_than_a_pipe_takes_at_once() {
        let mut line = Line::begin(UNIX_EPOCH, tracing::Level::INFO);
        line.fields = "ü".repeat(LINE);
        let text = line.finish();
        assert!(text.len() <= LINE && text.ends_with(b"...\n"), "{}", text.len());
        assert!(std::str::from_utf8(text).is_ok());
        let mut line = Line::begin(UNIX_EPOCH, tracing::Level::INFO);
        line.text.push_str(&"ü".repeat(LINE));
        line.fields = " filter=g".to_owned();
        let text = line.finish();
        assert!(text.len() <= LINE && text.ends_with(b"... filter=g\n"), "{}", text.len());
    }

    #[test]
    fn levels_have_names() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("WARNING".parse(), Ok(Level::Warn));
        assert!("loud".parse::<Level>().unwrap_err().to_string().contains("loud"));
    }
}
