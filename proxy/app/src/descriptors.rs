//! File descriptors: as many as the process may have, and of those enough for the connections to upstream.
//!
//! A request needs two: its client's connection and one to its server. Were clients allowed to take them all, nothing
//! could be served to any of them. So connections of clients get at most half of what is left beside what the process
//! itself holds; the other half is there for upstream. It never closes or opens anything itself.

use crate::cgroup;
use pillion_config::model::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Standard streams, the runtime's own of the control thread, admin and probe ports with their connections, the log, files
/// that are watched, sockets of name look-ups.
const PROCESS: usize = 32;
/// The runtime's own of a worker.
const WORKER: usize = 4;
/// A worker's socket of a listener, and the connection that waits there for a permit.
const LISTENER: usize = 2;

/// Raises the soft limit to the hard one, as servers do: the soft one is low for the sake of programs that still use
/// `select(2)`. Where the system refuses, the limit stays and [`shortage`] tells what that means.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
}

/// Connections of clients that may be open at once: `limits.connections`, or fewer where the process has too few
/// descriptors for so many.
#[must_use]
pub fn connections(config: &Config) -> usize {
    let own = own(cgroup::workers(config.workers).get(), config.listeners.len());
    config.limits.connections.min(room(soft_limit(), own))
}

/// What to tell an operator whose `limits.connections` cannot be had; `None`: it can.
#[must_use]
pub fn shortage(config: &Config) -> Option<String> {
    let (wanted, had) = (config.limits.connections, connections(config));
    (had < wanted).then(|| {
        let own = own(cgroup::workers(config.workers).get(), config.listeners.len());
        format!(
            "limits.connections: {wanted} connections need {} file descriptors, with as many for upstream, and the process \
             may have {}: at most {had} are accepted at once; raise the hard limit (`ulimit -Hn`, LimitNOFILE= of systemd, \
             --ulimit nofile of a container) or lower limits.connections",
            wanted.saturating_mul(2).saturating_add(own),
            soft_limit().unwrap_or(usize::MAX),
        )
    })
}

/// Descriptors the process may have; `None`: any number.
fn soft_limit() -> Option<usize> {
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Descriptors the process needs for itself.
fn own(workers: usize, listeners: usize) -> usize {
    PROCESS + workers * (WORKER + LISTENER * listeners)
}

/// Connections of clients that so many descriptors have room for. At least one: a proxy that serves nobody is no use.
fn room(limit: Option<usize>, own: usize) -> usize {
    limit.map_or(usize::MAX, |limit| (limit.saturating_sub(own) / 2).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn clients_get_half_of_what_is_left() {
        assert_eq!(own(1, 1), 38);
        assert_eq!(own(4, 10), 128);
        for (limit, own, expected) in
            [(None, 38, usize::MAX), (Some(1024), 38, 493), (Some(64), 38, 13), (Some(16), 38, 1), (Some(38), 38, 1)]
        {
            assert_eq!(room(limit, own), expected, "{limit:?}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_told_with_the_remedy() {
        let mut config = pillion_config::simple("127.0.0.1:0".parse().unwrap(), "127.0.0.1:1").unwrap();
        config.workers = pillion_config::model::Workers::Count(NonZeroUsize::MIN);
        config.limits.connections = 1;
        assert_eq!((connections(&config), shortage(&config)), (1, None));
        let Some(limit) = soft_limit() else { return };
        config.limits.connections = limit;
        assert_eq!(connections(&config), room(Some(limit), 38));
        let words = shortage(&config).expect("half of the descriptors are upstream's");
        assert!(words.contains("limits.connections") && words.contains("LimitNOFILE"), "{words}");
    }
}
