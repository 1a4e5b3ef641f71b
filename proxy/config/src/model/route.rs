//! Routes: which requests, and what is done with them.

use super::{Authorization, ClusterIndex, Destination, FilterIndex, Metadata, Name};
use crate::template::Template;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::{sync::Arc, time::Duration};

/// One rule: which requests, what is done with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in logs; where none is written, `LISTENER/INDEX`.
    pub name: Name,
    /// What a request must look like.
    pub matcher: RouteMatch,
    /// Who may ask; `None`: everybody whom the listener lets.
    pub authorization: Option<Box<Authorization>>,
    /// What is done with it.
    pub action: Action,
    /// Changes to the target of a forwarded request.
    pub rewrite: Rewrite,
    /// Changes to the request's headers, after the rewrite.
    pub request_headers: Vec<HeaderChange>,
    /// Changes to the response's headers, also on answers the proxy makes for this route.
    pub response_headers: Vec<HeaderChange>,
    /// From the request's last byte to the response's head; `None`: no limit. `grpc-timeout` may shorten it.
    pub timeout: Option<Duration>,
    /// Silence in both directions after which a request is given up; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Whether `Upgrade` (RFC 9110 §7.8) and extended CONNECT (RFC 8441) are let through, by protocol in lower case.
    pub upgrades: Vec<String>,
    /// The filters its requests pass, in order: those of the listener that the route does not disable, then its own.
    /// `None` costs nothing; routes with the same ones share the list.
    pub filters: Option<Arc<[FilterIndex]>>,
    /// What filters are told of it; `None`: nothing.
    pub metadata: Option<Arc<Metadata>>,
}

/// What a request must look like; everything given must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// Any of these hosts; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// Any of these destinations of the connection; empty: any.
    pub destinations: Vec<Destination>,
    /// The path.
    pub path: PathMatch,
    /// Any of these methods; empty: any.
    pub methods: Vec<Method>,
    /// All of these headers.
    pub headers: Vec<HeaderMatch>,
    /// All of these query parameters.
    pub query: Vec<QueryMatch>,
}

impl RouteMatch {
    /// Whether no request fails to look like it.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.hosts.is_empty()
            && self.destinations.is_empty()
            && self.path == PathMatch::Prefix("/".to_owned())
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
    }
}

/// A host, in lower case and without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Exactly this name or address.
    Exact(String),
    /// `*` and this, such as `.example.com` or `-canary`: something before it.
    Suffix(String),
    /// This and `*`, such as `api.` or `api-`: something behind it.
    Prefix(String),
}

/// A path, matched after cleaning and without its query.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Exactly this path.
    Exact(String),
    /// This path and what is below it: `/v1` matches `/v1`, `/v1/` and `/v1/x`, not `/v10`. `/` matches all.
    Prefix(String),
    /// The whole path matches this expression; linear time.
    Regex(regex::Regex),
}

impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Exact(_) | Self::Prefix(_) | Self::Regex(_), _) => false,
        }
    }
}

/// A header that must, or must not, be there.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatch {
    /// Its name.
    pub name: HeaderName,
    /// What any one of its values must be.
    pub value: ValueMatch,
    /// Turns the outcome round.
    pub invert: bool,
}

/// A query parameter that must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMatch {
    /// Its name, percent-decoded.
    pub name: String,
    /// What its first value must be, percent-decoded.
    pub value: ValueMatch,
}

/// What a value must be.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// Anything, but there.
    Present,
    /// Exactly this.
    Exact(String),
    /// Beginning with this.
    Prefix(String),
    /// Wholly matched by this expression.
    Regex(regex::Regex),
}

impl PartialEq for ValueMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, Self::Present) => true,
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Present | Self::Exact(_) | Self::Prefix(_) | Self::Regex(_), _) => false,
        }
    }
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Sent to one of these clusters, by weight; not empty, the sum of weights is positive.
    Forward(Vec<WeightedCluster>),
    /// Answered with a redirect.
    Redirect(Redirect),
    /// Answered here.
    Respond(DirectResponse),
}

/// A cluster and its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: ClusterIndex,
    /// Its share of the sum of weights.
    pub weight: u32,
}

/// Where a redirect leads; what is `None` stays as the request had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// Host, with port where wanted.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<RedirectPath>,
    /// Whether the query is dropped.
    pub strip_query: bool,
}

/// A URI's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// http
    Http,
    /// https
    Https,
}

/// The path of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// This path in place of the whole.
    Full(String),
    /// This in place of the matched prefix.
    Prefix(String),
}

/// An answer given without an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// At most 64 KiB.
    pub body: Vec<u8>,
    /// `Content-Type` of a body that is not empty.
    pub content_type: HeaderValue,
}

/// Changes to the target of a forwarded request.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// What becomes of the path.
    pub path: PathRewrite,
    /// What becomes of the host.
    pub host: HostRewrite,
}

impl Rewrite {
    /// No change.
    pub const KEEP: Self = Self { path: PathRewrite::Keep, host: HostRewrite::Keep };
}

/// What becomes of a forwarded request's path. The query stays.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// Nothing.
    Keep,
    /// This in place of the matched prefix.
    Prefix(String),
    /// This in place of the whole path.
    Full(String),
    /// Every match of the expression is replaced; `$1` or `${name}` stand for groups.
    Regex(regex::Regex, String),
}

impl PartialEq for PathRewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) => true,
            (Self::Prefix(a), Self::Prefix(b)) | (Self::Full(a), Self::Full(b)) => a == b,
            (Self::Regex(a, to_a), Self::Regex(b, to_b)) => a.as_str() == b.as_str() && to_a == to_b,
            (Self::Keep | Self::Prefix(_) | Self::Full(_) | Self::Regex(..), _) => false,
        }
    }
}

/// What becomes of a forwarded request's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// Passed on as the client sent it.
    Keep,
    /// This instead.
    Literal(HeaderValue),
    /// The endpoint's name as the cluster writes it.
    Endpoint,
}

/// One change to a header.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderChange {
    /// In place of all values of that name.
    Set(HeaderName, Template),
    /// One value more.
    Append(HeaderName, Template),
    /// All values of that name go.
    Remove(HeaderName),
}
