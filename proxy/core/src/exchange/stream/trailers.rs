//! Trailers on their way through: what may not be one goes no further (RFC 9110 §6.5.1).
//!
//! HTTP/1's guards refuse such a message; on HTTP/2 no guard reads trailers, and behind a bridge somebody may merge them
//! into the head.

use crate::framing::{Limits, is_forbidden_trailer};
use http::{HeaderMap, HeaderName};

/// Whether trailers may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What is left of them may.
    Pass,
    /// There are too many.
    TooMany,
}

/// Removes the fields that frame, route, authenticate or describe a message.
pub(super) fn filter(trailers: &mut HeaderMap) -> Verdict {
    if trailers.len() > usize::from(Limits::default().max_trailers) {
        return Verdict::TooMany;
    }
    let forbidden = |name: &&HeaderName| is_forbidden_trailer(name.as_str().as_bytes());
    let gone: Vec<HeaderName> = trailers.keys().filter(forbidden).cloned().collect();
    for name in gone {
        trailers.remove(name);
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn names_are_filtered_and_counted() {
        let mut trailers = HeaderMap::new();
        for name in ["x-checksum", "content-length", "authorization", "host", "transfer-encoding", "grpc-status"] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        assert_eq!(filter(&mut trailers), Verdict::Pass);
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-checksum", "grpc-status"]);
        for _ in 0..32 {
            trailers.append("x-more", HeaderValue::from_static("1"));
        }
        assert_eq!(filter(&mut trailers), Verdict::TooMany);
    }
}
