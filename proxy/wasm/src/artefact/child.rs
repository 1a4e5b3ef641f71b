//! Talks to a child that compiles: gives it the module and hears what it says at the same time, and waits for its end, as long as
//! there is time, and memory beside those who are served and of its own bound.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionbio,
};
use std::{
    fs,
    io::{self, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// How often a child is looked at that does not end, though it says nothing any more.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes of what it says that are kept. The rest is read as well: a child waits for whoever does not.
const MOST_WORDS: usize = 4096;

/// Bytes that a child takes in a second at most: it is looked at before it can have taken what there is. 300 MB were measured.
const PACE: u64 = 1 << 30;

/// How often it is looked at memory, whatever there is, and at who wants it.
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(50);

/// Bytes that may still be taken until those who are served would suffer; `None`: nobody counts.
pub type Spare = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Whether somebody still wants what a child compiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Somebody may.
    Yes,
    /// Nobody does.
    No,
}

/// What became of a child.
pub(super) enum Outcome {
    /// It ended.
    Ended {
        status: ExitStatus,
        /// The beginning of what it said.
        words: Vec<u8>,
    },
    /// Its time is up.
    Late,
    /// Nobody wants it any more.
    Unwanted,
    /// There is no memory for it. It has so many bytes.
    Short(u64),
    /// It has so many bytes, more than any may.
    Large(u64),
}

/// For how long, and with how much, a child may run.
pub(super) struct Bounds<'a> {
    /// Until then.
    pub(super) until: Instant,
    /// With as much as those who are served leave.
    pub(super) spare: Option<&'a Spare>,
    /// With so many bytes, whatever there is.
    pub(super) memory: u64,
}

/// Gives the child the module and waits for its end. Its pipes are read and written as it likes, so that neither one that does not
/// read nor one that says much is waited for longer. One that is late, unwanted, too large, or for which memory is short, still runs.
pub(super) fn talk(
    child: &mut Child,
    module: &[u8],
    bounds: &Bounds<'_>,
    wanted: &dyn Fn() -> Wanted,
) -> io::Result<Outcome> {
    let mut given = Given { input: child.stdin.take(), left: module };
    let mut heard = Heard { output: child.stderr.take(), words: Vec::new() };
    if let Some(input) = &given.input {
        ioctl_fionbio(input, true)?;
    }
    if let Some(output) = &heard.output {
        ioctl_fionbio(output, true)?;
    }
    loop {
        let mut left = bounds.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Outcome::Late);
        }
        if wanted() == Wanted::No {
            return Ok(Outcome::Unwanted);
        }
        let taken = resident(child);
        let mut room = bounds.memory.saturating_sub(taken);
        if let Some(spare) = bounds.spare.and_then(|spare| spare()) {
            if spare == 0 {
                return Ok(Outcome::Short(taken));
            }
            room = room.min(spare);
        }
        if room == 0 {
            return Ok(Outcome::Large(taken));
        }
        left = left.min(SELDOM).min(Duration::from_millis(room / (PACE / 1000)).max(OFTEN));
        if given.input.is_some() || heard.output.is_some() {
            wait(&given, &heard, left)?;
            given.give()?;
            heard.hear()?;
        } else if let Some(status) = child.try_wait()? {
            return Ok(Outcome::Ended { status, words: heard.words });
        } else {
            thread::sleep(LOOK.min(left));
        }
    }
}

/// Bytes that are the child's alone; 0 where nobody says so.
fn resident(child: &Child) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", child.id())).unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64)
}

/// Waits until one of the pipes can go on.
fn wait(given: &Given<'_>, heard: &Heard, left: Duration) -> io::Result<()> {
    let input = given.input.as_ref().map(|input| PollFd::new(input, PollFlags::OUT));
    let output = heard.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN));
    let mut ends: Vec<_> = input.into_iter().chain(output).collect();
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(&mut ends, Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is still to be given.
struct Given<'a> {
    /// `None`: the child has all, or wants no more.
    input: Option<ChildStdin>,
    left: &'a [u8],
}

impl Given<'_> {
    fn give(&mut self) -> io::Result<()> {
        while let Some(input) = &mut self.input {
            match input.write(self.left) {
                Ok(written) => self.left = &self.left[written..],
                Err(error) if is_later(&error) => return Ok(()),
                // What it did not read it says.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.input = None,
                Err(error) => return Err(error),
            }
            if self.left.is_empty() {
                self.input = None;
            }
        }
        Ok(())
    }
}

/// What was said.
struct Heard {
    /// `None`: nothing more is said.
    output: Option<ChildStderr>,
    words: Vec<u8>,
}

impl Heard {
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(read) => {
                    let room = MOST_WORDS.saturating_sub(self.words.len());
                    self.words.extend_from_slice(&buffer[..read.min(room)]);
                }
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        process::{Command, Stdio},
        sync::atomic::{AtomicU64, Ordering},
    };

    fn shell(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn talked(script: &str, module: &[u8], time: Duration, spare: Option<&Spare>) -> Outcome {
        let mut child = shell(script);
        let bounds = Bounds { until: Instant::now() + time, spare, memory: 64 << 20 };
        let outcome = talk(&mut child, module, &bounds, &|| Wanted::Yes).unwrap();
        child.kill().ok();
        child.wait().unwrap();
        outcome
    }

    fn ended(script: &str, module: &[u8]) -> (Option<i32>, Vec<u8>) {
        match talked(script, module, Duration::from_secs(60), None) {
            Outcome::Ended { status, words } => (status.code(), words),
            Outcome::Late | Outcome::Short(_) | Outcome::Large(_) | Outcome::Unwanted => panic!("it did not end"),
        }
    }

    /// As one does that is stopped.
    #[test]
    fn a_child_that_does_not_read_is_not_waited_for_beyond_its_time() {
        let begun = Instant::now();
        let outcome = talked("exec sleep 60", &[0; 1 << 20], Duration::from_millis(200), None);
        assert!(matches!(outcome, Outcome::Late));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_child_that_says_much_before_it_reads_gets_the_module_all_the_same() {
        let script = "head -c 300000 /dev/zero | tr '\\0' e >&2; test $(wc -c) = 1000000 && exit 3";
        assert_eq!(ended(script, &[0; 1_000_000]), (Some(3), vec![b'e'; MOST_WORDS]));
    }

    #[test]
    fn a_child_that_wants_nothing_and_closes_its_ends_is_waited_for() {
        assert_eq!(ended("exec 0<&- 2>&-; sleep 0.1; exit 5", &[0; 1 << 20]), (Some(5), Vec::new()));
    }

    #[test]
    fn a_child_is_given_up_where_memory_runs_short() {
        let looks = AtomicU64::new(20);
        let less = move || Some(looks.fetch_sub(1, Ordering::Relaxed).saturating_sub(1) << 20);
        let spare: Spare = Box::new(less);
        let begun = Instant::now();
        let outcome = talked("exec sleep 60", b"", Duration::from_secs(60), Some(&spare));
        assert!(matches!(outcome, Outcome::Short(1..)));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    /// It keeps a line that has no end, as long as it may.
    #[test]
    fn a_child_that_takes_more_than_any_may_is_given_up_whatever_there_is() {
        let plenty: Spare = Box::new(|| Some(1 << 40));
        for spare in [None, Some(&plenty)] {
            let outcome = talked("ulimit -v 1000000; exec tail /dev/zero", b"", Duration::from_secs(60), spare);
            assert!(matches!(outcome, Outcome::Large(taken) if (64 << 20..512 << 20).contains(&taken)));
        }
    }
}
