//! The header that is sent before the first byte to an upstream. Pure.
//!
//! The length a version 2 header states is counted from what was written of it, never computed beside: a field that is
//! left out is in neither (CVE-2026-47692 was a header whose length knew nothing of fields that were emitted all the
//! same, so that they ran over into the application's stream). Every field that can be asked for together stays below 1,000 bytes.

use super::{
    checksum,
    header::{Ends, V2_START},
    v2,
};
use pillion_config::model::{AnnouncedField, Announcement, AnnouncementVersion};
use std::net::{IpAddr, SocketAddr};

/// What a header may say beside the two ends. What is too long for its field is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// The server name that the client asked for.
    pub authority: Option<&'a str>,
    /// The application protocol that was agreed upon with it.
    pub alpn: Option<&'a [u8]>,
    /// What the client spoke.
    pub tls: Option<SaidTls<'a>>,
    /// What the connection is called.
    pub unique_id: Option<&'a [u8]>,
}

/// What a header says of the client's TLS.
#[derive(Debug, Clone, Copy)]
pub enum SaidTls<'a> {
    /// What a proxy before this one said.
    PassedOn(&'a [u8]),
    /// What was agreed upon here.
    Own {
        /// As `TLSv1.3`.
        version: &'a str,
        /// The suite's name at IANA.
        cipher: &'a str,
        /// Whether the client showed a certificate; then it was found good.
        certificate: bool,
    },
}

impl SaidTls<'_> {
    /// The field's value (§2.2.6).
    fn value(self) -> Vec<u8> {
        match self {
            Self::PassedOn(value) => value.to_vec(),
            Self::Own { version, cipher, certificate } => {
                let mut value = vec![v2::CLIENT_SSL | if certificate { v2::CLIENT_CERT } else { 0 }];
                // Zero means that a certificate was shown and found good.
                value.extend(u32::from(!certificate).to_be_bytes());
                put(&mut value, v2::SSL_VERSION, Some(version.as_bytes()), v2::MAX_SSL);
                put(&mut value, v2::SSL_CIPHER, Some(cipher.as_bytes()), v2::MAX_SSL);
                value
            }
        }
    }
}

/// The header for a connection on behalf of the client between these ends.
#[must_use]
pub fn header(announcement: &Announcement, ends: &Ends, said: &Said<'_>) -> Vec<u8> {
    let ends = same_family(ends);
    match announcement.version {
        AnnouncementVersion::V1 => v1(&ends),
        AnnouncementVersion::V2 => v2(&ends, &announcement.fields, said),
    }
}

/// The header for a connection that the proxy makes on behalf of nobody but itself.
#[must_use]
pub fn local(announcement: &Announcement) -> Vec<u8> {
    match announcement.version {
        AnnouncementVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        AnnouncementVersion::V2 => [V2_START, &[0x20, v2::UNSPEC, 0, 0]].concat(),
    }
}

/// Both as IPv4 where both are; a pair of which one is IPv6 is written as IPv6, the other one mapped (RFC 4291 §2.5.5.2).
fn same_family(ends: &Ends) -> Ends {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (canonical(ends.source), canonical(ends.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Ends { source, destination };
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    Ends { source: mapped(source), destination: mapped(destination) }
}

fn v1(Ends { source, destination }: &Ends) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn v2(Ends { source, destination }: &Ends, fields: &[AnnouncedField], said: &Said<'_>) -> Vec<u8> {
    let mut header = V2_START.to_vec();
    header.extend([0x21, if source.is_ipv4() { v2::TCP4 } else { v2::TCP6 }, 0, 0]);
    let body = header.len();
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(v4) => header.extend(v4.octets()),
            IpAddr::V6(v6) => header.extend(v6.octets()),
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    let mut sum_at = None;
    for field in fields {
        match field {
            AnnouncedField::Authority => {
                put(&mut header, v2::AUTHORITY, said.authority.map(str::as_bytes), v2::MAX_AUTHORITY);
            }
            AnnouncedField::Alpn => put(&mut header, v2::ALPN, said.alpn, v2::MAX_ALPN),
            AnnouncedField::Tls => {
                put(&mut header, v2::SSL, said.tls.map(SaidTls::value).as_deref(), v2::MAX_SSL);
            }
            AnnouncedField::UniqueId => put(&mut header, v2::UNIQUE_ID, said.unique_id, v2::MAX_UNIQUE_ID),
            AnnouncedField::Checksum if sum_at.is_none() => {
                put(&mut header, v2::CRC32C, Some(&[0; 4]), 4);
                sum_at = Some(header.len() - 4);
            }
            AnnouncedField::Checksum => {}
        }
    }
    let len = u16::try_from(header.len() - body).expect("invariant: every field has a bound far below 64 KiB");
    header[body - 2..body].copy_from_slice(&len.to_be_bytes());
    if let Some(at) = sum_at {
        let sum = checksum::of(&header, at);
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    header
}

/// Writes a field as a whole, or nothing of it.
fn put(header: &mut Vec<u8>, kind: u8, value: Option<&[u8]>, most: usize) {
    let Some(value) = value.filter(|value| !value.is_empty() && value.len() <= most) else { return };
    let Ok(len) = u16::try_from(value.len()) else { return };
    header.push(kind);
    header.extend(len.to_be_bytes());
    header.extend(value);
}
