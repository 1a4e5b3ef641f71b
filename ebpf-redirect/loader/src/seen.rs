//! seen: what a process without privileges sees of an instance that somebody else has attached.

use crate::{
    mounts,
    pins::{PinError, Pins},
};
use std::{fs, io, path::PathBuf};

/// What is seen of an instance.
#[derive(Debug)]
pub enum Seen {
    /// No BPF file system is mounted in this process's view.
    NoBpffs,
    /// Its pins cannot be looked at.
    Hidden {
        /// Where they would be.
        at: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// None of this name is there.
    Absent {
        /// Where it would be.
        at: PathBuf,
    },
    /// The names of the programs that are attached: none, where it was detached and connections are left.
    Programs(Vec<String>),
}

/// Looks at the names of an instance's pins, which takes no privilege: whoever may read the directories sees them.
///
/// # Errors
///
/// A name that cannot be a directory's, or a mount table that cannot be read.
pub fn seen(instance: &str) -> Result<Seen, PinError> {
    let Some(pins) = Pins::seen(instance)? else { return Ok(Seen::NoBpffs) };
    let links = pins.link("");
    Ok(match fs::read_dir(&links) {
        Ok(entries) => {
            let mut names: Vec<String> =
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            Seen::Programs(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent { at: pins.directory().to_owned() },
        Err(error) => Seen::Hidden { at: links, error },
    })
}

/// Where instances are pinned, and whether this process may make one there; `None`: no BPF file system is mounted.
///
/// # Errors
///
/// What access(2) says of the directory, or of the file system where that is not made yet.
pub(crate) fn pinnable() -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
    let mounted = mounts::mounted_bpf().map_err(|error| (PathBuf::from("/proc"), io::Error::other(error)))?;
    let Some(mount) = mounted else { return Ok(None) };
    let folder = mount.join(crate::pins::FOLDER);
    let at = if folder.exists() { folder } else { mount };
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    match rustix::fs::accessat(rustix::fs::CWD, &at, wanted, rustix::fs::AtFlags::EACCESS) {
        Ok(()) => Ok(Some(at)),
        Err(error) => Err((at, error.into())),
    }
}
