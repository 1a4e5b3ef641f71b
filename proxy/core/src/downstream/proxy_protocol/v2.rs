//! Version 2: binary, with fields (TLVs) behind its addresses (§2.2). Pure.

use super::{
    checksum,
    header::{Ends, Fault, Header, Read, V2_HEAD, V2_START},
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Version 2 in the upper half of its byte, and a command in the lower.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family in the upper half, transport in the lower.
pub(super) const UNSPEC: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Bytes of their addresses and ports.
const TCP4_LEN: usize = 12;
const TCP6_LEN: usize = 36;
const UNIX_LEN: usize = 216;

/// Types of fields (§2.2.1).
pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
/// Types of the fields within it.
pub(super) const SSL_VERSION: u8 = 0x21;
pub(super) const SSL_CIPHER: u8 = 0x23;
/// Bits of its first byte: the client spoke TLS, and showed a certificate on this connection, or in this session (§2.2.6).
pub(super) const CLIENT_SSL: u8 = 0x01;
pub(super) const CLIENT_CERT: u8 = 0x02 | 0x04;
const NETNS: u8 = 0x30;

/// Bytes of a unique identifier at most (§2.2.5).
pub(super) const MAX_UNIQUE_ID: usize = 128;
/// Bytes of a DNS name at most (RFC 1035 §2.3.4), and of a protocol's name (RFC 7301 §3.1).
pub(super) const MAX_AUTHORITY: usize = 253;
pub(super) const MAX_ALPN: usize = 255;
/// Bytes of what is said of TLS that are kept: versions, ciphers and a common name of 64 characters come to less.
pub(super) const MAX_SSL: usize = 256;

/// Reads a prefix that begins as version 2 does.
pub(super) fn read(prefix: &[u8], most: usize) -> Read {
    let Some((head, rest)) = prefix.split_first_chunk::<V2_HEAD>() else { return Read::More };
    let [command, family, high, low] = [head[12], head[13], head[14], head[15]];
    let len = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, LOCAL | PROXY) {
        return Read::Bad(Fault::Command);
    }
    if len > most {
        return Read::Bad(Fault::TooLarge);
    }
    // A header ends where it says, whatever its fields say of themselves.
    let Some(body) = rest.get(..len) else { return Read::More };
    let header = match command {
        // The block is to be discarded, its family included (§2.2).
        LOCAL => Ok(Header::default()),
        _ => proxied(family, body, &prefix[..V2_HEAD + len]),
    };
    header.map_or_else(Read::Bad, |header| Read::Whole(header, V2_HEAD + len))
}

fn proxied(family: u8, body: &[u8], whole: &[u8]) -> Result<Header, Fault> {
    let (ends, fields) = match family {
        // What stands there is to be ignored, and where fields would begin is not said.
        UNSPEC => return Ok(Header::default()),
        TCP4 => {
            let (block, fields) = body.split_first_chunk::<TCP4_LEN>().ok_or(Fault::Short)?;
            let address = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
            let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            let ends = Ends {
                source: SocketAddr::from((address(0), port(8))),
                destination: SocketAddr::from((address(4), port(10))),
            };
            (Some(ends), fields)
        }
        TCP6 => {
            let (block, fields) = body.split_first_chunk::<TCP6_LEN>().ok_or(Fault::Short)?;
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
            let ends = Ends {
                source: SocketAddr::from((address(0), port(32))),
                destination: SocketAddr::from((address(16), port(34))),
            };
            (Some(ends), fields)
        }
        UNIX_STREAM => (None, body.split_at_checked(UNIX_LEN).ok_or(Fault::Short)?.1),
        _ => return Err(Fault::Family),
    };
    let mut header = Header { ends, ..Header::default() };
    let (mut checked, mut tls) = (None, None);
    let mut rest = fields;
    while !rest.is_empty() {
        let (kind, value, behind) = field(rest)?;
        match kind {
            CRC32C => {
                let at = whole.len() - rest.len() + 3;
                let said = <[u8; 4]>::try_from(value).map_err(|_| Fault::Field)?;
                once(&mut checked, (at, u32::from_be_bytes(said)))?;
            }
            AUTHORITY => once(&mut header.authority, authority(value)?)?,
            ALPN if !value.is_empty() && value.len() <= MAX_ALPN => once(&mut header.alpn, value.into())?,
            UNIQUE_ID if value.len() <= MAX_UNIQUE_ID => once(&mut header.unique_id, value.into())?,
            ALPN | UNIQUE_ID => return Err(Fault::Field),
            SSL => once(&mut tls, ssl(value)?)?,
            NETNS if !value.is_ascii() => return Err(Fault::Field),
            // Padding, what is somebody's own, and what is not known yet.
            _ => {}
        }
        rest = behind;
    }
    header.tls = tls.filter(|value| value.len() <= MAX_SSL).map(Into::into);
    match checked {
        Some((at, said)) if checksum::of(whole, at) != said => Err(Fault::Checksum),
        Some(_) | None => Ok(header),
    }
}

/// The first field: its type, its value, what stands behind it.
fn field(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Fault> {
    let (head, rest) = bytes.split_first_chunk::<3>().ok_or(Fault::Field)?;
    let (value, behind) =
        rest.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]]))).ok_or(Fault::Field)?;
    Ok((head[0], value, behind))
}

/// Of two fields that say the same the reader behind us might believe the other one.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Fault> {
    if place.replace(value).is_some() { Err(Fault::Field) } else { Ok(()) }
}

fn authority(value: &[u8]) -> Result<Box<str>, Fault> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if value.is_empty() || value.len() > MAX_AUTHORITY || !value.iter().all(allowed) {
        return Err(Fault::Field);
    }
    Ok(value.iter().map(|&byte| char::from(byte).to_ascii_lowercase()).collect::<String>().into())
}

/// Only its form, to pass it on: what a sender says of the client's certificate is no identity here.
fn ssl(value: &[u8]) -> Result<&[u8], Fault> {
    let (_, mut fields) = value.split_at_checked(5).ok_or(Fault::Field)?;
    while !fields.is_empty() {
        (_, _, fields) = field(fields)?;
    }
    Ok(value)
}

const _: () = assert!(V2_START.len() + 4 == V2_HEAD);
