//! What can be chosen about an injection, and what a choice means where it leaves something open. Pure.

mod agree;
mod image;
mod keys;
mod read;

pub use image::Image;
pub use keys::{KEYS, Key, key};

use super::quantity::Quantity;
use pillion_config::model::NotHttp;
use std::{fmt, time::Duration};

/// Where annotations and labels of ours live.
pub const PREFIX: &str = "pillion.io/";
/// `enabled` or `disabled`, as annotation or label of a pod or its namespace.
pub const INJECT: &str = "pillion.io/inject";
/// Which version injected a pod.
pub const STATUS: &str = "pillion.io/status";

/// How the proxy runs beside the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An init container that stays (`restartPolicy: Always`, Kubernetes 1.29).
    Native,
    /// A container like the application's.
    Container,
}

/// What leads the application's connections to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Rules that an init container installs (NET_ADMIN: no Pod Security but *privileged*).
    Init,
    /// The node agent (eBPF).
    Node,
    /// Nothing: the application and its clients are told the proxy's ports.
    None,
}

/// Who takes connections between the proxy and its application past TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// Nobody.
    None,
    /// The node agent (eBPF).
    Agent,
}

/// What inbound connections must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundTls {
    /// Mutual TLS.
    Strict,
    /// Mutual TLS of the mesh, or anything else as it is.
    Permissive,
    /// Anything, as it is.
    Off,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// From nowhere: no mutual TLS.
    None,
    /// A Secret with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager makes them.
    Secret(String),
    /// A CSI driver that writes the same three files for the pod's service account.
    Csi(String),
    /// The SPIFFE Workload API, whose socket of this name the driver `csi.spiffe.io` brings in.
    WorkloadApi(String),
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub u16, pub u16);

/// A service that the application calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where the proxy listens for it, where nothing is captured.
    pub local: Option<u16>,
    /// Its name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Its port.
    pub port: u16,
    /// Who it must be.
    pub identity: Option<String>,
}

/// A listener of the proxy before a port of the application, for clients that are told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboundPort {
    /// Where the proxy listens.
    pub listen: u16,
    /// Where the application does.
    pub application: u16,
}

/// How the pods of a service are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// By the service's name.
    Dns,
    /// By its EndpointSlices.
    EndpointSlices,
}

/// Everything that can be chosen.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each field is described in KEYS, under its own name")]
pub struct Settings {
    pub mode: Mode,
    pub capture: Capture,
    pub redirect: Redirect,
    pub inbound_tls: Option<InboundTls>,
    pub inbound_ports: Vec<InboundPort>,
    pub skip_inbound_ports: Vec<Ports>,
    pub skip_outbound_ports: Vec<Ports>,
    pub skip_outbound_cidrs: Vec<String>,
    pub opaque_ports: Vec<Ports>,
    pub upstreams: Vec<Upstream>,
    pub discovery: Discovery,
    pub zone: Option<String>,
    pub identity: Identity,
    pub trust_domain: String,
    pub cluster_domain: String,
    pub rewrite_probes: bool,
    pub image: Image,
    pub init_image: Option<Image>,
    pub image_pull_policy: String,
    pub image_pull_secrets: Vec<String>,
    pub cpu_request: Quantity,
    pub cpu_limit: Option<Quantity>,
    pub memory_request: Quantity,
    pub memory_limit: Option<Quantity>,
    pub workers: u16,
    pub log_level: String,
    pub filters: Option<String>,
    pub not_http: Option<NotHttp>,
    pub config: Option<String>,
    pub drain_delay: Duration,
    pub drain_deadline: Option<Duration>,
    pub ip_family: IpFamily,
}

/// Which addresses the proxy listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4's.
    Ipv4,
    /// Both families', by one socket.
    Dual,
}

impl Default for Settings {
    fn default() -> Self {
        let quantity = |text: &str| text.parse().unwrap_or_else(|words: String| unreachable!("{text}: {words}"));
        let (name, tag) = ("pillion".to_owned(), Some(env!("CARGO_PKG_VERSION").to_owned()));
        Self {
            mode: Mode::Native,
            capture: Capture::Init,
            // What the agent's self-test waives is right for the applications of whoever says so.
            redirect: Redirect::None,
            inbound_tls: None,
            inbound_ports: Vec::new(),
            skip_inbound_ports: Vec::new(),
            skip_outbound_ports: Vec::new(),
            skip_outbound_cidrs: Vec::new(),
            opaque_ports: Vec::new(),
            upstreams: Vec::new(),
            discovery: Discovery::Dns,
            zone: None,
            identity: Identity::None,
            trust_domain: "cluster.local".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            rewrite_probes: true,
            image: Image { name, tag, digest: None },
            init_image: None,
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            cpu_request: quantity("10m"),
            cpu_limit: None,
            memory_request: quantity("16Mi"),
            memory_limit: Some(quantity("128Mi")),
            workers: 1,
            log_level: "info".to_owned(),
            filters: None,
            not_http: None,
            config: None,
            drain_delay: Duration::from_secs(5),
            drain_deadline: None,
            ip_family: IpFamily::Dual,
        }
    }
}

impl Settings {
    /// Sets what is called `name`.
    ///
    /// # Errors
    /// What is wrong with the value, and what would be right.
    pub fn set(&mut self, key: &Key, text: &str) -> Result<(), String> {
        (key.set)(self, text.trim())
    }

    /// What inbound connections must be.
    #[must_use]
    pub fn inbound_tls(&self) -> InboundTls {
        let default = if self.identity == Identity::None { InboundTls::Off } else { InboundTls::Permissive };
        self.inbound_tls.unwrap_or(default)
    }

    /// Whether what comes in at a port is left alone.
    #[must_use]
    pub fn skips_inbound(&self, port: u16) -> bool {
        self.skip_inbound_ports.iter().any(|ports| ports.contain(port))
    }

    /// Whether hosts are told apart by names of which some hold in one namespace only.
    #[must_use]
    pub fn has_bare_names(&self) -> bool {
        self.capture != Capture::None && !self.upstreams.is_empty()
    }

    /// Whether the proxy follows EndpointSlices.
    #[must_use]
    pub fn asks_the_api_server(&self) -> bool {
        self.discovery == Discovery::EndpointSlices && !self.upstreams.is_empty()
    }

    /// The image that installs the rules.
    ///
    /// # Errors
    /// Why it must be written, and where.
    pub fn init_image(&self) -> Result<Image, String> {
        let Some(image) = &self.init_image else {
            let remedy = "write init-image as well, or choose capture node or none";
            return self.image.beside().map_err(|why| format!("{}: {why}: {remedy}", self.image));
        };
        Ok(image.clone())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(f, "{}", self.0) } else { write!(f, "{}-{}", self.0, self.1) }
    }
}

impl Ports {
    /// Whether a port is among them.
    #[must_use]
    pub fn contain(self, port: u16) -> bool {
        (self.0..=self.1).contains(&port)
    }
}

#[cfg(test)]
mod tests;
