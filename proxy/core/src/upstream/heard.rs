//! Whether a server in the clear speaks HTTP/2, where a cluster leaves that to its clients. Pure.
//!
//! ```text
//!  preface ─┬─► a frame ───────────────► HTTP/2
//!           ├─► anything else ─────────► HTTP/1.1, for ten minutes or until it cannot be reached
//!           └─► the end, not a word ───► HTTP/1.1 for this request; for others once that was answered and it happens again
//! ```
//!
//! Between handshake and pool. A client that agreed upon HTTP/2 with us by ALPN says nothing of the application behind us,
//! which may speak HTTP/1.1 alone. The server's preface is the first it sends and needs no request (RFC 9113 §3.4), so
//! waiting for it costs a round trip once, and what was sent until then is no request.

use std::time::Duration;
use tokio::time::Instant;

/// What an address was heard to speak when it was sent the preface of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Heard {
    /// It was not asked, or it answered as no server of any HTTP does.
    #[default]
    Nothing,
    Http2,
    /// It closed without a word. Servers of HTTP/1.1 on hyper do so; one that is just being started anew does, too.
    Silence,
    /// And it answered a request by HTTP/1.1 then.
    SilenceThenHttp1,
    Http1 {
        since: Instant,
    },
}

/// How long an address is taken for one of HTTP/1.1 before it is asked again: being asked leaves a line in its log.
const REMEMBERED: Duration = Duration::from_secs(600);

impl Heard {
    /// After the preface it said this first; `None`: it closed without a word.
    pub(super) fn greeted(self, first: Option<u8>, now: Instant) -> Self {
        match (first, self) {
            (Some(first), _) if begins_frame(first) => Self::Http2,
            (Some(_), _) | (None, Self::SilenceThenHttp1) => Self::Http1 { since: now },
            (None, Self::Nothing | Self::Http2 | Self::Silence | Self::Http1 { .. }) => Self::Silence,
        }
    }

    /// It answered a request by HTTP/1.1.
    pub(super) fn answered(self) -> Self {
        if self == Self::Silence { Self::SilenceThenHttp1 } else { self }
    }

    /// Whether it need not be asked for HTTP/2.
    pub(super) fn is_http1(self, now: Instant) -> bool {
        matches!(self, Self::Http1 { since } if now.saturating_duration_since(since) < REMEMBERED)
    }
}

/// Whether a frame begins so: none is longer than 2^14 bytes before somebody allows more (RFC 9113 §4.2), so the highest byte of
/// its length, which is its first, is 0. No answer of HTTP/1.1 begins so, nor the bare page of a server that takes us for HTTP/0.9.
pub(super) fn begins_frame(first: u8) -> bool {
    first == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_decides() {
        let now = Instant::now();
        let http1 = Heard::Http1 { since: now };
        for (before, first, after) in [
            (Heard::Nothing, Some(0), Heard::Http2),
            (Heard::Nothing, Some(b'H'), http1),
            (Heard::Nothing, Some(b'<'), http1),
            (Heard::Nothing, None, Heard::Silence),
            (Heard::Http2, None, Heard::Silence),
            (Heard::Silence, None, Heard::Silence),
            (Heard::Silence.answered(), None, http1),
            (Heard::Silence.answered(), Some(0), Heard::Http2),
            (http1, Some(0), Heard::Http2),
            (http1, None, Heard::Silence),
        ] {
            assert_eq!(before.greeted(first, now), after, "{before:?} {first:?}");
        }
        for other in [Heard::Nothing, Heard::Http2, Heard::SilenceThenHttp1, http1] {
            assert_eq!(other.answered(), other);
        }
    }

    #[test]
    fn http1_is_remembered_for_a_while() {
        let since = Instant::now();
        let http1 = Heard::Http1 { since };
        assert!(http1.is_http1(since) && http1.is_http1(since + Duration::from_secs(599)));
        assert!(!http1.is_http1(since + Duration::from_secs(600)));
        assert!(!Heard::Silence.is_http1(since) && !Heard::SilenceThenHttp1.is_http1(since));
    }
}
