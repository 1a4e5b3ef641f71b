//! The system's files that say who knows names, and whether they are those that were read.

use hickory_resolver::config::ResolverConfig;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Which file stood at a path, and which writing of it. A name that is bound to another file, as a container's is, counts
/// as another file; what is written within one tick of the kernel's clock, in the same length, does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no such file, or nobody may look at it.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            file: (meta.dev(), meta.ino()),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// resolv.conf(5).
#[derive(Debug)]
pub(super) struct System {
    pub(super) file: PathBuf,
    /// As it was when it was read.
    read: Option<Stamp>,
    /// Where its servers listen. The file cannot say so; tests have no other.
    pub(super) port: u16,
}

impl Default for System {
    fn default() -> Self {
        Self { file: PathBuf::from("/etc/resolv.conf"), read: None, port: 53 }
    }
}

impl System {
    /// What it says now.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        // First the look: what is written in between shows the next time.
        self.read = Stamp::of(&self.file);
        fs::read(&self.file)
    }

    /// Whether it is there and another than was read. A file that is gone says nothing new.
    pub(super) fn has_changed(&self) -> bool {
        let now = Stamp::of(&self.file);
        now.is_some() && now != self.read
    }

    /// Its servers, where they listen.
    pub(super) fn at_its_port(&self, config: ResolverConfig) -> ResolverConfig {
        let (domain, search, mut servers) = config.into_parts();
        for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
            connection.port = self.port;
        }
        ResolverConfig::from_parts(domain, search, servers)
    }
}
