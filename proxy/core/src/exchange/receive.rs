//! The first look at a decoded request: do its parts agree, is its path clean.
//!
//! It refuses, or it leaves a head that routing can trust. It changes nothing but the spelling of the path.

use super::{
    head::{Field, HeadRefusal, Survey, target},
    route::{
        RequestView,
        path::{self, Cleaned, PathRefusal},
    },
};
use crate::error::ProxyError;
use http::{
    HeaderValue, Uri, Version, request,
    uri::{Authority, PathAndQuery},
};
use pillion_config::model::Http;

/// What a request is aimed at.
pub(super) struct Target<'a> {
    /// Host and port; `None` on HTTP/1.0 without `Host`.
    pub(super) authority: Option<target::Authority<'a>>,
    /// Path and query.
    pub(super) path_and_query: &'a str,
}

/// Checks the head and cleans its path.
pub(super) fn receive(http: &Http, parts: &mut request::Parts) -> Result<Survey, ProxyError> {
    let survey = Survey::of(&parts.headers);
    if parts.version == Version::HTTP_2 {
        target::check_http2(&parts.headers, survey)?;
        if survey.has(Field::Cookie) {
            target::join_cookies(&mut parts.headers)?;
        }
    }
    match path::clean(path_and_query(parts), &http.path) {
        Cleaned::Unchanged => {}
        Cleaned::Changed(cleaned) => {
            let path = PathAndQuery::try_from(cleaned).map_err(|_| PathRefusal::InvalidByte)?;
            set_path(&mut parts.uri, path)?;
        }
        Cleaned::Refused(refusal) => return Err(refusal.into()),
    }
    Ok(survey)
}

impl<'a> Target<'a> {
    /// What this request is aimed at, if its parts agree.
    pub(super) fn of(parts: &'a request::Parts) -> Result<Self, HeadRefusal> {
        Ok(Self {
            authority: target::authority(&parts.method, parts.version, &parts.uri, &parts.headers)?,
            path_and_query: path_and_query(parts),
        })
    }

    /// What routing looks at.
    pub(super) fn view(&self, parts: &'a request::Parts) -> RequestView<'a> {
        let (path, query) = match self.path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path_and_query, None),
        };
        RequestView {
            method: &parts.method,
            host: self.authority.map_or("", |authority| authority.host),
            path,
            query,
            headers: &parts.headers,
        }
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

/// Gives a URI another authority, if it has one.
pub(super) fn set_authority(uri: &mut Uri, authority: &HeaderValue) -> Result<(), HeadRefusal> {
    let authority = Authority::try_from(authority.as_bytes()).map_err(|_| HeadRefusal::HostMalformed)?;
    let mut parts = std::mem::take(uri).into_parts();
    parts.authority = Some(authority);
    *uri = Uri::from_parts(parts).map_err(|_| HeadRefusal::HostMalformed)?;
    Ok(())
}
