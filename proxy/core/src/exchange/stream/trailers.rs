//! Trailers on their way through: what may not be one is not sent on (RFC 9110 §6.5.1), nor is the message it ends.
//!
//! HTTP/1's guards refuse such a message as it passes; on HTTP/2 no guard reads trailers, so they are judged here, by the
//! same rule. Leaving the fields out instead would pass on a message whose sender meant to change how it is framed,
//! routed or trusted after the fact, and would answer the same message differently by the protocol it came in.

use crate::framing::{Fault, Limits, is_forbidden_trailer, judge_http2_trailers};
use http::{HeaderMap, HeaderName};

/// Whether trailers may pass.
///
/// # Errors
///
/// There are too many, one is malformed, or one frames, routes, authenticates or describes the message.
pub(in crate::exchange) fn judge(trailers: &HeaderMap) -> Result<(), Fault> {
    if trailers.len() > usize::from(Limits::default().max_trailers) {
        return Err(Fault::TooManyTrailers);
    }
    if forbidden(trailers).is_some() {
        return Err(Fault::ForbiddenTrailer);
    }
    // What came by HTTP/1 has no space around it any more.
    judge_http2_trailers(trailers)
}

/// The first that frames, routes, authenticates or describes the message.
pub(in crate::exchange) fn forbidden(trailers: &HeaderMap) -> Option<&HeaderName> {
    trailers.keys().find(|name| is_forbidden_trailer(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn trailers(names: &[&'static str]) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        for name in names {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        trailers
    }

    #[test]
    fn names_and_their_number() {
        assert_eq!(judge(&trailers(&["x-checksum", "grpc-status", "grpc-message"])), Ok(()));
        for name in ["content-length", "authorization", "host", "transfer-encoding"] {
            assert_eq!(judge(&trailers(&["x-checksum", name])), Err(Fault::ForbiddenTrailer), "{name}");
        }
        assert_eq!(judge(&trailers(&["x-more"; 32])), Ok(()));
        assert_eq!(judge(&trailers(&["x-more"; 33])), Err(Fault::TooManyTrailers));
    }
}
