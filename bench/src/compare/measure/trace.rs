//! System calls, counted by `strace -c`: it slows the traced program several times, so counts only are taken from it.

use super::group::{Group, Output};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Calls by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls(pub BTreeMap<String, u64>);

impl Calls {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Reads the table of `strace -c`: time, seconds, usecs/call, calls, errors (may be absent), name.
#[must_use]
pub fn parse(text: &str) -> Calls {
    let mut calls = Calls::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(&name), Some(Ok(count))) = (fields.last(), fields.get(3).map(|field| field.parse::<u64>())) else {
            continue;
        };
        if name != "total" && fields[0].parse::<f64>().is_ok() {
            *calls.0.entry(name.to_owned()).or_default() += count;
        }
    }
    calls
}

/// `strace`, attached to processes.
#[derive(Debug)]
pub struct Trace {
    strace: Group,
    table: PathBuf,
}

impl Trace {
    /// Attaches to the processes and waits until it has them. The error says why it cannot.
    pub fn attach(program: &Path, pids: &[u32], core: Option<usize>, directory: &Path) -> io::Result<Self> {
        let (table, log) = (directory.join("strace.txt"), directory.join("strace.log"));
        let mut command = Command::new(program);
        command.args(["-f", "-c", "-o"]).arg(&table);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut strace = Group::start(command, core, &log, Output::Logged)?;
        let end = Instant::now() + Duration::from_secs(10);
        while !pids.iter().all(|&pid| is_traced(pid)) {
            if strace.ended()?.is_some() || Instant::now() > end {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "strace cannot attach: {}",
                    said.lines().next().unwrap_or_default()
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { strace, table })
    }

    /// Detaches and tells what was counted.
    pub fn finish(self) -> io::Result<Calls> {
        self.strace.signal(Signal::INT)?;
        self.strace.finish(Duration::from_secs(10))?;
        Ok(parse(&fs::read_to_string(&self.table)?))
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_table_is_read() {
        let calls = parse(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n \
              61.34    0.004521           1      3012           sendto\n \
              38.66    0.002849           0      6021      3001 recvfrom\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.007370           0      9033      3001 total\n",
        );
        assert_eq!(calls.total(), 9033);
        assert_eq!(calls.0["recvfrom"], 6021);
        assert_eq!(parse("strace: Process 1 attached\n").total(), 0);
    }
}
