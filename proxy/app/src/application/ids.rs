//! Process ids that were given out between two looks: what came and went unseen has left one.
//!
//! An application may live for milliseconds. Whether somebody was started is told by the last id of our process namespace, the
//! fifth field of `/proc/loadavg` (fs/proc/loadavg.c), unless it went to a thread of ours.

use std::{collections::HashSet, fs};

/// The last id that was given out in our process namespace; `None` where the kernel does not say.
#[must_use]
pub(super) fn last() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// The ids of our threads. One of tokio's that has nothing to do stays for 10 s, so that no look misses it.
pub(super) fn own() -> HashSet<u32> {
    let Ok(entries) = fs::read_dir("/proc/self/task") else { return HashSet::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether one of the ids after `from`, up to `to`, went to somebody else. Pure.
///
/// They begin anew behind the largest (`kernel.pid_max`), for which so many must have been given out that not all were ours.
pub(super) fn of_others(from: u32, to: u32, own: &HashSet<u32>) -> bool {
    to < from || (from..to).any(|id| !own.contains(&(id + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_by_others_is_told_from_our_threads() {
        let own = HashSet::from([7, 12, 13]);
        assert!(!of_others(12, 12, &own) && !of_others(11, 13, &own));
        assert!(of_others(12, 14, &own) && of_others(7, 12, &own));
        assert!(of_others(4_194_303, 300, &own) && of_others(u32::MAX - 1, u32::MAX, &own));
    }

    #[test]
    fn a_process_that_has_gone_leaves_its_id() {
        let before = last().unwrap();
        assert!(std::process::Command::new("true").status().unwrap().success());
        assert!(of_others(before, last().unwrap(), &own()));
    }
}
