//! The processes of the process namespace, and the containers that they are of.
//!
//! Containers of a pod share its process namespace and not their cgroups, which are siblings of ours: the name of one tells it
//! from the others. Where a runtime shows none, the process that a container began with does: its parent is outside of the
//! namespace (0), or has gone, so that `pause` is (1).

use super::Presence;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path},
};

/// As many as are named.
const MOST_NAMED: usize = 8;

/// Whether there is any but ours and `callers`.
pub(super) fn look(callers: &BTreeSet<u32>) -> Presence {
    let Some(mut others) = others() else { return Presence::There };
    if others.any(|pid| !callers.contains(&pid)) { Presence::There } else { Presence::Gone }
}

/// Those that are there, by number and name: so many as one reads.
pub(super) fn names(callers: &BTreeSet<u32>) -> Vec<String> {
    let name = |pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{pid} ({})", comm.trim_end())
    };
    others().into_iter().flatten().filter(|pid| !callers.contains(pid)).take(MOST_NAMED).map(name).collect()
}

/// The containers of those that are there.
pub(super) fn containers() -> BTreeSet<String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of = |pid: u32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        container(&own, &cgroup, pid, || parent_of(pid))
    };
    others().into_iter().flatten().filter_map(of).collect()
}

/// All but ours, the pod's first one (`pause`), and what runs as our own user, as probes do. `None`: they cannot be listed, which
/// is taken for an application that is there.
fn others() -> Option<impl Iterator<Item = u32>> {
    let us = std::process::id();
    let user = |path: &str| fs::metadata(path).map(|meta| meta.uid()).ok();
    let ours = user("/proc/self");
    let names = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others = names.filter_map(|name| name.parse::<u32>().ok()).filter(move |pid| *pid != 1 && *pid != us);
    Some(others.filter(move |pid| user(&format!("/proc/{pid}")).is_some_and(|user| Some(user) != ours)))
}

/// What tells a process's container from the others; `None`: it is of none that is known by it. Pure.
///
/// `own` and `other` are what `/proc/PID/cgroup` says, a line for each hierarchy (cgroups(7)). With a cgroup namespace of our
/// own a sibling of ours is `/../NAME`, and without one `/…/POD/NAME`.
fn container(own: &str, other: &str, pid: u32, parent: impl Fn() -> Option<u32>) -> Option<String> {
    if own == other {
        return matches!(parent(), Some(0 | 1)).then(|| format!("process {pid}"));
    }
    let hierarchies = |text| -> Vec<(&str, &str)> {
        let lines = str::lines(text).filter_map(|line| line.split_once(':')?.1.split_once(':'));
        lines.collect()
    };
    let owns = hierarchies(own);
    hierarchies(other).into_iter().find_map(|(hierarchy, path)| {
        let (_, ours) = owns.iter().find(|(known, _)| *known == hierarchy)?;
        sibling(Path::new(ours), Path::new(path))
    })
}

/// The name of the cgroup beside ours in which `path` is.
fn sibling(ours: &Path, path: &Path) -> Option<String> {
    let beside = match ours.parent() {
        Some(pod) => path.strip_prefix(pod).ok().filter(|_| !path.starts_with(ours))?,
        // Ours is the root of what we see.
        None => path.strip_prefix("/..").ok()?,
    };
    match beside.components().next()? {
        Component::Normal(name) => Some(name.to_str()?.to_owned()),
        _ => None,
    }
}

/// The parent of a process, as this namespace shows it: 0 where it is in none that is seen from here.
pub(super) fn parent_of(pid: u32) -> Option<u32> {
    parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fourth field of `/proc/PID/stat`; the second is a name in brackets, which may have spaces and brackets in it.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(own: &str, other: &str) -> Option<String> {
        container(own, other, 7, || Some(0))
    }

    #[test]
    fn containers_are_told_apart_by_their_cgroups() {
        let scope = |id: &str| format!("0::/../cri-containerd-{id}.scope\n");
        for (own, other, known) in [
            // A namespace of our own: containerd, what systemd made of itself within it, the runtime before it has moved.
            ("0::/\n", &*scope("ab"), Some("cri-containerd-ab.scope")),
            ("0::/\n", "0::/../cri-containerd-ab.scope/init.scope\n", Some("cri-containerd-ab.scope")),
            ("0::/\n", "0::/../../../system.slice/crio.service\n", None),
            ("0::/\n", "0::/below\n", None),
            // None.
            ("0::/kubepods/burstable/pod1/us\n", "0::/kubepods/burstable/pod1/ab\n", Some("ab")),
            ("0::/kubepods/burstable/pod1/us\n", "0::/kubepods/burstable/pod1/us/below\n", None),
            ("0::/kubepods/burstable/pod1/us\n", "0::/system.slice/containerd.service\n", None),
            // Version 1: the hierarchies that tell nothing come first.
            (
                "9:name=systemd:/\n4:memory:/kubepods/pod1/us\n",
                "9:name=systemd:/\n4:memory:/kubepods/pod1/ab\n",
                Some("ab"),
            ),
            ("4:memory:/a/us\n", "9:name=systemd:/a/ab\n", None),
            ("garbage", "", None),
            // Not told apart.
            ("0::/\n", "0::/\n", Some("process 7")),
        ] {
            assert_eq!(name(own, other).as_deref(), known, "{own} {other}");
        }
        assert_eq!(container("0::/\n", "0::/\n", 7, || Some(6)), None, "a child of another process is no container");
    }

    #[test]
    fn a_parent_is_read_behind_any_name() {
        assert_eq!(parent("7 (a) b (c)) S 1 7 7 0"), Some(1));
        assert_eq!(parent("7 (sh) S"), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(parent(&own), Some(std::os::unix::process::parent_id()));
    }
}
