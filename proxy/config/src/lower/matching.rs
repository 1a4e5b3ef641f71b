//! What a request must look like, and routes that no request can reach.

use super::{Lowering, regexes};
use crate::{
    document::{self, Either, Field, Scalar, Table, Text, UrlPath},
    model::{Destination, HeaderMatch, HostPattern, PathMatch, QueryMatch, Route, RouteMatch, ValueMatch},
    tree::Place,
};
use http::{HeaderName, Method};
use std::collections::HashMap;

/// Gives the matcher, and the place of the regular expression or path in it.
pub(super) fn matcher(cx: &mut Lowering<'_, '_>, field: document::Match, at: Place) -> Option<RouteMatch> {
    let hosts = any_host(cx, field.host, at);
    let destinations = any_destination(cx, field.destination, at);
    let methods = any_of(cx, field.method, at);
    if let Some(methods) = &methods {
        twice(cx, methods, "method");
    }
    let path = path(cx, field.prefix, field.path, field.regex, at);
    let headers = headers(cx, field.headers, at);
    let mut query = Vec::new();
    for (name, _, condition, at) in entries(cx, field.query, at) {
        let value = match condition {
            Either::Short(text) => Some(ValueMatch::Exact(text)),
            Either::Long(condition) => query_condition(cx, condition, at),
        };
        query.extend(value.map(|value| QueryMatch { name, value }));
    }
    Some(RouteMatch {
        hosts: hosts?,
        destinations: destinations?,
        path: path?,
        methods: methods?.into_iter().map(|(method, _)| method).collect::<Vec<Method>>(),
        headers,
        query,
    })
}

/// Conditions on headers; those that are bad have been told.
pub(super) fn headers(
    cx: &mut Lowering<'_, '_>,
    field: Field<Table<HeaderName, Either<String, document::HeaderCondition>>>,
    at: Place,
) -> Vec<HeaderMatch> {
    let mut headers = Vec::new();
    for (name, name_at, condition, at) in entries(cx, field, at) {
        if name == http::header::HOST {
            cx.error(name_at, "the host is matched by `host`, which knows ports and HTTP/2's :authority");
        }
        let condition = match condition {
            Either::Short(text) => Some((ValueMatch::Exact(text), false)),
            Either::Long(condition) => header_condition(cx, condition, at),
        };
        headers.extend(condition.map(|(value, invert)| HeaderMatch { name, value, invert }));
    }
    headers
}

/// Hosts of which any; none where the field is absent.
pub(super) fn any_host(
    cx: &mut Lowering<'_, '_>,
    field: Field<Either<HostPattern, Vec<Field<Scalar<HostPattern>>>>>,
    at: Place,
) -> Option<Vec<HostPattern>> {
    let hosts = any_of(cx, field, at)?;
    twice(cx, &hosts, "host");
    Some(hosts.into_iter().map(|(host, _)| host).collect())
}

/// Destinations of which any; none where the field is absent.
pub(super) fn any_destination(
    cx: &mut Lowering<'_, '_>,
    field: Field<Either<Destination, Vec<Field<Scalar<Destination>>>>>,
    at: Place,
) -> Option<Vec<Destination>> {
    let destinations = any_of(cx, field, at)?;
    twice(cx, &destinations, "destination");
    Some(destinations.into_iter().map(|(destination, _)| destination).collect())
}

/// One or a list of which any; none where the field is absent.
fn any_of<T>(
    cx: &mut Lowering<'_, '_>,
    field: Field<Either<T, Vec<Field<Scalar<T>>>>>,
    at: Place,
) -> Option<Vec<(T, Place)>> {
    if !field.is_written() {
        return Some(Vec::new());
    }
    match field.at(at)? {
        (Either::Short(one), place) => Some(vec![(one, place)]),
        (Either::Long(list), place) => {
            if list.is_empty() {
                cx.error(place, "an empty list matches nothing; leave the field out to match any");
            }
            let list = cx.elements(place, list);
            Some(list.into_iter().map(|(Scalar(value), place)| (value, place)).collect())
        }
    }
}

fn twice<T: PartialEq>(cx: &mut Lowering<'_, '_>, list: &[(T, Place)], what: &str) {
    // Lists of hosts can be long; a quadratic look is for lists a person wrote by hand.
    if list.len() > 1000 {
        return;
    }
    for (index, (value, place)) in list.iter().enumerate() {
        if list[..index].iter().any(|(other, _)| other == value) {
            cx.warn(*place, format!("this {what} stands in the list twice"));
        }
    }
}

fn path(
    cx: &mut Lowering<'_, '_>,
    prefix: Text<UrlPath>,
    path: Text<UrlPath>,
    regex: Text<String>,
    at: Place,
) -> Option<PathMatch> {
    let written = cx.at_most_one(&[("prefix", prefix.place()), ("path", path.place()), ("regex", regex.place())]);
    if written == 0 {
        return Some(PathMatch::Prefix("/".to_owned()));
    }
    if let Some(UrlPath(prefix)) = prefix.value() {
        return Some(PathMatch::Prefix(prefix));
    }
    if let Some(UrlPath(path)) = path.value() {
        return Some(PathMatch::Exact(path));
    }
    let (Scalar(expression), place) = regex.at(at)?;
    compile(cx, &expression, place).map(PathMatch::Regex)
}

fn compile(cx: &mut Lowering<'_, '_>, expression: &str, place: Place) -> Option<regex::Regex> {
    regexes::whole(expression).map_err(|message| cx.error(place, message)).ok()
}

/// The entries of a table with the places of name and value.
fn entries<K, V>(cx: &mut Lowering<'_, '_>, field: Field<Table<K, V>>, at: Place) -> Vec<(K, Place, V, Place)> {
    let Some((Table(table), at)) = field.at(at) else {
        return Vec::new();
    };
    let mut read = Vec::with_capacity(table.len());
    for (name, value) in table {
        let name_at = name.place().unwrap_or(at);
        if !value.is_written() {
            cx.error(name_at, "nothing is written here; write a value, or {present: true} for any");
        }
        if let (Some(name), Some((value, value_at))) = (name.value(), value.at(name_at)) {
            read.push((name, name_at, value, value_at));
        }
    }
    read
}

fn header_condition(
    cx: &mut Lowering<'_, '_>,
    condition: document::HeaderCondition,
    at: Place,
) -> Option<(ValueMatch, bool)> {
    let invert = if condition.invert.is_written() { condition.invert.take()? } else { false };
    let absent = condition.present.get() == Some(&false);
    let value = value(cx, condition.exact, condition.prefix, condition.regex, condition.present, at)?;
    Some((value, invert != absent))
}

fn query_condition(cx: &mut Lowering<'_, '_>, condition: document::QueryCondition, at: Place) -> Option<ValueMatch> {
    if condition.present.get() == Some(&false) {
        cx.error(condition.present.place().unwrap_or(at), "a parameter cannot be asked to be absent; write true");
    }
    value(cx, condition.exact, condition.prefix, condition.regex, condition.present, at)
}

fn value(
    cx: &mut Lowering<'_, '_>,
    exact: Text<String>,
    prefix: Text<String>,
    regex: Text<String>,
    present: Field<bool>,
    at: Place,
) -> Option<ValueMatch> {
    let written = cx.at_most_one(&[
        ("exact", exact.place()),
        ("prefix", prefix.place()),
        ("regex", regex.place()),
        ("present", present.place()),
    ]);
    if written == 0 {
        cx.error(at, "a condition has one of exact, prefix, regex and present; write one");
        return None;
    }
    if let Some(text) = exact.value() {
        return Some(ValueMatch::Exact(text));
    }
    if let Some(text) = prefix.value() {
        return Some(ValueMatch::Prefix(text));
    }
    if let Some((Scalar(expression), place)) = regex.at(at) {
        return compile(cx, &expression, place).map(ValueMatch::Regex);
    }
    present.take().map(|_| ValueMatch::Present)
}

/// Warns of routes that come after one of the same hosts which takes all of their requests.
pub(super) fn shadowed(cx: &mut Lowering<'_, '_>, routes: &[(Route, Place)]) {
    let mut seen: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, (route, place)) in routes.iter().enumerate() {
        let hosts = hosts(&route.matcher);
        let (own, wider) = paths(&route.matcher.path);
        let before = wider
            .iter()
            .chain([&own])
            .filter_map(|path| seen.get(&format!("{path} {hosts}")))
            .flatten()
            .find(|before| covers(&routes[**before].0.matcher, &route.matcher));
        if let Some(before) = before {
            let (before, at) = &routes[*before];
            let line = cx.line(*at);
            cx.warn(
                *place,
                format!("no request reaches this route: the route {:?} in line {line} takes them all", before.name),
            );
            continue;
        }
        let alike = seen.entry(format!("{own} {hosts}")).or_default();
        // Routes alike but for their headers are few; a bound keeps a generated file's check linear.
        if alike.len() < 64 {
            alike.push(index);
        }
    }
}

/// Hosts as one key, whatever their order.
fn hosts(matcher: &RouteMatch) -> String {
    let mut hosts: Vec<String> = matcher.hosts.iter().map(|host| format!("{host:?}")).collect();
    hosts.sort_unstable();
    hosts.join(" ")
}

/// A path as a key, and the keys of the prefixes that match all that it matches.
fn paths(path: &PathMatch) -> (String, Vec<String>) {
    const DEEPEST: usize = 64;
    let (own, text) = match path {
        PathMatch::Exact(path) => (format!("={path}"), path.as_str()),
        PathMatch::Prefix(prefix) => {
            let text = prefix.trim_end_matches('/');
            (format!("^{text}"), text)
        }
        PathMatch::Regex(regex) => (format!("~{regex}"), ""),
    };
    let mut wider: Vec<String> = text
        .match_indices('/')
        .take(DEEPEST)
        .map(|(end, _)| format!("^{}", text[..end].trim_end_matches('/')))
        .collect();
    match path {
        PathMatch::Exact(path) => wider.push(format!("^{}", path.trim_end_matches('/'))),
        PathMatch::Regex(_) => wider.push("^".to_owned()),
        PathMatch::Prefix(_) => {}
    }
    (own, wider)
}

/// Whether whatever the later one matches, the earlier one has matched, hosts and path being the same.
fn covers(earlier: &RouteMatch, later: &RouteMatch) -> bool {
    let destinations = earlier.destinations.is_empty()
        || (!later.destinations.is_empty()
            && later.destinations.iter().all(|destination| earlier.destinations.contains(destination)));
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty() && later.methods.iter().all(|method| earlier.methods.contains(method)));
    destinations
        && methods
        && earlier.headers.iter().all(|condition| later.headers.contains(condition))
        && earlier.query.iter().all(|condition| later.query.contains(condition))
}
