//! What the control thread knows of names and services, told to a snapshot and to the operator.

use super::Control;
use crate::{assembly::Plane, discovery::Service, in_the_clear};
use pillion_config::model::{Cluster, ClusterIndex, Config, Endpoint, EndpointAddress};
use std::time::SystemTime;

impl<P: Plane> Control<P> {
    /// Tells a snapshot the addresses of a name, wherever it stands.
    pub(super) fn deliver(&self, host: &str, config: &Config, snapshot: &P::Snapshot) {
        let addresses = self.names.addresses(host);
        if addresses.is_empty() {
            return;
        }
        for (at, cluster) in config.clusters.iter().enumerate() {
            for endpoint in &cluster.endpoints {
                if matches!(&endpoint.address, EndpointAddress::Name(name, _) if **name == *host) {
                    let cluster = ClusterIndex(at);
                    self.plane.resolved(snapshot, cluster, &endpoint.address, addresses);
                }
            }
        }
    }

    /// Tells a snapshot the addresses of a service, wherever it stands.
    pub(super) fn deliver_service(&self, service: &Service, config: &Config, snapshot: &P::Snapshot) {
        for (at, cluster, endpoint) in of_service(service, config) {
            let Some(addresses) = self.services.addresses(endpoint) else { continue };
            if let Some(words) = self.services.lacks(endpoint) {
                tracing::warn!(cluster = %cluster.name, %service, "{words}");
            }
            tracing::info!(cluster = %cluster.name, %service, endpoints = addresses.len(), "endpoints");
            if let Some(metrics) = self.services.metrics() {
                metrics.endpoints(cluster.name.as_str(), addresses.len());
            }
            self.plane.discovered(snapshot, at, addresses);
        }
        self.note_heard(service, config);
    }

    /// Tells the operator, once for each, of servers that are spoken to in the clear here though it is known who they are.
    pub(super) fn say_in_the_clear(&self, config: &Config) {
        let found = in_the_clear::endpoints(config, |endpoint| match endpoint {
            EndpointAddress::Name(name, port) => in_the_clear::resolved(self.names.addresses(name), *port),
            EndpointAddress::Service(_) => self.services.addresses(endpoint).unwrap_or_default(),
            EndpointAddress::Ip(_) => in_the_clear::written(endpoint),
        });
        let said = self.said_clear.replace(found);
        for words in self.said_clear.borrow().iter().filter(|words| !said.contains(words)) {
            tracing::warn!("{words}");
        }
    }

    /// The API server told of a service.
    pub(super) fn note_heard(&self, service: &Service, config: &Config) {
        let Some(metrics) = self.services.metrics() else { return };
        for (_, cluster, endpoint) in of_service(service, config) {
            if self.services.addresses(endpoint).is_some() {
                metrics.heard(cluster.name.as_str(), SystemTime::now());
            }
        }
    }
}

/// The clusters that are ports of a service.
fn of_service<'a>(
    service: &'a Service,
    config: &'a Config,
) -> impl Iterator<Item = (ClusterIndex, &'a Cluster, &'a EndpointAddress)> {
    config.clusters.iter().enumerate().filter_map(move |(at, cluster)| match &cluster.endpoints[..] {
        [Endpoint { address: address @ EndpointAddress::Service(wanted), .. }] if Service::of(wanted) == *service => {
            Some((ClusterIndex(at), &**cluster, address))
        }
        _ => None,
    })
}
