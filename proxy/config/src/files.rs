//! Reading files: the document itself, and those it refers to.
//!
//! What is read is bounded, and so is the time that a pipe is waited for. The document may come from one, as shells give it
//! for `<(…)`; what it refers to is a regular file, since it is read again by whoever uses it and whoever watches it for changes. Opening a pipe would wait
//! for a writer, perhaps for ever, and a device has no end.

use crate::tree::MAX_BYTES;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};
use std::{
    fs::{self, File, FileType},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of a file that a document refers to. The largest real ones are wasm modules of about 10 MB.
pub const MAX_REFERENCED: u64 = 64 << 20;

/// Longest time that a pipe which the document is read from may take in all. A signal ends the wait before; where another
/// thread gets it, this is less than the 30 s that a kubelet gives.
const PATIENCE: Duration = Duration::from_secs(10);

/// One byte more than is accepted, so that the reader of the bytes sees that there are too many; and whether they came out
/// of a pipe, and will not come again.
pub(crate) fn read_document(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    const MOST: u64 = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let pipe = fs::metadata(path)?.file_type().is_fifo();
    if pipe {
        read_pipe(path, MOST, PATIENCE, &mut bytes)?;
    } else {
        File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    }
    Ok((bytes, pipe))
}

/// Reads a pipe to its end, its first writer (fifo(7)) waited for, within `patience`.
fn read_pipe(path: &Path, most: u64, patience: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let mut pipe = File::options().read(true).custom_flags(nonblock).open(path)?.take(most);
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            let words =
                format!("a pipe that did not come to its end in {patience:?}; start its writer first, or name a file");
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
        // Before its first writer there is, a pipe is neither readable nor at its end to poll(2), whereas read(2) would say
        // that it has ended.
        let until = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(pipe.get_ref(), PollFlags::IN)], Some(&until)) {
            Ok(0) => continue,
            Err(Errno::INTR) => return Err(io::Error::other("a signal came while its writer was waited for")),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match pipe.read_to_end(bytes) {
            Ok(_) => return Ok(()),
            // What was read until then is kept.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a file that a document refers to: a regular one, links followed, of at most [`MAX_REFERENCED`] bytes. Never waits
/// for anyone but the file system.
///
/// # Errors
/// The system's; in words of its own, what the file is where it is no regular one, and that it is too large.
pub fn read_referenced(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened, which is what a pipe would wait for, and after, in case it was changed in between.
    regular(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(MAX_REFERENCED)).unwrap_or(0));
    file.take(MAX_REFERENCED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_REFERENCED {
        return Err(io::Error::other(format!("it is larger than {MAX_REFERENCED} bytes (64 MiB)")));
    }
    Ok(bytes)
}

fn regular(file: FileType) -> io::Result<()> {
    if file.is_file() {
        return Ok(());
    }
    let what = match file {
        it if it.is_dir() => "a directory",
        it if it.is_fifo() => "a named pipe",
        it if it.is_socket() => "a socket",
        it if it.is_char_device() || it.is_block_device() => "a device",
        _ => "something else",
    };
    Err(io::Error::other(format!("it is {what}; write the path of a regular file")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::{io::Write as _, thread};

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_for_ever() {
        let path = std::env::temp_dir().join(format!("pillion-files-{}", std::process::id()));
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let short = Duration::from_millis(50);
        let error = read_pipe(&path, 100, short, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("a pipe that did not come to its end in 50ms"), "{error}");

        // A writer that comes late and pauses, and one that says more than is wanted.
        for (most, expected) in [(100, &b"a: 1\nb: 2\n"[..]), (3, b"a: ")] {
            let there = path.clone();
            let writing = thread::spawn(move || {
                thread::sleep(short);
                let mut pipe = File::options().write(true).open(there).unwrap();
                pipe.write_all(b"a: 1\n").unwrap();
                thread::sleep(short);
                // Nobody may read any more.
                pipe.write_all(b"b: 2\n").ok();
            });
            let mut bytes = Vec::new();
            read_pipe(&path, most, Duration::from_secs(60), &mut bytes).unwrap();
            assert_eq!(bytes, expected);
            writing.join().unwrap();
        }

        // One that stays silent.
        let _silent = File::options().read(true).write(true).open(&path).unwrap();
        read_pipe(&path, 100, short, &mut Vec::new()).unwrap_err();
        fs::remove_file(path).unwrap();
    }
}
