//! How many worker threads the CPU quota pays for.
//!
//! Threads that follow the host's cores and not the quota are throttled together: with eight of them on a quota of
//! one CPU, the quota is gone after an eighth of each period and everything stands still for the rest.

use super::{Controller, Place, Version, locate};
use pillion_config::model::Workers;
use std::{fs, num::NonZeroUsize, path::Path};

/// The number of workers for this setting on this machine.
#[must_use]
pub fn workers(setting: Workers) -> NonZeroUsize {
    match setting {
        Workers::Count(count) => count,
        Workers::Auto => count(quota(), affinity()),
    }
}

/// Quota rounded up, at most the CPUs this process may run on, at least 1.
#[must_use]
pub fn count(quota: Option<f64>, affinity: NonZeroUsize) -> NonZeroUsize {
    let Some(quota) = quota else { return affinity };
    // A float-to-integer cast saturates, so that an absurd quota is merely large.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating is what is wanted")]
    let rounded = quota.ceil() as usize;
    NonZeroUsize::new(rounded).unwrap_or(NonZeroUsize::MIN).min(affinity)
}

/// The tightest CPU quota of this process's group and its parents, in CPUs; `None`: no quota.
#[must_use]
pub fn quota() -> Option<f64> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
    quota_of(&locate(Controller::Cpu, &cgroup, &mountinfo)?, |file| fs::read_to_string(file).ok())
}

/// The same over any way to read a file.
#[must_use]
pub fn quota_of(place: &Place, read: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let quota = |directory: &Path| match place.version {
        Version::V1 => {
            let quota = read(&directory.join("cpu.cfs_quota_us"))?;
            let period = read(&directory.join("cpu.cfs_period_us"))?;
            ratio(&quota, &period)
        }
        Version::V2 => {
            let text = read(&directory.join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            ratio(quota, period)
        }
    };
    place.directories.iter().filter_map(|directory| quota(directory)).min_by(f64::total_cmp)
}

/// `None` for `max`, `-1` and whatever makes no sense.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.trim().parse::<u32>().ok()?, period.trim().parse::<u32>().ok()?);
    (quota > 0 && period > 0).then(|| f64::from(quota) / f64::from(period))
}

fn affinity() -> NonZeroUsize {
    rustix::thread::sched_getaffinity(None)
        .ok()
        .and_then(|set| NonZeroUsize::new(set.count() as usize))
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}
