//! Capture: who captures, and which clusters need it.

use super::{Lowering, process::or_default};
use crate::{
    document::{self, Field, Int, Text},
    model::{
        Action, Admin, AdminAddress, Capture, CaptureSettings, Cluster, Direction, Listener, OriginalAddress,
        OriginalDestination, Prove, Source, WeightedCluster,
    },
    tree::Place,
};
use std::{net::SocketAddr, sync::Arc};

pub(super) fn settings(field: Field<document::CaptureSettings>) -> Option<CaptureSettings> {
    let (settings, _) = or_default(field, Place(0))?;
    Some(CaptureSettings {
        prove: if settings.prove.take()? { Prove::Required } else { Prove::Off },
        probe_port: settings.probe_port.value().map(Int::to)?,
        mark: optional(settings.mark)?,
    })
}

/// A number that may be absent; `None`: it is written and bad.
fn optional<const MIN: u64, const MAX: u64>(field: Text<Int<MIN, MAX>>) -> Option<Option<u32>> {
    if field.is_written() { field.value().map(|number| Some(number.to())) } else { Some(None) }
}

pub(super) fn direction(field: Field<document::Direction>) -> Option<Direction> {
    Some(match field.take()? {
        document::Direction::Inbound => Direction::Inbound,
        document::Direction::Outbound => Direction::Outbound,
    })
}

pub(super) fn capture(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::Capture>,
    address: Option<SocketAddr>,
    at: Place,
) -> Option<Capture> {
    let place = field.place().unwrap_or(at);
    let capture = match field.take()? {
        document::Capture::Off => Capture::Off,
        document::Capture::Redirect => Capture::Redirect,
        document::Capture::Tproxy => Capture::Tproxy,
    };
    if let (Capture::Redirect | Capture::Tproxy, Some(address)) = (capture, address) {
        if address.port() == 0 {
            cx.error(place, "rules send connections to a known port: write one in `address` instead of 0");
        }
        // A redirected connection arrives at 127.0.0.1, at ::1, or at an address of the interface it came by.
        if !(address.is_ipv6() && address.ip().is_unspecified()) {
            cx.warn(
                place,
                format!(
                    "{address} does not take every connection that rules may send here; write [::]:{} for both \
                     families and every interface",
                    address.port()
                ),
            );
        }
    }
    Some(capture)
}

pub(super) fn original_destination(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::OriginalDestination>,
    at: Place,
    mark: Option<u32>,
) -> Option<Option<OriginalDestination>> {
    let Some(place) = field.place() else { return Some(None) };
    let (destination, _) = field.at(at)?;
    let source_at = destination.source.place().unwrap_or(place);
    let source = match destination.source.take()? {
        document::Source::Proxy => Source::Proxy,
        document::Source::Client => Source::Client,
    };
    if source == Source::Client && mark.is_none() {
        cx.error(
            source_at,
            "answers to a client's address find back to the proxy by the mark of its connections; write capture.mark, \
             and give the same number to `pillion redirect rules install --mark`",
        );
    }
    let address = match destination.address.take()? {
        document::OriginalAddress::Original => OriginalAddress::Original,
        document::OriginalAddress::Loopback => OriginalAddress::Loopback,
    };
    if source == Source::Client && address == OriginalAddress::Loopback {
        cx.error(
            source_at,
            "the kernel sends nothing from 127.0.0.1 to a client's address; write address: original, which is this \
             machine's own",
        );
    }
    Some(Some(OriginalDestination { address, source }))
}

/// Clusters that live at the original destination are reached from listeners that know one; the listener that answers
/// the probe is told its port, and one whose connections may go to loopback the ports there that they may not have.
pub(super) fn agree(
    cx: &mut Lowering<'_, '_>,
    listeners: &mut [(Listener, Place)],
    clusters: &[Option<Arc<Cluster>>],
    settings: CaptureSettings,
    admin: Option<&Admin>,
) {
    let to_loopback = |cluster: &Arc<Cluster>| {
        cluster.original_destination.is_some_and(|original| original.address == OriginalAddress::Loopback)
    };
    let to_loopback = clusters.iter().flatten().any(to_loopback);
    let admin_port = match admin.and_then(|admin| admin.address.as_ref()) {
        Some(AdminAddress::Tcp(address)) if to_loopback => Some(address.port()),
        Some(AdminAddress::Tcp(_) | AdminAddress::Unix(_)) | None => None,
    };
    let answers_probe = |listener: &Listener| {
        listener.capture == Capture::Redirect
            && listener.direction == Direction::Outbound
            && settings.prove == Prove::Required
    };
    // Its rule takes the proxy's own connections too, also those that are made for somebody who came in.
    let probed = listeners.iter().any(|(listener, _)| answers_probe(listener));
    let closed_probe_port = (to_loopback && probed).then_some(settings.probe_port);
    for (listener, place) in listeners {
        if listener.capture != Capture::Off && listener.direction == Direction::Inbound {
            listener.admin_port = admin_port;
            listener.closed_probe_port = closed_probe_port;
        }
        if answers_probe(listener) {
            if listener.address.port() == settings.probe_port {
                cx.error(*place, format!("port {} is capture.probe_port; choose another", settings.probe_port));
            }
            listener.probe_port = Some(settings.probe_port);
        }
        if listener.capture != Capture::Off {
            continue;
        }
        let routes = listener.routes.iter().filter_map(|route| match &route.action {
            Action::Forward(targets) => Some(&targets[..]),
            Action::Redirect(_) | Action::Respond(_) => None,
        });
        let opaque = listener.protocol.tcp().into_iter().flat_map(|tcp| {
            let by_name = tcp.server_names.iter().map(|route| &route.clusters[..]);
            let by_address = tcp.destinations.iter().map(|route| &route.clusters[..]);
            by_name.chain(by_address).chain([&tcp.clusters[..]])
        });
        let targets = routes.chain(opaque).flatten();
        let cluster = |target: &WeightedCluster| clusters.get(target.cluster.0)?.as_ref();
        let lost = targets.filter_map(cluster).find(|cluster| cluster.original_destination.is_some());
        if let Some(cluster) = lost {
            let words = format!(
                "connections of the listener {:?} were going nowhere else, so the cluster {:?} has no original \
                 destination for them; write capture: redirect or tproxy in the listener, or endpoints in the cluster",
                listener.name, cluster.name
            );
            cx.error(*place, words);
        }
    }
}
