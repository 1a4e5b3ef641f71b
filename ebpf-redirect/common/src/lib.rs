//! The layouts that the kernel's programs and the loader both know: keys, values of maps, counters, events.
//!
//! Everything is `#[repr(C)]` without hidden padding, since maps compare and copy bytes. Whoever changes a layout
//! changes [`LAYOUT`]: pins of another layout are refused, never read.

#![no_std]
#![deny(unsafe_code)]

pub mod claim;
mod counter;
mod event;
mod filter;
mod key;
pub mod packet;
#[cfg(feature = "user")]
mod user;

pub use counter::{COUNTERS, Counter};
pub use event::{Closed, Event};
pub use filter::{
    FILTER_LAYOUT, FilterControl, Frames, MOST_PORTS, MOST_PREFIXES, MOST_RULES, MOST_SLOTS, action, slot,
};
pub use key::{Address, CLIENT, Endpoint, PairKey, SERVER};
#[cfg(feature = "user")]
pub use user::Counts;

/// The version of everything in this crate. Stands in the name of the pins' directory and in [`Control`].
pub const LAYOUT: u32 = 7;

/// Network namespaces that can be claimed at a time: pods of a node with a proxy.
pub const MOST_NAMESPACES: usize = 1024;

/// Listeners of one claim and family that are known: the newest first, and where that has closed the one before it.
pub const MOST_TURNS: usize = 16;

/// Whose counters are in an entry of the map `COUNTS`.
pub mod counts {
    /// Of connections that somebody uses.
    pub const TRAFFIC: u32 = 0;
    /// Of the self-test's own.
    pub const SELF_TEST: u32 = 1;
}

/// Connections that the socket map can hold, each with two ends.
pub const MOST_SOCKETS: usize = 65_536;

/// Hints and original destinations kept: each is wanted for moments only, so the oldest give way.
pub const MOST_HINTS: usize = 16_384;

/// Ports, excluded ports and identities that can be named.
pub const MOST_NAMED: usize = 256;

/// What the programs do, read by each of them: entry 0 of the map `CONTROL`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Control {
    /// [`LAYOUT`] of who wrote it. Programs of another layout do nothing.
    pub layout: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// Bytes that may wait unread in a receiver before its sender is sent through TCP, which makes it wait.
    pub budget: u32,
    /// A message of so many bytes or more goes through TCP.
    pub large: u32,
    /// 1: connections report when they end.
    pub events: u32,
    /// The port that outbound connections are taken to; 0: they are not.
    pub capture: u32,
    /// 1: in network namespaces alone that a proxy has claimed; 0: beneath the whole cgroup.
    pub claimed_only: u32,
}

/// Values of [`Control::mode`].
pub mod mode {
    /// Nothing is enrolled, nothing redirected: the kill switch. What is captured goes on being captured: the proxy may be
    /// there to refuse it.
    pub const OFF: u32 = 0;
    /// Connections to and from the proxy's ports are enrolled and redirected.
    pub const ON: u32 = 1;
    /// As `OFF` until everything is attached, then `ON`: unless somebody has pulled the switch meanwhile.
    pub const ATTACHING: u32 = 2;
}

/// Values of the map `PORTS`.
pub mod port {
    /// A port that the proxy listens on.
    pub const LISTENER: u32 = 1;
    /// The self-test's, in its own network namespace: enrolled and redirected whatever the mode.
    pub const SELF_TEST: u32 = 2;
    /// Nobody listens on it: whoever connects to it on loopback, the proxy included, is captured where anything is. So the
    /// proxy proves that it captures.
    pub const PROBE: u32 = 3;
}

/// Who the proxy is, a key of the map `PROXIES`: connections that it opens are its upstream leg, and never captured.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Identity {
    /// One of [`identity`].
    pub kind: u32,
    /// Zero: there is no padding to forget.
    pub zero: u32,
    /// The number.
    pub number: u64,
}

/// Values of [`Identity::kind`].
pub mod identity {
    /// A process, by its number in the initial process namespace.
    pub const PROCESS: u32 = 1;
    /// A user, by its number in the initial user namespace.
    pub const USER: u32 = 2;
    /// A cgroup (version 2), by its number: the inode of its directory.
    pub const CGROUP: u32 = 3;
    /// No proxy: the network namespace, by its cookie, in which the self-test runs.
    pub const TESTER: u32 = 4;
}

/// What is known of a socket: its storage, freed with it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// The key of the other end.
    pub peer: PairKey,
    /// The kernel's address of this end; only read through.
    pub own: u64,
    /// The other end's; 0 until it is known.
    pub other: u64,
    /// When connect(2) was called, or the handshake was done.
    pub begun: u64,
    /// From connect(2) to established, in nanoseconds; 0 where this end did not connect.
    pub connecting: u64,
    /// Bytes redirected from this end.
    pub redirected_bytes: u64,
    /// Messages redirected from this end.
    pub redirected_messages: u64,
    /// Bytes from this end that went through TCP.
    pub passed_bytes: u64,
    /// Messages from this end that went through TCP.
    pub passed_messages: u64,
    /// Where the application wanted to go, if it was captured.
    pub original: Address,
    /// That port.
    pub original_port: u32,
    /// Bits of [`flow`].
    pub flags: u32,
}

/// Bits of [`Flow::flags`].
pub mod flow {
    /// The proxy opened it.
    pub const PROXY: u32 = 1;
    /// It was taken to the proxy by the connect hook.
    pub const CAPTURED: u32 = 2;
    /// In the socket map.
    pub const ENROLLED: u32 = 4;
    /// The self-test's.
    pub const SELF_TEST: u32 = 8;
    /// Its connection came by a port that the proxy listens on.
    pub const DOWNSTREAM: u32 = 16;
    /// The proxy's own end of one that was taken to it by the connect hook: it knows where its client wanted to go.
    pub const TAKEN: u32 = 32;
    /// A proxy's socket that is to be given what comes over IPv4 as soon as it listens.
    pub const CLAIMS_V4: u32 = 64;
    /// The same for IPv6.
    pub const CLAIMS_V6: u32 = 128;
}

/// A pair in the making: where the kernel keeps the two ends. The value of the map `PAIRS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pair {
    /// The client's end; 0: not enrolled.
    pub client: u64,
    /// The server's end; 0: not enrolled yet.
    pub server: u64,
    /// [`flow::SELF_TEST`] and [`flow::DOWNSTREAM`], or nothing.
    pub flags: u64,
}

/// Where a captured connection wanted to go, until the proxy's end of it is established and keeps it. The value of the map `ORIGINALS`, whose key is the client's [`Endpoint`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Original {
    /// The address.
    pub address: Address,
    /// The port, in the host's order.
    pub port: u32,
    /// 4 or 6: the family of the client's socket.
    pub family: u32,
}

/// An excluded prefix: a key of the trie `EXCLUDED`, over addresses in their v6 form.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Excluded {
    /// Bits that count, 96 more than written for IPv4.
    pub bits: u32,
    /// The address.
    pub address: Address,
}

/// What a proxy has claimed for a network namespace: a value of the map `CLAIMS`, whose key is the namespace's cookie.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The inode of the namespace's file, by which an agent finds it. Another one may have it once this one has gone.
    pub inode: u32,
    /// Listeners that there were: the next one's [`Listener::turn`], but for the remainder.
    pub turn: u32,
    /// What was said of it last.
    pub claim: claim::Claim,
}

/// A key of the map `LISTENERS`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The cookie of its network namespace.
    pub netns: u64,
    /// 4 or 6.
    pub family: u32,
    /// Below [`MOST_TURNS`]: who comes later has the next one, after the last the first.
    pub turn: u32,
}
