//! Who runs on which core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fmt;

/// A part of a measurement that has a core of its own where there are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The proxy.
    Proxy,
    /// The load generator.
    Generator,
    /// The server behind.
    Origin,
    /// This command: reads figures, sleeps.
    Harness,
}

/// The cores given to each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    proxy: Option<usize>,
    generator: Option<usize>,
    origin: Option<usize>,
}

impl Cores {
    /// Chooses from the cores that may be used. With two, the proxy has one and everything else the other; with one,
    /// nobody is pinned.
    #[must_use]
    pub fn choose(allowed: &[usize]) -> Self {
        match *allowed {
            [] | [_] => Self::UNPINNED,
            [a, b] => Self { proxy: Some(a), generator: Some(b), origin: Some(b) },
            [a, b, c, ..] => Self { proxy: Some(a), generator: Some(b), origin: Some(c) },
        }
    }

    /// The kernel chooses.
    pub const UNPINNED: Self = Self { proxy: None, generator: None, origin: None };

    /// The cores this process may use, in order.
    #[must_use]
    pub fn allowed() -> Vec<usize> {
        sched_getaffinity(None)
            .map_or_else(|_| Vec::new(), |set| (0..CpuSet::MAX_CPU).filter(|&n| set.is_set(n)).collect())
    }

    /// The core of a role.
    #[must_use]
    pub fn of(self, role: Role) -> Option<usize> {
        match role {
            Role::Proxy => self.proxy,
            Role::Generator | Role::Harness => self.generator,
            Role::Origin => self.origin,
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.proxy, self.generator, self.origin) {
            (Some(proxy), Some(generator), Some(origin)) if generator == origin => {
                write!(f, "the proxy has core {proxy}; generator and origin share core {generator}")
            }
            (Some(proxy), Some(generator), Some(origin)) => {
                write!(f, "the proxy has core {proxy}, the generator core {generator}, the origin core {origin}")
            }
            _ => f.write_str("nobody is pinned to a core"),
        }
    }
}

/// Binds the calling thread, and what it will start, to a core.
pub fn pin(core: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
}

#[cfg(test)]
mod tests {
    use super::{Cores, Role};

    #[test]
    fn cores_are_shared_out() {
        let two = Cores::choose(&[0, 1]);
        assert_eq!((two.of(Role::Proxy), two.of(Role::Generator), two.of(Role::Origin)), (Some(0), Some(1), Some(1)));
        assert_eq!(two.to_string(), "the proxy has core 0; generator and origin share core 1");
        let four = Cores::choose(&[2, 4, 6, 8]);
        assert_eq!(
            (four.of(Role::Proxy), four.of(Role::Generator), four.of(Role::Origin)),
            (Some(2), Some(4), Some(6))
        );
        assert_eq!(Cores::choose(&[3]), Cores::UNPINNED);
        assert_eq!(Cores::UNPINNED.of(Role::Proxy), None);
        assert_eq!(Cores::UNPINNED.to_string(), "nobody is pinned to a core");
    }
}
