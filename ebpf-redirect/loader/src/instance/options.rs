//! options: what an instance is to do.

use crate::{object::Object, self_test::Property};
use redirect_common::MOST_SOCKETS;
use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

/// Unread bytes at a receiver beyond which its sender goes through TCP: a small message's queue, not a bulk stream's.
pub const BUDGET: u32 = 256 * 1024;

/// Messages of so many bytes go through TCP unless said otherwise: pieces of larger ones look like this, and at 1 MiB
/// redirecting may lose (ebpf-redirect/README.md).
pub const LARGE: u32 = 64 * 1024;

/// Ends of connections that are past TCP at a time, unless said otherwise: those of some thirty thousand connections.
#[expect(clippy::cast_possible_truncation, reason = "it is 65,536")]
pub const SOCKETS: u32 = MOST_SOCKETS as u32;

/// Who the proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// A process, by its number as the initial process namespace has it.
    Process(u32),
    /// A user, by number.
    User(u32),
    /// Whatever runs in a cgroup itself, not below it.
    Cgroup(PathBuf),
}

/// Which outbound connections are taken to the proxy: of everybody in the cgroup, or with [`Options::inbound`] of those in network namespaces
/// alone that a proxy has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The proxy's port for them, on loopback.
    pub port: u16,
    /// Destinations left alone. Loopback always is.
    pub exclude: Vec<(IpAddr, u8)>,
    /// Destination ports left alone.
    pub exclude_ports: BTreeSet<u16>,
    /// The port on loopback that even the proxy's own connections are taken from: it proves by one that it captures.
    pub probe: Option<u16>,
}

/// What an instance is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name.
    pub instance: String,
    /// The cgroup (version 2) whose connections may be redirected, with all below it.
    pub cgroup: PathBuf,
    /// The ports that the proxy listens on.
    pub ports: BTreeSet<u16>,
    /// Who opens the proxy's upstream connections.
    pub proxies: Vec<Proxy>,
    /// Outbound connections to take to the proxy.
    pub capture: Option<Capture>,
    /// Whether proxies may claim what comes into their network namespaces. [`crate::inbound::Namespaces`] gives it to them.
    pub inbound: bool,
    /// See [`BUDGET`].
    pub budget: u32,
    /// See [`LARGE`].
    pub large: u32,
    /// See [`SOCKETS`]. Of an instance that is there its map decides, which lives on: [`Attached::room`](super::Attached::room).
    pub sockets: u32,
    /// Whether ends of connections are reported.
    pub events: bool,
    /// Properties that may fail: nothing on this node needs them.
    pub waived: Vec<Property>,
    /// The programs.
    pub object: Object,
}

impl Options {
    /// With every default.
    #[must_use]
    pub fn new(instance: impl Into<String>, cgroup: impl Into<PathBuf>) -> Self {
        Self {
            instance: instance.into(),
            cgroup: cgroup.into(),
            ports: BTreeSet::new(),
            proxies: Vec::new(),
            capture: None,
            inbound: false,
            budget: BUDGET,
            large: LARGE,
            sockets: SOCKETS,
            events: true,
            waived: Vec::new(),
            object: Object::default(),
        }
    }
}
