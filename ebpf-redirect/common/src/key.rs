//! Keys of connections: unique among all connections that live, and found alike from both ends.
//!
//! A tuple of addresses is no key: two pods have the same tuples on 127.0.0.1, and a REDIRECT rule makes the two ends of one
//! connection disagree on the server's address. So a key names the network namespace by its cookie, the client by
//! its own address and port (which no rule on the way to a local proxy changes), and the connection by its two initial sequence
//! numbers, which both ends read off their sockets at ESTABLISHED. The kernel draws these per tuple with a secret; two
//! connections of one client port that live at once to different servers differ in them.

/// An address as 16 bytes in network order, read as four words; IPv4 in its v6 form (RFC 4291 §2.5.5.2).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// From the word of an IPv4 address, in network order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, 0xffff_u32.to_be(), word])
    }

    /// From the words of an IPv6 address, in network order. A mapped one is its IPv4 address already.
    #[inline(always)]
    #[must_use]
    pub const fn v6(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The word of an IPv4 address, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(&self) -> Option<u32> {
        let [first, second, third, last] = self.0;
        if first == 0 && second == 0 && third == 0xffff_u32.to_be() { Some(last) } else { None }
    }

    /// 127.0.0.0/8 or ::1.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        match self.as_v4() {
            Some(word) => u32::from_be(word) >> 24 == 127,
            None => {
                let [first, second, third, last] = self.0;
                first == 0 && second == 0 && third == 0 && last == 1_u32.to_be()
            }
        }
    }
}

/// One end of a connection within its network namespace.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Endpoint {
    /// The namespace's cookie (Linux 5.14): never used twice between two boots.
    pub netns: u64,
    /// The address.
    pub address: Address,
    /// The port, in the host's order.
    pub port: u32,
    /// Zero: there is no padding to forget.
    pub zero: u32,
}

/// The end that called connect(2).
pub const CLIENT: u32 = 0;
/// The end that accept(2) gave.
pub const SERVER: u32 = 1;

/// One end of one connection: the key of the socket map. With [`CLIENT`] as its end, the key of the map of pairs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PairKey {
    /// The namespace's cookie.
    pub netns: u64,
    /// The client's own address.
    pub address: Address,
    /// The client's own port, in the host's order.
    pub port: u32,
    /// The client's initial sequence number.
    pub client: u32,
    /// The server's initial sequence number.
    pub server: u32,
    /// [`CLIENT`] or [`SERVER`].
    pub end: u32,
}

impl PairKey {
    /// Of the client's own end, as its socket sees it once established: `sent` and `received` are the next sequence
    /// numbers either way.
    #[inline(always)]
    #[must_use]
    pub const fn of_client(local: &Endpoint, sent: u32, received: u32) -> Self {
        Self {
            netns: local.netns,
            address: local.address,
            port: local.port,
            client: sent,
            server: received,
            end: CLIENT,
        }
    }

    /// Of the server's own end, likewise; `remote` is the client.
    #[inline(always)]
    #[must_use]
    pub const fn of_server(remote: &Endpoint, sent: u32, received: u32) -> Self {
        Self {
            netns: remote.netns,
            address: remote.address,
            port: remote.port,
            client: received,
            server: sent,
            end: SERVER,
        }
    }

    /// The other end's.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        Self { end: self.end ^ 1, ..self }
    }

    /// That of the pair, the same from both ends.
    #[inline(always)]
    #[must_use]
    pub const fn pair(self) -> Self {
        Self { end: CLIENT, ..self }
    }
}
