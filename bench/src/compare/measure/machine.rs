//! What the figures were measured on.

use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// The machine and the source.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// Kernel.
    pub kernel: String,
    /// When the run began, UTC.
    pub date: String,
    /// Commit of the source, with `+` when files were changed since.
    pub commit: String,
    /// Load average of the last minute when the run began: above 0.5 the figures are another program's too.
    pub load: f64,
    /// Whether the kernel tracks connections over loopback (netfilter's conntrack, which rules that others left behind, a container
    /// engine's say, call for): each packet then costs everyone more, and new connections fail where the table is full.
    #[serde(default)]
    pub tracked: bool,
    /// What a page of memory costs when it is touched first, in microseconds: a quarter to one on hardware, ten and more on a virtual machine
    /// whose host takes back what was freed. Whatever grows, a filter that leaks say, keeps its worker for as long.
    #[serde(default)]
    pub fresh_page_us: f64,
}

/// Looks at the machine and at the source in `root`.
#[must_use]
pub fn read(root: &Path) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let system = rustix::system::uname();
    Machine {
        processor: after(&cpuinfo, "model name").unwrap_or("unknown processor").to_owned(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        memory: after(&meminfo, "MemTotal")
            .and_then(|text| text.strip_suffix(" kB")?.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024),
        kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        commit: commit(root),
        tracked: tracked().unwrap_or(false),
        fresh_page_us: fresh_page_us(),
        load: loadavg.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default(),
    }
}

/// Whether connections over loopback are in netfilter's table: makes some, and looks whether it has grown by as many.
fn tracked() -> Option<bool> {
    const CONNECTIONS: usize = 32;
    let known = || fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?.trim().parse::<usize>().ok();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let before = known()?;
    let made: Vec<TcpStream> =
        (0..CONNECTIONS).map_while(|_| TcpStream::connect(listener.local_addr().ok()?).ok()).collect();
    // Others' entries may expire meanwhile.
    Some(known()? > before + made.len() / 2)
}

/// Touches memory that nobody has touched.
fn fresh_page_us() -> f64 {
    const PAGES: usize = 4096;
    let page = rustix::param::page_size();
    // Too large for the allocator to have any of it: zeroes are the kernel's, and a page comes with its first byte that is written.
    let mut memory = vec![0_u8; PAGES * page];
    let begins = Instant::now();
    for byte in memory.iter_mut().step_by(page) {
        *std::hint::black_box(byte) = 1;
    }
    begins.elapsed().as_secs_f64() * 1e6 / PAGES as f64
}

/// What stands after `name :`.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{head}+") } else { head }
}

/// Seconds since 1970 as `2026-11-22 07:05:03` (UTC). Days to a date after Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::{after, date};

    #[test]
    fn dates_are_written() {
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(date(1_795_331_103), "2026-11-22 07:05:03");
    }

    #[test]
    fn fields_are_found() {
        assert_eq!(after("x : 1\nmodel name\t: Intel(R) Xeon(R)\n", "model name"), Some("Intel(R) Xeon(R)"));
        assert_eq!(after("", "model name"), None);
    }
}
