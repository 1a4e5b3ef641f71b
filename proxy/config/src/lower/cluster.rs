//! Clusters.

use super::{Lowering, capture, metadata::metadata, process::or_default, tls};
use crate::{
    document::{self, Balance, Either, Int, Keepalive, Off, Period, Protocols},
    model::{
        self, AnnouncedField, Announcement, AnnouncementVersion, Circuit, Cluster, Endpoint, EndpointAddress,
        ServiceRef, SpiffeId, TcpKeepalive, UpstreamProtocol,
    },
    tree::Place,
};
use std::{collections::HashSet, time::Duration};

pub(super) fn cluster(
    cx: &mut Lowering<'_, '_>,
    cluster: document::Cluster,
    at: Place,
    identity: &tls::Known,
    mark: Option<u32>,
) -> Option<Cluster> {
    let name = cx.required_scalar(at, "name", cluster.name);
    let mode = cluster.tls.get().and_then(|tls| tls.mode.get());
    let identities = match mode {
        Some(document::ClusterTlsMode::MutualIfIdentity) => Identities::Wanted,
        Some(_) | None => Identities::Idle,
    };
    let written = cluster.endpoints.is_written();
    let original_destination = capture::original_destination(cx, cluster.original_destination, at, mark);
    let dynamic = matches!(original_destination, Some(Some(_)));
    for (place, name) in [(cluster.endpoints.place(), "endpoints"), (cluster.service.place(), "service")] {
        if let (true, Some(place)) = (dynamic, place) {
            cx.error(place, format!("{name:?} cannot stand beside \"original_destination\"; keep one of them"));
        }
    }
    if let (true, Some(place)) = (written, cluster.service.place()) {
        cx.error(place, "\"service\" cannot stand beside \"endpoints\"; keep one of them");
    }
    let of_service = cluster.service.is_written();
    let endpoints = match cluster.endpoints.at(at) {
        Some(_) | None if dynamic => Some(Vec::new()),
        Some(_) | None if of_service => {
            let service = cluster.service.at(at);
            service.and_then(|(service, place)| self::service(cx, service, place, identities)).map(|it| vec![it])
        }
        None if !written => {
            cx.error(
                at,
                "the cluster lives nowhere; write endpoints, service, or original_destination for captured connections",
            );
            None
        }
        Some((list, place)) if list.is_empty() => {
            cx.error(place, "no endpoint: requests to this cluster would have nowhere to go; write at least one");
            None
        }
        Some((list, place)) => Some(endpoints(cx, list, place, identities)),
        None => None,
    };
    let tcp_keepalive = match or_either(cluster.tcp_keepalive, at) {
        Some((Either::Short(Off), _)) => Some(None),
        Some((Either::Long(keepalive), place)) => self::tcp_keepalive(cx, keepalive, place).map(Some),
        None => None,
    };
    let who = endpoints.iter().flatten().filter_map(|endpoint: &Endpoint| endpoint.identity.clone()).collect();
    let tls = tls::cluster(cx, cluster.tls, at, identity, who);
    let metadata = metadata(cx, cluster.metadata, at);
    let proxy_protocol = announcement(cx, cluster.proxy_protocol, at);
    let (limits, _) = or_default(cluster.limits, at)?;
    let pending_at = limits.pending.place();
    let circuit = Circuit {
        connections: limits.connections.value()?.to(),
        pending: limits.pending.value()?.to(),
        requests: limits.requests.value()?.to(),
    };
    if let (0, Some(place)) = (circuit.pending, pending_at) {
        cx.warn(
            place,
            "no request is ever served: one that a connection is made for waits for it, which is pending; write at least 1",
        );
    }
    Some(Cluster {
        name: name?.0,
        endpoints: endpoints?,
        original_destination: original_destination?,
        mark,
        balance: match cluster.balance.take()? {
            Balance::LeastRequest => model::Balance::LeastRequest,
            Balance::RoundRobin => model::Balance::RoundRobin,
            Balance::Random => model::Balance::Random,
        },
        protocol: match cluster.protocol.take()? {
            Protocols::Http1 => UpstreamProtocol::Http1,
            Protocols::Http2 => UpstreamProtocol::Http2,
            Protocols::SameAsDownstream => UpstreamProtocol::SameAsDownstream,
        },
        tls: tls?,
        proxy_protocol: proxy_protocol?,
        connect_timeout: cluster.connect_timeout.value()?.0,
        tcp_keepalive: tcp_keepalive?,
        idle_timeout: cluster.idle_timeout.value()?.0,
        idle_connections: cluster.idle_connections.value()?.to(),
        circuit,
        header_bytes: limits.header_bytes.value()?.0,
        headers: limits.headers.value()?.to(),
        metadata: metadata?,
    })
}

/// Whether it matters who is at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identities {
    Wanted,
    Idle,
}

fn announcement(
    cx: &mut Lowering<'_, '_>,
    field: document::Field<document::Announcement>,
    at: Place,
) -> Option<Option<Announcement>> {
    if !field.is_written() {
        return Some(None);
    }
    let (announcement, at) = field.at(at)?;
    let fields_at = announcement.fields.place().unwrap_or(at);
    let list = announcement.fields.elements();
    let count = list.len();
    let mut fields = Vec::with_capacity(count);
    for (field, place) in cx.elements(fields_at, list) {
        let field = match field {
            document::AnnouncedField::Authority => AnnouncedField::Authority,
            document::AnnouncedField::Alpn => AnnouncedField::Alpn,
            document::AnnouncedField::Tls => AnnouncedField::Tls,
            document::AnnouncedField::UniqueId => AnnouncedField::UniqueId,
            document::AnnouncedField::Checksum => AnnouncedField::Checksum,
        };
        if fields.contains(&field) {
            cx.error(place, "this field stands in the list twice; remove one");
        }
        fields.push(field);
    }
    let version = match announcement.version.take()? {
        document::AnnouncementVersion::V1 => AnnouncementVersion::V1,
        document::AnnouncementVersion::V2 => AnnouncementVersion::V2,
    };
    if version == AnnouncementVersion::V1 && count > 0 {
        cx.error(fields_at, "version 1 has no fields; write version: v2, or remove them");
    }
    (fields.len() == count).then_some(Some(Announcement { version, fields }))
}

fn or_either(field: document::Field<Either<Off, Keepalive>>, parent: Place) -> Option<(Either<Off, Keepalive>, Place)> {
    if field.is_written() { field.at(parent) } else { Some((Either::Long(Keepalive::default()), parent)) }
}

fn endpoints(
    cx: &mut Lowering<'_, '_>,
    list: Vec<document::Field<Either<EndpointAddress, document::Endpoint>>>,
    at: Place,
    identity: Identities,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::with_capacity(list.len());
    let mut seen = HashSet::new();
    for (endpoint, place) in cx.elements(at, list) {
        let read = match endpoint {
            Either::Short(address) => Some((address, 1, None, None)),
            Either::Long(endpoint) => {
                let address = cx.required_scalar(place, "address", endpoint.address);
                let known = who(cx, endpoint.identity, identity);
                let metadata = metadata(cx, endpoint.metadata, place);
                address.and_then(|(address, _)| Some((address, endpoint.weight.value()?.to(), known?, metadata?)))
            }
        };
        let Some((address, weight, identity, metadata)) = read else {
            continue;
        };
        if !seen.insert(address.clone()) {
            cx.error(place, format!("the endpoint {address} is written twice; use `weight` to give it a larger share"));
        }
        endpoints.push(Endpoint { address, weight, identity, metadata });
    }
    endpoints
}

/// The one endpoint of a cluster that is a service.
fn service(
    cx: &mut Lowering<'_, '_>,
    service: Either<ServiceRef, document::Service>,
    at: Place,
    identity: Identities,
) -> Option<Endpoint> {
    let (service, identity) = match service {
        Either::Short(service) => (service, None),
        Either::Long(service) => {
            let name = cx.required_scalar(at, "name", service.name);
            let known = who(cx, service.identity, identity);
            (name?.0, known?)
        }
    };
    Some(Endpoint { address: EndpointAddress::Service(service), weight: 1, identity, metadata: None })
}

/// Who is at an endpoint, where that is written; `None`: it is written badly.
fn who(cx: &mut Lowering<'_, '_>, field: document::Text<SpiffeId>, identity: Identities) -> Option<Option<SpiffeId>> {
    if let (Some(place), true) = (field.place(), identity != Identities::Wanted) {
        cx.error(
            place,
            "who is there matters where `tls` is `mutual-if-identity` only; write that mode, or remove this",
        );
    }
    if field.is_written() { field.value().map(Some) } else { Some(None) }
}

fn tcp_keepalive(cx: &mut Lowering<'_, '_>, keepalive: Keepalive, at: Place) -> Option<TcpKeepalive> {
    let mut seconds = |field: document::Text<Period>| {
        let place = field.place().unwrap_or(at);
        let Period(period) = field.value()?;
        // tcp(7) counts in whole seconds, up to 32767.
        if period.subsec_millis() != 0 || period > Duration::from_secs(32_767) {
            cx.error(place, "the kernel takes whole seconds from 1s to 32767s here");
        }
        Some(period)
    };
    let (time, interval) = (seconds(keepalive.time), seconds(keepalive.interval));
    Some(TcpKeepalive { time: time?, interval: interval?, probes: keepalive.probes.value().map(Int::to)? })
}
