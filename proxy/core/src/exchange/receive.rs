//! The first look at a decoded request: do its parts agree, is its path clean.
//!
//! It refuses, or it leaves a head that routing can trust. It changes nothing but the spelling of the path.

use super::{
    head::{Field, HeadRefusal, Survey, target},
    route::{
        RequestView, RouteError,
        path::{self, Cleaned, PathRefusal},
    },
};
use crate::{
    body::Incoming,
    error::ProxyError,
    framing::{Fault, Refusal},
};
use http::{Method, Uri, Version, header, request, uri::PathAndQuery};
use http_body::Body;
use memchr::memchr;
use pillion_config::model::{Connect, Http, Underscores};
use std::net::SocketAddr;

/// What a request is aimed at.
pub(super) struct Target<'a> {
    /// Host and port; `None` on HTTP/1.0 without `Host`.
    pub(super) authority: Option<target::Authority<'a>>,
    /// Path and query.
    pub(super) path_and_query: &'a str,
}

/// Checks the head and cleans its path; one that is changed is left in `original` as it came.
pub(super) fn receive(
    http: &Http,
    parts: &mut request::Parts,
    body: &Incoming,
    original: &mut Option<PathAndQuery>,
) -> Result<Survey, ProxyError> {
    let survey = Survey::of(&parts.headers);
    if parts.version == Version::HTTP_2 {
        target::check_http2(&parts.headers, survey)?;
        hold_to_http1(http, parts, survey, body)?;
        if survey.has(Field::Cookie) {
            target::join_cookies(&mut parts.headers)?;
        }
    }
    // Extended CONNECT is for the route to allow.
    if parts.method == Method::CONNECT && parts.uri.path().is_empty() && http.connect == Connect::Refuse {
        return Err(RouteError::ConnectRefused.into());
    }
    if let Some(as_it_came) = clean(http, parts)? {
        *original = Some(as_it_came);
    }
    Ok(survey)
}

/// Cleans the path; what it was, if that was something else.
pub(super) fn clean(http: &Http, parts: &mut request::Parts) -> Result<Option<PathAndQuery>, ProxyError> {
    match path::clean(path_and_query(parts), &http.path) {
        Cleaned::Unchanged => Ok(None),
        Cleaned::Changed(cleaned) => {
            let path = PathAndQuery::try_from(cleaned).map_err(|_| PathRefusal::InvalidByte)?;
            let before = parts.uri.path_and_query().cloned();
            set_path(&mut parts.uri, path)?;
            Ok(before)
        }
        Cleaned::Refused(refusal) => Err(refusal.into()),
    }
}

/// What HTTP/1's guard refuses and neither the HTTP/2 codec nor its guard looks at.
fn hold_to_http1(http: &Http, parts: &request::Parts, survey: Survey, body: &Incoming) -> Result<(), Refusal> {
    if http.underscores == Underscores::Reject && survey.has(Field::Underscore) {
        return Err(Fault::Underscore.into());
    }
    if survey.has(Field::Expect) {
        let mut expected = parts.headers.get_all(header::EXPECT).iter();
        if !expected.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Err(Refusal::UnknownExpectation);
        }
    }
    if parts.method == Method::TRACE && !body.is_end_stream() {
        return Err(Refusal::BodyNotAllowed);
    }
    Ok(())
}

impl<'a> Target<'a> {
    /// What this request is aimed at, if its parts agree.
    pub(super) fn of(parts: &'a request::Parts) -> Result<Self, HeadRefusal> {
        Ok(Self {
            authority: target::authority(&parts.method, parts.version, &parts.uri, &parts.headers)?,
            path_and_query: path_and_query(parts),
        })
    }

    /// What a request is aimed at that was let in, as filters left it.
    pub(super) fn left(parts: &'a request::Parts) -> Self {
        let authority = target::Authority::of(&parts.uri, &parts.headers);
        Self { authority, path_and_query: path_and_query(parts) }
    }

    /// What routing looks at.
    pub(super) fn view(&self, parts: &'a request::Parts, destination: SocketAddr) -> RequestView<'a> {
        let (path, query) = split(self.path_and_query);
        RequestView {
            method: &parts.method,
            host: self.authority.map_or("", |authority| authority.host),
            path,
            query,
            headers: &parts.headers,
            destination,
        }
    }
}

/// The path that routing looks at, alone.
pub(super) fn path(parts: &request::Parts) -> &str {
    split(path_and_query(parts)).0
}

/// A path and its query.
fn split(path_and_query: &str) -> (&str, Option<&str>) {
    match memchr(b'?', path_and_query.as_bytes()) {
        Some(at) => (&path_and_query[..at], Some(&path_and_query[at + 1..])),
        None => (path_and_query, None),
    }
}

fn path_and_query(parts: &request::Parts) -> &str {
    parts.uri.path_and_query().map_or("", PathAndQuery::as_str)
}

/// Gives a URI another path and query. The scheme and authority stay.
pub(super) fn set_path(uri: &mut Uri, path: PathAndQuery) -> Result<(), HeadRefusal> {
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(path);
    *uri = Uri::from_parts(parts).map_err(|_| HeadRefusal::HostMalformed)?;
    Ok(())
}
