//! Reading what earlier hops wrote: `X-Forwarded-For`, `X-Forwarded-Proto`, `Forwarded`. All of it may be forged;
//! nothing here believes it.

use http::{HeaderMap, HeaderName, header};
use pillion_config::model::Scheme;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What one hop says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// The address, unless it is hidden (`unknown`, `_hidden`) or cannot be read.
    pub(super) address: Option<IpAddr>,
    /// The scheme, in `Forwarded` only.
    pub(super) scheme: Option<Scheme>,
}

/// The claims of a head, the farthest hop's first, over all lines of the field.
pub(super) fn claims(headers: &HeaderMap, by_forwarded: bool) -> impl Iterator<Item = Claim> {
    let name = if by_forwarded { header::FORWARDED } else { HeaderName::from_static("x-forwarded-for") };
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| Parts::new(value.as_bytes(), b','))
        .filter(|text| !text.is_empty())
        .map(move |text| if by_forwarded { element(text) } else { Claim { address: address(text), scheme: None } })
}

/// The scheme that the nearest hop wrote into `X-Forwarded-Proto`.
pub(super) fn last_proto(headers: &HeaderMap) -> Option<Scheme> {
    let value = headers.get_all("x-forwarded-proto").iter().next_back()?;
    let last = value.as_bytes().rsplit(|&byte| byte == b',').next()?;
    scheme(last.trim_ascii())
}

/// One element of `Forwarded` (RFC 7239 §4).
fn element(text: &[u8]) -> Claim {
    let mut claim = Claim { address: None, scheme: None };
    for pair in Parts::new(text, b';') {
        let Some(equals) = pair.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..]));
        if name.eq_ignore_ascii_case(b"for") {
            claim.address = address(value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            claim.scheme = scheme(value);
        }
    }
    claim
}

/// An address with or without port and brackets; v4-mapped ones come out as IPv4.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    text.parse::<IpAddr>()
        .ok()
        .or_else(bracketed)
        .or_else(|| text.parse().ok().map(|held: SocketAddr| held.ip()))
        .map(|address| address.to_canonical())
}

fn scheme(text: &[u8]) -> Option<Scheme> {
    if text.eq_ignore_ascii_case(b"https") {
        Some(Scheme::Https)
    } else if text.eq_ignore_ascii_case(b"http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// The inside of a quoted string. Escapes are not resolved: no address or scheme has one.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The parts of a text between separators outside of quotes, trimmed.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Parts<'a> {
    fn new(text: &'a [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if byte == self.separator && !quoted => {
                    self.rest = Some(&rest[at + 1..]);
                    return Some(rest[..at].trim_ascii());
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(rest.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_as_hops_write_them() {
        for (text, expected) in [
            ("192.0.2.1", ip("192.0.2.1")),
            ("192.0.2.1:80", ip("192.0.2.1")),
            ("2001:db8::1", ip("2001:db8::1")),
            ("[2001:db8::1]", ip("2001:db8::1")),
            ("[2001:db8::1]:80", ip("2001:db8::1")),
            ("::ffff:192.0.2.1", ip("192.0.2.1")),
            ("unknown", None),
            ("_hidden", None),
            ("192.0.2.1.5", None),
            ("010.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(address(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn elements_as_hops_write_them() {
        for (text, expected, proto) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", ip("192.0.2.60"), Some(Scheme::Http)),
            ("For=\"[2001:db8:cafe::17]:4711\"; Proto=HTTPS", ip("2001:db8:cafe::17"), Some(Scheme::Https)),
            ("for=unknown", None, None),
            ("proto=\"https\"", None, Some(Scheme::Https)),
            ("host=\"a;for=1.2.3.4\"", None, None),
            ("=;;x", None, None),
        ] {
            let claim = element(text.as_bytes());
            assert_eq!((claim.address, claim.scheme), (expected, proto), "{text}");
        }
    }

    #[test]
    fn quotes_hide_separators() {
        let parts: Vec<_> = Parts::new(b"a=\"x,y\\\",z\" , b,,\"c,", b',').collect();
        assert_eq!(parts, [&b"a=\"x,y\\\",z\""[..], b"b", b"", b"\"c,"]);
    }
}
