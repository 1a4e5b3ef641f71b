//! Services of Kubernetes.

use super::{Field, FilePath, FromText, Period, Text, fields, words};
use crate::model::{ApiServer, EndpointAddress, NodeName, ServicePort, ServiceRef, SpiffeId, Zone};
#[cfg(test)]
use schemars::JsonSchema;
#[cfg(test)]
use serde::Serialize;
use std::{borrow::Cow, time::Duration};

/// How clusters with `service` learn their endpoints: from the EndpointSlices of the API server, which the proxy's service account must be allowed to list and watch.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Kubernetes {
    /// The zone this workload is in (its node's label `topology.kubernetes.io/zone`): where all endpoints that are ready carry hints for zones and some are for this one, only those are used, as kube-proxy does. Absent: what the variable PILLION_ZONE says, which injected pods have; without one, these hints are not followed.
    pub zone: Text<Zone>,
    /// The node this workload runs on: the same of hints for nodes (`trafficDistribution: PreferSameNode`), which go before those for zones. Absent: what the variable PILLION_NODE says, which injected pods have.
    pub node: Text<NodeName>,
    /// The family of which an endpoint's address is used where it has one in both. `ipv4`: no cluster is without.
    pub prefer: Field<Preferred>,
    /// The API server, as `https://10.96.0.1:443`; `http://127.0.0.1:8001` for `kubectl proxy`, where no token is sent. Absent: the one every pod is told of in its environment.
    pub server: Text<ApiServer>,
    /// The folder with the files `token` and `ca.crt`, which are read again whenever they are needed. As every pod has it.
    pub service_account: Text<FilePath>,
    /// Time a start or a reload waits for the first answer about each service; after it the proxy serves what it knows. 5s, as for names.
    pub timeout: Text<Period>,
}

fields! { Kubernetes { zone, node, prefer, server, service_account, timeout } }

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            zone: Field::ABSENT,
            node: Field::ABSENT,
            prefer: Field::of(Preferred::Ipv4),
            server: Field::ABSENT,
            service_account: Text::scalar(FilePath("/var/run/secrets/kubernetes.io/serviceaccount".into())),
            timeout: Text::scalar(Period(Duration::from_secs(5))),
        }
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(test, derive(JsonSchema, Serialize), serde(rename_all = "kebab-case"), schemars(inline))]
pub(crate) enum Preferred {
    /// IPv4's.
    Ipv4,
    /// IPv6's.
    Ipv6,
}

words! { Preferred { "ipv4" => Ipv4, "ipv6" => Ipv6 } }

/// A service and who is there.
#[derive(Debug)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields, default))]
#[cfg_attr(test, schemars(extend("required" = ["name"])))]
pub(crate) struct Service {
    /// Its name, namespace and port: `api.shop:http` or `api.shop:8080`. The port is the service's, by name or number; a number needs the permission to get the service as well.
    pub name: Text<ServiceRef>,
    /// The SPIFFE ID of the workloads there, for clusters whose `tls` is `mutual-if-identity`. Absent: they are spoken to in the clear.
    pub identity: Text<SpiffeId>,
}

fields! { Service { name, identity } }

impl Default for Service {
    fn default() -> Self {
        Self { name: Field::ABSENT, identity: Field::ABSENT }
    }
}

impl FromText for ServiceRef {
    fn words() -> Cow<'static, str> {
        "a service as NAME.NAMESPACE:PORT, such as api.shop:http or api.shop:8080".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(Self::expected(text, "a port is missing"));
        };
        let mut labels = host.split('.');
        let (Some(name), Some(namespace)) = (labels.next(), labels.next()) else {
            return Err(Self::expected(text, &format!("the namespace is missing: write {host}.default:{port}")));
        };
        if labels.next().is_some() {
            return Err(Self::expected(
                text,
                &format!("leave out what follows the namespace: write {name}.{namespace}:{port}"),
            ));
        }
        for part in [name, namespace] {
            label(part).map_err(|remedy| Self::expected(text, &remedy))?;
        }
        let port = if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
            match port.parse() {
                Ok(number @ 1..) => ServicePort::Number(number),
                _ => return Err(Self::expected(text, "a port is a number from 1 to 65535, or a name")),
            }
        } else {
            label(port).map_err(|remedy| Self::expected(text, &remedy))?;
            ServicePort::Name(port.into())
        };
        Ok(Self { name: name.into(), namespace: namespace.into(), port })
    }
}

/// RFC 1123 labels, which is what Kubernetes calls services, namespaces and their ports. An error is the remedy.
fn label(text: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err(format!("{text:?} is no name in Kubernetes, which has 1 to 63 of a-z, 0-9 and, between them, -"));
    }
    Ok(())
}

impl FromText for Zone {
    fn words() -> Cow<'static, str> {
        "a zone such as eu-west-1a".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // The value of a label.
        if text.is_empty() || text.len() > 63 || !text.bytes().all(fits) {
            return Err(Self::expected(text, "a zone has 1 to 63 letters, digits, -, _ and ."));
        }
        Ok(Self(text.into()))
    }
}

impl FromText for NodeName {
    fn words() -> Cow<'static, str> {
        "a node such as worker-1".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        // An RFC 1123 subdomain, which is what a node's name is.
        if text.len() > 253 || !text.split('.').all(|part| label(part).is_ok()) {
            return Err(Self::expected(text, "a node's name has 1 to 253 of a-z, 0-9 and, between them, - and ."));
        }
        Ok(Self(text.into()))
    }
}

impl FromText for ApiServer {
    fn words() -> Cow<'static, str> {
        "an API server such as https://10.96.0.1:443 or http://127.0.0.1:8001".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(Self::expected(text, "the scheme is missing")),
        };
        let rest = rest.trim_end_matches('/');
        if rest.contains('/') {
            return Err(Self::expected(text, "leave the path out"));
        }
        let endpoint = if rest.rsplit_once(':').is_some_and(|(host, _)| !host.ends_with(':') && !host.is_empty()) {
            rest.to_owned()
        } else {
            format!("{rest}:{}", if secure { 443 } else { 80 })
        };
        let endpoint = EndpointAddress::from_text(&endpoint)
            .map_err(|_| Self::expected(text, "behind the scheme stand a host and a port"))?;
        Ok(Self { secure, endpoint })
    }
}
