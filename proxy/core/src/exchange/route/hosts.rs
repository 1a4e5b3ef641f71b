//! From a request's host to the group of routes that is most specific for it.

use super::index::{Index, Rolling};
use pillion_config::model::HostPattern;

/// A group of routes that share a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GroupId(pub(crate) u32);

/// The group of the routes for any host; always there, and every chain of parents ends in it.
pub(crate) const ANY: GroupId = GroupId(0);

/// The groups of all hosts.
pub(crate) struct Hosts {
    patterns: Index<Named>,
    /// For each group the next less specific one that covers all of its hosts.
    parents: Vec<Option<GroupId>>,
    longest_exact: usize,
    longest_suffix: usize,
}

struct Named {
    pattern: HostPattern,
    group: GroupId,
}

const EXACT: u8 = 0;
const SUFFIX: u8 = 1;

impl Hosts {
    /// Groups for these patterns and the one for any host.
    pub(crate) fn new<'a>(patterns: impl Iterator<Item = &'a HostPattern>) -> Self {
        let mut hosts = Self { patterns: Index::new(), parents: vec![None], longest_exact: 0, longest_suffix: 0 };
        let mut named = Vec::new();
        for pattern in patterns {
            let fresh = GroupId(hosts.parents.len() as u32);
            let entry = hosts.patterns.get_or_insert(
                hash(pattern),
                |held| held.pattern == *pattern,
                || Named { pattern: pattern.clone(), group: fresh },
            );
            if entry.group == fresh {
                hosts.parents.push(Some(ANY));
                let longest = match pattern {
                    HostPattern::Exact(_) => &mut hosts.longest_exact,
                    HostPattern::Suffix(_) => &mut hosts.longest_suffix,
                };
                *longest = (*longest).max(key(pattern).len());
                named.push(pattern);
            }
        }
        for (at, pattern) in named.into_iter().enumerate() {
            hosts.parents[at + 1] = Some(hosts.suffix_of(key(pattern)));
        }
        hosts.patterns.shrink();
        hosts.parents.shrink_to_fit();
        hosts
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.parents.len()
    }

    /// The next less specific group for the same host.
    pub(super) fn parent(&self, group: GroupId) -> Option<GroupId> {
        self.parents[group.0 as usize]
    }

    /// The group made for a pattern.
    pub(crate) fn group(&self, pattern: &HostPattern) -> Option<GroupId> {
        self.patterns.get(hash(pattern), |held| held.pattern == *pattern).map(|held| held.group)
    }

    /// The most specific group for a request's host, given as the client wrote it.
    pub(crate) fn find(&self, host: &str) -> GroupId {
        let host = bare(host);
        if host.len() <= self.longest_exact {
            let exact = self.patterns.get(exact_hash(host), |held| {
                matches!(&held.pattern, HostPattern::Exact(name) if unbracketed(name).eq_ignore_ascii_case(host))
            });
            if let Some(held) = exact {
                return held.group;
            }
        }
        self.suffix_of(host)
    }

    /// The group of the longest `*.suffix` that covers more than the suffix itself, or the one for any host.
    fn suffix_of(&self, host: &str) -> GroupId {
        let mut best = ANY;
        let mut hash = Rolling::new(0);
        for (taken, byte) in folded_from_the_right(host).enumerate().take(self.longest_suffix) {
            hash.push(byte);
            let at = host.len() - taken - 1;
            if byte != b'.' || at == 0 {
                continue;
            }
            let suffix = &host.as_bytes()[at..];
            let held = self.patterns.get(hash.value(SUFFIX), |held| {
                matches!(&held.pattern, HostPattern::Suffix(name) if name.as_bytes().eq_ignore_ascii_case(suffix))
            });
            if let Some(held) = held {
                best = held.group;
            }
        }
        best
    }
}

/// A host without port, brackets and the dot that marks it absolute. Text that is no valid host comes out as
/// something that equals no pattern.
fn bare(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(host, |(address, _)| address);
    }
    let name = match host.split_once(':') {
        // More than one colon without brackets is an address, not a name with a port.
        Some((name, port)) if !port.contains(':') => name,
        Some(_) | None => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn key(pattern: &HostPattern) -> &str {
    match pattern {
        HostPattern::Exact(name) => unbracketed(name),
        HostPattern::Suffix(suffix) => suffix,
    }
}

fn hash(pattern: &HostPattern) -> u64 {
    match pattern {
        HostPattern::Exact(_) => exact_hash(key(pattern)),
        HostPattern::Suffix(suffix) => {
            let mut hash = Rolling::new(0);
            folded_from_the_right(suffix).for_each(|byte| hash.push(byte));
            hash.value(SUFFIX)
        }
    }
}

/// The hash of a whole host, the same for all cases of its letters.
fn exact_hash(host: &str) -> u64 {
    let mut hash = Rolling::new(0);
    hash.push_all_folded(host.as_bytes());
    hash.value(EXACT)
}

fn folded_from_the_right(host: &str) -> impl Iterator<Item = u8> {
    host.bytes().rev().map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_bared() {
        for (host, expected) in [
            ("Example.com", "Example.com"),
            ("example.com:80", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("[::1]", "::1"),
            ("[::1]:8080", "::1"),
            ("::1", "::1"),
            ("[::1", "[::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(bare(host), expected, "{host}");
        }
    }

    #[test]
    fn the_most_specific_group_and_its_parents() {
        let patterns = [
            HostPattern::Suffix(".com".into()),
            HostPattern::Suffix(".example.com".into()),
            HostPattern::Exact("api.example.com".into()),
            HostPattern::Exact("example.com".into()),
            HostPattern::Exact("[2001:db8::1]".into()),
            HostPattern::Suffix(".example.com".into()),
        ];
        let hosts = Hosts::new(patterns.iter());
        let chain = |host: &str| {
            let mut groups = vec![hosts.find(host)];
            while let Some(parent) = hosts.parent(groups[groups.len() - 1]) {
                groups.push(parent);
            }
            groups.into_iter().map(|group| group.0).collect::<Vec<_>>()
        };
        assert_eq!(hosts.groups(), 6);
        for (host, expected) in [
            ("API.example.COM:443", vec![3, 2, 1, 0]),
            ("www.example.com", vec![2, 1, 0]),
            ("a.b.Example.com.", vec![2, 1, 0]),
            ("example.com", vec![4, 1, 0]),
            ("badexample.com", vec![1, 0]),
            (".com", vec![0]),
            ("com", vec![0]),
            ("[2001:DB8::1]:80", vec![5, 0]),
            ("2001:db8::1", vec![5, 0]),
            ("", vec![0]),
        ] {
            assert_eq!(chain(host), expected, "{host}");
        }
    }
}
