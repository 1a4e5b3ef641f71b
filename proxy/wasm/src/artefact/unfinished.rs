//! [`Kept`]: a file that is being written, and whose it is.
//!
//! Whoever writes one holds a lock on it (flock(2)), which goes with the last process that has it open: its writer, and the child
//! that compiles into it. So what a killed process left is told from what another one that lives is writing, be it in another
//! namespace with the same number.

use super::{
    directory::{private_file, refused},
    hex,
};
use aws_lc_rs::rand;
use rustix::{
    fs::{FlockOperation, MemfdFlags, flock, memfd_create},
    io::Errno,
};
use std::{
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What names of files end in that are being written.
const NEW: &str = ".new";

/// Where the file system has no locks, a file that has been written for so long was left.
const LEFT: Duration = Duration::from_secs(3600);

/// Files begun before it is given up: each but the last was taken for one that was left before its lock was there.
const MOST_BEGUN: usize = 4;

/// A new file, without its name yet. It goes with this unless it was given one.
pub struct Kept {
    /// Open for reading and writing.
    pub file: File,
    path: Option<PathBuf>,
}

impl Kept {
    /// Begins one in a directory.
    pub(super) fn begin(directory: &Path) -> io::Result<Self> {
        for _ in 0..MOST_BEGUN {
            let path = directory.join(unique()?);
            let file = private_file().read(true).write(true).create_new(true).open(&path)?;
            let kept = Self { file, path: Some(path) };
            match flock(&kept.file, FlockOperation::NonBlockingLockExclusive) {
                // Somebody looks whether it was left, and removes it.
                Err(Errno::WOULDBLOCK) => {}
                Ok(()) if kept.file.metadata()?.nlink() == 0 => {}
                // Without locks it is kept by its age.
                Ok(()) | Err(_) => return Ok(kept),
            }
        }
        Err(refused("what is begun there is removed: does another process take it for what was left?"))
    }

    /// One in memory.
    pub(super) fn in_memory() -> io::Result<Self> {
        let file = memfd_create("pillion-wasm", MemfdFlags::CLOEXEC)?;
        Ok(Self { file: file.into(), path: None })
    }

    /// Gives it its name for good, whatever has it.
    pub(super) fn named(&mut self, name: &Path) -> io::Result<()> {
        fs::rename(self.path()?, name)?;
        self.path = None;
        Ok(())
    }

    /// Gives it its name for good unless there is one of that name.
    pub(super) fn linked(&mut self, name: &Path) -> io::Result<()> {
        fs::hard_link(self.path()?, name)
    }

    fn path(&self) -> io::Result<&Path> {
        self.path.as_deref().ok_or_else(|| refused("it has no name"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            fs::remove_file(path).ok();
        }
    }
}

/// Removes what was begun in a directory and left by processes that were killed.
pub(super) fn forget(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let new = |entry: &DirEntry| entry.file_name().to_str().is_some_and(|name| name.ends_with(NEW));
    for entry in entries.flatten().filter(new) {
        // Its lock is held until it is gone: who has just begun it begins another one.
        if let Some(_left) = left(&entry) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Opened and locked, if nobody writes it.
fn left(entry: &DirEntry) -> Option<File> {
    let file = private_file().read(true).write(true).open(entry.path()).ok()?;
    let left = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => true,
        Err(Errno::WOULDBLOCK) => false,
        Err(_) => file.metadata().ok()?.modified().ok()?.elapsed().ok()? > LEFT,
    };
    left.then_some(file)
}

/// A name for a file that is being written, which no other process has, in whatever namespace it counts its kind.
fn unique() -> io::Result<String> {
    let mut unique = [0; 8];
    rand::fill(&mut unique).map_err(|_| io::Error::other("no randomness"))?;
    Ok(hex(&unique) + NEW)
}
