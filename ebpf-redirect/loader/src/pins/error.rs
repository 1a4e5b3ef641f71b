//! Why an instance's directory cannot be used, in words with the remedy.

use crate::{mounts, shapes::Form};
use redirect_common::LAYOUT;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Why an instance's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Nothing to pin to.
    #[error(transparent)]
    Mount(#[from] mounts::MountError),
    /// A name that would leave the directory.
    #[error("{0:?} cannot name an instance: letters, digits, `-` and `_`, at most 64 of them")]
    Name(String),
    /// Something that no version makes.
    #[error(
        "{at} has {found:?}, which no version of pillion made, and which is left alone: remove it, or name another --instance"
    )]
    Stray {
        /// The instance's directory.
        at: PathBuf,
        /// What lies in it.
        found: String,
    },
    /// Something of another version.
    #[error(
        "{at} has {found}, which is not of this version (v{LAYOUT}): `pillion redirect detach --instance {}` detaches what another \
         version attached, and leaves its connections to TCP",
        instance_of(.at)
    )]
    Foreign {
        /// The instance's directory.
        at: PathBuf,
        /// What lies in it.
        found: String,
    },
    /// A map that bears this version's number and is not what this version has.
    #[error(
        "{at} is a map of another build (it has {found}; this one {wanted}), so nothing is read of it: `pillion redirect detach \
         --instance {}` detaches what that build attached, and leaves its connections to TCP",
        at.parent().and_then(Path::parent).map(instance_of).unwrap_or_default()
    )]
    Form {
        /// The map's pin.
        at: PathBuf,
        /// What it is.
        found: Form,
        /// What it should be.
        wanted: Form,
    },
    /// It belongs to somebody else.
    #[error("{at}: {error}: {}", who_may(.at, .error))]
    Forbidden {
        /// Where.
        at: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is not there.
    #[error("{0:?} is not attached: `pillion redirect attach --instance {0}` does it")]
    Absent(String),
    /// Another process is at work on it.
    #[error("{0}: another process is attaching or detaching this instance")]
    Busy(PathBuf),
    /// The file system refused.
    #[error("{at}: {error}")]
    Io {
        /// Where.
        at: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What the file system refused at this place.
pub(super) fn failed(at: &Path, error: io::Error) -> PinError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => PinError::Forbidden { at: at.into(), error },
        _ => PinError::Io { at: at.into(), error },
    }
}

/// The name of an instance, by its directory.
fn instance_of(at: &Path) -> String {
    at.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whoever may, where this process may not.
fn who_may(at: &Path, error: &io::Error) -> String {
    if error.raw_os_error() == Some(libc::EPERM) {
        return "this kernel keeps bpf(2) from those without CAP_BPF".to_owned();
    }
    // The nearest that can be looked at has the owner who made all of it.
    match at.ancestors().find_map(|at| fs::metadata(at).ok()) {
        Some(data) if data.uid() != 0 => format!("that is for user {}, who attached it, and for root", data.uid()),
        _ => "that is for root, who attached it".to_owned(),
    }
}
