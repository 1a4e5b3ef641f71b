//! Routes: which requests, and what is done with them.

use super::{
    Authorization, Either, Field, FilterUse, FromText, Int, Limit, List, Namespaces, Scalar, Table, Text, UrlPath,
    fields, words,
};
use crate::{
    model::{Destination, HostPattern, Name},
    template::Template,
};
use http::{HeaderName, HeaderValue, Method};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::{borrow::Cow, time::Duration};

// What most routes lack is in boxes: thousands of routes are held at once while a document is read.
/// One rule: which requests, and what is done with them. It has exactly one of `cluster`, `clusters`, `redirect` and `respond`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["match"])))]
pub(crate) struct Route {
    /// Its name, in logs. Absent: the listener's name and the route's position, as in `web/0`.
    pub name: Text<Name>,
    /// What a request must look like; everything given must hold.
    pub r#match: Field<Match>,
    /// Who may ask. Absent: everybody whom the listener lets.
    pub authorization: Field<Box<Authorization>>,
    /// The cluster that gets the requests.
    pub cluster: Text<Name>,
    /// Clusters that share the requests by weight.
    pub clusters: List<WeightedCluster>,
    /// Answer with a redirect.
    pub redirect: Field<Box<Redirect>>,
    /// Answer without an upstream.
    pub respond: Field<Box<Respond>>,
    /// Changes to the target of a forwarded request.
    pub rewrite: Field<Box<Rewrite>>,
    /// Changes to the request's headers, after the rewrite.
    pub request_headers: Field<Box<HeaderChanges>>,
    /// Changes to the response's headers, also on answers the proxy itself makes for this route.
    pub response_headers: Field<Box<HeaderChanges>>,
    /// From the request's last byte, or since filters let go a request without a body, to the response's head; `none` or `0s`: no limit. `grpc-timeout` may shorten it. 15s, as Envoy.
    pub timeout: Text<Limit>,
    /// Silence in both directions after which a request is given up; `none` or `0s`: no limit. 5m, as Envoy: streams that have something to say speak within it.
    pub idle_timeout: Text<Limit>,
    /// Protocols that `Upgrade` (RFC 9110 §7.8) and extended CONNECT (RFC 8441) may switch to. `[websocket]`; `[]` allows none.
    pub upgrades: List<Scalar<Protocol>>,
    /// Filters of this route alone, after those of the listener; and what is different here of those. A request that filters moved here from a route without them passes them behind that one's.
    pub filters: List<FilterUse>,
    /// What wasm filters are told of it, mappings by namespace, as Envoy's `filter_metadata`: `{istio: {tier: gold}}` is the property `xds.route_metadata.filter_metadata.istio.tier`.
    pub metadata: Field<Box<Namespaces>>,
}

fields! { Route {
    name, r#match, authorization, cluster, clusters, redirect, respond, rewrite, request_headers, response_headers, timeout,
    idle_timeout, upgrades, filters, metadata
} }

impl Default for Route {
    fn default() -> Self {
        Self {
            name: Field::ABSENT,
            r#match: Field::ABSENT,
            authorization: Field::ABSENT,
            cluster: Field::ABSENT,
            clusters: Field::ABSENT,
            redirect: Field::ABSENT,
            respond: Field::ABSENT,
            rewrite: Field::ABSENT,
            request_headers: Field::ABSENT,
            response_headers: Field::ABSENT,
            timeout: Text::scalar(Limit(Some(Duration::from_secs(15)))),
            idle_timeout: Text::scalar(Limit(Some(Duration::from_secs(300)))),
            upgrades: Field::of(vec![Field::of(Scalar(Protocol("websocket".into())))]),
            filters: Field::ABSENT,
            metadata: Field::ABSENT,
        }
    }
}

/// What a request must look like. At most one of `prefix`, `path` and `regex`; none of them matches every path.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Match {
    /// A host, or a list of which any: `api.example.com`, `*.example.com`, `*-canary` (something before the rest), `api-*` (something behind it), `[2001:db8::7]`. Without port: every port matches; what a filter wrote behind the colon that is no number is part of the name. Absent: any host.
    pub host: Field<Either<HostPattern, Vec<Field<Scalar<HostPattern>>>>>,
    /// Where the connection was going, or a list of which any: `10.0.0.7:80`, `10.96.0.0/16`, `[2001:db8::/32]:80`, `:8080`. What its client connected to, for listeners that capture and for those on every address. Absent: anywhere.
    pub destination: Field<Either<Destination, Vec<Field<Scalar<Destination>>>>>,
    /// This path and what is below it: `/v1` matches `/v1`, `/v1/` and `/v1/x`, not `/v10`; and with parameters behind its last segment, as servlet containers know them, `/v1;a=b` and `/v1;a=b/x`. `/` matches all. Parameters elsewhere (`/;/v1`, `/api;a/v1` for `/api/v1`, `/v1;a/x` for `/v1/`) do not match and go to the next route, though a servlet container takes them for the same path: what must hold for it whatever way it is written is a deny rule of `authorization`, which sees paths without them, or a route for all of that server.
    pub prefix: Text<UrlPath>,
    /// Exactly this path.
    pub path: Text<UrlPath>,
    /// The whole path matches this regular expression (linear time: no look-around, no back-references).
    pub regex: Text<String>,
    /// A method, or a list of which any. An extended CONNECT (RFC 8441) is the `GET` with `Upgrade` that it stands for. Absent: any method.
    pub method: Field<Either<Method, Vec<Field<Scalar<Method>>>>>,
    /// Headers by name: the exact value, or a condition. Those that `forwarding` has a say in (`x-forwarded-proto`) are looked at as it leaves them: what a client that is not trusted says of itself matches nothing.
    pub headers: Field<Table<HeaderName, Either<String, HeaderCondition>>>,
    /// Query parameters by name, percent-decoded: the exact value, or a condition.
    pub query: Field<Table<String, Either<String, QueryCondition>>>,
}

fields! { Match { host, destination, prefix, path, regex, method, headers, query } }

/// A condition on a header: one of `exact`, `prefix`, `regex` and `present`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct HeaderCondition {
    /// Exactly this value.
    pub exact: Text<String>,
    /// A value that begins with this.
    pub prefix: Text<String>,
    /// A value wholly matched by this regular expression.
    pub regex: Text<String>,
    /// `true`: the header is there; `false`: it is not.
    pub present: Field<bool>,
    /// Turns the outcome round.
    pub invert: Field<bool>,
}

fields! { HeaderCondition { exact, prefix, regex, present, invert } }

/// A condition on a query parameter: one of `exact`, `prefix`, `regex` and `present`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct QueryCondition {
    /// Exactly this value.
    pub exact: Text<String>,
    /// A value that begins with this.
    pub prefix: Text<String>,
    /// A value wholly matched by this regular expression.
    pub regex: Text<String>,
    /// `true`: the parameter is there.
    pub present: Field<bool>,
}

fields! { QueryCondition { exact, prefix, regex, present } }

/// A cluster and its share.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub(crate) struct WeightedCluster {
    /// The cluster.
    pub name: Text<Name>,
    /// Its share of the sum of weights; 0 takes it out for now. 1, so that clusters without weight share evenly.
    pub weight: Text<Int<0, 1_000_000>>,
}

fields! { WeightedCluster { name, weight } }

impl Default for WeightedCluster {
    fn default() -> Self {
        Self { name: Field::ABSENT, weight: Text::scalar(Int(1)) }
    }
}

/// Where a redirect leads; what is left out stays as the request had it. At least one field besides `status` is given, at most one of `path` and `prefix`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Redirect {
    /// 301, 302, 303, 307 or 308. 301, as Envoy; 307 and 308 keep the method.
    pub status: Text<RedirectStatus>,
    /// `http` or `https`.
    pub scheme: Field<Scheme>,
    /// Host, such as `www.example.com`.
    pub host: Text<HostPattern>,
    /// Port.
    pub port: Text<Int<1, 65_535>>,
    /// This path in place of the whole.
    pub path: Text<UrlPath>,
    /// This in place of the matched prefix.
    pub prefix: Text<UrlPath>,
    /// Drop the query. `false`: a redirect should lose nothing.
    pub strip_query: Field<bool>,
}

fields! { Redirect { status, scheme, host, port, path, prefix, strip_query } }

impl Default for Redirect {
    fn default() -> Self {
        Self {
            status: Text::scalar(RedirectStatus(301)),
            scheme: Field::ABSENT,
            host: Field::ABSENT,
            port: Field::ABSENT,
            path: Field::ABSENT,
            prefix: Field::ABSENT,
            strip_query: Field::of(false),
        }
    }
}

/// A URI's scheme.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Scheme {
    /// http
    Http,
    /// https
    Https,
}

words! { Scheme { "http" => Http, "https" => Https } }

/// A redirect's status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedirectStatus(pub(crate) u16);

impl FromText for RedirectStatus {
    const NUMBER: bool = true;

    fn words() -> Cow<'static, str> {
        "301, 302, 303, 307 or 308".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "301" => Ok(Self(301)),
            "302" => Ok(Self(302)),
            "303" => Ok(Self(303)),
            "307" => Ok(Self(307)),
            "308" => Ok(Self(308)),
            _ => Err(Self::expected(text, "")),
        }
    }
}

/// An answer given without an upstream. At most one of `body` and `file`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["status"])))]
pub(crate) struct Respond {
    /// The status, 200 to 599.
    pub status: Text<Int<200, 599>>,
    /// The body, at most 64KiB.
    pub body: Text<String>,
    /// A file with the body, at most 64KiB; sought beside this document, read when the configuration is.
    pub file: Text<String>,
    /// `Content-Type` of a body that is not empty. Plain text, which no browser executes.
    pub content_type: Text<HeaderValue>,
}

fields! { Respond { status, body, file, content_type } }

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: Field::ABSENT,
            body: Field::ABSENT,
            file: Field::ABSENT,
            content_type: Text::scalar(HeaderValue::from_static("text/plain; charset=utf-8")),
        }
    }
}

impl FromText for HeaderValue {
    fn words() -> Cow<'static, str> {
        "a header value without control characters".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|_| Self::expected(text, ""))
    }
}

/// Changes to the target of a forwarded request. At most one of `prefix`, `path` and `regex`. The query stays.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Rewrite {
    /// This in place of the matched prefix; needs `match.prefix`.
    pub prefix: Text<UrlPath>,
    /// This in place of the whole path.
    pub path: Text<UrlPath>,
    /// Every match of this regular expression in the path is replaced by `to`.
    pub regex: Text<String>,
    /// What replaces a match of `regex`; `$1` or `${name}` stand for groups, `$$` for a dollar sign.
    pub to: Text<String>,
    /// The host: a name, or `endpoint` for the endpoint's name as the cluster writes it. Absent: as the client sent it.
    pub host: Text<RewriteHost>,
}

fields! { Rewrite { prefix, path, regex, to, host } }

/// A host to be sent upstream.
#[derive(Debug, Clone)]
pub(crate) enum RewriteHost {
    Endpoint,
    Literal(HeaderValue),
}

impl FromText for RewriteHost {
    fn words() -> Cow<'static, str> {
        "a host such as app.local or app.local:8080, or endpoint".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "endpoint" {
            return Ok(Self::Endpoint);
        }
        let authority: http::uri::Authority = text.parse().map_err(|_| Self::expected(text, ""))?;
        if text.contains('@') || authority.host().is_empty() || text.ends_with(':') {
            return Err(Self::expected(text, ""));
        }
        HeaderValue::from_str(text).map(Self::Literal).map_err(|_| Self::expected(text, ""))
    }
}

/// Changes to headers: first `remove`, then `set`, then `append`.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct HeaderChanges {
    /// Names and values that replace all values of that name. Values may hold variables such as `%DOWNSTREAM_REMOTE_ADDRESS%`.
    pub set: Field<Table<HeaderName, Scalar<Template>>>,
    /// Names and values that are added to those already there.
    pub append: Field<Table<HeaderName, Scalar<Template>>>,
    /// Names whose values all go.
    pub remove: List<Scalar<HeaderName>>,
}

fields! { HeaderChanges { set, append, remove } }

/// A protocol to upgrade to, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol(pub(crate) String);

impl FromText for Protocol {
    fn words() -> Cow<'static, str> {
        "a protocol such as websocket".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        // RFC 9113 §3.1 makes the h2c upgrade obsolete; it is a way round the proxy's own HTTP/2 limits.
        if lower == "h2c" {
            return Err(Self::expected(
                text,
                "h2c is never passed on; HTTP/2 is spoken on the same port without upgrade",
            ));
        }
        let token = lower.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b));
        if lower.is_empty() || !token { Err(Self::expected(text, "")) } else { Ok(Self(lower)) }
    }
}
