//! How long a message's body is: Content-Length and Transfer-Encoding, and nothing that could be read two ways.

use super::fault::Fault;
use super::layout::Version;
use super::section::Field;

impl Version {
    /// Reads `HTTP/1.0` or `HTTP/1.1`; `None` when `word` has not even a version's shape.
    #[inline(always)]
    pub(super) fn read(word: &[u8]) -> Option<Result<Self, Fault>> {
        match word {
            b"HTTP/1.1" => Some(Ok(Self::Http11)),
            b"HTTP/1.0" => Some(Ok(Self::Http10)),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                Some(Err(Fault::BadVersion))
            }
            _ => None,
        }
    }
}

/// What is left of the body that a stream stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing: it has ended, or there is none.
    Nothing,
    /// These many bytes of content.
    Length(u64),
    /// Chunks, as many as come.
    Chunked,
    /// All that comes until the connection is closed. Responses only.
    UntilClose,
}

/// What a head says of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Declared {
    #[default]
    Nothing,
    Length(u64),
    Chunked,
}

impl Declared {
    /// Takes in a Content-Length.
    #[inline]
    pub(super) fn length(&mut self, value: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Nothing => *self = Self::Length(decimal(value).ok_or(Fault::BadLength)?),
            Self::Length(_) => return Err(Fault::RepeatedLength),
            Self::Chunked => return Err(Fault::LengthAndEncoding),
        }
        Ok(())
    }

    /// Takes in a Transfer-Encoding.
    #[inline]
    pub(super) fn encoding(&mut self, value: &[u8], version: Version) -> Result<(), Fault> {
        match (&self, version) {
            (Self::Length(_), _) => Err(Fault::LengthAndEncoding),
            (Self::Chunked, _) => Err(Fault::RepeatedEncoding),
            (Self::Nothing, Version::Http10) => Err(Fault::EncodingOnOldVersion),
            (Self::Nothing, Version::Http11) if value.eq_ignore_ascii_case(b"chunked") => {
                *self = Self::Chunked;
                Ok(())
            }
            (Self::Nothing, Version::Http11) => Err(Fault::UnsupportedEncoding),
        }
    }
}

/// Refuses the trailers of RFC 9110 6.5.1: those that frame, route, modify or authenticate a message, or say how its
/// content is to be read. Merged into the head by someone behind us, they would be believed.
pub(super) fn trailer(field: Field<'_>) -> Result<(), Fault> {
    if is_forbidden_trailer(field.name) { Err(Fault::ForbiddenTrailer) } else { Ok(()) }
}

/// Whether a field of this name may not be a trailer, as HTTP/1 refuses it; for trailers that came by HTTP/2.
#[must_use]
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 38] = [
        b"age",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"pragma",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-forwarded-client-cert",
    ];
    FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

/// One or more digits whose value is below 2^63: above that, some recipient's signed arithmetic wraps.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, digit| {
        digit.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })?;
    // 19 digits stay below 10^19 < 2^64: no wrap has happened.
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_plain_decimals() {
        for (text, value) in [("0", 0), ("5", 5), ("0007", 7), ("9223372036854775807", i64::MAX as u64)] {
            assert_eq!(decimal(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "+5", "-5", "5,5", "5 5", "0x5", "5.0", "9223372036854775808", "18446744073709551621", "٥"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }
}
