//! Loopback traffic past the kernel's TCP path.

use super::{Cidr, Name};
use std::path::PathBuf;

/// What the redirect shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopbackRedirect {
    /// An agent attaches the programs, and not this process.
    pub by_agent: bool,
    /// The name of its pins.
    pub instance: Name,
    /// The cgroup of application and proxy; `None`: the proxy's own.
    pub cgroup: Option<PathBuf>,
    /// Bytes from which on a message stays on TCP.
    pub large_messages: u32,
    /// Ends of connections that its map has room for.
    pub sockets: u32,
    /// Names of properties that may fail.
    pub waived: Vec<&'static str>,
    /// Outbound connections to take to a listener.
    pub outbound: Option<RedirectOutbound>,
}

/// Outbound connections, taken to a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectOutbound {
    /// The listener's port.
    pub port: u16,
    /// Destinations left alone.
    pub exclude: Vec<Cidr>,
    /// Destination ports left alone.
    pub exclude_ports: Vec<u16>,
}
