//! Readers of `/proc`: text in, figures out. Pure, but for [`account`], [`memory`] and [`members`], which read the files.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io};

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

/// When a process or thread began, in `/proc/PID/stat`, in ticks since the machine's start: with its number, who it is.
#[must_use]
pub fn stat_begun(text: &str) -> Option<u64> {
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A process or thread: numbers are given again, but not at the same tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    process: u32,
    thread: u32,
    begun: u64,
}

/// CPU time of the threads there are. One that ends takes its time with it, so that the difference of two accounts is a
/// figure only where both have the same threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account(BTreeMap<Who, u64>);

/// Who ended or came between two accounts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Changed(String);

impl Account {
    /// Nanoseconds on a CPU of all of them, each since it began.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The same of the processes without their further threads, which may come and go while nothing is measured.
    #[must_use]
    pub fn processes(mut self) -> Self {
        self.0.retain(|who, _| who.process == who.thread);
        self
    }

    /// Nanoseconds since an earlier account.
    ///
    /// # Errors
    ///
    /// When a thread ended or came since: what it needed is not known.
    pub fn since(&self, earlier: &Self) -> Result<u64, Changed> {
        let only_in = |one: &Self, other: &Self| -> Vec<Who> {
            one.0.keys().filter(|who| !other.0.contains_key(who)).copied().collect()
        };
        let (ended, came) = (only_in(earlier, self), only_in(self, earlier));
        if ended.is_empty() && came.is_empty() {
            return Ok(self.total().saturating_sub(earlier.total()));
        }
        let words = |whom: &[Who], verb: &str| match whom {
            [] => None,
            [who] if who.process == who.thread => Some(format!("process {} {verb}", who.process)),
            [who] => Some(format!("thread {} of process {} {verb}", who.thread, who.process)),
            several => Some(format!("{} processes or threads {verb}", several.len())),
        };
        let said: Vec<String> = [words(&ended, "ended"), words(&came, "came")].into_iter().flatten().collect();
        Err(Changed(said.join(", ")))
    }
}

/// The threads of the processes and their CPU time.
pub fn account(pids: &[u32]) -> io::Result<Account> {
    let mut account = Account::default();
    for &process in pids {
        // A process or thread that goes between listing and reading is missing, and told by the other account.
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks {
            let folder = task?.path();
            let thread = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
            let read = |file| fs::read_to_string(folder.join(file)).ok();
            let (Some(thread), Some(stat), Some(times)) = (thread, read("stat"), read("schedstat")) else { continue };
            let time = schedstat(&times).ok_or_else(|| io::Error::other("this kernel has no schedstat figures"))?;
            let begun = stat_begun(&stat).unwrap_or_default();
            account.0.insert(Who { process, thread, begun }, time);
        }
    }
    Ok(account)
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
    use super::{Account, Memory, Who, account, members, memory, schedstat, smaps_rollup, stat_begun, stat_group};

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
        let stat = "17 (a b) S 3 16 16 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 1 0 8641 999 1 2";
        assert_eq!(stat_begun(stat), Some(8641));
    }

    #[test]
    fn an_account_of_others_gives_no_figure() {
        let of = |threads: &[(u32, u32, u64, u64)]| {
            let entry = |&(process, thread, begun, time): &_| (Who { process, thread, begun }, time);
            Account(threads.iter().map(entry).collect())
        };
        let before = of(&[(7, 7, 1, 100), (7, 8, 1, 50)]);
        assert_eq!(of(&[(7, 7, 1, 160), (7, 8, 1, 55)]).since(&before), Ok(65));
        for (after, said) in [
            (of(&[(7, 7, 1, 160)]), "thread 8 of process 7 ended"),
            (of(&[(7, 7, 1, 160), (7, 8, 1, 55), (9, 9, 5, 1)]), "process 9 came"),
            // The same numbers, given again.
            (of(&[(7, 7, 1, 160), (7, 8, 3, 2)]), "thread 8 of process 7 ended, thread 8 of process 7 came"),
            (of(&[]), "2 processes or threads ended"),
        ] {
            assert_eq!(after.since(&before).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn a_thread_that_ends_is_noticed() {
        let me = std::process::id();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || assert!(stopped.recv().is_err()));
        let before = account(&[me]).unwrap();
        drop(stop);
        thread.join().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while account(&[me]).unwrap().since(&before).is_ok() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(account(&[me]).unwrap().since(&before).is_err());
    }

    #[test]
    fn this_process_is_found() {
        let me = std::process::id();
        let group = stat_group(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(members(group).unwrap().contains(&me));
        assert!(account(&[me]).unwrap().total() > 0);
        let memory = memory(&[me]).unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }
}
