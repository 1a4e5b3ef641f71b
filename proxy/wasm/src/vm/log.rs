//! Lines that guests log, into the proxy's log, a bounded number a second.

use crate::{abi::LogLevel, metrics::lines_dropped};
use metrics::Counter;
use std::time::{Duration, Instant};
use tracing::Level;

/// The target of guests' lines: `--log pillion::wasm::guest=debug` shows more of them.
pub const TARGET: &str = "pillion::wasm::guest";

/// Lines of one machine a second on behalf of no filter: what its module says while it starts itself.
const OF_A_MACHINE: u32 = 200;

/// Bytes of one line; what is beyond is cut.
const MOST_LINE: usize = 8 * 1024;

/// Bytes of a line that are told to whoever wrote the configuration; the log has the whole.
const MOST_QUOTED: usize = 1024;

/// Bytes of a name that a module has for something of its own. Those of Rust's and C++'s templates are as long.
const MOST_NAME: usize = 256;

/// How many lines a filter, or a machine on behalf of none, may still log.
#[derive(Debug)]
pub struct LogBudget {
    /// In a second.
    most: u32,
    since: Option<Instant>,
    used: u32,
    lost: u64,
    /// Where those of a filter that are lost are counted, once one is.
    counted: Option<Counter>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It may be written, and so many before it were not.
    Written {
        /// How many.
        lost: u64,
    },
    /// It may not.
    Lost,
}

impl LogBudget {
    /// A full one, of so many lines a second.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, since: None, used: 0, lost: 0, counted: None }
    }

    /// One of a machine.
    #[must_use]
    pub fn of_a_machine() -> Self {
        Self::new(OF_A_MACHINE)
    }

    /// Lines a second.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// A line of this filter's was lost.
    pub fn count(&mut self, filter: &str) {
        self.counted.get_or_insert_with(|| lines_dropped(filter)).increment(1);
    }

    /// Takes a line.
    pub fn take(&mut self) -> Line {
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.used = 0;
        }
        if self.used >= self.most {
            self.lost += 1;
            return Line::Lost;
        }
        self.used += 1;
        Line::Written { lost: std::mem::take(&mut self.lost) }
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

/// Says that lines were lost, of whom `most` a second are written.
#[cold]
pub fn lost(whose: Whose<'_>, lost: u64, most: u32) {
    match whose {
        Whose::Filter(filter) => tracing::warn!(
            target: TARGET, filter, lost,
            "lines of the filter were not logged: more than limits.log_lines, {most} a second; raise it if so many are meant"
        ),
        Whose::Vm(vm_id) => tracing::warn!(
            target: TARGET, vm_id, lost,
            "lines that a module logged on behalf of no filter were not written: more than {most} a second"
        ),
    }
}

/// Writes a line. Control characters are written as escapes: a guest cannot make lines that look like others'.
pub fn write(level: LogLevel, whose: Whose<'_>, message: &[u8]) {
    let message = &message[..message.len().min(MOST_LINE)];
    let message = printable(&String::from_utf8_lossy(message));
    // A field without a value is not written.
    let (filter, vm_id) = match whose {
        Whose::Filter(name) => (Some(name), None),
        Whose::Vm(id) => (None, Some(id)),
    };
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
        let mut budget = LogBudget::new(30);
        let taken = (0..30 + 50).filter(|_| budget.take() != Line::Lost).count();
        assert_eq!(taken, 30);
        budget.since = None;
        assert_eq!(budget.take(), Line::Written { lost: 50 });
        assert_eq!(budget.take(), Line::Written { lost: 0 });
        assert_eq!(LogBudget::new(0).take(), Line::Lost);
    }

    #[test]
    fn a_guest_cannot_forge_lines() {
        assert_eq!(printable("a\nERROR b\u{1b}[0m\té"), "a\\nERROR b\\u{1b}[0m\té");
        assert_eq!(name(&"é\0".repeat(1000)), "é\\u{0}".repeat(85));
        assert_eq!(quoted(b" why\n"), "why");
    }
}
