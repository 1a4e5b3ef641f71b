//! The PROXY protocol's header, read from the first bytes of a connection. Pure.
//!
//! HAProxy's "The PROXY protocol, versions 1 & 2" (doc/proxy-protocol.txt, 2020/03/05). What the text leaves to the receiver is decided
//! strictly here: a header that could be read in two ways is a fault, and a decision on a prefix stands for every longer
//! one. The libraries there are (`ppp`, `proxy-header`) bear lengths that spill over the header, take the first of two
//! contradicting fields, and leave the checksum to their caller.

use super::{v1, v2};
use std::net::SocketAddr;

/// Bytes of a version 1 header at most, line end included (§2.1).
pub const V1_MAX: usize = 107;
/// Bytes before version 2's addresses (§2.2).
pub const V2_HEAD: usize = 16;

/// What version 1 begins with.
pub(super) const V1_START: &[u8] = b"PROXY ";
/// What version 2 begins with.
pub(super) const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a prefix of a connection says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a header, perhaps.
    More,
    /// Something else.
    Absent,
    /// A header, and how many bytes it takes.
    Whole(Header, usize),
    /// A header that breaks a rule.
    Bad(Fault),
}

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Who speaks with whom; `None`: the sender speaks for itself (LOCAL), or does not say (UNKNOWN, UNSPEC, Unix sockets).
    pub ends: Option<Ends>,
    /// The server name that the client asked the sender for; in lower case.
    pub authority: Option<Box<str>>,
    /// The application protocol that the client and the sender agreed upon.
    pub alpn: Option<Box<[u8]>>,
    /// What the sender says of the client's TLS, as it came, at most 256 bytes (§2.2.6).
    pub tls: Option<Box<[u8]>>,
    /// The sender's name for the connection, at most 128 bytes.
    pub unique_id: Option<Box<[u8]>>,
}

/// The two ends of a connection as the sender saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// What the client reached.
    pub destination: SocketAddr,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Version 1 without a line end within its bound.
    #[error("the line is longer than 107 bytes")]
    LineTooLong,
    /// Version 1 with words that are none of the protocol's.
    #[error("the line is malformed")]
    Line,
    /// An address that is none, or not of its family.
    #[error("an address is malformed")]
    Address,
    /// Version 2's version or command is unknown.
    #[error("the version or command is unknown")]
    Command,
    /// Version 2's family or transport is unknown, or cannot be that of a stream.
    #[error("the address family or transport is not one of a stream")]
    Family,
    /// Longer than is borne.
    #[error("the header is longer than allowed")]
    TooLarge,
    /// Too short for its addresses.
    #[error("the header ends within its addresses")]
    Short,
    /// A field (TLV) that does not end within the header, twice the same, or without its form.
    #[error("a field (TLV) is malformed")]
    Field,
    /// The checksum is another.
    #[error("the checksum does not fit")]
    Checksum,
}

impl Fault {
    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LineTooLong => "line_too_long",
            Self::Line => "bad_line",
            Self::Address => "bad_address",
            Self::Command => "bad_command",
            Self::Family => "bad_family",
            Self::TooLarge => "too_large",
            Self::Short => "too_short",
            Self::Field => "bad_field",
            Self::Checksum => "bad_checksum",
        }
    }
}

/// Reads `prefix`, the first bytes of a connection. A version 2 header may have `most` bytes behind its fixed head.
#[must_use]
pub fn read(prefix: &[u8], most: usize) -> Read {
    if prefix.starts_with(V2_START) {
        v2::read(prefix, most)
    } else if prefix.starts_with(V1_START) {
        v1::read(prefix)
    } else if V1_START.starts_with(prefix) || V2_START.starts_with(prefix) {
        Read::More
    } else {
        Read::Absent
    }
}
