//! What a proxy says of the socket that it is about to listen on: whatever comes into its network namespace is to be given to it.
//!
//! It travels as the value of a socket option that no kernel knows, and that a program on the proxy's cgroup takes.

/// Level of the socket option: no protocol's number.
pub const LEVEL: u32 = 0x5049_4c4c;

/// Its name.
pub const NAME: u32 = 1;

/// The version of [`Claim`], and not [`crate::LAYOUT`]: proxy and agent may be of different releases.
pub const VERSION: u32 = 1;

/// Bit of [`Claim::families`]: the socket takes IPv4.
pub const V4: u32 = 1;

/// The same for IPv6.
pub const V6: u32 = 2;

/// Ports that can be excluded.
pub const MOST_EXCLUDED: usize = 64;

/// The option's value.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// [`VERSION`].
    pub version: u32,
    /// [`V4`] and [`V6`]: said by who sets the option, of the socket that it is set on.
    pub families: u32,
    /// The port that is given to the socket from loopback too, from where nothing else is; 0: none.
    pub probe_port: u16,
    /// Entries of `excluded` that count.
    pub count: u16,
    /// Ports that are left alone, in the host's order.
    pub excluded: [u16; MOST_EXCLUDED],
}

impl Claim {
    /// Of a socket that shall have everything but what comes to these ports. `None`: there are more than [`MOST_EXCLUDED`].
    #[must_use]
    pub fn new(probe_port: u16, excluded: impl IntoIterator<Item = u16>) -> Option<Self> {
        let mut claim = Self { version: VERSION, families: 0, probe_port, count: 0, excluded: [0; MOST_EXCLUDED] };
        for port in excluded {
            *claim.excluded.get_mut(usize::from(claim.count))? = port;
            claim.count += 1;
        }
        Some(claim)
    }
}
