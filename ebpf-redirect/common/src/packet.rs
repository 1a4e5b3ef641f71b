//! What a frame says of where it comes from and where it goes: read by the source filter (XDP) in the kernel, and by tests.
//!
//! Pure, over whatever gives bytes. Ethernet, at most two VLAN tags (IEEE 802.1Q), IPv4 (RFC 791), IPv6 with its extension headers
//! (RFC 8200 §4), the port of TCP (RFC 9293 §3.1). Checksums are the stack's affair.

/// The bytes of a frame.
pub trait Frame {
    /// So many bytes from there on; `None`: it ends before.
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
    /// Its length.
    fn length(&self) -> u32;
}

/// Where a frame comes from, and what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// IPv4.
    V4(Inner<[u8; 4]>),
    /// IPv6.
    V6(Inner<[u8; 16]>),
    /// Something else: ARP, MPLS, …
    Other,
    /// It ends too early, or contradicts itself.
    Malformed,
}

/// A packet of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner<A> {
    /// Its source.
    pub source: A,
    /// The protocol that follows the header.
    pub protocol: u8,
    /// Where that begins.
    pub at: u32,
    /// It is a fragment other than the first: what follows is the middle of something.
    pub later: bool,
}

/// The port that a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// TCP, to this one.
    Tcp(u16),
    /// Not TCP, or not its beginning. What a filter drops of TCP never becomes whole without its first fragment.
    None,
    /// It ends too early, or has more extension headers than anybody sends.
    Malformed,
}

const ETHERNET: u32 = 14;
const TAGS: u32 = 2;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];

const TCP: u8 = 6;
/// Extension headers that are walked over. RFC 8200 §4.1 knows of seven in a sensible packet.
const HEADERS: u32 = 8;

/// Reads the source.
#[inline(always)]
pub fn source(frame: &impl Frame) -> Seen {
    let Some(mut kind) = frame.read::<2>(ETHERNET - 2) else { return Seen::Malformed };
    let mut at = ETHERNET;
    let mut tags = 0;
    while tags <= TAGS {
        match u16::from_be_bytes(kind) {
            IPV4 => return ipv4(frame, at),
            IPV6 => return ipv6(frame, at),
            tag if tag == VLAN[0] || tag == VLAN[1] => {
                let Some(next) = frame.read::<2>(at + 2) else { return Seen::Malformed };
                kind = next;
                at += 4;
            }
            _ => return Seen::Other,
        }
        tags += 1;
    }
    Seen::Malformed
}

#[inline(always)]
fn ipv4(frame: &impl Frame, at: u32) -> Seen {
    let Some(header) = frame.read::<20>(at) else { return Seen::Malformed };
    let length = u32::from(header[0] & 0xf) * 4;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    let present = frame.length() - at;
    // 0: longer than the field can say (BIG TCP, Linux 6.3), as this machine's own devices hand on.
    let total = if total == 0 && present > 0xffff { present } else { total };
    if header[0] >> 4 != 4 || length < 20 || total < length || total > present {
        return Seen::Malformed;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    Seen::V4(Inner {
        source: [header[12], header[13], header[14], header[15]],
        protocol: header[9],
        at: at + length,
        later: fragment & 0x1fff != 0,
    })
}

#[inline(always)]
fn ipv6(frame: &impl Frame, at: u32) -> Seen {
    let Some(header) = frame.read::<40>(at) else { return Seen::Malformed };
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    // A length of 0 belongs to jumbograms (RFC 2675), which say theirs elsewhere.
    if header[0] >> 4 != 6 || payload > frame.length() - at - 40 {
        return Seen::Malformed;
    }
    let mut source = [0; 16];
    let mut byte = 0;
    while byte < 16 {
        source[byte] = header[8 + byte];
        byte += 1;
    }
    Seen::V6(Inner { source, protocol: header[6], at: at + 40, later: false })
}

/// Reads the port behind IPv4.
#[inline(always)]
pub fn port_v4(frame: &impl Frame, inner: &Inner<[u8; 4]>) -> Port {
    if inner.later || inner.protocol != TCP { Port::None } else { tcp(frame, inner.at) }
}

/// Reads the port behind IPv6 and its extension headers.
#[inline(always)]
pub fn port_v6(frame: &impl Frame, inner: &Inner<[u8; 16]>) -> Port {
    let (mut protocol, mut at) = (inner.protocol, inner.at);
    let mut headers = 0;
    while headers <= HEADERS {
        let unit = match protocol {
            TCP => return tcp(frame, at),
            // Hop-by-hop options, routing, destination options: their length in units of 8 bytes less one.
            0 | 43 | 60 => 8,
            // Authentication: units of 4, less two (RFC 4302 §2.2).
            51 => 4,
            44 => 0,
            _ => return Port::None,
        };
        let Some([next, length, high, low]) = frame.read::<4>(at) else { return Port::Malformed };
        if protocol == 44 {
            // Fragment: always 8 bytes; bits 3 to 15 are the offset.
            if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                return Port::None;
            }
            at += 8;
        } else {
            at += if unit == 8 { (u32::from(length) + 1) * 8 } else { (u32::from(length) + 2) * 4 };
        }
        protocol = next;
        headers += 1;
    }
    Port::Malformed
}

/// Both ports, or nothing is known: a first fragment that ends before them is made to hide them (RFC 1858).
#[inline(always)]
fn tcp(frame: &impl Frame, at: u32) -> Port {
    match frame.read::<4>(at) {
        Some([_, _, high, low]) => Port::Tcp(u16::from_be_bytes([high, low])),
        None => Port::Malformed,
    }
}
