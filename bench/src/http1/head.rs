//! The head of a message: what the rest of the program must know of it, and nothing else.

use super::Chunked;
use std::mem::MaybeUninit;

/// Fields that a head may have; proxies add some.
const FIELDS: usize = 64;

/// Bytes that are no HTTP/1.1, or more of a head than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP/1.1 message")]
pub(crate) struct Malformed;

/// How long a message's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes.
    Known(u64),
    /// Until its last chunk.
    Chunked(Chunked),
    /// Until the connection ends (responses only).
    UntilClose,
}

/// What matters of a request's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    /// The target as sent.
    pub(crate) target: &'a str,
    /// Its body.
    pub(crate) length: Length,
    /// The connection may be used again.
    pub(crate) keep_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub(crate) expects_continue: bool,
    /// Bytes of the head.
    pub(crate) len: usize,
}

/// What matters of a response's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) length: Length,
    pub(super) keep_alive: bool,
    pub(super) len: usize,
}

/// What fields say of the message.
struct Said {
    length: Option<Length>,
    keep_alive: bool,
    expects_continue: bool,
}

fn survey(version: u8, fields: &[httparse::Header<'_>]) -> Result<Said, Malformed> {
    let mut said = Said { length: None, keep_alive: version == 1, expects_continue: false };
    for field in fields {
        // By length first: almost every field is dismissed without its name being read.
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = std::str::from_utf8(field.value).ok().and_then(|value| value.trim().parse().ok());
                said.length = Some(Length::Known(length.ok_or(Malformed)?));
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                said.length = Some(Length::Chunked(Chunked::default()));
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                if field.value.eq_ignore_ascii_case(b"close") {
                    said.keep_alive = false;
                } else if field.value.eq_ignore_ascii_case(b"keep-alive") {
                    said.keep_alive = true;
                }
            }
            6 if field.name.eq_ignore_ascii_case("expect") => said.expects_continue = true,
            _ => {}
        }
    }
    Ok(said)
}

/// Reads a request's head; `None`: more bytes are needed.
///
/// # Errors
///
/// When it is none.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Option<RequestHead<'_>>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
    let httparse::Status::Complete(len) = parsed.map_err(|_| Malformed)? else { return Ok(None) };
    let said = survey(request.version.ok_or(Malformed)?, request.headers)?;
    Ok(Some(RequestHead {
        target: request.path.ok_or(Malformed)?,
        length: said.length.unwrap_or(Length::Known(0)),
        keep_alive: said.keep_alive,
        expects_continue: said.expects_continue,
        len,
    }))
}

/// Reads a response's head, to a request that was not HEAD; `None`: more bytes are needed.
pub(super) fn parse_response(bytes: &[u8]) -> Result<Option<ResponseHead>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let httparse::Status::Complete(len) = parsed.map_err(|_| Malformed)? else { return Ok(None) };
    let said = survey(response.version.ok_or(Malformed)?, response.headers)?;
    let status = response.code.ok_or(Malformed)?;
    let length = match status {
        100..200 | 204 | 304 => Length::Known(0),
        _ => said.length.unwrap_or(Length::UntilClose),
    };
    let keep_alive = said.keep_alive && length != Length::UntilClose;
    Ok(Some(ResponseHead { status, length, keep_alive, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_length_and_whether_another_may_follow() {
        for (head, length, keep_alive) in [
            ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", Length::Known(0), true),
            ("GET /a HTTP/1.0\r\n\r\n", Length::Known(0), false),
            ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Length::Known(0), true),
            ("POST /a HTTP/1.1\r\ncontent-length: 12\r\nConnection: close\r\n\r\n", Length::Known(12), false),
            ("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Chunked(Chunked::default()), true),
        ] {
            let parsed = parse_request(head.as_bytes()).unwrap().unwrap();
            assert_eq!((parsed.target, parsed.length, parsed.keep_alive), ("/a", length, keep_alive), "{head}");
            assert_eq!(parsed.len, head.len());
            for cut in 0..head.len() {
                assert_eq!(parse_request(&head.as_bytes()[..cut]), Ok(None), "{head} cut at {cut}");
            }
        }
        assert!(parse_request(b"GET /a HTTP/1.1\r\nContent-Length: x\r\n\r\n").is_err());
        assert!(parse_request(b"\0\0\0\0").is_err());
    }
}
