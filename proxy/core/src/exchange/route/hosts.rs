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
    /// Whether a suffix begins within a label.
    within_labels: bool,
    longest_prefix: usize,
    /// The groups of prefixes.
    prefixes: Vec<GroupId>,
}

struct Named {
    pattern: HostPattern,
    group: GroupId,
}

const EXACT: u8 = 0;
const SUFFIX: u8 = 1;
const PREFIX: u8 = 2;

impl Hosts {
    /// Groups for these patterns and the one for any host.
    pub(crate) fn new<'a>(patterns: impl Iterator<Item = &'a HostPattern>) -> Self {
        let mut hosts = Self {
            patterns: Index::new(),
            parents: vec![None],
            longest_exact: 0,
            longest_suffix: 0,
            within_labels: false,
            longest_prefix: 0,
            prefixes: Vec::new(),
        };
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
                    HostPattern::Suffix(suffix) => {
                        hosts.within_labels |= !suffix.starts_with('.');
                        &mut hosts.longest_suffix
                    }
                    HostPattern::Prefix(_) => {
                        hosts.prefixes.push(fresh);
                        &mut hosts.longest_prefix
                    }
                };
                *longest = (*longest).max(key(pattern).len());
                named.push(pattern);
            }
        }
        for (at, pattern) in named.into_iter().enumerate() {
            let parent = match pattern {
                HostPattern::Exact(_) | HostPattern::Suffix(_) => hosts.suffix_of(key(pattern)),
                HostPattern::Prefix(prefix) => hosts.prefix_of(prefix),
            };
            hosts.parents[at + 1] = Some(parent);
        }
        hosts.patterns.shrink();
        hosts.parents.shrink_to_fit();
        hosts.prefixes.shrink_to_fit();
        hosts
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.parents.len()
    }

    /// The next less specific group for a host that is in this one, too.
    pub(super) fn next(&self, group: GroupId, host: &str) -> Option<GroupId> {
        let next = self.parents[group.0 as usize];
        // Which prefix a host has, no name or suffix of it tells.
        if self.longest_prefix > 0 && next == Some(ANY) && !self.prefixes.contains(&group) {
            return Some(self.prefix_of(bare(host)));
        }
        next
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
        match self.suffix_of(host) {
            ANY if self.longest_prefix > 0 => self.prefix_of(host),
            found => found,
        }
    }

    /// The group of the longest suffix that covers more than the suffix itself, or the one for any host.
    fn suffix_of(&self, host: &str) -> GroupId {
        let mut best = ANY;
        let mut hash = Rolling::new(0);
        for (taken, byte) in folded_from_the_right(host).enumerate().take(self.longest_suffix) {
            hash.push(byte);
            let at = host.len() - taken - 1;
            if !(byte == b'.' || self.within_labels) || at == 0 {
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

    /// The group of the longest prefix that covers more than the prefix itself, or the one for any host.
    #[cold]
    fn prefix_of(&self, host: &str) -> GroupId {
        let mut best = ANY;
        let mut hash = Rolling::new(0);
        for (at, byte) in host.bytes().enumerate().take(self.longest_prefix.min(host.len().saturating_sub(1))) {
            hash.push(byte.to_ascii_lowercase());
            let prefix = &host.as_bytes()[..=at];
            let held = self.patterns.get(hash.value(PREFIX), |held| {
                matches!(&held.pattern, HostPattern::Prefix(name) if name.as_bytes().eq_ignore_ascii_case(prefix))
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
        // More than one colon without brackets is an address, not a name with a port; and what a filter put behind one may be none.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
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
        HostPattern::Suffix(part) | HostPattern::Prefix(part) => part,
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
        HostPattern::Prefix(prefix) => {
            let mut hash = Rolling::new(0);
            prefix.bytes().for_each(|byte| hash.push(byte.to_ascii_lowercase()));
            hash.value(PREFIX)
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
            ("localhost:18000-canary", "localhost:18000-canary"),
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
            while let Some(parent) = hosts.next(groups[groups.len() - 1], host) {
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

    /// As Envoy's domains: a whole name, then the longest suffix, then the longest prefix, each with something for the star.
    #[test]
    fn stars_stand_at_either_end_and_within_labels() {
        let patterns = [
            HostPattern::Suffix("-canary".into()),
            HostPattern::Suffix(".example.com".into()),
            HostPattern::Suffix("-b.example.com".into()),
            HostPattern::Prefix("api.".into()),
            HostPattern::Prefix("api.example".into()),
            HostPattern::Exact("api.example.com".into()),
            HostPattern::Prefix("a".into()),
        ];
        let hosts = Hosts::new(patterns.iter());
        let chain = |host: &str| {
            let mut groups = vec![hosts.find(host)];
            while let Some(next) = hosts.next(groups[groups.len() - 1], host) {
                groups.push(next);
            }
            groups.into_iter().map(|group| group.0).collect::<Vec<_>>()
        };
        for (host, expected) in [
            ("localhost:18000-Canary", vec![1, 0]),
            ("localhost-canary:80", vec![1, 0]),
            ("-canary", vec![0]),
            ("A-B.example.com", vec![3, 2, 7, 0]),
            ("x.example.com", vec![2, 0]),
            ("api.example.com", vec![6, 2, 5, 4, 7, 0]),
            ("API.example.org", vec![5, 4, 7, 0]),
            ("api.", vec![7, 0]),
            ("api.x-canary", vec![1, 4, 7, 0]),
            ("a", vec![0]),
            ("", vec![0]),
        ] {
            assert_eq!(chain(host), expected, "{host}");
        }
    }
}
