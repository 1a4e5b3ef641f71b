//! What the programs tell of a connection when it ends: an entry of the ring buffer.

use crate::key::{Address, Endpoint};

/// How an end of a connection went.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Closed {
    /// It said goodbye and so did the other end.
    InOrder = 0,
    /// From ESTABLISHED to CLOSE at once: reset, timed out or aborted.
    Aborted = 1,
    /// In the midst of saying goodbye.
    HalfClosed = 2,
}

/// An enrolled end has closed.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event {
    /// Nanoseconds from connect(2) to established, of connections that are captured or the proxy's own; of other clients the round
    /// trip of their SYN, in whole microseconds. 0 at the server's end.
    pub connecting: u64,
    /// Nanoseconds it lived.
    pub lived: u64,
    /// Bytes redirected from it.
    pub redirected_bytes: u64,
    /// Bytes from it through TCP.
    pub passed_bytes: u64,
    /// The cgroup (version 2) that the socket was made in; 0 where the kernel does not say.
    pub cgroup: u64,
    /// The client of the connection.
    pub client: Endpoint,
    /// The other address that this end sees.
    pub remote: Address,
    /// Its port.
    pub remote_port: u32,
    /// Smoothed round trip of TCP, microseconds.
    pub srtt: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// One of [`Closed`].
    pub closed: u32,
    /// [`crate::CLIENT`] or [`crate::SERVER`].
    pub end: u32,
    /// Zero: there is no padding to forget.
    pub zero: u32,
}
