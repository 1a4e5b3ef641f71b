//! Talks to a child that compiles: gives it the module and hears what it says at the same time, and waits for its end.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionbio,
};
use std::{
    io::{self, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ExitStatus},
    thread,
    time::{Duration, Instant},
};

/// How often a child is looked at that does not end, though it says nothing any more.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes of what it says that are kept. The rest is read as well: a child waits for whoever does not.
const MOST_WORDS: usize = 4096;

/// How a child ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The beginning of what it said.
    pub(super) words: Vec<u8>,
}

/// Gives the child the module and waits for its end; `None`: it did not end in time. Its pipes are read and written as it
/// likes, so that neither one that does not read nor one that says much is waited for longer.
pub(super) fn talk(child: &mut Child, module: &[u8], until: Instant) -> io::Result<Option<Ended>> {
    let mut given = Given { input: child.stdin.take(), left: module };
    let mut heard = Heard { output: child.stderr.take(), words: Vec::new() };
    if let Some(input) = &given.input {
        ioctl_fionbio(input, true)?;
    }
    if let Some(output) = &heard.output {
        ioctl_fionbio(output, true)?;
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if given.input.is_some() || heard.output.is_some() {
            wait(&given, &heard, left)?;
            given.give()?;
            heard.hear()?;
        } else if let Some(status) = child.try_wait()? {
            return Ok(Some(Ended { status, words: heard.words }));
        } else {
            thread::sleep(LOOK.min(left));
        }
    }
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
    use std::process::{Command, Stdio};

    fn shell(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn talked(script: &str, module: &[u8], time: Duration) -> Option<Ended> {
        let mut child = shell(script);
        let ended = talk(&mut child, module, Instant::now() + time).unwrap();
        child.kill().ok();
        child.wait().unwrap();
        ended
    }

    /// As one does that is stopped.
    #[test]
    fn a_child_that_does_not_read_is_not_waited_for_beyond_its_time() {
        let begun = Instant::now();
        assert!(talked("exec sleep 60", &[0; 1 << 20], Duration::from_millis(200)).is_none());
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_child_that_says_much_before_it_reads_gets_the_module_all_the_same() {
        let script = "head -c 300000 /dev/zero | tr '\\0' e >&2; test $(wc -c) = 1000000 && exit 3";
        let ended = talked(script, &[0; 1_000_000], Duration::from_secs(60)).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.words, [b'e'; MOST_WORDS]);
    }

    #[test]
    fn a_child_that_wants_nothing_and_closes_its_ends_is_waited_for() {
        let ended = talked("exec 0<&- 2>&-; sleep 0.1; exit 5", &[0; 1 << 20], Duration::from_secs(60)).unwrap();
        assert_eq!(ended.status.code(), Some(5));
    }
}
