//! Readers of `/proc`: text in, figures out. Pure, but for [`usage`], [`memory`] and [`members`], which read the files.

use serde::{Deserialize, Serialize};
use std::{fs, io};

/// Memory of a process or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident bytes: pages that are in memory, shared ones counted in every process.
    pub resident: u64,
    /// Proportional bytes: a page that several processes share counts as its share.
    pub proportional: u64,
}

/// `/proc/PID/smaps_rollup` (since Linux 4.14).
#[must_use]
pub fn smaps_rollup(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { resident: field("Rss:")?, proportional: field("Pss:")? })
}

/// `/proc/PID/task/TID/schedstat`: nanoseconds on a CPU, user and system together (its first field; the scheduler's
/// exact sum, of which `utime` and `stime` of `/proc/PID/stat` are the same time in ticks).
#[must_use]
pub fn schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The process group in `/proc/PID/stat`. The name, in parentheses, may hold anything.
#[must_use]
pub fn stat_group(text: &str) -> Option<u32> {
    // After the name: state, parent, group.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Nanoseconds on a CPU of all threads of the processes since each began. A thread that ended is no longer in it.
pub fn usage(pids: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may have gone between listing and reading.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                sum += schedstat(&text).ok_or_else(|| io::Error::other("this kernel has no schedstat figures"))?;
            }
        }
    }
    Ok(sum)
}

/// Memory of the processes together. Reading it makes the kernel walk their pages.
pub fn memory(pids: &[u32]) -> io::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        // A process that is going has no pages any more.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        if let Some(memory) = smaps_rollup(&text) {
            sum.resident += memory.resident;
            sum.proportional += memory.proportional;
        }
    }
    if sum.resident == 0 {
        return Err(io::Error::other("smaps_rollup of the process cannot be read"));
    }
    Ok(sum)
}

/// Processes of a group, as there are now.
pub fn members(group: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat_group(&stat) == Some(group)) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Memory, members, memory, schedstat, smaps_rollup, stat_group, usage};

    #[test]
    fn files_are_read() {
        let text = "5643ddb55000-7ffc523fb000 ---p 00000000 00:00 0                          [rollup]\n\
                    Rss:                1728 kB\nPss:                 210 kB\nPss_Dirty:           112 kB\n";
        assert_eq!(smaps_rollup(text), Some(Memory { resident: 1728 << 10, proportional: 210 << 10 }));
        assert_eq!(smaps_rollup(""), None);
        assert_eq!(schedstat("579097 88912 1\n"), Some(579_097));
        assert_eq!(schedstat(""), None);
        assert_eq!(stat_group("17 (a) b) (c) S 3 16 16 0 -1 4194560"), Some(16));
        assert_eq!(stat_group("17 (cut"), None);
    }

    #[test]
    fn this_process_is_found() {
        let me = std::process::id();
        let group = stat_group(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(members(group).unwrap().contains(&me));
        assert!(usage(&[me]).unwrap() > 0);
        let memory = memory(&[me]).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }
}
