//! Who asks by hand that the proxy leaves: a process of the application's, as a Job's last command is, which is not to be waited
//! for. It waits for the proxy itself, and so does the shell that called it.

use super::processes;
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _};

/// The process that asks, as it is called in its own process namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    process: u32,
    /// The namespace's inode: in another one the same number is another process.
    namespace: u64,
}

/// The fields of a query that say it.
const PROCESS: &str = "process";
const NAMESPACE: &str = "namespace";
/// More ancestors than any process has for whom there is a container.
const MOST_ANCESTORS: usize = 64;

impl Caller {
    /// This process; `None` where it does not see its namespace, and then nobody knows who asked.
    #[must_use]
    pub fn own() -> Option<Self> {
        Some(Self { process: std::process::id(), namespace: namespace()? })
    }

    /// What it writes behind a path's question mark.
    #[must_use]
    pub fn query(self) -> String {
        format!("{PROCESS}={}&{NAMESPACE}={}", self.process, self.namespace)
    }

    /// What `field` finds in a query; `None` where who asked does not say who it is.
    pub fn read<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self { process: field(PROCESS)?.parse().ok()?, namespace: field(NAMESPACE)?.parse().ok()? })
    }

    /// The process and its ancestors, as far as they are seen from here: those in another namespace are not.
    pub(super) fn line(self) -> BTreeSet<u32> {
        if namespace() != Some(self.namespace) {
            return BTreeSet::new();
        }
        let above = std::iter::successors(Some(self.process), |process| processes::parent_of(*process));
        above.take_while(|process| *process > 1).take(MOST_ANCESTORS).collect()
    }
}

fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_and_known_with_its_ancestors() {
        let own = Caller::own().unwrap();
        let query = own.query();
        let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        assert_eq!(Caller::read(field), Some(own));
        assert_eq!(Caller::read(|name| field(name).filter(|_| name == PROCESS)), None);
        let line = own.line();
        assert!(line.contains(&own.process) && line.contains(&std::os::unix::process::parent_id()), "{line:?}");
        assert!(!line.contains(&1), "pause, or what stands for it: {line:?}");
        let elsewhere = Caller { namespace: own.namespace + 1, ..own };
        assert_eq!(elsewhere.line(), BTreeSet::new());
    }
}
