//! The sets that conditions look things up in: sorted, so that a long list costs little more than a short one. Pure.

use crate::exchange::route::{ANY, Hosts};
use pillion_config::model::{Cidr, HostPattern, SpiffeId, SpiffeMatch};
use std::{fmt, net::IpAddr};

/// Addresses, as ranges that neither touch nor overlap, ascending.
#[derive(Debug)]
pub(super) struct Networks {
    v4: Box<[Range]>,
    v6: Box<[Range]>,
}

/// The first address and the last.
pub(super) type Range = (u128, u128);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// SPIFFE IDs.
#[derive(Debug)]
pub(super) struct Peers {
    exact: Box<[Box<str>]>,
    below: Box<[Box<str>]>,
    domains: Box<[Box<str>]>,
}

/// Ports, ascending.
#[derive(Debug)]
pub(super) struct Ports(Box<[u16]>);

/// Server names.
pub(super) struct Names(Hosts);

impl Networks {
    pub(super) fn new(networks: &[Cidr]) -> Self {
        let (v4, v6) = networks.iter().map(range).partition(|(family, _)| *family == Family::V4);
        Self { v4: merged(v4), v6: merged(v6) }
    }

    pub(super) fn have(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => within(&self.v4, v4.to_bits().into()),
            IpAddr::V6(v6) => within(&self.v6, v6.to_bits()),
        }
    }
}

fn within(ranges: &[Range], bits: u128) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= bits);
    behind.checked_sub(1).is_some_and(|at| bits <= ranges[at].1)
}

fn merged(ranges: Vec<(Family, Range)>) -> Box<[Range]> {
    let mut ranges: Vec<Range> = ranges.into_iter().map(|(_, range)| range).collect();
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged.into()
}

/// A network written as v4-mapped is the IPv4 network it stands for; one of IPv6 that covers those means IPv6 alone.
pub(super) fn range(Cidr { address, prefix }: &Cidr) -> (Family, Range) {
    let prefix = u32::from(*prefix);
    let (family, first, bits) = match (address.to_canonical(), address.is_ipv4()) {
        (IpAddr::V4(v4), true) => (Family::V4, u128::from(v4.to_bits()), 32 - prefix.min(32)),
        (IpAddr::V4(v4), false) => (Family::V4, u128::from(v4.to_bits()), 128 - prefix.clamp(96, 128)),
        (IpAddr::V6(v6), _) => (Family::V6, v6.to_bits(), 128 - prefix.min(128)),
    };
    let rest = 1u128.checked_shl(bits).map_or(u128::MAX, |size| size - 1);
    (family, (first & !rest, first | rest))
}

impl Peers {
    pub(super) fn new(peers: &[SpiffeMatch]) -> Self {
        let (mut exact, mut below, mut domains) = (Vec::new(), Vec::new(), Vec::new());
        for peer in peers {
            match peer {
                SpiffeMatch::Exact(id) => exact.push(id.as_str().into()),
                SpiffeMatch::Below(id) => below.push(id.as_str().into()),
                SpiffeMatch::Domain(domain) => domains.push(domain.as_str().into()),
            }
        }
        let sorted = |mut list: Vec<Box<str>>| {
            list.sort_unstable();
            list.into_boxed_slice()
        };
        Self { exact: sorted(exact), below: sorted(below), domains: sorted(domains) }
    }

    pub(super) fn have(&self, id: &SpiffeId) -> bool {
        let among = |list: &[Box<str>], text: &str| list.binary_search_by(|known| (**known).cmp(text)).is_ok();
        let text = id.as_str();
        let parents = || text.match_indices('/').map(|(at, _)| &text[..at]);
        among(&self.exact, text)
            || among(&self.domains, id.domain().as_str())
            || (!self.below.is_empty() && parents().any(|parent| among(&self.below, parent)))
    }
}

impl Ports {
    pub(super) fn new(ports: &[u16]) -> Self {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        Self(ports.into())
    }

    pub(super) fn has(&self, port: u16) -> bool {
        self.0.binary_search(&port).is_ok()
    }
}

impl Names {
    pub(super) fn new(names: &[HostPattern]) -> Self {
        Self(Hosts::new(names.iter()))
    }

    pub(super) fn have(&self, name: &str) -> bool {
        self.0.find(name) != ANY
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("patterns", &(self.0.groups() - 1)).finish()
    }
}
