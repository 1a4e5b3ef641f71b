//! Opaque connections.

use super::{
    Lowering, filter,
    matching::{any_destination, any_host},
    process::Names,
    route::{resolve, weighted},
};
use crate::{
    document::{self, Int, List, Scalar, Text},
    model::{DestinationRoute, Name, NotHttp, ServerNameRoute, Tcp, WeightedCluster},
    tree::Place,
};

/// `judge`: what of the same listener connections that are not HTTP would get round, in words.
pub(super) fn tcp(
    cx: &mut Lowering<'_, '_>,
    tcp: document::Tcp,
    at: Place,
    judge: Option<&str>,
    names: &mut Names,
) -> Option<Tcp> {
    let by_name = tcp.server_names.is_written() || tcp.destinations.is_written();
    let clusters = match targets(cx, tcp.cluster, tcp.clusters, at, names) {
        Targets::Missing if !by_name => {
            cx.error(at, "these connections go nowhere; write cluster, clusters, destinations or server_names");
            None
        }
        Targets::Missing => Some(Vec::new()),
        Targets::Read(clusters) => clusters,
    };
    let names_at = tcp.server_names.place().unwrap_or(at);
    let list = tcp.server_names.elements();
    let count = list.len();
    let list = cx.elements(names_at, list);
    let routes: Vec<_> = list.into_iter().filter_map(|(route, place)| server_name(cx, route, place, names)).collect();
    let by_address_at = tcp.destinations.place().unwrap_or(at);
    let by_address = tcp.destinations.elements();
    let count_by_address = by_address.len();
    let by_address = cx.elements(by_address_at, by_address);
    let destinations: Vec<_> =
        by_address.into_iter().filter_map(|(route, place)| destination(cx, route, place, names)).collect();
    let ports_at = tcp.server_first.place().unwrap_or(at);
    let ports = tcp.server_first.elements();
    let ports = cx.elements(ports_at, ports);
    if let (Some(judge), false) = (judge, tcp.not_http.is_written()) {
        cx.warn(
            at,
            format!(
                "connections that are not HTTP would get round {judge}, so they are refused here but for the ports of \
                 `server_first`; write `not_http: refuse` if that is meant, or `not_http: pass` to pass them all the same"
            ),
        );
    }
    // Written, it holds without a judge, too.
    let written = tcp.not_http.is_written();
    let not_http = match tcp.not_http.take()? {
        document::NotHttp::Refuse if judge.is_some() || written => NotHttp::Refuse,
        // Half a request gets round what only requests meet: where that is much it is nobody's by being slow.
        document::NotHttp::Pass if judge.is_none() => NotHttp::PassUnfinished,
        document::NotHttp::Refuse | document::NotHttp::Pass => NotHttp::Pass,
    };
    let mut known = std::mem::take(&mut names.filters);
    let filters_at = tcp.filters.place().unwrap_or(at);
    let chain = known.chain(cx, tcp.filters, at, names);
    known.only_wasm(cx, filters_at, chain.as_deref().unwrap_or_default());
    names.filters = known;
    Some(Tcp {
        clusters: clusters?,
        destinations: (destinations.len() == count_by_address).then_some(destinations)?,
        server_names: (routes.len() == count).then_some(routes)?,
        idle_timeout: tcp.idle_timeout.value()?.0,
        detect_timeout: tcp.detect_timeout.value()?.0,
        server_first: ports.into_iter().map(|(Scalar(port), _)| Int::to(port)).collect(),
        not_http,
        filters: filter::shared(chain?),
    })
}

fn destination(
    cx: &mut Lowering<'_, '_>,
    route: document::DestinationRoute,
    at: Place,
    names: &mut Names,
) -> Option<DestinationRoute> {
    if !route.address.is_written() {
        cx.error(at, "missing field \"address\"");
    }
    let wanted = any_destination(cx, route.address, at);
    let clusters = match targets(cx, route.cluster, route.clusters, at, names) {
        Targets::Missing => {
            cx.error(at, "connections to this address go nowhere; write cluster or clusters");
            None
        }
        Targets::Read(clusters) => clusters,
    };
    Some(DestinationRoute { destinations: wanted?, clusters: clusters? })
}

fn server_name(
    cx: &mut Lowering<'_, '_>,
    route: document::ServerNameRoute,
    at: Place,
    names: &mut Names,
) -> Option<ServerNameRoute> {
    if !route.name.is_written() {
        cx.error(at, "missing field \"name\"");
    }
    let wanted = any_host(cx, route.name, at);
    let clusters = match targets(cx, route.cluster, route.clusters, at, names) {
        Targets::Missing => {
            cx.error(at, "connections to this name go nowhere; write cluster or clusters");
            None
        }
        Targets::Read(clusters) => clusters,
    };
    Some(ServerNameRoute { names: wanted?, clusters: clusters? })
}

/// What stands in `cluster` or `clusters`.
enum Targets {
    /// Neither is written.
    Missing,
    /// One is; `None`: and an error was told.
    Read(Option<Vec<WeightedCluster>>),
}

fn targets(
    cx: &mut Lowering<'_, '_>,
    cluster: Text<Name>,
    clusters: List<document::WeightedCluster>,
    at: Place,
    names: &mut Names,
) -> Targets {
    match cx.at_most_one(&[("cluster", cluster.place()), ("clusters", clusters.place())]) {
        0 => Targets::Missing,
        _ if cluster.is_written() => Targets::Read(cluster.at(at).and_then(|(Scalar(name), place)| {
            let cluster = resolve(cx, &name, place, names)?;
            Some(vec![WeightedCluster { cluster, weight: 1 }])
        })),
        _ => Targets::Read(weighted(cx, clusters, at, names)),
    }
}
