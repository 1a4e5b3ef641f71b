//! How close this process's group is to its memory limit, and what to do about it before the kernel kills.

use super::{Controller, Place, Version, locate};
use pillion_config::model::ProcessLimits;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What memory demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pressure {
    /// Nothing.
    #[default]
    Normal,
    /// Connections at rest are closed, and nothing is kept in case a request must be sent again.
    Shrink,
    /// New connections are refused, too, and new requests of those that live.
    Refuse,
}

/// A level's use of its limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes charged that the kernel cannot simply drop (page cache that rests is not counted).
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}

/// Percentages of the limit at which pressure begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// [`Pressure::Shrink`] from here.
    pub shrink: u8,
    /// [`Pressure::Refuse`] from here.
    pub refuse: u8,
}

/// Reads the group's memory. Exists only where there is a limit.
#[derive(Debug, Clone)]
pub struct Meter {
    version: Version,
    /// The levels that have a limit; usually one.
    levels: Vec<PathBuf>,
}

/// Percent of the limit by which usage must fall below a threshold before its pressure ends: without it, closing
/// and opening the same connections would alternate.
const HYSTERESIS: u8 = 3;

/// How long memory is below where [`Pressure::Refuse`] begins, if only just, until nobody is refused any more.
const SETTLES: Duration = Duration::from_secs(2);

/// Bytes that a request in flight takes, with its stream or connection on either side and what the kernel holds of them: 24 to 30
/// KiB were measured with HTTP/2 clients of an HTTP/1.1 server.
const REQUEST: u64 = 32 * 1024;

/// Limits above this are how version 1 says "none" (LONG_MAX rounded down to a page).
const UNLIMITED: u64 = 1 << 62;

impl Meter {
    /// The meter of this process; `None` where no limit is set.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::new(&locate(Controller::Memory, &cgroup, &mountinfo)?)
    }

    /// The meter of a group; `None` where no limit is set.
    #[must_use]
    pub fn new(place: &Place) -> Option<Self> {
        let levels: Vec<_> =
            place.directories.iter().filter(|level| limit(place.version, level).is_some()).cloned().collect();
        (!levels.is_empty()).then_some(Self { version: place.version, levels })
    }

    /// Bytes that this process has resident; 0 where nobody says so.
    #[must_use]
    pub fn own(&self) -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(number).unwrap_or(0);
        pages.saturating_mul(rustix::param::page_size() as u64)
    }

    /// The level nearest its limit now; `None` when nothing can be read (a limit may be lifted while running).
    #[must_use]
    pub fn read(&self) -> Option<Usage> {
        let usage =
            |level: &PathBuf| Some(Usage { limit: limit(self.version, level)?, used: used(self.version, level)? });
        self.levels.iter().filter_map(usage).max_by_key(Usage::permille)
    }
}

impl Usage {
    /// Bytes that machines of filters must have grown by in all, so that giving one back after the other ends [`Pressure::Refuse`].
    #[must_use]
    pub fn worth_giving_back(&self) -> u64 {
        self.limit / 100 * u64::from(HYSTERESIS)
    }

    /// Thousandths of the limit in use.
    #[must_use]
    pub fn permille(&self) -> u64 {
        // In 128 bits nothing overflows, and a limit of zero is simply full.
        let permille = u128::from(self.used) * 1000 / u128::from(self.limit.max(1));
        u64::try_from(permille).unwrap_or(u64::MAX)
    }
}

impl Thresholds {
    /// Those of a configuration.
    #[must_use]
    pub fn of(limits: &ProcessLimits) -> Self {
        Self { shrink: limits.memory_shrink_percent, refuse: limits.memory_refuse_percent }
    }

    /// The next pressure, given the last and how long ago memory was where [`Pressure::Refuse`] begins.
    ///
    /// What has begun ends [`HYSTERESIS`] below where it did, so that it does not flap; refusing also once memory has been below where it
    /// begins, if only just, for [`SETTLES`]: what is to be had back has been by then, and what is left may stay as it is.
    #[must_use]
    pub fn judge(self, last: Pressure, full_ago: Duration, usage: Usage) -> Pressure {
        let reached = |percent: u8, held: bool| {
            let slack = if held { HYSTERESIS } else { 0 };
            usage.permille() >= u64::from(percent.saturating_sub(slack)) * 10
        };
        if reached(self.refuse, last == Pressure::Refuse && full_ago < SETTLES) {
            Pressure::Refuse
        } else if reached(self.shrink, last >= Pressure::Shrink) {
            Pressure::Shrink
        } else {
            Pressure::Normal
        }
    }

    /// Whether memory is where [`Pressure::Refuse`] begins.
    #[must_use]
    pub fn is_full(self, usage: Usage) -> bool {
        usage.permille() >= u64::from(self.refuse) * 10
    }

    /// Bytes that clients may leave unfinished in all, given what they hold now: half as much more as is free below seven
    /// eighths of where [`Pressure::Shrink`] begins, so that they alone never bring it about that connections are closed which do
    /// no harm; beyond it less, by as much as it is passed. Half, because what holds bytes takes more than they, and others grow
    /// as well until memory is looked at again. Never less than a thirty-second of the limit: whoever is cut short for what others hold must have a large part in it.
    #[must_use]
    pub fn unfinished(self, usage: Usage, held: u64) -> u64 {
        let line = self.line(usage);
        let allowed = match line.checked_sub(usage.used) {
            Some(free) => held.saturating_add(free / 2),
            None => held.saturating_sub(usage.used - line),
        };
        allowed.max(usage.limit / 32)
    }

    /// Bytes by which machines of filters may grow until memory is looked at again: half of what is free below a sixty-fourth of the limit, a
    /// MiB at most, before where [`Pressure::Refuse`] begins, so that they alone never bring it about, nor with what a few clients need. What
    /// is beyond is the kernel's margin, for what it takes itself meanwhile.
    #[must_use]
    pub fn growth(self, usage: Usage) -> u64 {
        let line = (u128::from(usage.limit) * u128::from(self.refuse) / 100) as u64;
        line.saturating_sub((usage.limit / 64).min(1 << 20)).saturating_sub(usage.used) / 2
    }

    /// Bytes that machines of filters which start beside others that serve may take until memory is looked at again: what is free below a
    /// thirty-second of the limit before where a machine would be given back for it, or somebody refused. In the smallest container
    /// that is what two connections hold of a body, and some: whoever is served while a start takes all of it is not refused.
    #[must_use]
    pub fn starts(self, usage: Usage) -> u64 {
        let line = u128::from(usage.limit) * u128::from(self.gives_back_at()) / 100;
        (line as u64).saturating_sub(usage.limit / 32).saturating_sub(usage.used)
    }

    /// Whether the machine of a filter that has grown most is to be given back: where [`Pressure::Refuse`] ends, which is before it
    /// begins, so that nobody is refused for a filter that leaks; and never before connections at rest are closed.
    #[must_use]
    pub fn must_give_back(self, usage: Usage) -> bool {
        usage.permille() >= u64::from(self.gives_back_at()) * 10
    }

    /// Bytes that compiling a module may still take before somebody is refused, or a machine given back, for it: up to a hundredth of
    /// the limit below, for what it takes until it is stopped.
    #[must_use]
    pub fn spare(self, usage: Usage) -> u64 {
        let line = u128::from(usage.limit) * u128::from(self.gives_back_at().saturating_sub(1)) / 100;
        (line as u64).saturating_sub(usage.used)
    }

    fn gives_back_at(self) -> u8 {
        self.refuse.saturating_sub(HYSTERESIS).max(self.shrink.min(self.refuse))
    }

    /// Whether little is left of what clients may leave unfinished, so that somebody may soon be refused for what the allocator keeps
    /// of memory that was freed. Where there is pressure it keeps nothing.
    #[must_use]
    pub fn is_tight(self, usage: Usage) -> bool {
        usage.used >= self.line(usage).saturating_sub(usage.limit / 8)
    }

    /// Bytes of the limit that clients alone do not pass with what they leave unfinished.
    fn line(self, usage: Usage) -> u64 {
        (u128::from(usage.limit) * u128::from(self.shrink) * 7 / 800) as u64
    }

    /// Bytes that filters may store beside their machines until memory is looked at again: half of what is free below where
    /// [`Pressure::Shrink`] begins. Nobody can give them back but their filter, so that they alone never bring it about.
    #[must_use]
    pub fn storable(self, usage: Usage) -> u64 {
        let line = (u128::from(usage.limit) * u128::from(self.shrink) / 100) as u64;
        line.saturating_sub(usage.used) / 2
    }

    /// Requests that may be in flight, given how many are: as many more as fit below where [`Pressure::Refuse`] begins, until memory
    /// is looked at again. A flood of small ones fills a small container in less.
    #[must_use]
    pub fn requests(self, usage: Usage, in_flight: u64) -> u64 {
        let line = (u128::from(usage.limit) * u128::from(self.refuse) / 100) as u64;
        in_flight.saturating_add(line.saturating_sub(usage.used) / REQUEST)
    }

    /// Whether refusing is not enough: half of what was left where [`Pressure::Refuse`] began is gone as well, by what is in flight
    /// already. Beyond it the kernel takes back the pages of the program itself, which then reads them again and again, and at
    /// last kills. `own` are the bytes that this process has resident: where most of a limit is taken by others, such as the
    /// application of a pod, what is cut here is no help.
    #[must_use]
    pub fn must_cut(self, usage: Usage, own: u64) -> bool {
        usage.permille() >= u64::from(self.refuse) * 5 + 500 && own >= usage.used / 2
    }

    /// How long until memory is looked at again: a second where there is room, ten times as often near the limit.
    /// A proxy of 5 MB in a container of 64 MB that is filled at 1 GB/s would not last a second, but one that is
    /// half full is looked at often enough to see it coming at what a single core can receive and keep.
    #[must_use]
    pub fn next_look(self, usage: Usage) -> Duration {
        let shrink = u64::from(self.shrink) * 10;
        match usage.permille() {
            near if near >= shrink * 9 / 10 => Duration::from_millis(100),
            half if half >= shrink / 2 => Duration::from_millis(250),
            _ => Duration::from_secs(1),
        }
    }
}

fn limit(version: Version, level: &Path) -> Option<u64> {
    let file = match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    number(&fs::read_to_string(level.join(file)).ok()?).filter(|limit| *limit < UNLIMITED)
}

fn used(version: Version, level: &Path) -> Option<u64> {
    let (current, inactive) = match version {
        Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
        Version::V2 => ("memory.current", "inactive_file"),
    };
    let current = number(&fs::read_to_string(level.join(current)).ok()?)?;
    let stat = fs::read_to_string(level.join("memory.stat")).unwrap_or_default();
    Some(current.saturating_sub(stat_field(&stat, inactive).unwrap_or(0)))
}

fn stat_field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').and_then(number))
}

/// `None` for `max`.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}
