//! A request made once and sent many times, and what its answer must be.

use super::{
    fault::Fault,
    plan::{Application, Reuse},
    tally::Good,
};
use crate::origin;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use std::{cell::Cell, io::Write as _};

/// One request in all forms that are sent.
#[derive(Debug)]
pub(crate) struct Request {
    /// HTTP/1.1: head and body.
    pub(crate) http1: Bytes,
    /// HTTP/2 and gRPC: the head.
    pub(crate) http2: http::Request<()>,
    /// HTTP/2, gRPC (with its five bytes before) and TCP: the body or message.
    pub(crate) body: Bytes,
    /// Bytes asked to be sent.
    pub(crate) sent: u64,
    /// Bytes that the answer's body must have.
    pub(crate) expect: Option<u64>,
    /// What the answer's body must be.
    content: Option<Bytes>,
}

/// Bodies up to this length are compared each time; of longer ones the first [`LONG_COMPARED`] of a thread.
const ALWAYS_COMPARED: usize = 4096;
/// Comparing each would cost as much as reading it.
const LONG_COMPARED: u32 = 100;

/// An answer's body beside what it must be, in whatever pieces it comes.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    /// What is still to come; `None`: nobody knows.
    left: Option<&'a [u8]>,
    same: bool,
}

impl Comparison<'_> {
    /// The next piece.
    pub(crate) fn see(&mut self, data: &[u8]) {
        let Some(left) = self.left else { return };
        match left.strip_prefix(data) {
            Some(left) => self.left = Some(left),
            None => self.same = false,
        }
    }

    /// Whether all of it came and nothing else.
    pub(crate) fn judge(&self) -> Result<(), Fault> {
        if self.same && self.left.is_none_or(<[u8]>::is_empty) { Ok(()) } else { Err(Fault::Mismatch) }
    }
}

/// What a request is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) application: Application,
    pub(crate) reuse: Reuse,
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    pub(crate) body: &'a [u8],
    pub(crate) expect: Option<u64>,
    /// Answers are the bytes that our own origin sends.
    pub(crate) same_bytes: bool,
}

impl Request {
    pub(crate) fn new(spec: Spec<'_>) -> Result<Self, http::Error> {
        let body = spec.body;
        let http2 = head(spec)?;
        let http1 = http1(spec, &http2, body);
        let (sent, expect) = (body.len() as u64, spec.expect);
        let of_path = (spec.same_bytes && spec.application != Application::Grpc).then(|| origin::body(spec.path));
        let body = if spec.application == Application::Grpc {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
            [&[0][..], &length, body].concat()
        } else {
            body.to_vec()
        };
        let body = Bytes::from(body);
        // A call is answered with its own message.
        let content = of_path.or_else(|| spec.same_bytes.then(|| body.clone()));
        Ok(Self { http1: http1.into(), http2, body, sent, expect, content })
    }

    /// Compares the next answer, if it is to be compared; `compared` counts the long ones of a thread.
    pub(crate) fn compare(&self, compared: &Cell<u32>) -> Comparison<'_> {
        let mut left = self.content.as_deref();
        if left.is_some_and(|content| content.len() > ALWAYS_COMPARED) {
            if compared.get() >= LONG_COMPARED {
                left = None;
            }
            compared.set(compared.get().saturating_add(1));
        }
        Comparison { left, same: true }
    }

    /// Is an answer as it should be?
    pub(crate) fn judge(&self, status: u16, body: u64) -> Result<Good, Fault> {
        match self.expect {
            _ if !(200..300).contains(&status) => Err(Fault::Status(status)),
            Some(expected) if body < expected => Err(Fault::ShortBody),
            Some(expected) if body > expected => Err(Fault::LongBody),
            _ => Ok(Good { received: body, sent: self.sent }),
        }
    }
}

fn head(spec: Spec<'_>) -> Result<http::Request<()>, http::Error> {
    let is_grpc = spec.application == Application::Grpc;
    let method = if !spec.body.is_empty() || is_grpc { Method::POST } else { Method::GET };
    let uri = http::Uri::builder().scheme(spec.scheme).authority(spec.host).path_and_query(spec.path).build()?;
    let mut request = http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_2).body(())?;
    let headers = request.headers_mut();
    if is_grpc {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else if !spec.body.is_empty() {
        headers.insert(header::CONTENT_LENGTH, spec.body.len().into());
    }
    headers.extend(spec.headers.iter().cloned());
    Ok(request)
}

fn http1(spec: Spec<'_>, head: &http::Request<()>, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256 + body.len());
    // Writing to a vector does not fail.
    write!(bytes, "{} {} HTTP/1.1\r\nHost: {}\r\n", head.method(), spec.path, spec.host).ok();
    if spec.reuse == Reuse::NewConnection {
        bytes.extend_from_slice(b"Connection: close\r\n");
    }
    for (name, value) in head.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
