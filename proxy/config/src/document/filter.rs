//! Filters: what requests, responses and opaque bytes pass through.

use super::{
    Bytes, Either, Field, FromNode, FromText, HeaderChanges, HeaderCondition, Int, Jwt, List, Period, Scalar, Table,
    Text, fields, words,
};
use crate::{
    model::{Metadata, Name, RateKey},
    tree::{Cursor, Failure},
};
use base64::Engine as _;
use http::HeaderName;
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use serde_json::{Number, Value};
use std::{borrow::Cow, time::Duration};

/// A filter. It has exactly one of `wasm`, `headers`, `rate_limit` and `jwt`; on a route it may have none, and then concerns the filter of that name that is defined elsewhere. A name alone, in place of the mapping, means the same.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub(crate) struct Filter {
    /// Its name, in logs and metrics; unique in the whole configuration.
    pub name: Text<Name>,
    /// Runs a proxy-wasm module (ABI 0.1.0, 0.2.0 or 0.2.1).
    pub wasm: Field<Box<Wasm>>,
    /// Changes headers, where conditions hold: every rule whose conditions do, in order.
    pub headers: List<HeaderRule>,
    /// Answers 429 beyond a rate, for the whole process.
    pub rate_limit: Field<Box<RateLimit>>,
    /// Answers 401 without a good token.
    pub jwt: Field<Box<Jwt>>,
    /// What becomes of a request for which it fails (a trap, a used-up limit). `closed`: 503, since who is not checked is not let through; `open` goes on without it.
    pub fail: Field<Fail>,
    /// Bytes of one body that it may hold back. Absent, as Envoy: 1MiB where the client speaks HTTP/1 and on opaque connections, 16MiB where it speaks HTTP/2; but while the filter holds a head and is shown nothing of what follows, no more than 1MiB of it is read. A request with more is answered 413; a response 500 or, where its head is gone, as it is unless the filter holds it too, cut (HTTP/2: reset). A connection over HTTP/2 may have as much of each of its `streams`. Where the cgroup's memory has no room for what filters hold in all, 8KiB and more are answered 503 before that.
    pub body_buffer: Text<Bytes<0, { 1 << 30 }>>,
    /// On a route: the filter of that name in the listener's list is left out here.
    pub disabled: Field<bool>,
    /// On a route: what the wasm filter of that name is configured with here, in place of its own `wasm.configuration`.
    pub configuration: Field<Structured>,
}

fields! { Filter { name, wasm, headers, rate_limit, jwt, fail, body_buffer, disabled, configuration } }

impl Default for Filter {
    fn default() -> Self {
        Self {
            name: Field::ABSENT,
            wasm: Field::ABSENT,
            headers: Field::ABSENT,
            rate_limit: Field::ABSENT,
            jwt: Field::ABSENT,
            fail: Field::of(Fail::Closed),
            body_buffer: Field::ABSENT,
            disabled: Field::ABSENT,
            configuration: Field::ABSENT,
        }
    }
}

/// A filter, or the name of one.
pub(crate) type FilterUse = Either<Name, Filter>;

/// What becomes of a request for which a filter fails.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Fail {
    /// It is answered 503.
    Closed,
    /// It goes on without the filter.
    Open,
}

words! { Fail { "closed" => Closed, "open" => Open } }

/// A proxy-wasm module and how it is run. It has exactly one of `file`, `inline` and `url`. Of a request that becomes a tunnel (an accepted `Upgrade`, as WebSockets are; CONNECT) it sees the two heads and none of the bytes that follow: where that must not be, the route has `upgrades: []`, or the filter refuses requests that have `upgrade`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Wasm {
    /// The module's file; sought beside this document. When it changes, it is taken into use like a changed configuration.
    pub file: Text<String>,
    /// The module itself, in base64.
    pub inline: Text<String>,
    /// Where the module is fetched from (`http://` or `https://`); needs `sha256`. User and password in it (percent-encoded) go to that server alone, as Basic. Redirects are followed. What is in the cache, or in force, needs no server. While the first configuration waits for it, `/ready` says so, and `/livez` yes. A reload whose only fault is that it cannot be had is refused after three attempts, the configuration before stays in force, and it is tried again, after 0.5 s doubled up to 30 s, until it succeeds or the configuration is read again.
    pub url: Text<String>,
    /// What the SHA-256 of a fetched module must be, in 64 hexadecimal digits.
    pub sha256: Text<Sha256>,
    /// Time one attempt to fetch may take. 10s: modules have megabytes.
    pub fetch_timeout: Text<Period>,
    /// At a start: time within which failed attempts are repeated, after 0.5 s doubled up to 5 s, half of it by chance; then the start fails. What waits no longer: a module in the cache, an answer that says no (404 and the like), one with another SHA-256. 1m: a network that comes up late; a supervisor starts the proxy again. After a reload there is no end: see `url`.
    pub fetch_retry_for: Text<Period>,
    /// Filters with the same `vm_id`, module, `vm_configuration`, environment, `limits.memory` and `allowed_capabilities` share a machine per worker, also where a route has a `configuration` of its own: what a guest keeps in globals is that of the last one configured. Where a guest does not start beside another configuration it has a machine of its own. Shared data and queues are shared by `vm_id`, which may have 64MiB of each: a filter that must not be refused for what another one keeps has one of its own.
    pub vm_id: Text<String>,
    /// Which of the module's root contexts.
    pub root_id: Text<String>,
    /// What the machine is started with: as `configuration`.
    pub vm_configuration: Field<Structured>,
    /// What the filter is configured with: text; bytes, as a mapping of `base64` alone (`{ base64: AAH/ }`); or anything else, which is passed as JSON. Of Envoy's messages a `StringValue` is written as text, a `BytesValue` as `base64`; of any other, a `Struct` too, Envoy's filters get the serialized bytes, here by `base64`.
    pub configuration: Field<Structured>,
    /// Environment variables that the module sees.
    pub environment: Field<Table<String, Scalar<String>>>,
    /// Variables of the proxy's own environment that the module sees, each once and none that `environment` has.
    pub host_environment: List<Scalar<String>>,
    /// The clusters it may call, and to which it may lead TCP connections (`envoy.tcp_proxy.cluster`) beside their own: `all`, or a list. `all`, as Envoy; list them for a module that you did not write.
    pub allowed_clusters: Field<Either<All, Vec<Field<Scalar<Name>>>>>,
    /// The host functions, functions of WASI and callbacks it may use, by name: `all`, or a list. What is not listed answers
    /// InternalFailure, or is not called. `all`, as Envoy; the guest's allocator and its own start are always called.
    pub allowed_capabilities: Field<Either<All, Vec<Field<Scalar<String>>>>>,
    /// Bounds.
    pub limits: Field<WasmLimits>,
    /// Envoy's option of that name: body callbacks come while the module holds headers back. `false`, as Envoy.
    pub allow_on_headers_stop_iteration: Field<bool>,
    /// Envoy's `WasmService` (`envoy.bootstrap.wasm`): the filter is meant to be in no chain. Any that none names is started on each worker all the same, ticks, calls and hears of queues: with `true` that is no mistake to be warned of, and naming it is. One machine for each worker, not one in all as Envoy's `singleton`: who must be alone writes `workers: 1`, or has one win by compare-and-swap in shared data.
    pub service: Field<bool>,
}

fields! { Wasm {
    file, inline, url, sha256, fetch_timeout, fetch_retry_for, vm_id, root_id, vm_configuration, configuration, environment,
    host_environment, allowed_clusters, allowed_capabilities, limits, allow_on_headers_stop_iteration, service
} }

impl Default for Wasm {
    fn default() -> Self {
        Self {
            file: Field::ABSENT,
            inline: Field::ABSENT,
            url: Field::ABSENT,
            sha256: Field::ABSENT,
            fetch_timeout: Text::scalar(Period(Duration::from_secs(10))),
            fetch_retry_for: Text::scalar(Period(Duration::from_secs(60))),
            vm_id: Text::scalar(String::new()),
            root_id: Text::scalar(String::new()),
            vm_configuration: Field::ABSENT,
            configuration: Field::ABSENT,
            environment: Field::ABSENT,
            host_environment: Field::ABSENT,
            allowed_clusters: Field::of(Either::Short(All)),
            allowed_capabilities: Field::of(Either::Short(All)),
            limits: Field::ABSENT,
            allow_on_headers_stop_iteration: Field::of(false),
            service: Field::of(false),
        }
    }
}

/// Bounds of a wasm filter.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct WasmLimits {
    /// CPU time of one callback, and as much again for each 256 KiB that its guest is handed in it (whatever it is), or was handed before for its stream (bodies, answers to calls, messages; in parts of any size), up to five times. A plugin's own callbacks have what they are handed themselves, and that of the streams they act on. 10ms: with `restarts` it bounds what a filter that spins in a loop takes of a worker to 0.1%.
    pub callback: Text<Period>,
    /// CPU time of each step of a machine's start: the module's own start functions, then `proxy_on_context_create`, `proxy_on_vm_start` and `proxy_on_configure`; and as much again for each 256 KiB of configuration, or whatever else, that it is handed there, up to five times. 500ms: Go's runtime sets itself up.
    pub start: Text<Period>,
    /// Linear memories and tables of one machine; each worker has one. What its calls hold may be as much again: requests and messages until they are written (half of it), answers until they are read. 64MiB: several times what filters use. Where the cgroup's memory is short it has less: growth is denied and calls are refused, or the machine that has grown most is started again.
    pub memory: Text<Bytes<65_536, { 1 << 30 }>>,
    /// Calls to clusters under way at once, on each worker; one more is refused the guest (InternalFailure), which many answer by a trap, and so is what finds no room in `memory`; a gRPC stream whose message finds none ends with status 8, logged once. 1024: what Envoy's circuit breaker lets through.
    pub calls: Text<Int<0, 100_000>>,
    /// Bytes of an answer to a call. 1MiB: it is held in memory whole.
    pub call_response: Text<Bytes<0, { 1 << 30 }>>,
    /// Restarts of a machine within a minute; beyond it requests are treated as `fail` says until the minute is over. It is started again after 100 ms, doubled to 60 s while it does not live for a second. 30: what dies every other second is a loop.
    pub restarts: Text<Int<0, 10_000>>,
    /// Lines a second that it may log on each worker, standard output and error among them; further ones are left out, counted in `pillion_wasm_log_lines_dropped_total` and told of with the next one that is not. 1000: several lines for each of a hundred requests a second; more would be a fault that fills disks. Raise it for a filter that writes an audit log.
    pub log_lines: Text<Int<0, 1_000_000>>,
}

fields! { WasmLimits { callback, start, memory, calls, call_response, restarts, log_lines } }

impl Default for WasmLimits {
    fn default() -> Self {
        Self {
            callback: Text::scalar(Period(Duration::from_millis(10))),
            start: Text::scalar(Period(Duration::from_millis(500))),
            memory: Text::scalar(Bytes(64 << 20)),
            calls: Text::scalar(Int(1024)),
            call_response: Text::scalar(Bytes(1 << 20)),
            restarts: Text::scalar(Int(30)),
            log_lines: Text::scalar(Int(1000)),
        }
    }
}

/// Changes to headers, where conditions hold.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct HeaderRule {
    /// Headers of the request by name: the exact value, or a condition; all must hold. Absent: always.
    pub when: Field<Table<HeaderName, Either<String, HeaderCondition>>>,
    /// Changes to the request. The route is chosen again after them.
    pub request: Field<Box<HeaderChanges>>,
    /// Changes to the response, also where the proxy refused the request before filters (400, 403, 404; not for want of memory) or a filter before this one answered: `when` then looks at the request as far as it came.
    pub response: Field<Box<HeaderChanges>>,
}

fields! { HeaderRule { when, request, response } }

/// A token bucket for each key. A request beyond it is answered 429, with `Retry-After` and `x-ratelimit-…`.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["requests"])))]
pub(crate) struct RateLimit {
    /// Requests in each `per`.
    pub requests: Text<Int<1, 1_000_000_000>>,
    /// The time in which they are let through. 1s: what most limits are said in.
    pub per: Text<Period>,
    /// Requests that may come at once. Absent: as many as `requests`.
    pub burst: Text<Int<1, 1_000_000_000>>,
    /// What tells buckets apart, together: `route`, `client` (its address; of IPv6 the /64), `peer-identity` (the SPIFFE ID of its certificate), `header:x-name`. Absent: one bucket for all.
    pub keys: List<Scalar<RateKey>>,
    /// Buckets kept at once; the one that has been idle longest makes room. 10000: some 1 MiB.
    pub most_keys: Text<Int<1, 10_000_000>>,
}

fields! { RateLimit { requests, per, burst, keys, most_keys } }

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests: Field::ABSENT,
            per: Text::scalar(Period(Duration::from_secs(1))),
            burst: Field::ABSENT,
            keys: Field::ABSENT,
            most_keys: Text::scalar(Int(10_000)),
        }
    }
}

impl FromText for RateKey {
    fn words() -> Cow<'static, str> {
        "route, client, peer-identity or header:NAME".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "route" => Ok(Self::Route),
            "client" => Ok(Self::Client),
            "peer-identity" => Ok(Self::PeerIdentity),
            _ => match text.strip_prefix("header:").map(|name| name.trim().parse()) {
                Some(Ok(name)) => Ok(Self::Header(name)),
                Some(Err(_)) | None => Err(Self::expected(text, "")),
            },
        }
    }
}

/// The word `all`, in place of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct All;

impl FromText for All {
    fn words() -> Cow<'static, str> {
        "all or a list".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "all" { Ok(Self) } else { Err(Self::expected(text, "a list of one is written [name]")) }
    }
}

/// A SHA-256.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl FromText for Sha256 {
    fn words() -> Cow<'static, str> {
        "a SHA-256 of 64 hexadecimal digits".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let digit = |at: usize| text.as_bytes().get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let both = digit(2 * at).zip(digit(2 * at + 1));
            let value = both.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            *byte = value.ok_or_else(|| Self::expected(text, "write what sha256sum prints"))?;
        }
        if text.len() == 64 { Ok(Self(bytes)) } else { Err(Self::expected(text, "write what sha256sum prints")) }
    }
}

/// A mapping of whatever it holds.
#[derive(Debug)]
pub(crate) struct Mapping(pub(crate) Metadata);

/// Mappings by namespace.
pub(crate) type Namespaces = Table<String, Mapping>;

impl FromNode for Mapping {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        // What is no mapping is told.
        node.entries()?;
        // It is no deeper than a document may be, so that only numbers can be beyond what is held of them.
        let mapping: Metadata = serde_json::from_str(&node.json()?).map_err(|_| {
            Failure(
                "a number in it is too large for one of 64 bits with a fraction; write it as text, in quotes"
                    .to_owned(),
            )
        })?;
        match mapping.values().find_map(inexact) {
            None => Ok(Self(mapping)),
            Some((number, told)) => Err(Failure(format!(
                "{number} in it would be told as {told:.0}, for numbers have 64 bits with a fraction; write it as text, in quotes"
            ))),
        }
    }
}

/// A whole number in it that a double cannot hold, and the one that it would be.
fn inexact(value: &Value) -> Option<(&Number, f64)> {
    match value {
        Value::Number(number) => {
            let told = number.as_f64()?;
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))?;
            #[expect(clippy::cast_possible_truncation, reason = "it is a whole number of 64 bits")]
            let differs = told as i128 != whole;
            differs.then_some((number, told))
        }
        Value::Array(values) => values.iter().find_map(inexact),
        Value::Object(fields) => fields.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// Text as it is written, bytes in base64, or anything else as JSON.
#[derive(Debug)]
pub(crate) struct Structured(pub(crate) Vec<u8>);

/// The text that a mapping has under this name, if it has nothing else.
fn alone<'a>(node: Cursor<'a, '_>, name: &str) -> Option<&'a str> {
    let mut entries = node.entries().ok()?;
    let (Some((key, value)), None) = (entries.next(), entries.next()) else { return None };
    let text = |node: Cursor<'a, '_>| node.scalar(false, || "text".into()).ok();
    text(value).filter(|_| text(key) == Some(name))
}

/// The name of the message that is written here as Envoy writes one (`Any`), without its package; empty: it is no name.
fn any<'a>(node: Cursor<'a, '_>) -> Option<&'a str> {
    let text = |node: Cursor<'a, '_>| node.scalar(false, || "text".into()).ok();
    let (_, message) = node.entries().ok()?.find(|(key, _)| text(*key) == Some("@type"))?;
    Some(text(message).and_then(|url| url.rsplit('.').next()).unwrap_or_default())
}

impl FromNode for Structured {
    fn from_node(node: Cursor<'_, '_>) -> Result<Self, Failure> {
        if node.is_scalar() {
            return node.scalar(false, || "text or a mapping".into()).map(|text| Self(text.as_bytes().to_vec()));
        }
        match alone(node, "base64") {
            Some(text) => match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) => Ok(Self(bytes)),
                Err(_) => Err(Failure(
                    "a mapping of base64 alone is bytes, and this is no base64; write what `base64 -w0 FILE` prints, or the \
                     JSON that is meant as text"
                        .to_owned(),
                )),
            },
            None => {
                // First, since it counts how much is looked at.
                let json = node.json()?;
                let Some(message) = any(node) else { return Ok(Self(json.into_bytes())) };
                let remedy = match message {
                    "StringValue" => "write the text of its `value` itself",
                    "BytesValue" => "write its `value` as `{ base64: … }`",
                    "Struct" => "write the mapping under its `value` itself",
                    _ => "write the bytes that it is serialized to as `{ base64: … }`",
                };
                Err(Failure(format!(
                    "a mapping with `@type` is a message of Envoy's, which is not read: {remedy}; JSON that has an `@type` of \
                     its own is written as text, in quotes"
                )))
            }
        }
    }
}
