//! The processes of the process namespace.

use super::Presence;
use std::{fs, os::unix::fs::MetadataExt as _};

/// Looks at all but ours, the pod's first one (`pause`), and what runs as our own user, as probes do. What cannot be read is
/// taken for an application that is there.
pub(super) fn look() -> Presence {
    let us = std::process::id();
    let user = |path: &str| fs::metadata(path).map(|meta| meta.uid()).ok();
    let ours = user("/proc/self");
    let Ok(entries) = fs::read_dir("/proc") else { return Presence::There };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut others = names.filter_map(|name| name.parse::<u32>().ok()).filter(|pid| *pid != 1 && *pid != us);
    let seen = others.any(|pid| user(&format!("/proc/{pid}")).is_some_and(|user| Some(user) != ours));
    if seen { Presence::There } else { Presence::Gone }
}
