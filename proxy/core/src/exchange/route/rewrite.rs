//! The target a request is forwarded with, and the place a redirect leads to.
//!
//! What comes out is cleaned once more: no replacement can bring back what cleaning took away. A redirect names
//! scheme and host whenever the request had a host, and never begins with `//`, which browsers read as a host.

use super::path::{self, Cleaned, PathRefusal};
use crate::exchange::head::target::Authority;
use http::{HeaderValue, StatusCode, uri::PathAndQuery};
use pillion_config::model::{PathPolicy, PathRewrite, Redirect, RedirectPath, Scheme};
use std::borrow::Cow;

/// Bytes a rewritten target may have: the most that [`http::Uri`] holds.
const MAX_TARGET: usize = u16::MAX as usize - 1;

/// Why a target cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RewriteError {
    /// What comes out would not be let in.
    #[error("the rewritten path is refused: {0}")]
    Path(PathRefusal),
    /// It would have more bytes than a URI can hold.
    #[error("the rewritten target is too long")]
    TooLong,
    /// It is no URI.
    #[error("the rewritten target is not a valid URI")]
    Invalid,
}

impl RewriteError {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Path(refusal) => refusal.status(),
            Self::TooLong => StatusCode::URI_TOO_LONG,
            Self::Invalid => StatusCode::BAD_REQUEST,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Path(_) => "rewrite_path_refused",
            Self::TooLong => "rewrite_too_long",
            Self::Invalid => "rewrite_invalid",
        }
    }
}

/// The target (path and query) a request is forwarded with; `None`: as it is.
///
/// `target` is the cleaned one, `matched` what [`Found::matched`](super::Found::matched) says. The query stays.
/// `*` of OPTIONS and the empty path of CONNECT are not rewritten.
pub fn target(
    rewrite: &PathRewrite,
    target: &str,
    matched: usize,
    policy: &PathPolicy,
) -> Result<Option<PathAndQuery>, RewriteError> {
    let (old, query) = path::split(target);
    if !old.starts_with('/') {
        return Ok(None);
    }
    let new: Cow<'_, str> = match rewrite {
        PathRewrite::Keep => return Ok(None),
        PathRewrite::Prefix(prefix) => replace_prefix(old, matched, prefix).into(),
        PathRewrite::Full(full) => full.as_str().into(),
        PathRewrite::Regex(regex, replacement) => match regex.replace_all(old, replacement.as_str()) {
            Cow::Borrowed(_) => return Ok(None),
            Cow::Owned(new) => new.into(),
        },
    };
    finished(&new, query, policy)?.try_into().map(Some).map_err(|_| RewriteError::Invalid)
}

/// What a redirect is made from.
#[derive(Debug, Clone, Copy)]
pub struct RedirectFrom<'a> {
    /// The scheme the client used, as a trusted peer says.
    pub scheme: Scheme,
    /// The host the client asked for; `None` when it named none (HTTP/1.0).
    pub authority: Option<Authority<'a>>,
    /// The cleaned path and query.
    pub target: &'a str,
    /// Bytes of the path that the route's prefix covers.
    pub matched: usize,
}

/// The `Location` of a redirect (RFC 9110 §10.2.2).
///
/// The request's port is kept with the request's host and scheme only: the port of plain HTTP does not speak TLS.
/// A port that the scheme implies is not written.
pub fn location(redirect: &Redirect, from: RedirectFrom<'_>, policy: &PathPolicy) -> Result<HeaderValue, RewriteError> {
    let (old, query) = path::split(from.target);
    let old = if old.starts_with('/') { old } else { "/" };
    let new: Cow<'_, str> = match &redirect.path {
        None => old.into(),
        Some(RedirectPath::Full(full)) => full.as_str().into(),
        Some(RedirectPath::Prefix(prefix)) => replace_prefix(old, from.matched, prefix).into(),
    };
    let query = if redirect.strip_query { "" } else { query };
    let target = finished(&new, query, policy)?;

    let scheme = redirect.scheme.unwrap_or(from.scheme);
    let asked = from.authority.filter(|asked| !asked.host.is_empty());
    let (host, port) = match (&redirect.host, asked) {
        (Some(host), _) => split_port(host),
        (None, Some(asked)) if scheme == from.scheme => (asked.host, asked.port),
        (None, Some(asked)) => (asked.host, None),
        // Without any host only a path can be given; without the extra slashes it cannot be taken for a host.
        (None, None) => {
            let target = format!("/{}", target.trim_start_matches(['/', '\\']));
            return HeaderValue::try_from(target).map_err(|_| RewriteError::Invalid);
        }
    };
    let (scheme, implied) = match scheme {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let location = match redirect.port.or(port).filter(|&port| port != implied) {
        Some(port) => format!("{scheme}://{host}:{port}{target}"),
        None => format!("{scheme}://{host}{target}"),
    };
    HeaderValue::try_from(location).map_err(|_| RewriteError::Invalid)
}

/// The path with its matched prefix replaced, and one slash between the two parts whether or not either of them
/// is written with it: `/v1` or `/v1/` → `/v2` or `/v2/` makes `/v2/x` of `/v1/x`. Parameters stay with what they are of: `/v2;a` of `/v1;a`.
fn replace_prefix(path: &str, matched: usize, replacement: &str) -> String {
    let prefix = path.get(..matched).unwrap_or(path);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = &path[prefix.len()..];
    if rest.starts_with(['/', ';']) {
        let replacement = replacement.strip_suffix('/').unwrap_or(replacement);
        return format!("{replacement}{rest}");
    }
    format!("{replacement}{rest}")
}

/// A replaced path made fit to be sent: absolute, escaped where a path needs it, clean; and its query.
fn finished(new: &str, query: &str, policy: &PathPolicy) -> Result<String, RewriteError> {
    let mut target = String::with_capacity(new.len() + query.len() + 1);
    if !new.starts_with('/') {
        target.push('/');
    }
    path::push_as_path(&mut target, new);
    target.push_str(query);
    let target = match path::clean(&target, policy) {
        Cleaned::Unchanged => target,
        Cleaned::Changed(clean) => clean,
        Cleaned::Refused(refusal) => return Err(RewriteError::Path(refusal)),
    };
    if target.len() > MAX_TARGET {
        return Err(RewriteError::TooLong);
    }
    Ok(target)
}

/// A configured host and the port that may follow it.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            port.parse().map_or((host, None), |port| (name, Some(port)))
        }
        Some(_) | None => (host, None),
    }
}

#[cfg(test)]
mod tests;
