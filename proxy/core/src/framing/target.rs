//! Whom a request is for: its target (RFC 9112 3.2) and its Host, which must agree.

use std::net::Ipv6Addr;

use super::class;
use super::fault::Refusal;

/// The methods whose targets or content have rules of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Connect,
    Options,
    Trace,
    #[default]
    Other,
}

impl Method {
    pub(super) fn read(token: &[u8]) -> Self {
        match token {
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// `host[:port]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads the whole of `bytes`: a registered name, an IPv4 address or an IPv6 address in brackets, and a port of 1
    /// to 5 digits. No userinfo, no zone, no empty port.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = match bytes {
            [b'[', ..] => {
                let close = memchr::memchr(b']', bytes)?;
                std::str::from_utf8(&bytes[1..close]).ok()?.parse::<Ipv6Addr>().ok()?;
                close + 1
            }
            _ => class::span(bytes, class::HOST),
        };
        // 255: the longest name of the DNS, with its dots.
        if end == 0 || end > 255 {
            return None;
        }
        let port = match &bytes[end..] {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Self { host: &bytes[..end], port })
    }

    fn agrees(&self, host: Self, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(host.host) && self.port.or(default_port) == host.port.or(default_port)
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).ok()
}

/// A target, read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A path, or `*`: it names no authority.
    Local,
    /// `http://…` or `https://…`, with the port that its scheme implies.
    Absolute(Authority<'a>, u16),
    /// What CONNECT names.
    Tunnel(Authority<'a>),
}

impl<'a> Target<'a> {
    /// Reads a target in the form that its method may have.
    #[inline]
    pub(super) fn read(method: Method, target: &'a [u8]) -> Result<Self, Refusal> {
        match (method, target) {
            (Method::Connect, _) => match Authority::read(target) {
                Some(authority) if authority.port.is_some() => Ok(Self::Tunnel(authority)),
                Some(_) | None => Err(Refusal::BadTarget),
            },
            (Method::Options, b"*") => Ok(Self::Local),
            (Method::Options | Method::Trace | Method::Other, [b'/', ..]) => path(target).map(|()| Self::Local),
            (Method::Options | Method::Trace | Method::Other, _) => Self::absolute(target),
        }
    }

    fn absolute(target: &'a [u8]) -> Result<Self, Refusal> {
        let (rest, port) = if let Some(rest) = strip_ignoring_case(target, b"http://") {
            (rest, 80)
        } else if let Some(rest) = strip_ignoring_case(target, b"https://") {
            (rest, 443)
        } else {
            return Err(Refusal::BadTarget);
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        path(&rest[end..])?;
        let authority = Authority::read(&rest[..end]).ok_or(Refusal::BadTarget)?;
        Ok(Self::Absolute(authority, port))
    }

    /// Holds it against a valid Host.
    pub(super) fn agree(&self, host: Authority<'_>) -> Result<(), Refusal> {
        let agrees = match self {
            Self::Local => true,
            Self::Absolute(authority, port) => authority.agrees(host, Some(*port)),
            // A client may leave the port out of Host; it has no default here.
            Self::Tunnel(authority) => authority.agrees(Authority { port: host.port.or(authority.port), ..host }, None),
        };
        if agrees { Ok(()) } else { Err(Refusal::HostMismatch) }
    }
}

/// A path and query, `/` first unless empty or a query alone. A `#` is in neither class: fragments are not sent.
#[inline]
fn path(bytes: &[u8]) -> Result<(), Refusal> {
    let end = class::span(bytes, class::PATH);
    match &bytes[end..] {
        [] => Ok(()),
        [b'?', query @ ..] if class::span(query, class::QUERY) == query.len() => Ok(()),
        _ => Err(Refusal::BadTarget),
    }
}

fn strip_ignoring_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}
