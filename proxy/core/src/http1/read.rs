//! Heads and trailers in: from the bytes that `framing` found good, and where their parts lie, to the `http` types.
//!
//! Nothing is judged here and nothing is copied but names that are no standard ones: values, target and method are
//! slices of the head.

use crate::{
    exchange::filter::WireOrder,
    framing::{FieldAt, LargeHead, Layout, Version},
};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response,
    uri::PathAndQuery,
};

/// What `framing` let through and the `http` types cannot carry: no head that it finds good, as tests hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head that cannot be carried")]
pub struct Uncarriable;

/// Fields that a request is given on its way: forwarding, `Via`, an identifier, and what routes add.
const SPARE: usize = 8;

/// Fields that a response is given: seldom any.
const RESPONSE_SPARE: usize = 2;

/// A request's head.
///
/// # Errors
///
/// [`Uncarriable`].
pub fn request(head: &Bytes, layout: &Layout) -> Result<request::Parts, Uncarriable> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(&head[layout.method()]).map_err(|_| Uncarriable)?;
    parts.uri = target(&parts.method, head.slice(layout.target()))?;
    parts.version = version(layout.version());
    let (fields, came) = fields(head, layout.fields(), SPARE)?;
    parts.headers = fields;
    if came == Came::Mixed {
        remember(&mut parts.extensions, head, layout.fields());
    }
    Ok(parts)
}

/// A response's head. Its reason phrase is dropped: RFC 9112 §4 lets no client depend on it.
///
/// # Errors
///
/// [`Uncarriable`].
pub fn response(head: &Bytes, layout: &Layout) -> Result<response::Parts, Uncarriable> {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(layout.status()).map_err(|_| Uncarriable)?;
    parts.version = version(layout.version());
    let (fields, came) = fields(head, layout.fields(), RESPONSE_SPARE)?;
    parts.headers = fields;
    if came == Came::Mixed {
        remember(&mut parts.extensions, head, layout.fields());
    }
    if let Some(large) = LargeHead::of(head.len()) {
        parts.extensions.insert(large);
    }
    Ok(parts)
}

/// A trailer section's fields.
///
/// # Errors
///
/// [`Uncarriable`].
pub fn trailers(section: &Bytes, layout: &Layout) -> Result<HeaderMap, Uncarriable> {
    Ok(fields(section, layout.fields(), 0)?.0)
}

/// Origin form is by far the commonest, and read without the search for a scheme.
fn target(method: &Method, target: Bytes) -> Result<Uri, Uncarriable> {
    if target.first() == Some(&b'/') && *method != Method::CONNECT {
        return PathAndQuery::from_maybe_shared(target).map(Uri::from).map_err(|_| Uncarriable);
    }
    Uri::from_maybe_shared(target).map_err(|_| Uncarriable)
}

fn version(version: Version) -> http::Version {
    match version {
        Version::Http10 => http::Version::HTTP_10,
        Version::Http11 => http::Version::HTTP_11,
    }
}

/// How fields stood in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Those of one name together.
    Grouped,
    /// With others between them.
    Mixed,
}

fn fields(bytes: &Bytes, fields: &[FieldAt], spare: usize) -> Result<(HeaderMap, Came), Uncarriable> {
    let mut map = HeaderMap::try_with_capacity(fields.len() + spare).map_err(|_| Uncarriable)?;
    let mut came = Came::Grouped;
    for (at, field) in fields.iter().enumerate() {
        let name = HeaderName::from_bytes(&bytes[field.name()]).map_err(|_| Uncarriable)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(field.value())).map_err(|_| Uncarriable)?;
        let again = map.try_append(name, value).map_err(|_| Uncarriable)?;
        if again && !bytes[fields[at - 1].name()].eq_ignore_ascii_case(&bytes[field.name()]) {
            came = Came::Mixed;
        }
    }
    Ok((map, came))
}

/// Keeps the order that the map does not, for filters to see.
#[cold]
fn remember(extensions: &mut Extensions, bytes: &Bytes, fields: &[FieldAt]) {
    let names = fields.iter().filter_map(|field| HeaderName::from_bytes(&bytes[field.name()]).ok());
    if let Some(order) = WireOrder::of(names) {
        extensions.insert(order);
    }
}
