//! Whom a request is for: that all parts of a head that say so agree, and how one version says it in another.
//!
//! A request whose `Host` and target disagree is read one way here and another way upstream; it is refused
//! rather than repaired.

use super::{Field, HeadRefusal, Survey};
use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Uri, Version, header,
    uri::{self},
};
use std::net::Ipv6Addr;

/// A host and an optional port, checked (RFC 3986 §3.2 without user information) where clients name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// As it was written.
    pub text: &'a str,
    /// The host in the same spelling; an IPv6 address in its brackets.
    pub host: &'a str,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Checks and takes apart a `Host` or an `:authority`.
    ///
    /// Stricter than the grammar: names have letters, digits and `-._~` only, labels are not empty but for the
    /// dot at the end, a port has digits and is not 0. What is left out means something in a URI, a quoted
    /// string, a log line or a file name, and is in no name that resolves.
    pub fn parse(text: &'a [u8]) -> Result<Self, HeadRefusal> {
        let text = std::str::from_utf8(text).map_err(|_| HeadRefusal::HostMalformed)?;
        let mut bytes = text.bytes();
        let end = match text.starts_with('[') {
            true => bytes.position(|byte| byte == b']').map(|end| end + 1),
            false => bytes.position(|byte| byte == b':'),
        };
        let (host, port) = text.split_at(end.unwrap_or(text.len()));
        let valid = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Ok(None),
            None => Err(HeadRefusal::HostMalformed),
            Some(digits) => parse_port(digits).map(Some),
        };
        match (valid, port) {
            (true, Ok(port)) => Ok(Self { text, host, port }),
            (false, _) | (_, Err(_)) => Err(HeadRefusal::HostMalformed),
        }
    }

    /// What stands in a request that was let in and that filters may have changed since: what they name may be no such thing, and
    /// is a host as a whole then. `None`: the request names none, or one that is no text.
    pub fn of(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Self> {
        let text = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => std::str::from_utf8(headers.get(header::HOST)?.as_bytes()).ok()?,
        };
        Some(Self::parse(text.as_bytes()).unwrap_or(Self { text, host: text, port: None }))
    }

    /// The same as the value of a `Host` field.
    pub fn to_value(self) -> Result<HeaderValue, HeadRefusal> {
        HeaderValue::from_str(self.text).map_err(|_| HeadRefusal::HostMalformed)
    }

    /// The same as part of a URI.
    pub fn to_uri(self) -> Result<uri::Authority, HeadRefusal> {
        uri::Authority::try_from(self.text).map_err(|_| HeadRefusal::HostMalformed)
    }

    /// Whether both name the same, where a port that is not written is `implied`.
    fn agrees_with(self, other: Authority<'_>, implied: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.or(implied) == other.port.or(implied)
    }
}

/// Labels of letters, digits and `-_~` between dots; none is empty, but the name may end with a dot. One pass: every
/// request comes by here.
fn is_name(host: &str) -> bool {
    let mut before = b'.';
    for byte in host.bytes() {
        let fits = match byte {
            b'.' => before != b'.',
            b'-' | b'_' | b'~' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
        before = byte;
    }
    !host.is_empty()
}

fn parse_port(digits: &str) -> Result<u16, HeadRefusal> {
    match digits.parse() {
        Ok(port) if port > 0 && !digits.starts_with('+') => Ok(port),
        Ok(_) | Err(_) => Err(HeadRefusal::HostMalformed),
    }
}

/// The host a request is for, once all that say so agree; `None` only for HTTP/1.0 without `Host`.
///
/// - HTTP/1.1 has exactly one `Host`; where the target is in absolute or authority form it must say the same
///   (RFC 9112 §3.2.2 would let the target win, and servers that do not know that be deceived).
/// - HTTP/2 has `:authority` or `Host`; where it has both they must say the same (RFC 9113 §8.3.1). Its `:scheme`
///   is `http` or `https`; which of them is not compared with the transport, since TLS may have ended before us.
pub fn authority<'a>(
    method: &Method,
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Option<Authority<'a>>, HeadRefusal> {
    let implied = implied_port(method, uri)?;
    let target = match uri.authority() {
        Some(authority) => Some(Authority::parse(authority.as_str().as_bytes())?),
        None => None,
    };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(HeadRefusal::HostRepeated),
        (Some(host), None) => Some(Authority::parse(host.as_bytes())?),
        (None, None) => None,
    };
    match (target, host) {
        (Some(target), Some(host)) if !target.agrees_with(host, implied) => Err(HeadRefusal::HostMismatch),
        (None, None) if version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(HeadRefusal::HostMissing),
        (Some(_), None) if version == Version::HTTP_11 => Err(HeadRefusal::HostMissing),
        (Some(named), _) | (None, Some(named)) => Ok(Some(named)),
    }
}

/// The port of a host without one, as far as the target tells.
pub fn implied_port(method: &Method, uri: &Uri) -> Result<Option<u16>, HeadRefusal> {
    match uri.scheme_str() {
        Some("http") => Ok(Some(80)),
        Some("https") => Ok(Some(443)),
        Some(_) => Err(HeadRefusal::SchemeUnknown),
        None if *method == Method::CONNECT => Ok(uri.port_u16()),
        None => Ok(None),
    }
}

/// What HTTP/2 forbids in the fields of a message and the codec lets through (RFC 9113 §8.2.1, §8.2.2): fields of
/// the connection, `TE` other than `trailers`, values with white space at an end. For both directions.
pub fn check_http2(headers: &HeaderMap, survey: Survey) -> Result<(), HeadRefusal> {
    const FORBIDDEN: [Field; 5] =
        [Field::Connection, Field::KeepAlive, Field::ProxyConnection, Field::TransferEncoding, Field::Upgrade];
    if survey.has_any(&FORBIDDEN) {
        return Err(HeadRefusal::ConnectionField);
    }
    if survey.has(Field::Te) {
        let mut values = headers.get_all(header::TE).iter();
        if !values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
            return Err(HeadRefusal::TeOnHttp2);
        }
    }
    if headers.values().all(|value| is_field_value(value.as_bytes())) { Ok(()) } else { Err(HeadRefusal::FieldValue) }
}

/// RFC 9113 §8.2.1. Only the ends are looked at: [`HeaderValue`] holds neither CR, LF nor NUL.
fn is_field_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first()) && !blank(value.last())
}

/// The length a message announces (RFC 9110 §8.6). Several fields or a list are refused even where they are equal:
/// that is how smuggling begins.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, HeadRefusal> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.as_bytes();
    if values.next().is_some() || value.contains(&b',') {
        return Err(HeadRefusal::LengthRepeated);
    }
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|value| value.parse().ok())
        .map(Some)
        .ok_or(HeadRefusal::LengthMalformed)
}

/// One `Cookie` of several crumbs (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) -> Result<(), HeadRefusal> {
    let crumbs = headers.get_all(header::COOKIE);
    let (count, bytes) = crumbs.iter().fold((0, 0), |(count, bytes), crumb| (count + 1, bytes + crumb.len() + 2));
    if count < 2 {
        return Ok(());
    }
    let mut joined = BytesMut::with_capacity(bytes);
    for crumb in crumbs {
        if !joined.is_empty() {
            joined.put_slice(b"; ");
        }
        joined.put_slice(crumb.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(joined.freeze()).map_err(|_| HeadRefusal::FieldValue)?;
    put(headers, header::COOKIE, joined)
}

/// Sets a field; a map that is full is a refusal and not a panic.
pub(super) fn put(headers: &mut HeaderMap, name: http::HeaderName, value: HeaderValue) -> Result<(), HeadRefusal> {
    headers.try_insert(name, value).map(|_| ()).map_err(|_| HeadRefusal::TooManyFields)
}

/// Adds a field; a map that is full is a refusal and not a panic.
pub(super) fn add(headers: &mut HeaderMap, name: http::HeaderName, value: HeaderValue) -> Result<(), HeadRefusal> {
    headers.try_append(name, value).map(|_| ()).map_err(|_| HeadRefusal::TooManyFields)
}

#[cfg(test)]
mod tests;
