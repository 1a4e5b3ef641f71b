//! Where the file systems are that the redirect needs: found in the mount table, never assumed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
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
    /// The process's own cgroup is not in sight.
    #[error(
        "this process's own cgroup, {path} of its namespace, is not seen through {mount}: name it (`--cgroup`, \
         `redirect.cgroup`), or mount cgroup2 in this namespace"
    )]
    Hidden {
        /// The cgroup, as the namespace names it.
        path: PathBuf,
        /// The first mount there is.
        mount: PathBuf,
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
    all(table, kind).next()
}

fn all(table: &str, kind: &str) -> impl Iterator<Item = Mount> {
    table.lines().filter_map(move |line| {
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
    let mounts: Vec<_> = all(&read(TABLE)?, "cgroup2").collect();
    let first = mounts.first().ok_or(MountError::NoCgroup2)?;
    let own = read(OWN)?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(MountError::NoCgroup2)?;
    let path = Path::new(path);
    let seen = mounts.iter().find_map(|mount| within(mount, path));
    seen.or_else(|| mounts.iter().find_map(|mount| sought(mount, path)))
        .ok_or_else(|| MountError::Hidden { path: path.into(), mount: first.at.clone() })
}

/// Where a cgroup is seen through a mount; `None`: it lies outside of it.
fn within(mount: &Mount, path: &Path) -> Option<PathBuf> {
    let below = path.strip_prefix(&mount.root).ok()?;
    let named = below.components().all(|part| matches!(part, Component::Normal(_)));
    // Without a slash at the end.
    named.then(|| mount.at.components().chain(below.components()).collect())
}

/// Where this thread's cgroup is seen through a mount that begins above the root of its namespace of cgroups: what lies between
/// has no name in there (the mount's root is `/../..`), so the one is sought that has this thread in it.
fn sought(mount: &Mount, path: &Path) -> Option<PathBuf> {
    let above = mount.root.strip_prefix("/").ok()?;
    let depth = above.components().filter(|part| *part == Component::ParentDir).count();
    let below = path.strip_prefix("/").ok()?;
    if depth == 0 || depth != above.components().count() || below.components().any(|part| part == Component::ParentDir)
    {
        return None;
    }
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut left = vec![(mount.at.clone(), 0)];
    for _ in 0..MOST_SOUGHT {
        let (folder, at) = left.pop()?;
        if at < depth {
            left.extend(children(&folder).map(|child| (child, at + 1)));
            continue;
        }
        let own: PathBuf = folder.components().chain(below.components()).collect();
        if fs::read_to_string(own.join("cgroup.threads")).is_ok_and(|all| all.lines().any(|line| line == thread)) {
            return Some(own);
        }
    }
    None
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
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

/// Directories that are looked at for one of a number, in words for people.
const MOST_SOUGHT: usize = 20_000;

/// Where a cgroup of this number is seen, if it is: looked for among all there are.
#[must_use]
pub fn cgroup_path(number: u64) -> Option<PathBuf> {
    let mut left = vec![cgroup2().ok()?];
    for _ in 0..MOST_SOUGHT {
        let folder = left.pop()?;
        if fs::metadata(&folder).is_ok_and(|data| data.ino() == number) {
            return Some(folder);
        }
        left.extend(children(&folder));
    }
    None
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
        for (path, seen) in [
            ("/kubepods/pod1/app", Some("/sys/fs/cgroup two/app")),
            ("/kubepods/pod1", Some("/sys/fs/cgroup two")),
            ("/", None),
            ("/kubepods/pod2", None),
            ("/../other", None),
        ] {
            assert_eq!(within(&mount, Path::new(path)).as_deref(), seen.map(Path::new), "{path}");
        }
        // A host's mount, seen from a namespace of cgroups two below its root.
        let host = Mount { root: "/../..".into(), at: "/sys/fs/cgroup".into() };
        assert_eq!(within(&host, Path::new("/")), None);
        let own = Mount { root: "/".into(), at: "/sys/fs/cgroup".into() };
        assert_eq!(within(&own, Path::new("/")).unwrap(), Path::new("/sys/fs/cgroup"));
        assert_eq!(within(&own, Path::new("/../other")), None);
        assert_eq!(find(TABLE, "bpf"), None);
        for length in 0..TABLE.len() {
            drop(find(&TABLE[..length], "cgroup2"));
        }
    }
}
