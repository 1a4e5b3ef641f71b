//! Services of Kubernetes.

use super::EndpointAddress;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

/// How services become addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// The zone this workload is in; `None`: the one that the environment names, if any.
    pub zone: Option<Zone>,
    /// The node this workload runs on; `None`: the one that the environment names, if any.
    pub node: Option<NodeName>,
    /// The family of which an endpoint's address is used where it has one in both.
    pub prefer: Family,
    /// The API server; `None`: the one that the environment names.
    pub server: Option<ApiServer>,
    /// Where `token` and `ca.crt` are.
    pub service_account: PathBuf,
    /// How long a start or a reload waits for the first answers.
    pub timeout: Duration,
}

/// A zone, as the label `topology.kubernetes.io/zone` of a node has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zone(pub Arc<str>);

/// A node, as Kubernetes calls it (`spec.nodeName` of its pods).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName(pub Arc<str>);

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4's.
    Ipv4,
    /// IPv6's.
    Ipv6,
}

/// Where an API server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ApiServer {
    /// Whether TLS is spoken; a token is sent only then.
    pub secure: bool,
    /// Its host and port.
    pub endpoint: EndpointAddress,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// The service's name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Which port.
    pub port: ServicePort,
}

/// A port as the service knows it, which is not where its pods listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServicePort {
    /// Its number.
    Number(u16),
    /// Its name.
    Name(Arc<str>),
}

impl ServiceRef {
    /// What it is called within its cluster: `api.shop.svc`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.endpoint)
    }
}

impl fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.name, self.namespace, self.port)
    }
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
