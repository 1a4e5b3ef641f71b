//! What gRPC says in HTTP's terms: its deadline, its status, its message. Sources: the gRPC project's "gRPC over
//! HTTP2" and "HTTP to gRPC Status Code Mapping".

use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::time::Duration;

/// The number in `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GrpcStatus {
    /// It went well.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Nothing better is known.
    Unknown = 2,
    /// The request makes no sense whatever the state.
    InvalidArgument = 3,
    /// The time ran out.
    DeadlineExceeded = 4,
    /// What was asked for is not there.
    NotFound = 5,
    /// What was to be made is there already.
    AlreadyExists = 6,
    /// The caller may not.
    PermissionDenied = 7,
    /// A quota or space is used up.
    ResourceExhausted = 8,
    /// The state forbids it.
    FailedPrecondition = 9,
    /// A conflict; a higher level may try again.
    Aborted = 10,
    /// Beyond the end.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// A broken invariant.
    Internal = 13,
    /// Not now; the same call may be tried again.
    Unavailable = 14,
    /// Data are lost.
    DataLoss = 15,
    /// Who the caller is is not known.
    Unauthenticated = 16,
}

impl GrpcStatus {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// What a client makes of an HTTP status that came without `grpc-status`. The mapping is meant for answers that
    /// no gRPC server gave, which is why 404 is [`Unimplemented`](Self::Unimplemented) and 200 is not success.
    #[must_use]
    pub fn from_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// The HTTP status that says most nearly the same, for metrics and for outcomes by class.
    #[must_use]
    pub fn to_http(self) -> StatusCode {
        match self {
            Self::Ok => StatusCode::OK,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Aborted => StatusCode::CONFLICT,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            // 499 is what proxies record for a client that went away; no registry has it.
            Self::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unknown | Self::Internal | Self::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Reads `grpc-status`. A number that no status has is [`Unknown`](Self::Unknown), as clients take it; `None` for
    /// what is no number.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: Option<usize> = std::str::from_utf8(value).ok()?.parse().ok();
        Some(number.and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Unknown))
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The value of `grpc-status`.
    #[must_use]
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from(u16::from(self.code()))
    }
}

/// Whether a message is gRPC by its `Content-Type`: `application/grpc`, with `+proto` or parameters or without.
/// `application/grpc-web` is another protocol.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().split_at_checked(TYPE.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
    })
}

/// How long the caller waits, from `grpc-timeout`: at most eight digits and a unit. `None` for anything else, zero
/// included: like Envoy, a proxy does not fail a call over it.
#[must_use]
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let timeout = match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    };
    (!timeout.is_zero()).then_some(timeout)
}

/// The value of `grpc-message`: everything outside of printable ASCII, and `%`, percent-encoded.
#[must_use]
pub fn message(text: &str) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte),
            _ => encoded.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        }
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(encoded)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timeouts() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("00000001S", Some(Duration::from_secs(1))),
            ("100000000m", None),
            ("0S", None),
            ("S", None),
            ("5", None),
            ("", None),
            ("+5S", None),
            ("5s", None),
            ("5 S", None),
            ("\u{fc}S", None),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn content_types() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=utf-8", true),
            ("application/grpc ;x", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn statuses() {
        for (http, expected) in [
            (200, 2),
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
            (502, 14),
            (503, 14),
            (504, 14),
            (418, 2),
            (302, 2),
        ] {
            let status = StatusCode::from_u16(http).expect("a status");
            assert_eq!(GrpcStatus::from_http(status).code(), expected, "{http}");
        }
        let http = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        for (code, http) in http.into_iter().enumerate() {
            let status = GrpcStatus::parse(code.to_string().as_bytes()).expect("a status");
            assert_eq!((status.code() as usize, status.to_http().as_u16()), (code, http));
            assert_eq!(status.to_value(), code.to_string());
        }
        assert_eq!(GrpcStatus::parse(b"17"), Some(GrpcStatus::Unknown));
        assert_eq!(GrpcStatus::parse(b"99999999999999999999999"), Some(GrpcStatus::Unknown));
        for value in [&b""[..], b"-1", b"+1", b"x", b"1 "] {
            assert_eq!(GrpcStatus::parse(value), None);
        }
    }

    #[test]
    fn messages() {
        for (text, expected) in
            [("no healthy upstream", "no healthy upstream"), ("100%\r\n\u{fc}~", "100%25%0D%0A%C3%BC~"), ("", "")]
        {
            assert_eq!(message(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_message_survives(text: String) {
            let value = message(&text);
            let mut bytes = value.as_bytes().iter().copied();
            let mut decoded = Vec::new();
            while let Some(byte) = bytes.next() {
                if byte == b'%' {
                    let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("digits");
                    decoded.push(u8::from_str_radix(digits, 16).expect("digits"));
                } else {
                    decoded.push(byte);
                }
            }
            prop_assert_eq!(decoded, text.into_bytes());
        }

        #[test]
        fn a_timeout_never_panics(value: Vec<u8>) {
            let _ = parse_timeout(&value);
        }
    }
}
