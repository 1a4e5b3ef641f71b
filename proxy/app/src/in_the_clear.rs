//! Servers that one endpoint gives an identity and another does not, which speaks to them in the clear.
//!
//! Beside the path. Under `mutual-if-identity` an endpoint without an identity is one of which nobody has said who is there. Where
//! the same server stands elsewhere with one, by its address there and by a name here, that was forgotten: what goes by the one way
//! is sealed and by the other it is not, and a server that speaks nothing but mutual TLS refuses it. It is told and not mended: who
//! is believed is written down, and no answer of a name server adds to it.

use pillion_config::model::{Cluster, ClusterTlsMode, Config, Endpoint, EndpointAddress, SpiffeId, without_final_dot};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// What to tell an operator of each such endpoint. `addresses` are those that the endpoint is known to have.
pub fn endpoints(config: &Config, addresses: impl Fn(&EndpointAddress) -> Vec<SocketAddr>) -> Vec<String> {
    let clusters = || config.clusters.iter().filter(|cluster| goes_by_identity(cluster));
    let all = || clusters().flat_map(|cluster| cluster.endpoints.iter().map(move |endpoint| (&**cluster, endpoint)));
    // Most configurations have no such cluster, and most of the others no endpoint of the second kind.
    if all().all(|(_, endpoint)| endpoint.identity.is_some()) || all().all(|(_, endpoint)| endpoint.identity.is_none())
    {
        return Vec::new();
    }
    let mut known: HashMap<At, (&Cluster, &SpiffeId)> = HashMap::new();
    for (cluster, endpoint) in all() {
        let Some(identity) = &endpoint.identity else { continue };
        for at in At::of(endpoint, &addresses) {
            known.entry(at).or_insert((cluster, identity));
        }
    }
    let remark = |(cluster, endpoint): (&Cluster, &Endpoint)| {
        let at = At::of(endpoint, &addresses).find(|at| known.contains_key(at))?;
        let (by, identity) = known.get(&at)?;
        Some(format!(
            "cluster {}: {} is spoken to in the clear, but cluster {} knows {identity} there{}; give this endpoint its `identity`, too",
            cluster.name,
            endpoint.address,
            by.name,
            match at {
                At::Address(address) if EndpointAddress::Ip(address) != endpoint.address => format!(", at {address}"),
                At::Address(_) | At::Name(..) => String::new(),
            }
        ))
    };
    all().filter(|(_, endpoint)| endpoint.identity.is_none()).filter_map(remark).collect()
}

fn goes_by_identity(cluster: &Cluster) -> bool {
    cluster.tls.as_ref().is_some_and(|tls| tls.mode == ClusterTlsMode::MutualIfIdentity)
}

/// Where a server is: two endpoints with one of these in common are the same.
#[derive(PartialEq, Eq, Hash)]
enum At {
    Name(String, u16),
    Address(SocketAddr),
}

impl At {
    fn of(endpoint: &Endpoint, addresses: impl Fn(&EndpointAddress) -> Vec<SocketAddr>) -> impl Iterator<Item = Self> {
        let name = match &endpoint.address {
            EndpointAddress::Name(name, port) => Some(Self::Name(without_final_dot(name).to_owned(), *port)),
            EndpointAddress::Ip(_) | EndpointAddress::Service(_) => None,
        };
        name.into_iter().chain(addresses(&endpoint.address).into_iter().map(Self::Address))
    }
}

/// The addresses of an endpoint that is written as one; where names are not looked up, no other has any.
#[must_use]
pub fn written(endpoint: &EndpointAddress) -> Vec<SocketAddr> {
    match endpoint {
        EndpointAddress::Ip(address) => vec![*address],
        EndpointAddress::Name(..) | EndpointAddress::Service(_) => Vec::new(),
    }
}

/// The addresses of an endpoint whose name has these.
#[must_use]
pub fn resolved(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::{SourceName, parse};
    use std::io;

    const IDENTITY: &str = "identity: { workload_api: { address: 'unix:///agent.sock' } }\nlisteners:\n  - { name: web, address: 127.0.0.1:1, \
         tcp: { cluster: a } }\nclusters:\n";

    /// What is told of clusters with these endpoints, where `shop` has an address.
    fn told(clusters: &[(&str, &str)]) -> Vec<String> {
        let written: String = clusters.iter().map(|(name, rest)| format!("  - {{ name: {name}, {rest} }}\n")).collect();
        let none = |_: &std::path::Path| Err(io::ErrorKind::NotFound.into());
        let loaded = parse(&SourceName::new("test"), &format!("{IDENTITY}{written}"), &none).unwrap();
        endpoints(&loaded.config, |endpoint| match endpoint {
            EndpointAddress::Name(name, port) if name.starts_with("shop") => {
                resolved(&["10.0.0.8".parse().unwrap(), "10.0.0.7".parse().unwrap()], *port)
            }
            other => super::written(other),
        })
    }

    const MESH: &str = "tls: { mode: mutual-if-identity }";
    const SHOP: &str = "spiffe://example.org/shop";

    #[test]
    fn a_server_that_is_known_by_its_address_and_met_by_its_name_is_told_of() {
        let known = |address: &str| format!("endpoints: [{{ address: '{address}', identity: '{SHOP}' }}], {MESH}");
        let met = |address: &str| format!("endpoints: ['{address}'], {MESH}");
        let words = told(&[("a", &known("10.0.0.7:80")), ("b", &met("shop:80"))]);
        assert_eq!(
            words,
            [format!(
                "cluster b: shop:80 is spoken to in the clear, but cluster a knows {SHOP} there, at 10.0.0.7:80; give this endpoint \
                 its `identity`, too"
            )]
        );
        for (one, other) in [
            ("shop:80", "10.0.0.8:80"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("unknown:80", "unknown.:80"),
            ("shop:80", "shop.:80"),
        ] {
            let words = told(&[("a", &known(one)), ("b", &met(other))]);
            assert!(
                words.len() == 1 && words[0].starts_with(&format!("cluster b: {other} ")),
                "{one} {other}: {words:?}"
            );
        }
        for (one, other) in [("shop:80", "10.0.0.8:81"), ("10.0.0.7:80", "10.0.0.9:80"), ("unknown:80", "other:80")] {
            assert_eq!(told(&[("a", &known(one)), ("b", &met(other))]), Vec::<String>::new(), "{one} {other}");
        }
        // In one cluster each second request would go in the clear.
        let both = format!("endpoints: [{{ address: '10.0.0.7:80', identity: '{SHOP}' }}, 'shop:80'], {MESH}");
        assert_eq!(told(&[("a", &both)]).len(), 1);
        // A cluster that is in the clear by what it says, and one whose servers must show a certificate, are as they were written.
        let clear = "endpoints: ['shop:80']".to_owned();
        let tls = format!("endpoints: ['shop:80'], tls: {{ mode: mutual, spiffe_ids: ['{SHOP}'] }}");
        for other in [clear, tls, known("shop:80")] {
            assert_eq!(told(&[("a", &known("10.0.0.7:80")), ("b", &other)]), Vec::<String>::new(), "{other}");
        }
    }
}
