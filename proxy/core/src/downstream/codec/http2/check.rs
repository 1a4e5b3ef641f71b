//! What h2 lets through and RFC 9113 §8 does not. Pure.
//!
//! h2 resets by itself: missing or repeated `:method`, `:scheme`, `:path`; unknown and response pseudo-header fields;
//! pseudo after regular; connection-specific fields; `te` other than `trailers`; an empty `:path`; `:scheme` or `:path`
//! on CONNECT; lengths that differ from the DATA; unequal Content-Lengths. Names that are not lower case and values
//! with CR, LF or NUL end the connection there.

use crate::framing::{Fault, Refusal};
use http::{HeaderMap, Method, Uri, header, request::Parts};
use pillion_config::model::HttpLimits;

/// The verdict over a head that h2 accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It may be served.
    Serve,
    /// Well-formed, but to be answered with the refusal's status.
    Refuse(Refusal),
    /// Malformed: a stream error of type PROTOCOL_ERROR (RFC 9113 §8.1.1).
    Reset(Malformed),
}

/// Why a request is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Neither CONNECT nor a `:path` (RFC 9113 §8.3.1).
    MissingPath,
    /// A `:path` that does not begin with `/`, nor is `*` on OPTIONS (RFC 9113 §8.3.1).
    BadPath,
    /// CONNECT without `:authority` (RFC 9113 §8.5).
    MissingAuthority,
    /// A field value that begins or ends with a space or a tab (RFC 9113 §8.2.1).
    SurroundingSpace,
    /// An empty Content-Length, which h2 takes for 0 (RFC 9110 §8.6).
    EmptyLength,
    /// More than one Content-Length, equal ones included: behind us they would be ambiguous (RFC 9110 §8.6).
    RepeatedLength,
}

impl Malformed {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::MissingPath,
        Self::BadPath,
        Self::MissingAuthority,
        Self::SurroundingSpace,
        Self::EmptyLength,
        Self::RepeatedLength,
    ];

    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingPath => "missing_path",
            Self::BadPath => "bad_path",
            Self::MissingAuthority => "missing_authority",
            Self::SurroundingSpace => "surrounding_space",
            Self::EmptyLength => "empty_length",
            Self::RepeatedLength => "repeated_length",
        }
    }
}

/// Judges a request's head. `extended` tells CONNECT with `:protocol` (RFC 8441).
#[must_use]
pub fn check(parts: &Parts, limits: &HttpLimits, extended: bool) -> Check {
    let connect = parts.method == Method::CONNECT;
    if let Some(malformed) = target(&parts.uri, &parts.method, connect && !extended) {
        return Check::Reset(malformed);
    }
    // First the count, which costs nothing: what follows walks the fields.
    if parts.headers.len() > usize::from(limits.headers) {
        return Check::Refuse(Fault::TooManyFields.into());
    }
    match fields(&parts.headers, &parts.uri, limits.header_bytes) {
        Check::Serve => {}
        verdict => return verdict,
    }
    if parts.uri.path_and_query().is_some_and(|path| path.as_str().len() > limits.target_bytes as usize) {
        return Check::Refuse(Refusal::TargetTooLong);
    }
    match host(&parts.headers, &parts.uri, connect) {
        Some(refusal) => Check::Refuse(refusal),
        None => Check::Serve,
    }
}

fn target(uri: &Uri, method: &Method, tunnel: bool) -> Option<Malformed> {
    if tunnel {
        return uri.authority().is_none().then_some(Malformed::MissingAuthority);
    }
    match uri.path_and_query().map(|path| path.as_str().as_bytes()) {
        None | Some([]) => Some(Malformed::MissingPath),
        Some([b'/', ..]) => None,
        Some(b"*") if *method == Method::OPTIONS => None,
        Some(_) => Some(Malformed::BadPath),
    }
}

/// The fields' edges and sum (RFC 9113 §6.5.2: 32 bytes more for each field; the pseudo-header fields count too).
fn fields(headers: &HeaderMap, uri: &Uri, most: u32) -> Check {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let mut sum = path + authority + 4 * 32;
    for (name, value) in headers {
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value.as_bytes() {
            return Check::Reset(Malformed::SurroundingSpace);
        }
        // The one byte that the map of fields takes in a name and RFC 9110 §5.6.2 does not.
        if name.as_str().contains('"') {
            return Check::Refuse(Fault::BadFieldName.into());
        }
        sum += name.as_str().len() + value.len() + 32;
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(length), None) if length.is_empty() => return Check::Reset(Malformed::EmptyLength),
        (Some(_), Some(_)) => return Check::Reset(Malformed::RepeatedLength),
        _ => {}
    }
    if sum > most as usize { Check::Refuse(Fault::HeadTooLarge.into()) } else { Check::Serve }
}

/// `:authority` and Host must name one host, and the same (RFC 9113 §8.3.1).
fn host(headers: &HeaderMap, uri: &Uri, connect: bool) -> Option<Refusal> {
    let authority = uri.authority();
    // Deprecated userinfo: a way to make two readers see two hosts.
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Some(Refusal::BadHost);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (_, _, Some(_)) => Some(Refusal::SeveralHosts),
        (Some(authority), Some(host), None) => {
            let same = host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
            (!same).then_some(Refusal::HostMismatch)
        }
        (None, Some(host), None) => {
            let well_formed =
                !host.is_empty() && !host.as_bytes().iter().any(|byte| matches!(byte, b'@' | b',' | b'/'));
            (!well_formed).then_some(Refusal::BadHost)
        }
        (None, None, None) if !connect => Some(Refusal::MissingHost),
        (_, None, None) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]
mod tests {
    use super::*;
    use http::Request;

    const LIMITS: HttpLimits = HttpLimits { headers: 4, header_bytes: 1_000, target_bytes: 100 };

    fn verdict(method: &str, uri: &str, headers: &[(&str, &str)]) -> Check {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            // As h2 does: the edges of a value are not looked at.
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, &LIMITS, false)
    }

    #[test]
    fn targets() {
        use Malformed::*;
        for (method, uri, expected) in [
            ("GET", "http://a/", Check::Serve),
            ("GET", "http://a/x?y=*", Check::Serve),
            ("GET", "*", Check::Reset(BadPath)),
            ("CONNECT", "a:443", Check::Serve),
            ("CONNECT", "/", Check::Reset(MissingAuthority)),
            ("GET", "http://user@a/", Check::Refuse(Refusal::BadHost)),
            ("GET", "http://user:secret@a/", Check::Refuse(Refusal::BadHost)),
            ("GET", "/", Check::Refuse(Refusal::MissingHost)),
        ] {
            assert_eq!(verdict(method, uri, &[]), expected, "{method} {uri}");
        }
        assert_eq!(verdict("OPTIONS", "*", &[("host", "a")]), Check::Serve);
        let long = format!("http://a/{}", "x".repeat(100));
        assert_eq!(verdict("GET", &long, &[]), Check::Refuse(Refusal::TargetTooLong));
    }

    #[test]
    fn hosts() {
        for (uri, hosts, expected) in [
            ("http://a.example/", &["a.example"][..], None),
            ("http://a.example/", &["A.Example"], None),
            ("http://a.example/", &["b.example"], Some(Refusal::HostMismatch)),
            ("http://a.example/", &["a.example:80"], Some(Refusal::HostMismatch)),
            ("http://a.example/", &["a.example", "a.example"], Some(Refusal::SeveralHosts)),
            ("/", &["a.example"], None),
            ("/", &["a.example", "b.example"], Some(Refusal::SeveralHosts)),
            ("/", &[""], Some(Refusal::BadHost)),
            ("/", &["u@a"], Some(Refusal::BadHost)),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let expected = expected.map_or(Check::Serve, Check::Refuse);
            assert_eq!(verdict("GET", uri, &headers), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn fields_and_their_sum() {
        let url = "http://a/";
        for value in [" x", "x ", "\tx", "x\t", " "] {
            assert_eq!(verdict("GET", url, &[("x-a", value)]), Check::Reset(Malformed::SurroundingSpace));
        }
        let lengths = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(verdict("POST", url, &lengths), Check::Reset(Malformed::RepeatedLength));
        assert_eq!(verdict("POST", url, &[("content-length", "")]), Check::Reset(Malformed::EmptyLength));
        let crumbs = [("cookie", "a=b"); 5];
        assert_eq!(verdict("GET", url, &crumbs[..4]), Check::Serve);
        assert_eq!(verdict("GET", url, &crumbs), Check::Refuse(Fault::TooManyFields.into()));
        let big = "x".repeat(900);
        assert_eq!(verdict("GET", url, &[("x-a", &big)]), Check::Refuse(Fault::HeadTooLarge.into()));
    }
}
