//! Heads out: one pass from the `http` types to bytes, and how the body behind them is framed.
//!
//! What frames the body is decided here, by the head's own Content-Length and the body's size hint, and written once:
//! a Transfer-Encoding within a head is never passed on. Names go out as they are held, in lower case.

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
    response,
};
use http_body::SizeHint;

use crate::io::BRIEF;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none. A Content-Length in the head stays: it may speak of what HEAD would have had, or of 304.
    Nothing,
    /// These many bytes.
    Length(u64),
    /// Chunks, with trailers if there are any.
    Chunked,
    /// The connection's end is the body's. Responses to HTTP/1.0 only.
    UntilClose,
}

/// Whether a body is there at all, and what is known of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It has ended before it began.
    Nothing,
    /// It has this length.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

impl Framing {
    /// Whether the peer has soon read all of such a message ([`BRIEF`]).
    pub fn is_brief(self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Length(length) => length <= BRIEF,
            Self::Chunked | Self::UntilClose => false,
        }
    }
}

impl Content {
    /// What a body tells of itself before it is read.
    #[must_use]
    pub fn of<B: http_body::Body>(body: &B) -> Self {
        if body.is_end_stream() {
            return Self::Nothing;
        }
        Self::hinted(&body.size_hint())
    }

    fn hinted(hint: &SizeHint) -> Self {
        hint.exact().map_or(Self::Unknown, Self::Known)
    }
}

/// How a request's body is framed: by the length that its head names, else by the one that is known, else in chunks.
#[must_use]
pub fn frame_request(headers: &HeaderMap, content: Content) -> Framing {
    // Most requests have no content, and their lengths need not be looked for.
    match content {
        Content::Nothing => Framing::Nothing,
        Content::Known(length) => Framing::Length(content_length(headers).unwrap_or(length)),
        Content::Unknown => content_length(headers).map_or(Framing::Chunked, Framing::Length),
    }
}

/// How the body of a response is framed that answers `method` of a client that speaks `client` (RFC 9112 §6.3). With
/// [`Framing::UntilClose`] the connection must say that it closes.
#[must_use]
pub fn frame_response(head: &response::Parts, content: Content, method: &Method, client: Version) -> Framing {
    let bodiless = *method == Method::HEAD
        || (*method == Method::CONNECT && head.status.is_success())
        || head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        return Framing::Nothing;
    }
    let announced = || content_length(&head.headers);
    match content {
        // A body that is not there and a length that is: said as it is, since nobody takes it for what follows.
        Content::Nothing => Framing::Length(0),
        Content::Known(length) => Framing::Length(announced().unwrap_or(length)),
        Content::Unknown => match announced() {
            Some(length) => Framing::Length(length),
            None if client >= Version::HTTP_11 => Framing::Chunked,
            None => Framing::UntilClose,
        },
    }
}

/// The length that a head names; `framing` or h2 has looked at what came from a peer.
#[must_use]
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    // A look at each of a few names costs less than the hash of one.
    let value = match headers.len() {
        0..=8 => headers.iter().find(|(name, _)| **name == CONTENT_LENGTH).map(|(_, value)| value),
        _ => headers.get(CONTENT_LENGTH),
    };
    let digits = value?.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Writes a request's head. Its target is the URI as it stands: origin-form, or the authority for CONNECT.
pub fn request(out: &mut Vec<u8>, method: &Method, uri: &Uri, headers: &HeaderMap, framing: Framing) {
    out.reserve(ROOM);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    target(out, uri);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(out, headers, framing, Own::default());
    out.extend_from_slice(b"\r\n");
}

/// What the server's side itself says in a response's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// What tells the time, for heads that have no Date.
    pub date: Option<fn() -> HeaderValue>,
    /// What becomes of the connection, in place of what the head says of it.
    pub connection: Option<&'static str>,
}

/// Writes a response's head, or that of an interim response.
pub fn response(out: &mut Vec<u8>, head: &response::Parts, framing: Framing, own: Own) {
    out.reserve(ROOM);
    status_line(out, head.status);
    fields(out, &head.headers, framing, own);
    out.extend_from_slice(b"\r\n");
}

/// A head of the common size.
const ROOM: usize = 512;

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    // The space stays where there is no reason (RFC 9112 §4).
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn target(out: &mut Vec<u8>, uri: &Uri) {
    match (uri.path_and_query(), uri.authority()) {
        (Some(target), None) => out.extend_from_slice(target.as_str().as_bytes()),
        (None, Some(authority)) => out.extend_from_slice(authority.as_str().as_bytes()),
        (Some(_), Some(_)) | (None, None) => out.extend_from_slice(uri.to_string().as_bytes()),
    }
}

#[inline]
fn fields(out: &mut Vec<u8>, headers: &HeaderMap, framing: Framing, own: Own) {
    let (mut date, mut length_said) = (own.date, false);
    for (name, value) in headers {
        if *name == CONTENT_LENGTH {
            match framing {
                Framing::Nothing => {}
                // In the place it had, and as it is meant.
                Framing::Length(length) if !length_said => {
                    content_length_field(out, length);
                    length_said = true;
                    continue;
                }
                Framing::Length(_) | Framing::Chunked | Framing::UntilClose => continue,
            }
        } else if *name == TRANSFER_ENCODING || (own.connection.is_some() && *name == CONNECTION) {
            continue;
        } else if *name == DATE {
            date = None;
        }
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    match framing {
        Framing::Length(length) if !length_said => content_length_field(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(_) | Framing::Nothing | Framing::UntilClose => {}
    }
    if let Some(connection) = own.connection {
        field(out, b"connection", connection.as_bytes());
    }
    if let Some(date) = date {
        field(out, b"date", date().as_bytes());
    }
}

fn content_length_field(out: &mut Vec<u8>, length: u64) {
    field(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
}

#[inline(always)]
pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
