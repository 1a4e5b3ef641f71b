//! Why a request's head is refused.

use http::StatusCode;

/// Why a head is refused, or why an upstream's response cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeadRefusal {
    /// Neither `Host` nor an authority, where the version demands one (RFC 9112 §3.2, RFC 9113 §8.3.1).
    #[error("the request names no host")]
    HostMissing,
    /// More than one `Host` (RFC 9112 §3.2).
    #[error("the request has several Host fields")]
    HostRepeated,
    /// A host with a character it cannot have, user information, or a malformed port or address.
    #[error("the request's host is malformed")]
    HostMalformed,
    /// `Host` says something other than the request target or `:authority`.
    #[error("Host and the request target disagree")]
    HostMismatch,
    /// A `:scheme` other than `http` and `https`.
    #[error("the request's scheme is neither http nor https")]
    SchemeUnknown,
    /// A field of HTTP/1 connections on HTTP/2 (RFC 9113 §8.2.2).
    #[error("the HTTP/2 message has a field that belongs to HTTP/1 connections")]
    ConnectionField,
    /// `TE` with anything but `trailers` on HTTP/2 (RFC 9113 §8.2.2).
    #[error("TE has something other than trailers on HTTP/2")]
    TeOnHttp2,
    /// A field value on HTTP/2 that begins or ends with white space, or has CR, LF or NUL (RFC 9113 §8.2.1).
    #[error("a field value has a byte that is not allowed at its place")]
    FieldValue,
    /// `Content-Length` that is not a number.
    #[error("Content-Length is malformed")]
    LengthMalformed,
    /// Several `Content-Length`, equal ones too.
    #[error("the message has several Content-Length")]
    LengthRepeated,
    /// `Connection` names a field that is meant for all hops, so that a proxy removes it (RFC 9110 §7.6.1).
    #[error("Connection names a field that is not the connection's")]
    ConnectionNamesEndToEnd,
    /// More fields than a header map can hold.
    #[error("the head has too many fields")]
    TooManyFields,
}

impl HeadRefusal {
    /// The status of the answer to a request.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::HostMismatch
            | Self::SchemeUnknown
            | Self::ConnectionField
            | Self::TeOnHttp2
            | Self::FieldValue
            | Self::LengthMalformed
            | Self::LengthRepeated
            | Self::ConnectionNamesEndToEnd => StatusCode::BAD_REQUEST,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostMalformed => "host_malformed",
            Self::HostMismatch => "host_mismatch",
            Self::SchemeUnknown => "scheme_unknown",
            Self::ConnectionField => "connection_field_on_http2",
            Self::TeOnHttp2 => "te_on_http2",
            Self::FieldValue => "field_value",
            Self::LengthMalformed => "content_length_malformed",
            Self::LengthRepeated => "content_length_repeated",
            Self::ConnectionNamesEndToEnd => "connection_names_end_to_end",
            Self::TooManyFields => "too_many_fields",
        }
    }
}
