//! A connection whose bytes pass filters: the spine of [`serve`](super::serve) once more, with them in it.

use super::{
    Late, carry,
    copy::Early,
    cut,
    late::{self, Ear, FirstWord},
    refuse, refuse_for,
};
use crate::{
    downstream::{
        admit::{Carried, Fact},
        original_dst::Captured,
    },
    drain::Registration,
    exchange::{
        account::Account,
        filter::{Held, Side, TcpChain},
        route::weighted,
    },
    io::Socket,
    snapshot::ListenerSnapshot,
    telemetry::{Blame, ResponseFlag},
    upstream,
    worker::View,
};
use bytes::Bytes;
use pillion_config::model::{FilterIndex, ListenerProtocol};
use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

/// How often a client that filters hold is looked at, as one of HTTP is that nobody reads from.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a connection whose bytes pass filters, to its end. One that may turn out to be HTTP shows what it is before a filter is told
/// of it: what filters have seen cannot be taken from them, and given to a route. Its server does not hear of it until then, either.
pub(super) async fn serve(
    (view, listener): (Rc<View>, Arc<ListenerSnapshot>),
    filters: &[FilterIndex],
    mut downstream: Socket,
    (mut early, unsettled): (Bytes, Option<Ear>),
    asked: Fact<Option<&str>>,
    account: Account,
) -> Option<Late> {
    let connection = Rc::clone(account.connection());
    let carried = Carried::opaque(&connection, asked);
    let registration = connection.enter_tunnel(&carried);
    if let (Some(ear), ListenerProtocol::Detect(tcp)) = (unsettled, &listener.model.protocol) {
        let over = async {
            tokio::select! {
                biased;
                () = registration.aborted() => cut(&carried),
                () = too_long(tcp.idle_timeout) => (ResponseFlag::StreamIdleTimeout, "idle_timeout".into()),
            }
        };
        match late::until(pin!(over), &registration, &mut downstream, (&mut early, ear)).await {
            Err(FirstWord::Opaque) => {}
            Err(word) => return late::conclude(word, early, account).map(|prefix| Late { socket: downstream, prefix }),
            Ok((flag, details)) => {
                refuse(account, flag, Blame::Proxy, details);
                return None;
            }
        }
    }
    pass((view, listener), filters, downstream, (early, asked.known()), (&registration, &carried), account).await;
    None
}

/// Opens its filters, connects it, and carries it through them.
async fn pass(
    (view, listener): (Rc<View>, Arc<ListenerSnapshot>),
    filters: &[FilterIndex],
    mut downstream: Socket,
    (early, server_name): (Bytes, Option<&str>),
    (registration, carried): (&Registration, &Rc<Carried>),
    mut account: Account,
) {
    let connection = Rc::clone(account.connection());
    let idle = listener.model.protocol.tcp().and_then(|tcp| tcp.idle_timeout);
    let chain = TcpChain::open(&view, &listener, filters, &mut account);
    let held = tokio::select! {
        biased;
        held = chain.connected() => held,
        () = registration.aborted() => {
            chain.closed();
            let (flag, details) = cut(carried);
            return refuse(account, flag, Blame::Proxy, details);
        }
        () = too_long(idle) => {
            chain.closed();
            return refuse(account, ResponseFlag::StreamIdleTimeout, Blame::Proxy, "idle_timeout");
        }
        () = reset(&downstream) => {
            chain.broke_off(Side::Request);
            chain.closed();
            let flag = ResponseFlag::DownstreamConnectionTermination;
            return refuse(account, flag, Blame::Downstream, "downstream_broken");
        }
    };
    if held == Held::Ended {
        let (flag, details) = account.interrupted().unwrap_or((ResponseFlag::LocalReset, "filter_interrupted".into()));
        chain.closed();
        return refuse(account, flag, Blame::Proxy, details);
    }
    let cluster = match chain.cluster() {
        Some(name) => match view.cluster_named(&name) {
            Some(cluster) => cluster,
            None => {
                chain.closed();
                return refuse(account, ResponseFlag::NoCluster, Blame::Proxy, "cluster_not_found");
            }
        },
        None => {
            let chosen =
                listener.opaque.as_ref().map_or(&[][..], |policy| policy.clusters(connection.facts.local, server_name));
            match weighted::choose(chosen, connection.worker.random.next()) {
                Some(cluster) => cluster,
                None => {
                    chain.closed();
                    return refuse(account, ResponseFlag::NoRoute, Blame::Proxy, "no_route");
                }
            }
        }
    };
    let cluster = Rc::clone(view.cluster(cluster, &connection.worker));
    account.set_cluster(cluster.state().metrics());
    let announced = connection.announced(cluster.state().model().proxy_protocol.as_ref(), server_name);
    let captured = Captured::of(&listener.model, &connection.facts);
    let meter = account.meter();
    account.attempt();
    chain.tell(&account);
    let opened = tokio::select! {
        biased;
        opened = upstream::open(&cluster, captured, meter.upstream(), announced.as_ref()) => opened,
        () = registration.aborted() => {
            chain.closed();
            let (flag, details) = cut(carried);
            return refuse(account, flag, Blame::Proxy, details);
        }
    };
    let mut upstream = match opened {
        Ok(upstream) => upstream,
        Err(cause) => {
            chain.carried_by_none(&cause);
            chain.closed();
            return refuse_for(account, &cause);
        }
    };
    carried.goes_to(upstream.server());
    chain.carried_by(upstream.socket());
    chain.early(early);
    let mut client = chain.end(&mut downstream, Side::Request);
    let mut server = chain.end(&mut upstream, Side::Response);
    // What filters hold back was said, and nothing of it has moved.
    let times = (idle, None);
    let account = carry((registration, carried), (&mut client, &mut server), Early::default(), times, account).await;
    chain.closed();
    account.finish();
}

/// Ready within a second of a reset by a client that nobody reads from while filters hold it: a read would not tell before what it
/// sent is read. One that has closed its side may wait for an answer.
async fn reset(downstream: &Socket) {
    loop {
        tokio::time::sleep(LOOK).await;
        if downstream.was_reset() {
            return;
        }
    }
}

async fn too_long(idle: Option<Duration>) {
    match idle {
        Some(idle) => tokio::time::sleep(idle).await,
        None => std::future::pending().await,
    }
}
