//! What is wrong with a message: three enums, each variant with a stable name for a metric label.
//!
//! [`Fault`] is what requests and responses share (fields, lengths, chunks); [`Refusal`] adds what only a request can
//! do wrong and the status it is answered with; [`Violation`] adds what only a response can do wrong.

/// A breach of HTTP/1 syntax or framing that either side can commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// CR not followed by LF. RFC 9112 2.2.
    #[error("a bare CR")]
    BareCr,
    /// LF not preceded by CR: a recipient may take it as a line end, and two recipients then differ. RFC 9112 2.2.
    #[error("a bare LF")]
    BareLf,
    /// NUL or another control byte in a field. RFC 9110 5.5.
    #[error("a control byte in a field")]
    ControlByte,
    /// A field line that begins with a space or a tab. RFC 9112 5.2.
    #[error("a folded field line")]
    ObsFold,
    /// Whitespace between a field's name and its colon. RFC 9112 5.1.
    #[error("whitespace before a field's colon")]
    SpaceBeforeColon,
    /// A field name that is no token, or a line without a colon. RFC 9110 5.1.
    #[error("a malformed field name")]
    BadFieldName,
    /// A field value that begins or ends with a space or a tab, on HTTP/2: HTTP/1 has them around every value, and takes them
    /// off. RFC 9113 8.2.1.
    #[error("a field value with space around it")]
    SurroundingSpace,
    /// A field name longer than 256 bytes. RFC 6585 5.
    #[error("a field name over 256 bytes")]
    FieldNameTooLong,
    /// A field name with an underscore, where the policy refuses it: gateways that turn `-` into `_` (CGI) cannot
    /// tell the two apart.
    #[error("an underscore in a field name")]
    Underscore,
    /// More field lines than the limit. RFC 6585 5.
    #[error("too many fields")]
    TooManyFields,
    /// A head longer than the limit. RFC 6585 5.
    #[error("a head that is too large")]
    HeadTooLarge,
    /// More trailer lines than the limit.
    #[error("too many trailers")]
    TooManyTrailers,
    /// A trailer section longer than the limit.
    #[error("a trailer section that is too large")]
    TrailersTooLarge,
    /// A trailer that frames, routes, authenticates or describes the content. RFC 9110 6.5.1.
    #[error("a field that may not be a trailer")]
    ForbiddenTrailer,
    /// Content-Length beside Transfer-Encoding. RFC 9112 6.1: the mark of request smuggling.
    #[error("Content-Length beside Transfer-Encoding")]
    LengthAndEncoding,
    /// More than one Content-Length, equal ones included. RFC 9110 8.6.
    #[error("more than one Content-Length")]
    RepeatedLength,
    /// A Content-Length that is not one decimal number below 2^63. RFC 9110 8.6.
    #[error("a malformed Content-Length")]
    BadLength,
    /// A Transfer-Encoding other than `chunked` alone. RFC 9112 6.1.
    #[error("a Transfer-Encoding other than chunked")]
    UnsupportedEncoding,
    /// More than one Transfer-Encoding. RFC 9112 6.1.
    #[error("more than one Transfer-Encoding")]
    RepeatedEncoding,
    /// Transfer-Encoding in an HTTP/1.0 message: its framing is faulty. RFC 9112 6.1.
    #[error("Transfer-Encoding in an HTTP/1.0 message")]
    EncodingOnOldVersion,
    /// A version other than HTTP/1.0 and HTTP/1.1. RFC 9110 15.6.6.
    #[error("a version other than HTTP/1.0 and HTTP/1.1")]
    BadVersion,
    /// A chunk size that is not 1 to 16 hexadecimal digits below 2^63. RFC 9112 7.1.
    #[error("a malformed chunk size")]
    BadChunkSize,
    /// A control byte in a chunk extension. RFC 9112 7.1.1.
    #[error("a malformed chunk extension")]
    BadChunkExtension,
    /// The chunk extensions of one body exceed the limit. RFC 9112 7.1.1.
    #[error("chunk extensions that are too long")]
    ChunkExtensionsTooLong,
    /// Chunk data not followed by CRLF. RFC 9112 7.1.
    #[error("chunk data longer than its size")]
    BadChunkEnd,
}

impl Fault {
    /// All of them, so that every counter exists before its first use.
    pub const ALL: &'static [Self] = &[
        Self::BareCr,
        Self::BareLf,
        Self::ControlByte,
        Self::ObsFold,
        Self::SpaceBeforeColon,
        Self::BadFieldName,
        Self::SurroundingSpace,
        Self::FieldNameTooLong,
        Self::Underscore,
        Self::TooManyFields,
        Self::HeadTooLarge,
        Self::TooManyTrailers,
        Self::TrailersTooLarge,
        Self::ForbiddenTrailer,
        Self::LengthAndEncoding,
        Self::RepeatedLength,
        Self::BadLength,
        Self::UnsupportedEncoding,
        Self::RepeatedEncoding,
        Self::EncodingOnOldVersion,
        Self::BadVersion,
        Self::BadChunkSize,
        Self::BadChunkExtension,
        Self::ChunkExtensionsTooLong,
        Self::BadChunkEnd,
    ];

    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareCr => "bare_cr",
            Self::BareLf => "bare_lf",
            Self::ControlByte => "control_byte",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::BadFieldName => "bad_field_name",
            Self::SurroundingSpace => "surrounding_space",
            Self::FieldNameTooLong => "field_name_too_long",
            Self::Underscore => "underscore",
            Self::TooManyFields => "too_many_fields",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyTrailers => "too_many_trailers",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::LengthAndEncoding => "length_and_encoding",
            Self::RepeatedLength => "repeated_length",
            Self::BadLength => "bad_length",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::RepeatedEncoding => "repeated_encoding",
            Self::EncodingOnOldVersion => "encoding_on_old_version",
            Self::BadVersion => "bad_version",
            Self::BadChunkSize => "bad_chunk_size",
            Self::BadChunkExtension => "bad_chunk_extension",
            Self::ChunkExtensionsTooLong => "chunk_extensions_too_long",
            Self::BadChunkEnd => "bad_chunk_end",
        }
    }

    /// The status for a request that commits it.
    const fn status(self) -> u16 {
        match self {
            Self::UnsupportedEncoding => 501,
            Self::BadVersion => 505,
            Self::FieldNameTooLong
            | Self::TooManyFields
            | Self::HeadTooLarge
            | Self::TooManyTrailers
            | Self::TrailersTooLarge => 431,
            Self::BareCr
            | Self::BareLf
            | Self::ControlByte
            | Self::ObsFold
            | Self::SpaceBeforeColon
            | Self::BadFieldName
            | Self::SurroundingSpace
            | Self::Underscore
            | Self::ForbiddenTrailer
            | Self::LengthAndEncoding
            | Self::RepeatedLength
            | Self::BadLength
            | Self::RepeatedEncoding
            | Self::EncodingOnOldVersion
            | Self::BadChunkSize
            | Self::BadChunkExtension
            | Self::ChunkExtensionsTooLong
            | Self::BadChunkEnd => 400,
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// A breach that either side can commit.
    #[error("malformed request: {0}")]
    Malformed(#[from] Fault),
    /// More than one empty line before a request line. RFC 9112 2.2 asks for tolerance of at least one.
    #[error("malformed request: empty lines before it")]
    EmptyLines,
    /// A request line that is not three words between single spaces. RFC 9112 3.
    #[error("malformed request line")]
    BadRequestLine,
    /// A method that is no token. RFC 9110 9.1.
    #[error("malformed method")]
    BadMethod,
    /// A method of more than 32 bytes. RFC 9112 3: 501.
    #[error("a method over 32 bytes")]
    MethodTooLong,
    /// A target with a byte that may not stand there, or in a form that its method may not have. RFC 9112 3.2.
    #[error("malformed request target")]
    BadTarget,
    /// A target longer than the limit. RFC 9112 3: 414.
    #[error("a request target that is too long")]
    TargetTooLong,
    /// An HTTP/1.1 request without Host. RFC 9112 3.2.
    #[error("no Host")]
    MissingHost,
    /// More than one Host. RFC 9112 3.2.
    #[error("more than one Host")]
    SeveralHosts,
    /// A Host that is not `host[:port]`: userinfo, commas, spaces, an empty value. RFC 9112 3.2, RFC 9110 7.2.
    #[error("malformed Host")]
    BadHost,
    /// A Host that differs from the target's authority. RFC 9112 3.2.2 lets a proxy replace it; what stands behind
    /// may have looked at the other one.
    #[error("Host differs from the request target")]
    HostMismatch,
    /// An expectation other than `100-continue`. RFC 9110 10.1.1.
    #[error("an unknown expectation")]
    UnknownExpectation,
    /// Content on CONNECT or TRACE. RFC 9110 9.3.6 and 9.3.8.
    #[error("content on a method that has none")]
    BodyNotAllowed,
    /// The head did not arrive in time. RFC 9110 15.5.9.
    #[error("the head did not arrive in time")]
    HeadTimeout,
    /// The body made no progress for too long. RFC 9110 15.5.9.
    #[error("the body made no progress")]
    BodyTimeout,
    /// Memory is short, and what has come of the head or the trailers is among the largest parts. RFC 9110 15.6.4.
    #[error("memory is short, and the request is not whole")]
    ShortMemory,
}

impl Refusal {
    /// Those that are no [`Fault`]: together with [`Fault::ALL`] every counter's label.
    pub const OWN: &'static [Self] = &[
        Self::EmptyLines,
        Self::BadRequestLine,
        Self::BadMethod,
        Self::MethodTooLong,
        Self::BadTarget,
        Self::TargetTooLong,
        Self::MissingHost,
        Self::SeveralHosts,
        Self::BadHost,
        Self::HostMismatch,
        Self::UnknownExpectation,
        Self::BodyNotAllowed,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::ShortMemory,
    ];

    /// Every refusal there is, so that every counter exists before its first use.
    pub fn all() -> impl Iterator<Item = Self> {
        Fault::ALL.iter().copied().map(Self::Malformed).chain(Self::OWN.iter().copied())
    }

    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.name(),
            Self::EmptyLines => "empty_lines",
            Self::BadRequestLine => "bad_request_line",
            Self::BadMethod => "bad_method",
            Self::MethodTooLong => "method_too_long",
            Self::BadTarget => "bad_target",
            Self::TargetTooLong => "target_too_long",
            Self::MissingHost => "missing_host",
            Self::SeveralHosts => "several_hosts",
            Self::BadHost => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::UnknownExpectation => "unknown_expectation",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::ShortMemory => "short_memory",
        }
    }

    /// The status to answer with; the connection closes after it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(fault) => fault.status(),
            Self::MethodTooLong => 501,
            Self::TargetTooLong => 414,
            Self::UnknownExpectation => 417,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::ShortMemory => 503,
            Self::EmptyLines
            | Self::BadRequestLine
            | Self::BadMethod
            | Self::BadTarget
            | Self::MissingHost
            | Self::SeveralHosts
            | Self::BadHost
            | Self::HostMismatch
            | Self::BodyNotAllowed => 400,
        }
    }
}

/// Why a response is not passed on, nor anything after it on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A breach that either side can commit.
    #[error("malformed response: {0}")]
    Malformed(#[from] Fault),
    /// A status line that is not version, three digits, reason. RFC 9112 4.
    #[error("malformed status line")]
    BadStatusLine,
    /// Bytes while no request is outstanding: before the first, or after a response's end. RFC 9112 9.2.
    #[error("bytes that no request asked for")]
    Unsolicited,
    /// A response that came before a byte of its request was sent: it answers something else. RFC 9112 9.2.
    #[error("a response before its request")]
    Early,
    /// More interim (1xx) responses than the limit. RFC 9110 15.2.
    #[error("too many interim responses")]
    TooManyInterim,
    /// 101 to a request that asked for no upgrade. RFC 9110 15.2.2.
    #[error("an upgrade that was not asked for")]
    UnaskedUpgrade,
    /// A length or an encoding on a response that can have no content. RFC 9110 8.6, RFC 9112 6.1.
    #[error("content on a response that has none")]
    BodyNotAllowed,
    /// A field of one connection in a response by HTTP/2, which has none. RFC 9113 8.2.2.
    #[error("a field of one connection on HTTP/2")]
    ConnectionSpecific,
}

impl Violation {
    /// Those that are no [`Fault`].
    pub const OWN: &'static [Self] = &[
        Self::BadStatusLine,
        Self::Unsolicited,
        Self::Early,
        Self::TooManyInterim,
        Self::UnaskedUpgrade,
        Self::BodyNotAllowed,
        Self::ConnectionSpecific,
    ];

    /// Every violation there is, so that every counter exists before its first use.
    pub fn all() -> impl Iterator<Item = Self> {
        Fault::ALL.iter().copied().map(Self::Malformed).chain(Self::OWN.iter().copied())
    }

    /// A stable name in snake case: a metric's label value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.name(),
            Self::BadStatusLine => "bad_status_line",
            Self::Unsolicited => "unsolicited",
            Self::Early => "early",
            Self::TooManyInterim => "too_many_interim",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::ConnectionSpecific => "connection_specific",
        }
    }
}
