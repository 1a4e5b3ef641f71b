//! What a route demands besides host and path: methods, headers, query parameters.

use super::{regexes, table::RequestView};
use http::HeaderMap;
use pillion_config::model::{HeaderMatch, QueryMatch, RouteMatch, ValueMatch};
use regex::Regex;
use std::borrow::Cow;

/// Expressions of one route that had to be compiled anew to match whole texts, place by place; `None` where
/// the model's own serves or where there is no expression.
#[derive(Default)]
pub(super) struct Anchored {
    pub(super) path: Option<Regex>,
    headers: Box<[Option<Regex>]>,
    query: Box<[Option<Regex>]>,
}

impl Anchored {
    /// What has to be compiled for a match; `None` for the many that have no expression.
    pub(super) fn compile(matcher: &RouteMatch) -> Option<Box<Self>> {
        let of = |value: &ValueMatch| match value {
            ValueMatch::Regex(regex) => regexes::anchored(regex),
            ValueMatch::Present | ValueMatch::Exact(_) | ValueMatch::Prefix(_) => None,
        };
        let anchored = Self {
            path: match &matcher.path {
                pillion_config::model::PathMatch::Regex(regex) => regexes::anchored(regex),
                pillion_config::model::PathMatch::Exact(_) | pillion_config::model::PathMatch::Prefix(_) => None,
            },
            headers: matcher.headers.iter().map(|rule| of(&rule.value)).collect(),
            query: matcher.query.iter().map(|rule| of(&rule.value)).collect(),
        };
        let any = anchored.path.is_some()
            || anchored.headers.iter().any(Option::is_some)
            || anchored.query.iter().any(Option::is_some);
        any.then(|| Box::new(anchored))
    }
}

/// Conditions on headers, compiled. All must hold.
pub(crate) struct HeaderConditions {
    rules: Box<[(HeaderMatch, Option<Regex>)]>,
}

impl HeaderConditions {
    pub(crate) fn compile(rules: &[HeaderMatch]) -> Self {
        let anchored = |rule: &HeaderMatch| match &rule.value {
            ValueMatch::Regex(regex) => regexes::anchored(regex),
            ValueMatch::Present | ValueMatch::Exact(_) | ValueMatch::Prefix(_) => None,
        };
        Self { rules: rules.iter().map(|rule| (rule.clone(), anchored(rule))).collect() }
    }

    pub(crate) fn hold(&self, headers: &HeaderMap) -> bool {
        self.rules.iter().all(|(rule, own)| header_holds(rule, own.as_ref(), headers))
    }
}

/// Whether all that a match demands besides host and path holds.
pub(super) fn hold(matcher: &RouteMatch, anchored: Option<&Anchored>, view: &RequestView<'_>) -> bool {
    if !matcher.destinations.is_empty() && !matcher.destinations.iter().any(|wanted| wanted.holds(view.destination)) {
        return false;
    }
    if !matcher.methods.is_empty() && !matcher.methods.contains(view.method) {
        return false;
    }
    let headers = matcher.headers.iter().enumerate().all(|(at, rule)| {
        let own = anchored.and_then(|all| all.headers[at].as_ref());
        header_holds(rule, own, view.headers)
    });
    headers
        && matcher.query.iter().enumerate().all(|(at, rule)| {
            let own = anchored.and_then(|all| all.query[at].as_ref());
            query_holds(rule, own, view.query)
        })
}

fn header_holds(rule: &HeaderMatch, own: Option<&Regex>, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&rule.name).iter();
    let found = values.any(|value| {
        let value = value.as_bytes();
        match &rule.value {
            ValueMatch::Present => true,
            ValueMatch::Exact(wanted) => value == wanted.as_bytes(),
            ValueMatch::Prefix(wanted) => value.starts_with(wanted.as_bytes()),
            // A value that is not UTF-8 is matched by no expression.
            ValueMatch::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regexes::whole(regex, own, value)),
        }
    });
    found != rule.invert
}

fn query_holds(rule: &QueryMatch, own: Option<&Regex>, query: Option<&str>) -> bool {
    let parameter = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(name, _)| !name.is_empty() && decoded(name).eq(rule.name.bytes()));
    let Some((_, value)) = parameter else {
        return false;
    };
    match &rule.value {
        ValueMatch::Present => true,
        ValueMatch::Exact(wanted) => decoded(value).eq(wanted.bytes()),
        ValueMatch::Prefix(wanted) => {
            let mut have = decoded(value);
            wanted.bytes().all(|byte| have.next() == Some(byte))
        }
        ValueMatch::Regex(regex) => text(value).is_some_and(|value| regexes::whole(regex, own, &value)),
    }
}

/// A parameter's bytes with percent escapes resolved; what is no escape stays as it is.
pub(crate) fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        if let (b'%', Some(value)) = (byte, super::path::escape(after)) {
            rest = &after[2..];
            return Some(value);
        }
        rest = after;
        Some(byte)
    })
}

/// The same as text: the only place where looking for a route allocates, for an escaped parameter that a route
/// compares with an expression.
fn text(value: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'%', value.as_bytes()).is_none() {
        return Some(Cow::Borrowed(value));
    }
    String::from_utf8(decoded(value).collect()).ok().map(Cow::Owned)
}
