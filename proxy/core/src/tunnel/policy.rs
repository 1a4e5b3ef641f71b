//! policy: which clusters an opaque connection goes to. Compiled with its listener; pure.

use crate::exchange::route::{ANY, GroupId, Hosts};
use pillion_config::model::{DestinationRoute, Tcp, WeightedCluster};
use std::net::SocketAddr;

/// A listener's rules for opaque connections, compiled.
pub struct Policy {
    by_address: Vec<DestinationRoute>,
    otherwise: Vec<WeightedCluster>,
    names: Hosts,
    /// By group of `names`, the one for any name excepted.
    by_name: Vec<Vec<WeightedCluster>>,
}

impl Policy {
    /// Compiles a listener's rules.
    #[must_use]
    pub fn compile(tcp: &Tcp) -> Self {
        let names = Hosts::new(tcp.server_names.iter().flat_map(|route| &route.names));
        let mut by_name = vec![Vec::new(); names.groups() - 1];
        // A name that stands in two rules belongs to the first.
        for route in tcp.server_names.iter().rev() {
            for group in route.names.iter().filter_map(|name| names.group(name)) {
                if let Some(place) = place(group) {
                    by_name[place].clone_from(&route.clusters);
                }
            }
        }
        Self { by_address: tcp.destinations.clone(), otherwise: tcp.clusters.clone(), names, by_name }
    }

    /// The clusters for a connection to `destination` whose TLS client asks for `server_name`; empty: it goes nowhere.
    #[must_use]
    pub fn clusters(&self, destination: SocketAddr, server_name: Option<&str>) -> &[WeightedCluster] {
        let meant = |route: &&DestinationRoute| route.destinations.iter().any(|wanted| wanted.holds(destination));
        if let Some(route) = self.by_address.iter().find(meant) {
            return &route.clusters;
        }
        let group = server_name.map_or(ANY, |name| self.names.find(name));
        place(group).map_or(&self.otherwise, |place| &self.by_name[place])
    }
}

fn place(group: GroupId) -> Option<usize> {
    (group != ANY).then(|| group.0 as usize - 1)
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("otherwise", &self.otherwise).field("names", &self.by_name.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::model::{Cidr, ClusterIndex, Destination, HostPattern, NotHttp, ServerNameRoute};
    use std::time::Duration;

    fn one(cluster: usize) -> Vec<WeightedCluster> {
        vec![WeightedCluster { cluster: ClusterIndex(cluster), weight: 1 }]
    }

    #[test]
    fn the_most_specific_name_wins_and_the_first_rule_for_it() {
        let exact = |name: &str| HostPattern::Exact(name.to_owned());
        let suffix = |name: &str| HostPattern::Suffix(name.to_owned());
        let rule = |names, cluster| ServerNameRoute { names, clusters: one(cluster) };
        let mut tcp = Tcp {
            clusters: one(0),
            destinations: vec![DestinationRoute {
                destinations: vec![
                    Destination { network: None, port: Some(5432) },
                    Destination { network: Some(Cidr { address: [10, 9, 0, 0].into(), prefix: 16 }), port: Some(80) },
                ],
                clusters: one(4),
            }],
            server_names: vec![
                rule(vec![suffix(".example.com")], 1),
                rule(vec![exact("api.example.com"), exact("www.example.org")], 2),
                rule(vec![exact("api.example.com"), suffix(".example.org")], 3),
            ],
            idle_timeout: None,
            detect_timeout: Duration::ZERO,
            server_first: Vec::new(),
            not_http: NotHttp::Pass,
            filters: None,
        };
        let policy = Policy::compile(&tcp);
        for (name, cluster) in [
            (Some("api.example.com"), 2),
            (Some("API.Example.Com"), 2),
            (Some("b.example.com"), 1),
            (Some("example.com"), 0),
            (Some("www.example.org"), 2),
            (Some("x.example.org"), 3),
            (Some(""), 0),
            (None, 0),
        ] {
            assert_eq!(policy.clusters(([10, 0, 0, 7], 80).into(), name), one(cluster), "{name:?}");
        }
        for (destination, cluster) in [
            ("10.0.0.7:5432", 4),
            ("[::1]:5432", 4),
            ("10.9.8.7:80", 4),
            ("[::ffff:10.9.8.7]:80", 4),
            ("10.9.8.7:81", 2),
        ] {
            let clusters = policy.clusters(destination.parse().unwrap(), Some("api.example.com"));
            assert_eq!(clusters, one(cluster), "{destination}");
        }
        tcp.clusters.clear();
        assert!(Policy::compile(&tcp).clusters(([10, 0, 0, 7], 80).into(), None).is_empty());
    }
}
