//! Where this process's control groups are: `/proc/self/cgroup` and `/proc/self/mountinfo` made into directories.
//!
//! Pure functions over the two texts. They never touch the file system, so that every shape of machine is a fixture.

use std::path::{Component, Path, PathBuf};

/// A controller whose limits are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// CPU bandwidth.
    Cpu,
    /// Memory.
    Memory,
}

/// Which interface files a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// This process's group for one controller, as seen through the mounts it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which interface it speaks.
    pub version: Version,
    /// The directories whose limits hold for this process: its own group first, then the parents up to the mount.
    pub directories: Vec<PathBuf>,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// Finds the group of `controller` from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7),
/// proc_pid_mountinfo(5)). `None` where no such hierarchy is mounted.
///
/// A controller sits either in a hierarchy of version 1 or in the unified one, never in both, so on a hybrid
/// machine the one of version 1 wins.
#[must_use]
pub fn locate(controller: Controller, cgroup: &str, mountinfo: &str) -> Option<Place> {
    let (version, group) = group_of(controller, cgroup)?;
    let mount = mountinfo.lines().filter_map(Mount::parse).find(|mount| mount.serves(version, controller))?;
    let own = mount.directory_of(&group);
    let directories = own.ancestors().take_while(|at| at.starts_with(&mount.point)).map(Path::to_path_buf).collect();
    Some(Place { version, directories })
}

fn group_of(controller: Controller, cgroup: &str) -> Option<(Version, PathBuf)> {
    let mut unified = None;
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.split(',').any(|name| name == controller.name()) {
            return Some((Version::V1, PathBuf::from(path)));
        }
        if id == "0" && controllers.is_empty() {
            unified = Some((Version::V2, PathBuf::from(path)));
        }
    }
    unified
}

struct Mount<'a> {
    /// The group that is visible at `point`.
    root: PathBuf,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 ROOT POINT rw,noatime master:1 - KIND source OPTIONS`; any number of fields before the dash.
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _source, options) = (after.next()?, after.next()?, after.next().unwrap_or(""));
        Some(Self { root: unescape(root), point: unescape(point), kind, options })
    }

    fn serves(&self, version: Version, controller: Controller) -> bool {
        match version {
            Version::V1 => self.kind == "cgroup" && self.options.split(',').any(|name| name == controller.name()),
            Version::V2 => self.kind == "cgroup2",
        }
    }

    /// The directory of a group. A group outside what is mounted (`/../..` in a namespace, a bind mount of a
    /// sibling) has none: the mount point is then the nearest thing that holds for this process.
    fn directory_of(&self, group: &Path) -> PathBuf {
        match group.strip_prefix(&self.root) {
            Ok(rest) if rest.components().all(|part| matches!(part, Component::Normal(_))) => {
                if rest.as_os_str().is_empty() { self.point.clone() } else { self.point.join(rest) }
            }
            Ok(_) | Err(_) => self.point.clone(),
        }
    }
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    PathBuf::from(text)
}
