//! The fields of a response that came by HTTP/2, held to what [`ResponseFramer`](super::ResponseFramer) holds HTTP/1's to.
//!
//! h2 refuses what breaks a stream: bytes that no field may have, upper case, `Connection` and its kin, lengths that differ from
//! each other or from the DATA. It lets pass what two readers behind us could understand differently. Pseudo-header fields that
//! are no response's, and those in trailers, it drops and does not tell of: they go no further, and are not known here.

use super::{
    fault::{Fault, Violation},
    length::Declared,
    limits::Limits,
};
use http::{HeaderMap, StatusCode};

/// In a response's extensions: the bytes of its head, where they are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeHead(pub usize);

impl LargeHead {
    /// A head of so many bytes, if they are many: beyond 4 KiB. Common ones have less.
    #[inline]
    #[must_use]
    pub fn of(bytes: usize) -> Option<Self> {
        (bytes > 4 * 1024).then_some(Self(bytes))
    }
}

/// Whether the head of a final or an interim response may pass, and the bytes of its fields.
///
/// # Errors
///
/// The rule it breaks.
pub fn judge_http2_response(status: StatusCode, headers: &HeaderMap) -> Result<usize, Violation> {
    // RFC 9113 §8.6: there is none.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Violation::UnaskedUpgrade);
    }
    let mut body = Declared::default();
    let mut bytes = 0;
    for (name, value) in headers {
        let (name, value) = (name.as_str(), value.as_bytes());
        bytes += name.len() + value.len();
        match name.len() {
            2 if name == "te" => return Err(Violation::ConnectionSpecific),
            14 if name == "content-length" => body.length(value)?,
            _ => field(name, value)?,
        }
    }
    let empty = matches!(body, Declared::Nothing | Declared::Length(0));
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    if bodiless && !empty { Err(Violation::BodyNotAllowed) } else { Ok(bytes) }
}

/// Whether trailers that came by HTTP/2 are well-formed; what they may be called is another question.
///
/// # Errors
///
/// The rule they break.
pub fn judge_http2_trailers(trailers: &HeaderMap) -> Result<(), Fault> {
    trailers.iter().try_for_each(|(name, value)| field(name.as_str(), value.as_bytes()))
}

fn field(name: &str, value: &[u8]) -> Result<(), Fault> {
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
        return Err(Fault::SurroundingSpace);
    }
    // The one byte that the map of fields takes in a name and RFC 9110 §5.6.2 does not.
    if memchr::memchr(b'"', name.as_bytes()).is_some() {
        return Err(Fault::BadFieldName);
    }
    Ok(())
}

/// Counts interim responses; RFC 9110 §15.2 says nothing of how many there may be.
#[derive(Debug, Default)]
pub struct Interim(u8);

impl Interim {
    /// One more.
    ///
    /// # Errors
    ///
    /// It is one too many.
    pub fn another(&mut self) -> Result<(), Violation> {
        self.0 += 1;
        if self.0 > Limits::default().max_interim { Err(Violation::TooManyInterim) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn fields(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers
                .append(HeaderName::from_lowercase(name.as_bytes()).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    #[test]
    fn heads() {
        let length = "content-length";
        for (status, head, expected) in [
            (200, &[(length, "2"), ("x", "a b\tc"), ("y", "")][..], Ok(())),
            (200, &[(length, "2"), (length, "2")], Err(Fault::RepeatedLength.into())),
            (200, &[(length, "")], Err(Fault::BadLength.into())),
            (200, &[(length, "2 ")], Err(Fault::BadLength.into())),
            (200, &[(length, "9223372036854775808")], Err(Fault::BadLength.into())),
            (304, &[(length, "2"), (length, "2")], Err(Fault::RepeatedLength.into())),
            (304, &[(length, "2")], Ok(())),
            (204, &[(length, "0")], Ok(())),
            (204, &[(length, "2")], Err(Violation::BodyNotAllowed)),
            (103, &[(length, "2")], Err(Violation::BodyNotAllowed)),
            (103, &[("link", "</a>")], Ok(())),
            (101, &[], Err(Violation::UnaskedUpgrade)),
            (200, &[("te", "trailers")], Err(Violation::ConnectionSpecific)),
            (200, &[("x", " a")], Err(Fault::SurroundingSpace.into())),
            (200, &[("x", "a\t")], Err(Fault::SurroundingSpace.into())),
            (200, &[("x", " ")], Err(Fault::SurroundingSpace.into())),
            (200, &[("x\"", "a")], Err(Fault::BadFieldName.into())),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judge_http2_response(status, &fields(head)).map(|_| ()), expected, "{status} {head:?}");
        }
    }

    #[test]
    fn trailers() {
        assert_eq!(judge_http2_trailers(&fields(&[("x", "a b"), ("y", "")])), Ok(()));
        assert_eq!(judge_http2_trailers(&fields(&[("x", "a ")])), Err(Fault::SurroundingSpace));
    }
}
