//! Why a request was not answered as it should have been: the keys of [`Outcome::errors`](super::Outcome::errors).

use std::io;

/// One kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection was reset, or the stream was.
    Reset,
    /// The connection ended before the answer.
    Closed,
    /// The answer's body ended early, or is shorter than expected.
    ShortBody,
    /// The answer's body is longer than expected.
    LongBody,
    /// What came is not the protocol.
    Malformed,
    /// The answer's status is not 2xx.
    Status(u16),
    /// gRPC: `grpc-status` is missing or not 0.
    GrpcStatus,
    /// An echo that differs, or an answer that is not the origin's.
    Mismatch,
    /// Open loop: no answer by the end.
    Unanswered,
}

impl Fault {
    /// Its stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::ShortBody => "short_body",
            Self::LongBody => "long_body",
            Self::Malformed => "malformed",
            Self::Status(_) => "status",
            Self::GrpcStatus => "grpc_status",
            Self::Mismatch => "mismatch",
            Self::Unanswered => "unanswered",
        }
    }

    /// What an error of a socket means.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            // rustls tells breaches of its protocol so.
            io::ErrorKind::InvalidData => Self::Tls,
            _ => Self::Reset,
        }
    }

    /// What an error of the h2 crate means.
    pub(crate) fn of_h2(error: &h2::Error) -> Self {
        match error.get_io() {
            Some(error) => Self::of_io(error),
            None if error.is_reset() || error.is_go_away() => Self::Reset,
            None => Self::Malformed,
        }
    }
}
