//! What one request must look like, apart from any table of routes: for rules.

use super::{
    conditions::{self, Anchored},
    hosts::{ANY, Hosts},
    regexes,
    table::RequestView,
};
use pillion_config::model::{PathMatch, RouteMatch};

/// Tells whether a request looks so. A route's match, compiled for itself.
pub(crate) struct Matcher {
    model: RouteMatch,
    hosts: Hosts,
    anchored: Option<Box<Anchored>>,
}

impl Matcher {
    /// Compiles a match.
    pub(crate) fn compile(model: &RouteMatch) -> Self {
        Self { hosts: Hosts::new(model.hosts.iter()), anchored: Anchored::compile(model), model: model.clone() }
    }

    /// Whether a request meets it.
    pub(crate) fn meets(&self, view: &RequestView<'_>) -> bool {
        let host = self.model.hosts.is_empty() || self.hosts.find(view.host) != ANY;
        host && self.path(view.path) && conditions::hold(&self.model, self.anchored.as_deref(), view)
    }

    fn path(&self, path: &str) -> bool {
        match &self.model.path {
            PathMatch::Exact(wanted) => path == wanted,
            PathMatch::Prefix(prefix) => {
                // As in the table: parameters end a segment, too.
                let below = |rest: &str| rest.is_empty() || rest.starts_with(['/', ';']) || prefix.ends_with('/');
                // `/` is for all requests, `*` of OPTIONS and the empty path of CONNECT included.
                matches!(&**prefix, "" | "/") || path.strip_prefix(&**prefix).is_some_and(below)
            }
            PathMatch::Regex(regex) => {
                regexes::whole(regex, self.anchored.as_deref().and_then(|all| all.path.as_ref()), path)
            }
        }
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.model.fmt(f)
    }
}
