//! Capture: who captures, and which clusters need it.

use super::{Lowering, process::or_default};
use crate::{
    document::{self, Field, Int, Scalar, Text},
    model::{
        Action, Admin, AdminAddress, Capture, CaptureSettings, Cluster, Direction, Listener, MOST_EXCLUDED,
        OriginalAddress, OriginalDestination, Prove, Source, WeightedCluster,
    },
    tree::Place,
};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

/// Where settings are written that concern listeners the node's agent captures for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    settings: Place,
    probe_port: Option<Place>,
    excluded: Option<Place>,
}

pub(super) fn settings(
    cx: &mut Lowering<'_, '_>,
    field: Field<document::CaptureSettings>,
) -> Option<(CaptureSettings, Written)> {
    let (settings, at) = or_default(field, Place(0))?;
    let written = Written {
        settings: at,
        probe_port: settings.inbound_probe_port.place(),
        excluded: settings.exclude_inbound_ports.place(),
    };
    let excluded = settings.exclude_inbound_ports.elements();
    let count = excluded.len();
    let excluded = cx.elements(written.excluded.unwrap_or(at), excluded);
    let ports: BTreeSet<u16> = excluded.iter().map(|(Scalar(port), _)| port.to()).collect();
    let settings = CaptureSettings {
        prove: if settings.prove.take()? { Prove::Required } else { Prove::Off },
        probe_port: settings.probe_port.value().map(Int::to)?,
        inbound_probe_port: settings.inbound_probe_port.value().map(Int::to)?,
        exclude_inbound_ports: ports.into_iter().collect(),
        mark: optional(settings.mark)?,
    };
    (excluded.len() == count).then_some((settings, written))
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
    direction: Option<Direction>,
    address: Option<SocketAddr>,
    at: Place,
) -> Option<Capture> {
    let place = field.place().unwrap_or(at);
    let capture = match field.take()? {
        document::Capture::Off => Capture::Off,
        document::Capture::Redirect => Capture::Redirect,
        document::Capture::Tproxy => Capture::Tproxy,
        document::Capture::Agent => Capture::Agent,
    };
    if capture == Capture::Agent {
        if direction == Some(Direction::Outbound) {
            cx.error(
                place,
                "a node's agent gives what comes in to a listener as it is, and sends what goes out to it by redirection; \
                 write direction: inbound, or capture: redirect",
            );
        }
        if let Some(address @ SocketAddr::V4(_)) = address {
            cx.warn(
                place,
                format!(
                    "{address} takes IPv4 alone, and what comes in over IPv6 is refused; write [::]:{} for both families",
                    address.port()
                ),
            );
        }
    }
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
    settings: &CaptureSettings,
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
    let by_agent = listeners.iter().any(|(listener, _)| listener.capture == Capture::Agent);
    let mut closed = Vec::new();
    closed.extend((to_loopback && probed).then_some(settings.probe_port));
    closed.extend((to_loopback && by_agent).then_some(settings.inbound_probe_port));
    for (listener, place) in listeners {
        if listener.capture != Capture::Off && listener.direction == Direction::Inbound {
            listener.admin_port = admin_port;
            listener.closed_probe_ports.clone_from(&closed);
        }
        if listener.capture == Capture::Agent {
            listener.probe_port = Some(settings.inbound_probe_port);
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
                 destination for them; write capture: redirect, tproxy or agent in the listener, or endpoints in the cluster",
                listener.name, cluster.name
            );
            cx.error(*place, words);
        }
    }
}

/// What a listener that the node's agent captures for asks of the others: there is one, its probe has a port to itself, and
/// what is left out fits into the claim that the agent's programs take.
pub(super) fn by_agent(
    cx: &mut Lowering<'_, '_>,
    listeners: &[(Listener, Place)],
    settings: &CaptureSettings,
    written: Written,
    admin: Option<&Admin>,
) {
    let mut captured = listeners.iter().filter(|(listener, _)| listener.capture == Capture::Agent);
    let Some((listener, _)) = captured.next() else {
        if let Some(place) = written.excluded.filter(|_| !settings.exclude_inbound_ports.is_empty()) {
            cx.warn(place, "no listener has capture: agent, so nothing is left out by this; remove it");
        }
        return;
    };
    for (_, place) in captured {
        let words = format!(
            "the node's agent gives what comes in to one listener, and {:?} is it; write capture: off, or remove one of both",
            listener.name
        );
        cx.error(*place, words);
    }
    let probe = settings.inbound_probe_port;
    let probe_at = written.probe_port.unwrap_or(written.settings);
    let admin_port = admin.and_then(|admin| match &admin.address {
        Some(AdminAddress::Tcp(address)) => Some(address.port()),
        Some(AdminAddress::Unix(_)) | None => None,
    });
    let probes_port = admin.and_then(|admin| admin.probes).map(|probes| probes.port());
    let taken = [
        (admin_port == Some(probe), "admin.address"),
        (probes_port == Some(probe), "admin.probes"),
        (probe == settings.probe_port, "capture.probe_port"),
        (settings.exclude_inbound_ports.contains(&probe), "capture.exclude_inbound_ports"),
    ];
    for (_, by) in taken.iter().filter(|(taken, _)| *taken) {
        cx.error(probe_at, format!("port {probe} is taken by `{by}`; write another one as inbound_probe_port"));
    }
    for (_, place) in listeners.iter().filter(|(listener, _)| listener.address.port() == probe) {
        cx.error(*place, format!("port {probe} is capture.inbound_probe_port; choose another"));
    }
    let reached = listeners.iter().map(|(listener, _)| listener).filter(|other| other.capture != Capture::Agent);
    let reached = reached.filter(|other| !other.address.ip().is_loopback()).count();
    let own = reached + usize::from(probes_port.is_some());
    let ports = settings.exclude_inbound_ports.len();
    if ports + own > MOST_EXCLUDED {
        cx.error(
            written.excluded.unwrap_or(written.settings),
            format!(
                "{ports} ports and {own} of the proxy's own are more than the {MOST_EXCLUDED} that the node's agent leaves \
                 out; write fewer"
            ),
        );
    }
}
