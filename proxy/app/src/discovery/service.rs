//! A service that is followed, and what the API server is asked for it.

use pillion_config::model::{ServicePort, ServiceRef};
use std::{fmt, sync::Arc};

/// A service that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Whether ports are asked for by number, which only the service itself can tell the names of.
    pub numbers: bool,
}

impl Service {
    /// What must be followed to know a port.
    #[must_use]
    pub fn of(wanted: &ServiceRef) -> Self {
        let ServiceRef { name, namespace, port } = wanted;
        let numbers = matches!(port, ServicePort::Number(_));
        Self { namespace: namespace.clone(), name: name.clone(), numbers }
    }

    // Names are of letters, digits and `-`: nothing in them needs to be escaped.
    fn slices(&self) -> String {
        let Self { namespace, name, .. } = self;
        format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{name}"
        )
    }

    pub(super) fn list(&self, limit: Option<usize>, next: Option<&str>) -> String {
        let limit = limit.map_or_else(String::new, |limit| format!("&limit={limit}"));
        let next = next.map_or_else(String::new, |next| format!("&continue={}", escaped(next)));
        self.slices() + &limit + &next
    }

    pub(super) fn watch(&self, version: &str, seconds: u64) -> String {
        let version = escaped(version);
        format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}",
            self.slices()
        )
    }

    pub(super) fn itself(&self) -> String {
        format!("/api/v1/namespaces/{}/services/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// As a value of a query (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_gave_is_given_back_whatever_it_is() {
        let service = Service { namespace: "shop".into(), name: "api".into(), numbers: false };
        let base =
            "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dapi";
        assert_eq!(service.list(Some(50), Some("eyJ2+/=&")), format!("{base}&limit=50&continue=eyJ2%2B%2F%3D%26"));
        assert!(service.watch("7 7", 300).ends_with("&resourceVersion=7%207&timeoutSeconds=300"));
    }
}
