//! The proxy under callgrind: started, stopped, its instructions read from callgrind's file.

use super::CountError;
use crate::compare::measure::interrupt;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Callgrind slows a program down some fifty times, and a start is a second even so.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running proxy.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

/// Is there a valgrind to run it?
pub(super) fn is_there() -> Result<(), CountError> {
    match Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CountError::NoValgrind),
        Err(error) => Err(error.into()),
    }
}

impl Proxy {
    /// Starts it, one worker before one upstream, and waits until it accepts.
    pub(super) fn start(program: &Path, upstream: SocketAddr, protocol: &str) -> Result<Self, CountError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pillion-instructions-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Free until it is dropped; nobody else is given it so soon.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = folder.join("pillion.yaml");
        fs::write(
            &config,
            format!(
                "workers: 1\nlisteners:\n  - name: bench\n    address: {address}\n    routes:\n      - match: {{ prefix: \
                 / }}\n        cluster: origin\nclusters:\n  - name: origin\n    protocol: {protocol}\n    endpoints: \
                 [\"{upstream}\"]\n"
            ),
        )?;
        let words = fs::File::create(folder.join("words"))?;
        let mut command = Command::new("valgrind");
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", folder.join("counts").display()));
        command.arg(program).args(["run", "--config"]).arg(&config);
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words).process_group(0);
        let mut proxy = Self { address, child: command.spawn()?, folder };
        interrupt::register(proxy.number());
        proxy.wait(|proxy| TcpStream::connect(proxy.address).is_ok(), "did not begin to listen")?;
        Ok(proxy)
    }

    /// Ends it and tells the instructions it took.
    pub(super) fn end(mut self) -> Result<u64, CountError> {
        if let Ok(Some(pid)) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        }
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(self.failed("did not end"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let counts = self.folder.join("counts");
        let text = String::from_utf8_lossy(&fs::read(&counts)?).into_owned();
        totals(&text).ok_or(CountError::NoTotals(counts))
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool, else_what: &'static str) -> Result<(), CountError> {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            if self.child.try_wait()?.is_some() {
                return Err(self.failed("ended"));
            }
            if Instant::now() > end {
                return Err(self.failed(else_what));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A group of its own, which a signal to this command kills.
    fn number(&self) -> i32 {
        self.child.id().try_into().unwrap_or(i32::MAX)
    }

    fn failed(&self, what: &'static str) -> CountError {
        let words = fs::read(self.folder.join("words")).unwrap_or_default();
        CountError::Proxy { what, words: String::from_utf8_lossy(&words).into_owned() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        interrupt::forget(self.number());
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// The sum over all functions of the first event, instructions.
fn totals(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::totals;

    #[test]
    fn the_sum_is_the_last_of_its_kind() {
        assert_eq!(totals("events: Ir\nsummary: 12\n\nfn=a\n1 2\ntotals: 123456\n"), Some(123_456));
        assert_eq!(totals("events: Ir\n"), None);
    }
}
