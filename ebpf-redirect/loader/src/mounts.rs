//! Where the file systems are that the redirect needs: found in the mount table, never assumed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Why one of them is not there.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Only version 1 of cgroups, or none.
    #[error("no cgroup2 file system is mounted: mount one, as with `mount -t cgroup2 none /sys/fs/cgroup/unified`")]
    NoCgroup2,
    /// No BPF file system, and none can be mounted.
    #[error("no bpf file system is mounted and mounting one at {at} failed: {error}; `mount -t bpf bpf {at}` as root")]
    NoBpf {
        /// Where it should be.
        at: &'static str,
        /// Why it is not.
        error: io::Error,
    },
    /// A path that is no cgroup.
    #[error("{path}: not a directory of a cgroup2 file system ({mount} is one)")]
    NotACgroup {
        /// The path.
        path: PathBuf,
        /// Where one is mounted.
        mount: PathBuf,
    },
    /// The kernel's tables cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Where bpffs is mounted by custom.
const BPF: &str = "/sys/fs/bpf";
const TABLE: &str = "/proc/self/mountinfo";
const OWN: &str = "/proc/thread-self/cgroup";

/// A mounted file system: its root within itself and where that is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    root: PathBuf,
    at: PathBuf,
}

/// The first mount of a type in a mount table (proc_pid_mountinfo(5)).
pub(crate) fn find(table: &str, kind: &str) -> Option<Mount> {
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (after.split(' ').next()? == kind).then(|| Mount { root: unescaped(root), at: unescaped(at) })
    })
}

/// Spaces and the like stand as octal numbers there.
fn unescaped(field: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let number = escape.get(1..4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match number {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &escape[4..];
            }
            None => {
                out.push('\\');
                rest = &escape[1..];
            }
        }
    }
    out.push_str(rest);
    out.into()
}

fn read(path: &'static str) -> Result<String, MountError> {
    fs::read_to_string(path).map_err(|error| MountError::Unreadable { path, error })
}

/// Where cgroup2 is mounted.
///
/// # Errors
///
/// It is not.
pub fn cgroup2() -> Result<PathBuf, MountError> {
    Ok(find(&read(TABLE)?, "cgroup2").ok_or(MountError::NoCgroup2)?.at)
}

/// The directory of this process's own cgroup of version 2.
///
/// # Errors
///
/// There is none, or it is not seen through this mount.
pub fn own_cgroup() -> Result<PathBuf, MountError> {
    let mount = find(&read(TABLE)?, "cgroup2").ok_or(MountError::NoCgroup2)?;
    let own = read(OWN)?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(MountError::NoCgroup2)?;
    Ok(within(&mount, Path::new(path)))
}

fn within(mount: &Mount, path: &Path) -> PathBuf {
    let below = path.strip_prefix(&mount.root).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
    if below.as_os_str().is_empty() { mount.at.clone() } else { mount.at.join(below) }
}

/// The number of a cgroup: its directory's inode.
///
/// # Errors
///
/// The path is no directory of a cgroup2 file system.
pub fn cgroup_number(path: &Path) -> Result<u64, MountError> {
    let mount = cgroup2()?;
    let number = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino(), data.is_dir()));
    match (number(path), number(&mount)) {
        (Ok((device, number, true)), Ok((of_mount, ..))) if device == of_mount => Ok(number),
        _ => Err(MountError::NotACgroup { path: path.into(), mount }),
    }
}

/// Where bpffs is mounted, if it is.
pub(crate) fn mounted_bpf() -> Result<Option<PathBuf>, MountError> {
    Ok(find(&read(TABLE)?, "bpf").map(|mount| mount.at))
}

/// Where bpffs is mounted; mounted now where it was not.
///
/// # Errors
///
/// It cannot be.
pub(crate) fn bpf() -> Result<PathBuf, MountError> {
    if let Some(at) = mounted_bpf()? {
        return Ok(at);
    }
    rustix::mount::mount("bpf", BPF, "bpf", rustix::mount::MountFlags::empty(), None)
        .map_err(|error| MountError::NoBpf { at: BPF, error: error.into() })?;
    Ok(BPF.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:26 /kubepods/pod1 /sys/fs/cgroup\\040two rw,nosuid shared:4 - cgroup2 none rw
31 22 0:27 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu
";

    #[test]
    fn mounts_are_found_by_type_with_escapes_and_roots() {
        let mount = find(TABLE, "cgroup2").unwrap();
        assert_eq!(mount.at, Path::new("/sys/fs/cgroup two"));
        assert_eq!(within(&mount, Path::new("/kubepods/pod1/app")), Path::new("/sys/fs/cgroup two/app"));
        assert_eq!(within(&mount, Path::new("/kubepods/pod1")), Path::new("/sys/fs/cgroup two"));
        assert_eq!(within(&mount, Path::new("/")), Path::new("/sys/fs/cgroup two"));
        assert_eq!(find(TABLE, "bpf"), None);
        for length in 0..TABLE.len() {
            drop(find(&TABLE[..length], "cgroup2"));
        }
    }
}
