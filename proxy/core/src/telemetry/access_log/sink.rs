//! Where lines go: standard output, or a file or named pipe that can be opened anew. Opened by the control thread, then used
//! by the writer thread alone.

use super::AccessLogError;
use pillion_config::model::LogDestination;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a non-blocking destination may refuse bytes before the batch is given up.
const STALL: Duration = Duration::from_secs(1);
/// Time between two tries on it.
const RETRY: Duration = Duration::from_millis(5);
/// What keeps an open from waiting.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// What the kernel says to a writer of a pipe that nobody reads.
const NO_READER: i32 = rustix::io::Errno::NXIO.raw_os_error();

#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// `None`: standard output, which cannot be opened anew.
    path: Option<PathBuf>,
    /// The last write stopped within a line.
    torn: bool,
}

impl Sink {
    pub(super) fn open(destination: &LogDestination) -> Result<Self, AccessLogError> {
        match destination {
            // Unbuffered, unlike std's: a batch is one write.
            LogDestination::Stdout => {
                let fd = io::stdout().as_fd().try_clone_to_owned();
                Ok(Self::new(fd.map_err(AccessLogError::Stdout)?.into(), None))
            }
            LogDestination::File(path) => {
                let file = append(path).map_err(|source| AccessLogError::Open { path: path.clone(), source })?;
                Ok(Self::new(file, Some(path.clone())))
            }
        }
    }

    pub(super) fn new(file: File, path: Option<PathBuf>) -> Self {
        Self { file, path, torn: false }
    }

    /// Opens the file anew; on failure the old one stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = append(path)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines. Says how many of them were written; after an error the next batch begins on a line of
    /// its own.
    pub(super) fn write(&mut self, lines: &[u8]) -> (u64, io::Result<()>) {
        if self.torn
            && let (_, Err(error)) = self.write_some(b"\n")
        {
            return (0, Err(error));
        }
        let (taken, outcome) = self.write_some(lines);
        (memchr::memchr_iter(b'\n', &lines[..taken]).count() as u64, outcome)
    }

    /// Writes all, or says how many bytes were written before the error.
    fn write_some(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut taken = 0;
        let mut stalled = None;
        while taken < bytes.len() {
            match self.file.write(&bytes[taken..]) {
                Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    taken += written;
                    self.torn = bytes[taken - 1] != b'\n';
                    stalled = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Standard output may be a pipe that its other users made non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stalled.get_or_insert_with(Instant::now).elapsed() > STALL {
                        return (taken, Err(error));
                    }
                    thread::sleep(RETRY);
                }
                Err(error) => return (taken, Err(error)),
            }
        }
        (taken, Ok(()))
    }
}

/// Readable by the group at most: records name clients and paths.
///
/// Never waits, whatever is there. A named pipe's writer would wait for its first reader (fifo(7)), which may be long in
/// coming, and this may be the control thread: instead the pipe is opened without one, and what is written before the
/// reader is there is lost and counted, as after its end.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(NONBLOCK);
    let file = match options.open(path) {
        // For the length of a call we are the reader that a writer must find.
        Err(error) if error.raw_os_error() == Some(NO_READER) && fs::metadata(path)?.file_type().is_fifo() => {
            let reader = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
            let file = options.open(path)?;
            drop(reader);
            file
        }
        opened => opened?,
    };
    // Only the writer thread waits for what a slow reader has not taken yet.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    Ok(file)
}
