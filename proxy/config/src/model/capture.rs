//! Capture: connections that were on their way elsewhere, and where they were going.

use super::{Cidr, WeightedCluster};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Which way a listener's connections go, seen from the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

/// How a listener's connections came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Their clients connected to it.
    Off,
    /// The kernel rewrote their destination (nftables `redirect`, iptables `REDIRECT`) and remembers it.
    Redirect,
    /// The kernel gave them to this socket as they are (`tproxy`): their local address is their destination.
    Tproxy,
    /// A program of the node's agent gives them to this socket as they are: their local address is their destination.
    Agent,
}

/// Ports that may be left out of what a listener with [`Capture::Agent`] gets: as many as a claim takes.
pub const MOST_EXCLUDED: usize = 64;

/// What holds for all that is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Whether the proxy is ready only once a connection of its own was captured.
    pub prove: Prove,
    /// The port on loopback whose rule captures the proxy's own connections too.
    pub probe_port: u16,
    /// The port on loopback at which a listener with [`Capture::Agent`] gets the proxy's own connections too.
    pub inbound_probe_port: u16,
    /// Ports that such a listener does not get, beside the proxy's own; each once, in order.
    pub exclude_inbound_ports: Vec<u16>,
    /// `SO_MARK` of upstream connections; `None`: none.
    pub mark: Option<u32>,
}

/// Whether readiness waits for the proof that connections are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prove {
    /// It does, where an outbound listener captures by redirection or the agent captures what comes in.
    Required,
    /// It does not, and nothing is tried.
    Off,
}

/// A cluster whose endpoint is where each captured connection was going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalDestination {
    /// Which address of it.
    pub address: OriginalAddress,
    /// What the server sees as its client.
    pub source: Source,
}

/// Which address a captured connection is passed on to; the port is the original one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalAddress {
    /// The original one.
    Original,
    /// 127.0.0.1 or `::1`, by the original one's family.
    Loopback,
}

impl OriginalAddress {
    /// Where a connection that was going to `destination` is passed on to.
    #[must_use]
    pub fn of(self, destination: SocketAddr) -> SocketAddr {
        match (self, destination.ip()) {
            (Self::Original, _) => destination,
            (Self::Loopback, IpAddr::V4(_)) => (Ipv4Addr::LOCALHOST, destination.port()).into(),
            (Self::Loopback, IpAddr::V6(_)) => (Ipv6Addr::LOCALHOST, destination.port()).into(),
        }
    }
}

/// Whose address a connection to a server comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy's.
    Proxy,
    /// The client's, by `IP_TRANSPARENT`; the port is the kernel's choice.
    Client,
}

/// Opaque connections by where they were going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRoute {
    /// Any of these.
    pub destinations: Vec<Destination>,
    /// The clusters that share the connections.
    pub clusters: Vec<WeightedCluster>,
}

/// A network, a port, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Addresses; `None`: any.
    pub network: Option<Cidr>,
    /// The port; `None`: any.
    pub port: Option<u16>,
}

impl Destination {
    /// Whether a connection to `address` is meant. An IPv4 address mapped into IPv6 is IPv4.
    #[must_use]
    pub fn holds(&self, address: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == address.port())
            && self.network.is_none_or(|network| network.contains(address.ip()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network, self.port) {
            (Some(Cidr { address: address @ IpAddr::V6(_), prefix }), Some(port)) => {
                write!(f, "[{address}/{prefix}]:{port}")
            }
            (Some(Cidr { address, prefix }), Some(port)) => write!(f, "{address}/{prefix}:{port}"),
            (Some(Cidr { address, prefix }), None) => write!(f, "{address}/{prefix}"),
            (None, Some(port)) => write!(f, ":{port}"),
            (None, None) => f.write_str("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let network = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
        for (network, inside, outside) in [
            (network("10.0.0.0", 8), "10.255.0.1", "11.0.0.0"),
            (network("10.0.0.7", 32), "::ffff:10.0.0.7", "10.0.0.6"),
            (network("0.0.0.0", 0), "255.255.255.255", "::1"),
            (network("2001:db8::", 32), "2001:db8:ffff::1", "2001:db9::"),
            (network("::1", 128), "::1", "::2"),
            (network("::", 0), "fe80::1", "10.0.0.1"),
        ] {
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
    }
}
