//! What upstreams are told about the client, and who is believed about it: `X-Forwarded-For`, `-Proto` and
//! `-Host`, `Forwarded` (RFC 7239), `X-Request-Id`, `Via` (RFC 9110 §7.6.3).
//!
//! A peer is believed when it is in a trusted network, or when the operator says how many proxies stand before
//! this one and the request went through as many. What any other peer says about itself is replaced. Where both
//! `X-Forwarded-For` and `Forwarded` are there, only the one that this proxy appends to is read, never a mix.

use super::{
    Field, HeadRefusal, Survey,
    survey::is_identity,
    target::{add, put},
};
use crate::telemetry::TlsPeer;
use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pillion_config::model::{Cidr, Forwarding, ForwardingMode, RequestId, Scheme};
use std::net::IpAddr;

mod addresses;

use addresses::{Claim, claims};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A listener's rules, compiled.
#[derive(Debug, Clone)]
pub struct ForwardingRules {
    x_forwarded: ForwardingMode,
    forwarded: ForwardingMode,
    via: Option<Via>,
    request_id: RequestId,
    trusted: Box<[Cidr]>,
    trusted_hops: usize,
    strip_identity: bool,
}

/// Who is at the other end of a connection: made once for each, so that a request costs no formatting.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    scheme: Scheme,
    standing: Standing,
    /// The address as text.
    text: HeaderValue,
    /// `X-Forwarded-Client-Cert`, where it showed a certificate.
    certificate: Option<Box<HeaderValue>>,
}

impl Peer {
    /// The same peer, with what it showed.
    #[must_use]
    pub fn certified(self, peer: Option<&TlsPeer>) -> Self {
        Self { certificate: peer.map(|peer| Box::new(peer.forwarded.clone())), ..self }
    }
}

/// What is known of the client, for logs, redirects and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address: the peer's, or what a believed peer says. Never a v4-mapped one.
    pub address: IpAddr,
    /// The scheme the client used.
    pub scheme: Scheme,
    /// Whether the peer was believed.
    pub trust: Trust,
}

/// Whether what a peer says about the client is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is.
    Believed,
    /// It is replaced.
    Replaced,
}

/// Why a peer may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is in a trusted network.
    Network,
    /// So many proxies stand before this one.
    Hops(usize),
    /// It may not.
    Stranger,
}

/// `Via` for the versions a message may have come in.
#[derive(Debug, Clone)]
struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl ForwardingRules {
    /// Compiles a listener's rules.
    #[must_use]
    pub fn compile(model: &Forwarding) -> Self {
        Self {
            x_forwarded: model.x_forwarded,
            forwarded: model.forwarded,
            via: model.via.as_deref().and_then(Via::new),
            request_id: model.request_id,
            trusted: model.trusted.clone().into(),
            trusted_hops: model.trusted_hops.into(),
            strip_identity: model.strip_identity,
        }
    }

    /// The peer of a new connection; `scheme` is `Https` when it speaks TLS.
    #[must_use]
    pub fn peer(&self, address: IpAddr, scheme: Scheme) -> Peer {
        let address = address.to_canonical();
        let standing = if self.is_trusted(address) {
            Standing::Network
        } else if self.trusted_hops > 0 {
            Standing::Hops(self.trusted_hops)
        } else {
            Standing::Stranger
        };
        Peer {
            address,
            scheme,
            standing,
            text: HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            certificate: None,
        }
    }

    /// Makes a request's headers say what upstreams shall believe.
    ///
    /// `host` is the request's agreed host, `version` the one it came in, `random` uniform over all of `u128` and
    /// asked for only when an identifier is made.
    pub fn request(
        &self,
        headers: &mut HeaderMap,
        survey: Survey,
        peer: &Peer,
        version: Version,
        host: Option<&HeaderValue>,
        random: impl FnOnce() -> u128,
    ) -> Result<Client, HeadRefusal> {
        let client = self.client(headers, survey, peer);
        if self.strip_identity && survey.has(Field::Identity) {
            strip_identity(headers);
        }
        if let Some(certificate) = &peer.certificate {
            put(headers, CLIENT_CERT, HeaderValue::clone(certificate))?;
        }
        self.x_forwarded(headers, survey, peer, host, client.trust)?;
        self.forwarded(headers, survey, peer, host, client.trust)?;
        let known = survey.has(Field::XRequestId) && client.trust == Trust::Believed;
        if self.request_id == RequestId::Generate && !known {
            put(headers, REQUEST_ID, uuid(random()))?;
        }
        self.add_via(headers, version)?;
        Ok(client)
    }

    /// Adds `Via` to a response that came in this version.
    pub fn response(&self, headers: &mut HeaderMap, version: Version) -> Result<(), HeadRefusal> {
        self.add_via(headers, version)
    }

    /// Who the client is and which scheme it used, as far as its peer is believed.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, survey: Survey, peer: &Peer) -> Client {
        let stranger = Client { address: peer.address, scheme: peer.scheme, trust: Trust::Replaced };
        if peer.standing == Standing::Stranger {
            return stranger;
        }
        let by_forwarded = self.x_forwarded == ForwardingMode::Off && self.forwarded == ForwardingMode::Append;
        let seen = survey.has(if by_forwarded { Field::Forwarded } else { Field::XForwardedFor });
        let address = match peer.standing {
            Standing::Stranger => None,
            Standing::Network if !seen => Some(peer.address),
            Standing::Network => {
                let nearest = self.nearest_stranger(claims(headers, by_forwarded));
                Some(nearest.unwrap_or(peer.address))
            }
            Standing::Hops(_) if !seen => None,
            Standing::Hops(hops) => claimed_at(hops, || claims(headers, by_forwarded)),
        };
        let Some(address) = address else {
            return stranger;
        };
        let scheme = match by_forwarded {
            true => claims(headers, true).last().and_then(|claim| claim.scheme),
            false => addresses::last_proto(headers),
        };
        Client { address, scheme: scheme.unwrap_or(peer.scheme), trust: Trust::Believed }
    }

    /// Going from the nearest hop outwards through trusted networks: the first address outside of them, or the
    /// farthest one when all are inside. What stands beyond an unreadable one is not believed.
    fn nearest_stranger(&self, claims: impl Iterator<Item = Claim>) -> Option<IpAddr> {
        let (mut farthest, mut stranger) = (None, None);
        for claim in claims {
            let Some(address) = claim.address else {
                (farthest, stranger) = (None, None);
                continue;
            };
            farthest = farthest.or(Some(address));
            if !self.is_trusted(address) {
                stranger = Some(address);
            }
        }
        stranger.or(farthest)
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    fn x_forwarded(
        &self,
        headers: &mut HeaderMap,
        survey: Survey,
        peer: &Peer,
        host: Option<&HeaderValue>,
        trust: Trust,
    ) -> Result<(), HeadRefusal> {
        let believed = trust == Trust::Believed;
        if self.x_forwarded == ForwardingMode::Off {
            if !believed {
                remove(headers, survey, Field::XForwardedFor, &FOR);
                remove(headers, survey, Field::XForwardedProto, &PROTO);
                remove(headers, survey, Field::XForwardedHost, &HOST);
            }
            return Ok(());
        }
        let value = match believed && survey.has(Field::XForwardedFor) {
            true => appended(headers, &FOR, peer.text.as_bytes())?,
            false => peer.text.clone(),
        };
        put(headers, FOR, value)?;
        if !(believed && survey.has(Field::XForwardedProto)) {
            put(headers, PROTO, HeaderValue::from_static(scheme_name(peer.scheme)))?;
        }
        if !(believed && survey.has(Field::XForwardedHost)) {
            match host {
                Some(host) => put(headers, HOST, host.clone())?,
                None => remove(headers, survey, Field::XForwardedHost, &HOST),
            }
        }
        Ok(())
    }

    fn forwarded(
        &self,
        headers: &mut HeaderMap,
        survey: Survey,
        peer: &Peer,
        host: Option<&HeaderValue>,
        trust: Trust,
    ) -> Result<(), HeadRefusal> {
        let believed = trust == Trust::Believed;
        if self.forwarded == ForwardingMode::Off {
            if !believed {
                remove(headers, survey, Field::Forwarded, &header::FORWARDED);
            }
            return Ok(());
        }
        let element = element(peer, host);
        let value = match believed && survey.has(Field::Forwarded) {
            true => appended(headers, &header::FORWARDED, &element)?,
            false => HeaderValue::from_maybe_shared(element.freeze()).map_err(|_| HeadRefusal::FieldValue)?,
        };
        put(headers, header::FORWARDED, value)
    }

    fn add_via(&self, headers: &mut HeaderMap, version: Version) -> Result<(), HeadRefusal> {
        let Some(via) = &self.via else {
            return Ok(());
        };
        let value = match version {
            Version::HTTP_2 => &via.http2,
            Version::HTTP_10 => &via.http10,
            _ => &via.http11,
        };
        add(headers, header::VIA, value.clone())
    }
}

impl Via {
    /// `None` for a pseudonym that cannot stand in a field, which a valid model rules out.
    fn new(pseudonym: &str) -> Option<Self> {
        let value = |version| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        Some(Self { http10: value("1.0")?, http11: value("1.1")?, http2: value("2.0")? })
    }
}

/// The address that a chain of so many proxies says the client has: each added the one it saw. `None` when fewer
/// spoke, so that the request did not come through all of them, or when it cannot be read.
fn claimed_at<I: Iterator<Item = Claim>>(hops: usize, claims: impl Fn() -> I) -> Option<IpAddr> {
    let farthest = claims().count().checked_sub(hops)?;
    claims().nth(farthest)?.address
}

/// The values of a field and one more, in one line: many servers read only one.
fn appended(headers: &HeaderMap, name: &HeaderName, last: &[u8]) -> Result<HeaderValue, HeadRefusal> {
    let values = headers.get_all(name);
    let bytes: usize = values.iter().map(|value| value.len() + 2).sum();
    let mut joined = BytesMut::with_capacity(bytes + last.len());
    for value in values.iter().filter(|value| !value.is_empty()) {
        joined.put_slice(value.as_bytes());
        joined.put_slice(b", ");
    }
    joined.put_slice(last);
    HeaderValue::from_maybe_shared(joined.freeze()).map_err(|_| HeadRefusal::FieldValue)
}

/// This hop as `Forwarded` writes it (RFC 7239 §4, §6): an IPv6 address in brackets, and so in quotes.
fn element(peer: &Peer, host: Option<&HeaderValue>) -> BytesMut {
    let mut element = BytesMut::with_capacity(80 + host.map_or(0, HeaderValue::len));
    let (open, close): (&[u8], &[u8]) = match peer.address {
        IpAddr::V4(_) => (b"for=", b""),
        IpAddr::V6(_) => (b"for=\"[", b"]\""),
    };
    element.put_slice(open);
    element.put_slice(peer.text.as_bytes());
    element.put_slice(close);
    // A host with a character that would end the quotes is not checked by this proxy; it is left out.
    if let Some(host) = host.filter(|host| !host.as_bytes().iter().any(|b| matches!(b, b'"' | b'\\'))) {
        element.put_slice(b";host=\"");
        element.put_slice(host.as_bytes());
        element.put_slice(b"\"");
    }
    element.put_slice(b";proto=");
    element.put_slice(scheme_name(peer.scheme).as_bytes());
    element
}

fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

fn remove(headers: &mut HeaderMap, survey: Survey, field: Field, name: &HeaderName) {
    if survey.has(field) {
        headers.remove(name);
    }
}

fn strip_identity(headers: &mut HeaderMap) {
    remove_all(headers, |name| is_identity(name.as_str()));
}

fn remove_all(headers: &mut HeaderMap, which: impl Fn(&HeaderName) -> bool) {
    // Rare: the names are held while the map changes.
    let names: Vec<HeaderName> = headers.keys().filter(|name| which(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether a listener's rules have a say in what stands in this field of a request.
#[must_use]
pub fn is_ruled(name: &HeaderName) -> bool {
    [FOR, PROTO, HOST, REQUEST_ID, header::FORWARDED, header::VIA].contains(name) || is_identity(name.as_str())
}

/// Removes every field that a listener's rules have a say in.
pub fn forget(headers: &mut HeaderMap) {
    remove_all(headers, is_ruled);
}

/// A UUID of version 4 (RFC 9562 §5.4).
fn uuid(random: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = random & !VERSION & !VARIANT | 4 << 76 | 0b10 << 62;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests;
