//! The request as it stands, as a source of variables for header values.
//!
//! The access log reads what a [`Record`] captured; a header is made while the heads are still at hand, so nothing
//! needs to be captured for it.

use super::{
    Record,
    variable::{Source, Value, render},
};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header::HOST, request, response};
use pillion_config::{
    model::{Route, Scheme},
    template::{RequestField, Template, Variable},
};

/// What is at hand when a header value is rendered; what is `None` has no value there.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The request's record.
    pub record: &'a Record,
    /// The route that matched.
    pub route: Option<&'a Route>,
    /// The request's head, as it is now.
    pub request: Option<&'a request::Parts>,
    /// Path and query as they came, before a rewrite.
    pub original_path: Option<&'a str>,
    /// The response's head, as it is now.
    pub response: Option<&'a response::Parts>,
}

impl Facts<'_> {
    /// The template as a header's value; `None`: it came out empty, or holds a byte that no header may
    /// (RFC 9110 §5.5), and the header is left out. `scratch` is overwritten.
    pub fn header_value(&self, template: &Template, scratch: &mut Vec<u8>) -> Option<HeaderValue> {
        scratch.clear();
        render(template, self, scratch);
        if scratch.is_empty() { None } else { HeaderValue::from_bytes(scratch).ok() }
    }

    fn request_field(&self, field: &RequestField) -> Option<&[u8]> {
        match field {
            RequestField::OriginalPath => self.original_path.map(str::as_bytes),
            field => request_field(field, self.request?, self.record.connection.scheme()),
        }
    }
}

impl Source for Facts<'_> {
    fn value(&self, variable: &Variable) -> Option<Value<'_>> {
        let bytes = match variable {
            Variable::RequestHeader(field, other) => {
                self.request_field(field).or_else(|| other.as_ref().and_then(|other| self.request_field(other)))
            }
            Variable::ResponseHeader(name) => header(&self.response?.headers, name),
            Variable::ResponseTrailer(_) | Variable::FilterState(_) | Variable::DynamicMetadata(..) => None,
            Variable::GrpcStatus => {
                return grpc_status(self.response?.headers.get("grpc-status")?.as_bytes());
            }
            Variable::RouteName => self.route.map(|route| route.name.as_str().as_bytes()),
            variable => {
                // The record learns of the response when its head is finished, which is after this.
                if let (Variable::ResponseCode, Some(response)) = (variable, self.response) {
                    return Some(Value::Number(response.status.as_u16().into()));
                }
                return self.record.value(variable, || self.record.started().elapsed());
            }
        };
        bytes.map(Value::Bytes)
    }
}

/// A request header's first value, or the part of the request line that a pseudo-header stands for.
pub(super) fn request_field<'a>(field: &RequestField, head: &'a request::Parts, scheme: Scheme) -> Option<&'a [u8]> {
    match field {
        RequestField::Method => Some(head.method.as_str().as_bytes()),
        RequestField::Path | RequestField::OriginalPath => {
            head.uri.path_and_query().map(|path| path.as_str().as_bytes())
        }
        RequestField::Authority => {
            head.uri.authority().map(|authority| authority.as_str().as_bytes()).or_else(|| header(&head.headers, &HOST))
        }
        RequestField::Scheme => Some(match (head.uri.scheme_str(), scheme) {
            (Some(scheme), _) => scheme.as_bytes(),
            (None, Scheme::Http) => b"http",
            (None, Scheme::Https) => b"https",
        }),
        RequestField::Header(name) => header(&head.headers, name),
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

/// The number in `grpc-status`; `None`: it is no number.
pub(super) fn grpc_status(bytes: &[u8]) -> Option<Value<'static>> {
    std::str::from_utf8(bytes).ok()?.parse().ok().map(Value::Number)
}

/// A version in the access log's words.
pub(super) fn protocol(version: Version) -> Option<&'static [u8]> {
    match version {
        Version::HTTP_09 => Some(b"HTTP/0.9"),
        Version::HTTP_10 => Some(b"HTTP/1.0"),
        Version::HTTP_11 => Some(b"HTTP/1.1"),
        Version::HTTP_2 => Some(b"HTTP/2"),
        Version::HTTP_3 => Some(b"HTTP/3"),
        // `Version` may grow.
        _ => None,
    }
}
