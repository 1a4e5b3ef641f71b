//! Filters: what requests, responses and opaque bytes pass through between client and cluster.

use super::{HeaderChange, HeaderMatch, Jwt, Metadata, Name};
use http::HeaderName;
use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

/// A filter's place in [`Config::filters`](super::Config::filters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FilterIndex(pub usize);

/// A configured filter. One that a route gives a configuration of its own stands once more among the filters, with
/// that configuration and the same name.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Its name, in logs and metrics (`plugin_name` to a wasm guest).
    pub name: Name,
    /// The route whose own configuration this is; `None`: as it was defined.
    pub route: Option<Name>,
    /// What it does.
    pub kind: FilterKind,
    /// What becomes of a request or connection for which it fails.
    pub fail: FailPolicy,
    /// What it may hold back at most of one body, or of one direction of a connection.
    pub body_buffer: BodyBuffer,
    /// Where it is written.
    pub stands: Stands,
}

/// Where a filter is written, as errors name it: `file:line:column: path`. A filter that has only moved is the same one: any two are
/// equal.
#[derive(Debug, Clone, Default)]
pub struct Stands {
    /// Its definition; empty: nowhere.
    pub definition: Arc<str>,
    /// What it is configured by, of its own or the route's; `None`: nothing.
    pub configuration: Option<Arc<str>>,
    /// What of the ABI it may use; `None`: nothing is written.
    pub capabilities: Option<Arc<str>>,
}

/// A part of a filter that something is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// Any, or all of it.
    #[default]
    Definition,
    /// What it is configured by.
    Configuration,
    /// What of the ABI it may use.
    Capabilities,
}

impl Stands {
    /// Where a part is written; where that is not written, the whole.
    #[must_use]
    pub fn at(&self, part: Part) -> &str {
        let part = match part {
            Part::Definition => None,
            Part::Configuration => self.configuration.as_ref(),
            Part::Capabilities => self.capabilities.as_ref(),
        };
        part.unwrap_or(&self.definition)
    }
}

impl PartialEq for Stands {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Bytes that a filter may hold back of one body at most, by what the stream's client speaks. Its server's protocol has no part in
/// it, in either direction, as in Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyBuffer {
    /// Over HTTP/1, and of an opaque connection.
    pub http1: usize,
    /// Over HTTP/2.
    pub http2: usize,
}

impl BodyBuffer {
    /// The same over both.
    #[must_use]
    pub const fn both(bytes: usize) -> Self {
        Self { http1: bytes, http2: bytes }
    }
}

impl Default for BodyBuffer {
    /// As Envoy 1.40: of a connection its buffer limit, of an HTTP/2 stream its window.
    fn default() -> Self {
        Self { http1: 1 << 20, http2: 16 << 20 }
    }
}

/// What a filter does.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterKind {
    /// Runs a proxy-wasm module.
    Wasm(Box<Wasm>),
    /// Changes headers.
    Headers(Vec<HeaderRule>),
    /// Answers 429 beyond a rate.
    RateLimit(RateLimit),
    /// Answers 401 where there is no good token.
    Jwt(Box<Jwt>),
}

/// What becomes of a request or connection for which a filter fails: a trap, a used-up limit, a machine that is being
/// rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPolicy {
    /// Requests get 503, or are cut where the response's head has gone out; connections are closed.
    Closed,
    /// It goes on without the filter.
    Open,
}

/// A proxy-wasm module and how it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Wasm {
    /// Where the module comes from.
    pub source: WasmSource,
    /// Filters with the same id, module and `vm_configuration` share one machine per worker; shared data and queues are
    /// shared by id alone. Empty is an id like any other.
    pub vm_id: String,
    /// Which of the module's root contexts; `plugin_root_id` to the guest.
    pub root_id: String,
    /// What `proxy_on_vm_start` is given.
    pub vm_configuration: Vec<u8>,
    /// What `proxy_on_configure` is given: text as written; anything else the document holds as JSON.
    pub configuration: Vec<u8>,
    /// The environment it sees: names and values.
    pub environment: Vec<(String, String)>,
    /// Variables of the proxy's own environment that it sees too, before the others.
    pub host_environment: Vec<String>,
    /// The clusters it may call.
    pub allowed_clusters: AllowedClusters,
    /// Which host functions it may call, and which of its callbacks are called.
    pub allowed_capabilities: AllowedCapabilities,
    /// Bounds.
    pub limits: WasmLimits,
    /// Envoy's `allow_on_headers_stop_iteration`: body callbacks come while the guest holds headers back.
    pub allow_on_headers_stop_iteration: bool,
    /// What it is told of the workload it serves.
    pub node: Arc<Node>,
}

/// What wasm filters are told of the workload they serve (`xds.node`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name; `None`: the machine's.
    pub id: Option<String>,
    /// What it is one of.
    pub cluster: String,
    /// What else there is to know.
    pub metadata: Metadata,
}

/// Where a module comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WasmSource {
    /// A file, and a fingerprint of its content when the configuration was read: two models are equal only if the
    /// file's content was. (Not a cryptographic one.)
    File(PathBuf, u64),
    /// The module itself.
    Inline(Arc<[u8]>),
    /// Fetched.
    Url(WasmUrl),
}

/// A module to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmUrl {
    /// `http://` or `https://`.
    pub url: String,
    /// What the module's SHA-256 must be.
    pub sha256: [u8; 32],
    /// Time one attempt may take.
    pub timeout: Duration,
    /// Time within which a start repeats failed attempts.
    pub retry_for: Duration,
}

/// Clusters that a filter may call, and lead opaque connections to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedClusters {
    /// Every one of the configuration.
    All,
    /// These; all are in the configuration.
    Only(Vec<Name>),
}

/// What of the ABI a wasm filter may use, as in Envoy's `capability_restriction_config`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum AllowedCapabilities {
    /// All of it.
    #[default]
    All,
    /// These host functions, functions of WASI and callbacks, by name. The guest's allocator and its own start are always
    /// called.
    Only(Vec<String>),
}

impl AllowedCapabilities {
    /// Whether a function or callback of this name may be used.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|known| known == name),
        }
    }
}

impl AllowedClusters {
    /// Whether a cluster of this name is among them.
    #[must_use]
    pub fn allows(&self, cluster: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name.as_str() == cluster),
        }
    }
}

/// Bounds of a wasm filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmLimits {
    /// CPU time that one callback may take which has nothing to work on.
    pub callback: Duration,
    /// The same of each step of a machine's start (`_initialize`, `proxy_on_vm_start`, `proxy_on_configure`).
    pub start: Duration,
    /// Bytes of linear memories and tables of one machine; what its calls hold may be as many again.
    pub memory: usize,
    /// Calls of one filter on one worker under way at once.
    pub calls: usize,
    /// Bytes of an answer to a call that are kept for the guest.
    pub call_response: usize,
    /// Restarts of a machine within a minute; beyond it waits.
    pub restarts: u32,
    /// Lines of one filter on one worker that are logged in a second.
    pub log_lines: u32,
}

/// Changes to headers, where conditions hold.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderRule {
    /// All of these must hold of the request as it came to the filter; none: always.
    pub when: Vec<HeaderMatch>,
    /// Changes to the request.
    pub request: Vec<HeaderChange>,
    /// Changes to the response.
    pub response: Vec<HeaderChange>,
}

/// A token bucket for each key, for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Tokens that come back in each `per`.
    pub requests: NonZeroU32,
    /// The time in which they do.
    pub per: Duration,
    /// Tokens that a bucket holds at most.
    pub burst: NonZeroU32,
    /// What tells buckets apart, together; none: one bucket for all.
    pub keys: Vec<RateKey>,
    /// Buckets kept at most; the one longest unused makes room.
    pub most_keys: usize,
}

/// What tells requests apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateKey {
    /// The route.
    Route,
    /// A header's first value; requests without it share a bucket.
    Header(HeaderName),
    /// The SPIFFE ID of the peer's certificate.
    PeerIdentity,
    /// The client's address (IPv6: its /64).
    Client,
}
