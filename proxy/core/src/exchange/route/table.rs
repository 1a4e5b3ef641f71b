//! All routes of a listener, compiled so that finding one costs nearly the same for ten and for ten thousand.
//!
//! ```text
//! host ─► group ─► (group, path as far as each slash) ─► candidates in the order written ─► conditions ─► route
//!           └─ parent: the next less specific host, tried when none of these matched
//! ```
//!
//! A segment ends before its parameters, too (`/admin;a=b`): servers that know such take it for the same segment without them.
//!
//! An expression is filed under the literal folder its matches begin with, so that it is run only for paths
//! below that folder.

use super::{
    conditions::{self, Anchored},
    hosts::{ANY, GroupId, Hosts},
    index::{Index, Rolling},
    regexes,
};
use http::{HeaderMap, Method};
use pillion_config::model::{PathMatch, Route};
use std::{net::SocketAddr, sync::Arc};

/// What routing looks at in a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host in any case, with or without port; empty when the request names none.
    pub host: &'a str,
    /// The cleaned path, without query.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// A route, and how it was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// Its place in the list the table was compiled from.
    pub index: usize,
    /// Bytes of the path that the route's prefix covers; the whole path for exact paths and expressions.
    pub matched: usize,
}

/// The routes of one listener, compiled. Immutable; shared by all workers as part of a snapshot.
pub struct RouteTable {
    hosts: Hosts,
    groups: Box<[Group]>,
    paths: Index<Filed>,
    routes: Box<[Compiled]>,
}

struct Compiled {
    route: Arc<Route>,
    anchored: Option<Box<Anchored>>,
}

/// The routes of one host pattern.
#[derive(Default, Clone)]
struct Group {
    /// Routes for any path, and expressions without a literal folder; in order.
    anywhere: Vec<u32>,
    /// Lengths of exact paths.
    exact: Lengths,
    /// Lengths of prefixes and literal folders.
    below: Lengths,
}

/// Routes filed under one path of one group.
struct Filed {
    group: GroupId,
    place: Place,
    path: Box<str>,
    candidates: Candidates,
}

/// How a filed path is met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// By itself.
    Exact = 0,
    /// By itself and by what is below it.
    Below = 1,
}

/// Indices of routes, ascending.
enum Candidates {
    One(u32),
    Many(Vec<u32>),
}

impl std::fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteTable").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

impl RouteTable {
    /// Compiles routes, given in the order written.
    #[must_use]
    pub fn compile(routes: &[Arc<Route>]) -> Self {
        let hosts = Hosts::new(routes.iter().flat_map(|route| &route.matcher.hosts));
        let mut table = Self {
            groups: vec![Group::default(); hosts.groups()].into(),
            hosts,
            paths: Index::new(),
            routes: routes
                .iter()
                .map(|route| Compiled { route: Arc::clone(route), anchored: Anchored::compile(&route.matcher) })
                .collect(),
        };
        for (at, route) in routes.iter().enumerate() {
            if route.matcher.hosts.is_empty() {
                table.file(ANY, at as u32, &route.matcher.path);
            }
            for host in &route.matcher.hosts {
                if let Some(group) = table.hosts.group(host) {
                    table.file(group, at as u32, &route.matcher.path);
                }
            }
        }
        table.paths.shrink();
        table
    }

    /// The route a request takes: of the most specific host group that has a matching one, the first written.
    #[must_use]
    pub fn find(&self, view: &RequestView<'_>) -> Option<Found<'_>> {
        let mut next = Some(self.hosts.find(view.host));
        while let Some(group) = next {
            if let Some(at) = self.find_in(group, view) {
                return Some(self.found(at, view.path));
            }
            next = self.hosts.next(group, view.host);
        }
        None
    }

    /// The route at this place, which was found before for a request with the same path; `None`: there is none.
    #[must_use]
    pub fn again(&self, index: usize, path: &str) -> Option<Found<'_>> {
        (index < self.routes.len()).then(|| self.found(index as u32, path))
    }

    fn file(&mut self, group: GroupId, at: u32, path: &PathMatch) {
        let held = &mut self.groups[group.0 as usize];
        let (place, path) = match path {
            PathMatch::Exact(path) => (Place::Exact, path.as_str().into()),
            PathMatch::Prefix(path) => (Place::Below, path.as_str().into()),
            PathMatch::Regex(regex) => (Place::Below, regexes::literal_folder(regex)),
        };
        match place {
            // `/` is for all requests, `*` of OPTIONS and the empty path of CONNECT included.
            Place::Below if matches!(&*path, "" | "/") => return push(&mut held.anywhere, at),
            Place::Below => held.below.add(path.len()),
            Place::Exact => held.exact.add(path.len()),
        }
        let mut hash = Rolling::new(group.0);
        for (at, segment) in path.split('/').enumerate() {
            if at > 0 {
                hash.push(b'/');
            }
            // What follows a slash at the end is no segment: `find_in` looks there before it goes on.
            if !segment.is_empty() {
                hash.push_all(segment.as_bytes());
            }
        }
        let hash = hash.value(place as u8);
        let is = |filed: &Filed| filed.is(group, place, path.as_bytes());
        let filed = self.paths.get_or_insert(hash, is, || Filed {
            group,
            place,
            path: path.clone(),
            candidates: Candidates::One(at),
        });
        filed.candidates.add(at);
    }

    /// The first route of a group that matches.
    fn find_in(&self, id: GroupId, view: &RequestView<'_>) -> Option<u32> {
        let group = &self.groups[id.0 as usize];
        let path = view.path.as_bytes();
        let exact = group.exact.may_have(path.len());
        if group.below.longest == 0 && !exact {
            return self.first(&group.anywhere, view, None);
        }
        let mut best = None;
        let mut hash = Rolling::new(id.0);
        let mut probe = |hash: Rolling, place: Place, length: usize| {
            let key = &path[..length];
            let filed = self.paths.get(hash.value(place as u8), |filed| filed.is(id, place, key));
            if let Some(filed) = filed {
                best = self.first(filed.candidates.as_slice(), view, best).or(best);
            }
        };
        // Nearly no path has any.
        let parameters = memchr::memchr(b';', path).unwrap_or(path.len());
        let mut at = 0;
        loop {
            let slash = memchr::memchr(b'/', &path[at..]).map(|found| at + found);
            let end = slash.unwrap_or(path.len());
            if parameters < end {
                for found in memchr::memchr_iter(b';', &path[at..end]) {
                    let length = at + found;
                    if length > at && group.below.may_have(length) {
                        let mut hash = hash;
                        hash.push_all(&path[at..length]);
                        probe(hash, Place::Below, length);
                    }
                }
            }
            // Where no exact path is as long as this one, nothing beyond the longest prefix is worth hashing.
            if !exact && end > group.below.longest {
                break;
            }
            if end > at {
                hash.push_all(&path[at..end]);
                if group.below.may_have(end) {
                    probe(hash, Place::Below, end);
                }
            }
            let Some(slash) = slash else { break };
            hash.push(b'/');
            at = slash + 1;
            if group.below.may_have(at) {
                probe(hash, Place::Below, at);
            }
        }
        if exact {
            probe(hash, Place::Exact, path.len());
        }
        self.first(&group.anywhere, view, best).or(best)
    }

    /// The first of some candidates, ascending, that comes before `before` and matches.
    fn first(&self, candidates: &[u32], view: &RequestView<'_>, before: Option<u32>) -> Option<u32> {
        candidates
            .iter()
            .copied()
            .take_while(|&at| before.is_none_or(|before| at < before))
            .find(|&at| self.routes[at as usize].matches(view))
    }

    fn found(&self, at: u32, path: &str) -> Found<'_> {
        let route = &self.routes[at as usize].route;
        Found {
            route,
            index: at as usize,
            matched: match &route.matcher.path {
                PathMatch::Prefix(prefix) => prefix.len().min(path.len()),
                PathMatch::Exact(_) | PathMatch::Regex(_) => path.len(),
            },
        }
    }
}

impl Compiled {
    /// Whether a candidate found by its path matches in all the rest.
    fn matches(&self, view: &RequestView<'_>) -> bool {
        let anchored = self.anchored.as_deref();
        if let PathMatch::Regex(regex) = &self.route.matcher.path {
            let own = anchored.and_then(|all| all.path.as_ref());
            if !regexes::whole(regex, own, view.path) {
                return false;
            }
        }
        conditions::hold(&self.route.matcher, anchored, view)
    }
}

impl Filed {
    fn is(&self, group: GroupId, place: Place, path: &[u8]) -> bool {
        self.group == group && self.place == place && self.path.as_bytes() == path
    }
}

impl Candidates {
    fn add(&mut self, at: u32) {
        match self {
            Self::One(first) if *first == at => {}
            Self::One(first) => *self = Self::Many(vec![*first, at]),
            Self::Many(all) => push(all, at),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(first) => std::slice::from_ref(first),
            Self::Many(all) => all,
        }
    }
}

/// Adds a route unless it is there: one that names a host twice is filed once.
fn push(routes: &mut Vec<u32>, at: u32) {
    if routes.last() != Some(&at) {
        routes.push(at);
    }
}

/// Which lengths the paths of a group have: most look-ups that would fail are not made.
#[derive(Default, Clone, Copy)]
struct Lengths {
    /// A bit for each length below 63; the last for all others.
    some: u64,
    longest: usize,
}

impl Lengths {
    fn add(&mut self, length: usize) {
        self.some |= 1 << length.min(63);
        self.longest = self.longest.max(length);
    }

    fn may_have(self, length: usize) -> bool {
        self.some & (1 << length.min(63)) != 0 && length <= self.longest
    }
}

#[cfg(test)]
mod tests;
