//! Limits of memory and CPU for a program, through cgroup version 1, where the machine lets us.

use crate::need;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

/// A group with limits; removed on drop.
#[derive(Debug)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// A group with a memory limit in bytes and a CPU quota in percent of one CPU, or a loud skip.
    #[must_use]
    pub fn new(memory: Option<u64>, cpu_percent: Option<u32>) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pillion-e2e-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut group = Self { folders: Vec::new() };
        let mut settings = Vec::new();
        if let Some(memory) = memory {
            settings.push(("memory", "memory.limit_in_bytes", memory.to_string()));
        }
        if let Some(percent) = cpu_percent {
            settings.push(("cpu", "cpu.cfs_period_us", "100000".to_owned()));
            settings.push(("cpu", "cpu.cfs_quota_us", (u64::from(percent) * 1000).to_string()));
        }
        for (controller, file, value) in settings {
            let folder = Path::new("/sys/fs/cgroup").join(controller).join(&name);
            let set = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(file), value));
            if !group.folders.contains(&folder) {
                group.folders.push(folder);
            }
            if let Err(error) = set {
                need::skip(&format!("cgroup v1 controller {controller} cannot be set: {error}"));
                return None;
            }
        }
        Some(group)
    }

    /// Bytes of memory in use that the kernel cannot simply drop, as the proxy counts them.
    #[must_use]
    pub fn used(&self) -> u64 {
        let folder = self.folders.iter().find(|folder| folder.starts_with("/sys/fs/cgroup/memory"));
        let read = |file| folder.and_then(|folder| fs::read_to_string(folder.join(file)).ok()).unwrap_or_default();
        let usage: u64 = read("memory.usage_in_bytes").trim().parse().unwrap_or(0);
        let stat = read("memory.stat");
        let droppable = stat.lines().find_map(|line| line.strip_prefix("total_inactive_file "));
        usage.saturating_sub(droppable.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0))
    }

    /// A command that enters the group before it becomes the program.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let enter: Vec<_> =
            self.folders.iter().map(|folder| format!("echo $$ > {}/cgroup.procs", folder.display())).collect();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{} && exec \"$0\" \"$@\"", enter.join(" && "))).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // A group with a process in it cannot be removed; the process is killed before the group is dropped,
            // and a group left behind is empty and costs nothing.
            drop(fs::remove_dir(folder));
        }
    }
}
