//! A program and what it starts, in a process group of its own: killed whole on drop, and by a signal to this command.

use super::{
    cores,
    interrupt::{self, interrupted},
    procfs::{self, Account, Memory},
};
use crate::compare::world::at;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A started program.
#[derive(Debug)]
pub struct Group {
    child: Child,
    number: i32,
    /// Its end was seen: from then on the number may be another's.
    reaped: bool,
    /// Just before it was started.
    pub begun: Instant,
}

impl Group {
    /// Starts a program on a core. What it writes to standard error, and to standard output unless that is piped, goes to
    /// `log`. Standard input is a pipe that ends with this command, for programs that end with it.
    pub fn start(mut command: Command, core: Option<usize>, log: &Path, output: Output) -> io::Result<Self> {
        let log = File::create(log).map_err(at(log))?;
        command.process_group(0).stdin(Stdio::piped()).stderr(log.try_clone()?);
        match output {
            Output::Logged => command.stdout(log),
            Output::Piped => command.stdout(Stdio::piped()),
        };
        // A child inherits the affinity of the thread that forks it; this thread's own stays what it is.
        let pinned = move || -> io::Result<(Child, Instant)> {
            if let Some(core) = core {
                cores::pin(core)?;
            }
            let begun = Instant::now();
            let program = PathBuf::from(command.get_program());
            Ok((command.spawn().map_err(at(&program))?, begun))
        };
        let (child, begun) = thread::spawn(pinned).join().map_err(|_| io::Error::other("starting thread died"))??;
        let number = i32::try_from(child.id()).map_err(io::Error::other)?;
        interrupt::register(number);
        Ok(Self { child, number, reaped: false, begun })
    }

    /// Its standard output, if piped; once.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The program's own number, which is also its group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its end, if it has come.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() && !self.reaped {
            self.reaped = true;
            interrupt::forget(self.number);
        }
        Ok(status)
    }

    /// Lets its standard input end.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end and what it wrote to its piped standard output. An error after `limit`, or when a signal came.
    pub fn finish(mut self, limit: Duration) -> io::Result<(ExitStatus, String)> {
        let end = Instant::now() + limit;
        let reader = self.stdout().map(|mut stdout| {
            thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text)
            })
        });
        loop {
            let status = self.ended()?;
            if interrupted() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal"));
            }
            if let Some(status) = status {
                let text = reader.map(|reader| reader.join().map_err(|_| io::Error::other("reading thread died")));
                return Ok((status, text.transpose()?.transpose()?.unwrap_or_default()));
            }
            if Instant::now() >= end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("still running after {limit:?}")));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal to the program alone, not to what it started.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_raw(self.number).ok_or_else(|| io::Error::other("no such process"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// The processes there are now.
    pub fn members(&self) -> io::Result<Vec<u32>> {
        procfs::members(self.pid())
    }

    /// Its processes' threads now, and their time on a CPU so far.
    pub fn account(&self) -> io::Result<Account> {
        procfs::account(&self.members()?)
    }

    /// Memory now, of all its processes.
    pub fn memory(&self) -> io::Result<Memory> {
        procfs::memory(&self.members()?)
    }
}

/// Where standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To the log, with standard error.
    Logged,
    /// To [`Group::stdout`].
    Piped,
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            interrupt::kill(self.number);
            interrupt::forget(self.number);
            // Only now is the number free.
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Output};
    use crate::compare::measure::procfs;
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    #[test]
    fn a_group_is_killed_whole() {
        let log = std::env::temp_dir().join(format!("pillion-bench-group-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & sleep 100"]);
        let group = Group::start(command, None, &log, Output::Logged).unwrap();
        let number = group.pid();
        let end = Instant::now() + Duration::from_secs(10);
        while group.members().unwrap().len() < 2 && Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(group.members().unwrap().len() >= 2);
        drop(group);
        while !procfs::members(number).unwrap().is_empty() && Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(procfs::members(number).unwrap().is_empty());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn what_it_says_is_kept() {
        let log = std::env::temp_dir().join(format!("pillion-bench-said-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let group = Group::start(command, None, &log, Output::Piped).unwrap();
        let (status, text) = group.finish(Duration::from_secs(10)).unwrap();
        assert_eq!((status.code(), text.as_str()), (Some(3), "out\n"));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "err\n");
        std::fs::remove_file(log).unwrap();
    }
}
