//! Routes: what is done with a request.

use super::{
    Lowering,
    authorization::{self, Knows},
    filter,
    headers::{Side, changes},
    matching,
    metadata::metadata,
    process::Names,
    rewrite::{needs_prefix, rewrite},
};
use crate::{
    diagnostic::{nearest, quoted},
    document::{self, Field, Int, List, Protocol, RedirectStatus, Scalar, UrlPath},
    model::{
        Action, ClusterIndex, DirectResponse, FilterIndex, HostPattern, Name, PathMatch, Redirect, RedirectPath, Route,
        Scheme, WeightedCluster,
    },
    tree::Place,
};
use http::StatusCode;
use std::{path::Path, sync::Arc};

/// Largest body of an answer without an upstream: it is held in memory and written in one piece.
const MAX_BODY: usize = 64 << 10;

pub(super) fn routes(
    cx: &mut Lowering<'_, '_>,
    list: Vec<Field<document::Route>>,
    at: Place,
    (listener, knows): (&str, Knows),
    chain: &[FilterIndex],
    names: &mut Names,
) -> Option<Vec<(Route, Place)>> {
    let inherited = filter::shared(chain.to_vec());
    let count = list.len();
    let mut read = Vec::with_capacity(count);
    let mut named = Vec::new();
    let elements = cx.elements(at, list);
    for (index, (route, place)) in elements.into_iter().enumerate() {
        if let Some(Scalar(name)) = route.name.get() {
            named.push((name.clone(), route.name.place().unwrap_or(place)));
        }
        let name = Name(format!("{listener}/{index}").into());
        let chains = (chain, inherited.as_ref());
        read.extend(self::route(cx, route, place, (name, knows), chains, names).map(|route| (route, place)));
    }
    cx.unique("route", named.iter().map(|(name, place)| (name, *place)));
    (read.len() == count).then_some(read)
}

fn route(
    cx: &mut Lowering<'_, '_>,
    route: document::Route,
    at: Place,
    (unnamed, knows): (Name, Knows),
    (chain, inherited): (&[FilterIndex], Option<&Arc<[FilterIndex]>>),
    names: &mut Names,
) -> Option<Route> {
    let matcher =
        cx.required(at, "match", route.r#match).and_then(|(matcher, place)| matching::matcher(cx, matcher, place));
    let authorization = authorization::authorization(cx, route.authorization, at, knows);
    let prefix = matcher.as_ref().map(|matcher| matches!(matcher.path, PathMatch::Prefix(_)));
    let targets = [
        ("cluster", route.cluster.place()),
        ("clusters", route.clusters.place()),
        ("redirect", route.redirect.place()),
        ("respond", route.respond.place()),
    ];
    if cx.at_most_one(&targets) == 0 {
        cx.error(at, "nothing is done with these requests; write one of cluster, clusters, redirect and respond");
    }
    let forwards = targets[2].1.is_none() && targets[3].1.is_none();
    if let (false, Some(place)) = (forwards, route.rewrite.place()) {
        cx.error(place, "a rewrite concerns requests that are forwarded to a cluster; remove it");
    }
    let action = if route.cluster.is_written() {
        route.cluster.at(at).and_then(|(Scalar(name), place)| {
            let cluster = resolve(cx, &name, place, names)?;
            Some(Action::Forward(vec![WeightedCluster { cluster, weight: 1 }]))
        })
    } else if route.clusters.is_written() {
        weighted(cx, route.clusters, at, names).map(Action::Forward)
    } else if route.redirect.is_written() {
        route
            .redirect
            .at(at)
            .and_then(|(redirect, place)| self::redirect(cx, *redirect, place, prefix))
            .map(Action::Redirect)
    } else {
        route.respond.at(at).and_then(|(respond, place)| self::respond(cx, *respond, place)).map(Action::Respond)
    };
    let metadata = metadata(cx, route.metadata, at);
    let rewrite = rewrite(cx, route.rewrite, at, prefix);
    let request_headers = changes(cx, route.request_headers, at, Side::Request);
    let response_headers = changes(cx, route.response_headers, at, Side::Response);
    let upgrades_at = route.upgrades.place().unwrap_or(at);
    let upgrades = route.upgrades.elements();
    let upgrades = cx.elements(upgrades_at, upgrades);
    let name = if route.name.is_written() { route.name.value() } else { Some(unnamed) };
    let filters = if route.filters.is_written() {
        let label = name.clone().unwrap_or_else(|| Name("route".into()));
        let mut known = std::mem::take(&mut names.filters);
        let own = known.of_route(cx, route.filters, at, chain, &label, names);
        names.filters = known;
        own.map(filter::shared)
    } else {
        Some(inherited.cloned())
    };
    Some(Route {
        name: name?,
        matcher: matcher?,
        authorization: authorization?.map(Box::new),
        action: action?,
        rewrite: rewrite?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        timeout: route.timeout.value()?.0,
        idle_timeout: route.idle_timeout.value()?.0,
        upgrades: upgrades.into_iter().map(|(Scalar(Protocol(protocol)), _)| protocol).collect(),
        filters: filters?,
        metadata: metadata?,
    })
}

pub(super) fn resolve(cx: &mut Lowering<'_, '_>, name: &Name, place: Place, names: &mut Names) -> Option<ClusterIndex> {
    if let Some(index) = names.index.get(name) {
        names.used[*index] = true;
        return Some(ClusterIndex(*index));
    }
    let mut known: Vec<&str> = names.index.keys().map(Name::as_str).collect();
    known.sort_unstable();
    let remedy = match nearest(name.as_str(), known.iter().copied()) {
        Some(guess) => format!("did you mean {guess:?}?"),
        None if known.is_empty() => "there are no clusters; write it under `clusters`".to_owned(),
        None if known.len() <= 12 => format!("known clusters: {}", known.join(", ")),
        None => format!("write it under `clusters`, which has {} others", known.len()),
    };
    cx.error(place, format!("unknown cluster {}: {remedy}", quoted(name.as_str())));
    None
}

pub(super) fn weighted(
    cx: &mut Lowering<'_, '_>,
    list: List<document::WeightedCluster>,
    at: Place,
    names: &mut Names,
) -> Option<Vec<WeightedCluster>> {
    let (list, at) = list.at(at)?;
    if list.is_empty() {
        cx.error(at, "no cluster: requests would have nowhere to go; write at least one");
        return None;
    }
    let mut clusters: Vec<WeightedCluster> = Vec::with_capacity(list.len());
    let count = list.len();
    let elements = cx.elements(at, list);
    let mut complete = elements.len() == count;
    for (weighted, place) in elements {
        let name = cx.required_scalar(place, "name", weighted.name);
        let cluster = name.and_then(|(name, place)| Some((resolve(cx, &name, place, names)?, place)));
        let weight = weighted.weight.value().map(Int::to);
        let (Some((cluster, place)), Some(weight)) = (cluster, weight) else {
            complete = false;
            continue;
        };
        if clusters.iter().any(|other| other.cluster == cluster) {
            cx.error(place, "this cluster is in the list already; add its weights together");
        }
        clusters.push(WeightedCluster { cluster, weight });
    }
    if complete && clusters.iter().all(|cluster| cluster.weight == 0) {
        cx.error(at, "all weights are 0, so that no cluster would get a request; give one of them at least 1");
    }
    complete.then_some(clusters)
}

fn redirect(
    cx: &mut Lowering<'_, '_>,
    redirect: document::Redirect,
    at: Place,
    matches_prefix: Option<bool>,
) -> Option<Redirect> {
    let changes = [
        redirect.scheme.is_written(),
        redirect.host.is_written(),
        redirect.port.is_written(),
        redirect.path.is_written(),
        redirect.prefix.is_written(),
        redirect.strip_query.get() == Some(&true),
    ];
    if !changes.contains(&true) {
        cx.error(at, "this redirects a request to itself; write scheme, host, port, path or prefix");
    }
    cx.at_most_one(&[("path", redirect.path.place()), ("prefix", redirect.prefix.place())]);
    needs_prefix(cx, redirect.prefix.place(), matches_prefix);
    let host_at = redirect.host.place().unwrap_or(at);
    let host = redirect.host.value().and_then(|host| match host {
        HostPattern::Exact(host) => Some(host),
        HostPattern::Suffix(part) | HostPattern::Prefix(part) => {
            let name = part.trim_matches(['.', '-']);
            cx.error(host_at, format!("a redirect leads to one host; write {name} without the star"));
            None
        }
    });
    let path = match (redirect.path.value(), redirect.prefix.value()) {
        (Some(UrlPath(path)), _) => Some(RedirectPath::Full(path)),
        (None, Some(UrlPath(prefix))) => Some(RedirectPath::Prefix(prefix)),
        (None, None) => None,
    };
    let RedirectStatus(status) = redirect.status.value()?;
    Some(Redirect {
        status: StatusCode::from_u16(status).ok()?,
        scheme: redirect.scheme.take().map(|scheme| match scheme {
            document::Scheme::Http => Scheme::Http,
            document::Scheme::Https => Scheme::Https,
        }),
        host,
        port: redirect.port.value().map(Int::to),
        path,
        strip_query: redirect.strip_query.take()?,
    })
}

fn respond(cx: &mut Lowering<'_, '_>, respond: document::Respond, at: Place) -> Option<DirectResponse> {
    let status = cx.required_scalar(at, "status", respond.status);
    cx.at_most_one(&[("body", respond.body.place()), ("file", respond.file.place())]);
    let what = if respond.body.is_written() { "this body" } else { "this file" };
    let body_at = respond.body.place().or(respond.file.place()).unwrap_or(at);
    let body = if respond.file.is_written() {
        respond.file.at(at).and_then(|(Scalar(file), place)| body_file(cx, &file, place))
    } else if respond.body.is_written() {
        respond.body.value().map(String::into_bytes)
    } else {
        Some(Vec::new())
    };
    if let Some(body) = &body
        && body.len() > MAX_BODY
    {
        cx.error(body_at, format!("{what} has {} bytes; at most 64KiB are sent without an upstream", body.len()));
    }
    let (Int(status), _) = status?;
    let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no content.
    if matches!(status.as_u16(), 204 | 205 | 304) && body.as_ref().is_some_and(|body| !body.is_empty()) {
        cx.error(
            body_at,
            format!("a response with status {} has no body; remove it, or write status 200", status.as_u16()),
        );
    }
    Some(DirectResponse { status, body: body?, content_type: respond.content_type.value()? })
}

fn body_file(cx: &mut Lowering<'_, '_>, file: &str, place: Place) -> Option<Vec<u8>> {
    let base = cx.file.path().parent().unwrap_or(Path::new(""));
    let path = base.join(file);
    if !cx.files.contains(&path) {
        cx.files.push(path.clone());
    }
    match (cx.read)(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            cx.error(
                place,
                format!("the file {} cannot be read: {}", quoted(&path.to_string_lossy()), crate::reason(&error)),
            );
            None
        }
    }
}
