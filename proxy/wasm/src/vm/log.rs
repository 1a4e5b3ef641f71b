//! Lines that guests log, into the proxy's log, a bounded number a second.

use crate::abi::LogLevel;
use std::time::{Duration, Instant};
use tracing::Level;

/// The target of guests' lines: `--log pillion::wasm::guest=debug` shows more of them.
pub const TARGET: &str = "pillion::wasm::guest";

/// Lines of one machine a second. What a person reads is less; a guest that logs each request at thousands a second
/// would fill disks.
const RATE: u32 = 200;

/// Bytes of one line; what is beyond is cut.
const MOST_LINE: usize = 8 * 1024;

/// Bytes of a line that are told to whoever wrote the configuration; the log has the whole.
const MOST_QUOTED: usize = 1024;

/// Bytes of a name that a module has for something of its own. Those of Rust's and C++'s templates are as long.
const MOST_NAME: usize = 256;

/// How many lines a machine may still log.
#[derive(Debug)]
pub struct LogBudget {
    since: Option<Instant>,
    used: u32,
    lost: u64,
}

impl LogBudget {
    /// A full one.
    #[must_use]
    pub fn new() -> Self {
        Self { since: None, used: 0, lost: 0 }
    }

    /// Takes a line; how many were lost since the last one. `None`: this one is lost too.
    pub fn take(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.used = 0;
        }
        if self.used >= RATE {
            self.lost += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.lost))
    }
}

impl Default for LogBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether anybody reads lines of this level.
#[must_use]
pub fn enabled(level: LogLevel) -> bool {
    match level {
        LogLevel::Trace => tracing::enabled!(target: TARGET, Level::TRACE),
        LogLevel::Debug => tracing::enabled!(target: TARGET, Level::DEBUG),
        LogLevel::Info => tracing::enabled!(target: TARGET, Level::INFO),
        LogLevel::Warn => tracing::enabled!(target: TARGET, Level::WARN),
        LogLevel::Error | LogLevel::Critical => tracing::enabled!(target: TARGET, Level::ERROR),
    }
}

/// The lowest level that anybody reads.
#[must_use]
pub fn level() -> LogLevel {
    let all = [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    all.into_iter().find(|level| enabled(*level)).unwrap_or(LogLevel::Critical)
}

/// Who logs a line.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// The filter of this name.
    Filter(&'a str),
    /// The machine of this `vm_id`, on behalf of no filter.
    Vm(&'a str),
}

/// Writes a line. Control characters are written as escapes: a guest cannot make lines that look like others'.
pub fn write(level: LogLevel, whose: Whose<'_>, message: &[u8], lost: u64) {
    let message = &message[..message.len().min(MOST_LINE)];
    let message = printable(&String::from_utf8_lossy(message));
    // A field without a value is not written.
    let (filter, vm_id) = match whose {
        Whose::Filter(name) => (Some(name), None),
        Whose::Vm(id) => (None, Some(id)),
    };
    if lost > 0 {
        tracing::warn!(
            target: TARGET, filter, vm_id, lost, "lines of the filter were not logged: more than {RATE} a second"
        );
    }
    match level {
        LogLevel::Trace => tracing::trace!(target: TARGET, filter, vm_id, "{message}"),
        LogLevel::Debug => tracing::debug!(target: TARGET, filter, vm_id, "{message}"),
        LogLevel::Info => tracing::info!(target: TARGET, filter, vm_id, "{message}"),
        LogLevel::Warn => tracing::warn!(target: TARGET, filter, vm_id, "{message}"),
        LogLevel::Error | LogLevel::Critical => tracing::error!(target: TARGET, filter, vm_id, "{message}"),
    }
}

/// A line as it is told elsewhere than in the log. What is beyond a kilobyte is cut.
#[must_use]
pub fn quoted(message: &[u8]) -> String {
    printable(String::from_utf8_lossy(&message[..message.len().min(MOST_QUOTED)]).trim())
}

/// A name that comes from a module, as it is told: as [`quoted`], and shorter.
#[must_use]
pub fn name(text: &str) -> String {
    printable(&text[..text.floor_char_boundary(MOST_NAME)])
}

fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push(character),
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_its_size_told() {
        let mut budget = LogBudget::new();
        let taken = (0..RATE + 50).filter(|_| budget.take().is_some()).count();
        assert_eq!(taken, RATE as usize);
        budget.since = None;
        assert_eq!(budget.take(), Some(50));
        assert_eq!(budget.take(), Some(0));
    }

    #[test]
    fn a_guest_cannot_forge_lines() {
        assert_eq!(printable("a\nERROR b\u{1b}[0m\té"), "a\\nERROR b\\u{1b}[0m\té");
        assert_eq!(name(&"é\0".repeat(1000)), "é\\u{0}".repeat(85));
        assert_eq!(quoted(b" why\n"), "why");
    }
}
