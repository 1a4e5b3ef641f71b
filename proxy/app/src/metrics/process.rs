//! What the kernel knows of this process, under the names that Prometheus clients share. Read when a scrape begins.

use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};
use rustix::time::{ClockId, clock_gettime};
use std::{
    fmt::{Display, Write as _},
    fs,
    sync::OnceLock,
};

/// Ticks a second in /proc (USER_HZ): 100 on every architecture that Rust knows but Alpha (proc(5), time(7)).
const TICKS: f64 = 100.0;

/// The lines of all that could be read; what could not is left out.
pub(super) fn render() -> String {
    let mut out = String::new();
    let cpu = seconds(ClockId::ProcessCPUTime);
    line(&mut out, "process_cpu_seconds_total", "counter", "CPU time used, user and system.", Some(cpu));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = field(&status, "VmRSS:").map(|kib| kib * 1024);
    line(&mut out, "process_resident_memory_bytes", "gauge", "Memory in use.", resident);
    line(&mut out, "process_threads", "gauge", "Threads.", field(&status, "Threads:"));
    line(&mut out, "process_open_fds", "gauge", "File descriptors open.", open_fds());
    line(&mut out, "process_start_time_seconds", "gauge", "Unix time of the start.", start_time());
    out
}

fn line(out: &mut String, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        write_help_line(out, name, None, None, help);
        write_type_line(out, name, None, None, kind);
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{name} {value}");
    }
}

/// A number in /proc/self/status: `VmRSS:     4012 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Since Linux 6.2 the folder's size is the number; before, it is 0 and the entries are counted.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // One of the entries is the folder that is being read.
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        number => Some(number),
    }
}

/// Read once: it would otherwise follow every correction of the clock.
fn start_time() -> Option<f64> {
    static START: OnceLock<Option<f64>> = OnceLock::new();
    *START.get_or_init(|| {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let booted = seconds(ClockId::Realtime) - seconds(ClockId::Boottime);
        Some(((booted + start_ticks(&stat)? / TICKS) * 1e3).round() / 1e3)
    })
}

/// Field 22 of /proc/self/stat; the second may hold blanks and parentheses.
fn start_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.expect(name).parse().expect("a number")
    }

    #[test]
    fn the_process_is_told_as_it_is() {
        let _file = fs::File::open("/dev/null").unwrap();
        let text = render();
        assert!(value(&text, "process_resident_memory_bytes") > 1e5);
        assert!(value(&text, "process_cpu_seconds_total") > 0.0);
        assert!(value(&text, "process_threads") >= 1.0);
        assert!(value(&text, "process_open_fds") >= 4.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value(&text, "process_start_time_seconds");
        assert!((-0.1..600.0).contains(&age), "{age}");
    }

    #[test]
    fn fields_are_found_behind_odd_names() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(start_ticks(stat), Some(4242.0));
        assert_eq!(start_ticks("7 (a"), None);
        assert_eq!(field("Name:\tx\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("", "VmRSS:"), None);
    }
}
