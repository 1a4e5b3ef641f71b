//! 2'. Opaque bytes, both ways, until both sides have ended.
//!
//! ```text
//!  opaque connection ─► policy ─► silent ─► balance ─► connect ─► late ─┐
//!                                                                       ├─► copy ⇄ ─► account
//!  request that left HTTP (upgrade, CONNECT) ───────────────────────────┘
//! ```
//!
//! [`serve`] is the spine of a connection whose bytes are opaque from the first on; [`forward`] carries what became of a
//! request that left HTTP: an accepted `Upgrade`, CONNECT. Half-close is kept. Nothing of what is carried is looked at.

mod copy;
mod end;
mod filtered;
pub mod h2_stream;
mod late;
mod policy;
mod silent;
mod splice;
pub mod upgrade;
pub mod websocket;

pub use copy::Passage;
pub use policy::Policy;

use crate::{
    downstream::{
        Connection,
        admit::{self, Carried, Fact},
        original_dst::Captured,
    },
    drain::Registration,
    error::upstream_flag,
    exchange::{account::Account, route::weighted},
    io::Socket,
    snapshot::ListenerSnapshot,
    telemetry::{Blame, Record, ResponseFlag},
    upstream::{self, Cause, Silent},
    worker::Cluster,
};
use bytes::Bytes;
use copy::{Broken, Early, Holds, Meters};
use end::End;
use late::{Ear, FirstWord, Heard, Settled};
use silent::Quiet;
use std::{borrow::Cow, future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};
use tokio::time::Instant;
use upgrade::TunnelEnd;

/// How a tunnel ended.
enum Outcome {
    Copied(Result<(), Broken>),
    Silent,
    Aborted,
    /// A filter that saw its head wants no more of it.
    Filtered,
    /// It had to close, and neither side had said anything.
    Unspoken,
}

/// Why a connection is not carried to a server.
enum Unreached {
    /// None may be had, or no place among the silent.
    Refused(Cause),
    /// The client's word ended the wait for one.
    Heard(FirstWord),
    /// It was cut.
    Cut,
}

/// A connection that was silent and spoke after all, and what it said.
pub struct Late {
    /// It.
    pub socket: Socket,
    /// HTTP or TLS.
    pub prefix: Bytes,
}

/// Serves a connection whose bytes are opaque, to its end. `early` was read of it before; `asked` is the server name that a
/// TLS client asks for in it. Where that is hidden because nothing was said in time, what the client says before its server does
/// is looked at: a connection that is not opaque after all is given back. Dropping the future closes both sides.
pub async fn serve(
    connection: Rc<Connection>,
    listener: &ListenerSnapshot,
    mut downstream: Socket,
    early: Bytes,
    asked: Fact<Option<&str>>,
) -> Option<Late> {
    let server_name = asked.known();
    if let Some(name) = server_name {
        connection.facts.passed_on.get_or_init(|| name.into());
    }
    let tcp = listener.model.protocol.tcp()?;
    let greets = late::greets(&listener.model.protocol, connection.facts.local.port(), Instant::now());
    let record = Record::begin_connection(&listener.telemetry, &connection.facts);
    let mut account = Account::new(record, Rc::clone(&connection));
    if let Err(denied) = admit::opaque(&connection, listener, asked) {
        refuse(account, ResponseFlag::Unauthorized, Blame::Proxy, denied.details);
        return None;
    }
    let unsettled =
        Ear::of(&listener.model.protocol, greets).filter(|ear| asked == Fact::Hidden && ear.may_become_known(&early));
    if tcp.filters.is_some() {
        // Together: filters are named by their place in the view.
        let serving = connection.slot.serving();
        let filters = serving.1.model.protocol.tcp().and_then(|tcp| tcp.filters.clone()).unwrap_or_default();
        return Box::pin(filtered::serve(serving, &filters, downstream, (early, unsettled), asked, account)).await;
    }
    let chosen =
        listener.opaque.as_ref().map_or(&[][..], |policy| policy.clusters(connection.facts.local, server_name));
    let Some(cluster) = weighted::choose(chosen, connection.worker.random.next()) else {
        refuse(account, ResponseFlag::NoRoute, Blame::Proxy, "no_route");
        return None;
    };
    let cluster = Rc::clone(connection.slot.serving().0.cluster(cluster, &connection.worker));
    account.set_cluster(cluster.state().metrics());
    let announced = connection.announced(cluster.state().model().proxy_protocol.as_ref(), server_name);
    let carried = Carried::opaque(&connection, asked);
    let registration = connection.enter_tunnel(&carried);
    let line = (&registration, &*carried);
    let (mut early, mut unsettled) = (early, unsettled);
    let captured = Captured::of(&listener.model, &connection.facts);
    let (to, heard) = ((&cluster, captured), (&mut early, &mut unsettled));
    let (mut upstream, place) =
        match reach(to, announced.as_ref(), &registration, &mut downstream, heard, &mut account).await {
            Ok(reached) => reached,
            Err(Unreached::Heard(word)) => {
                return late::conclude(word, early, account).map(|prefix| Late { socket: downstream, prefix });
            }
            Err(Unreached::Refused(cause)) => {
                refuse_for(account, &cause);
                return None;
            }
            Err(Unreached::Cut) => {
                // Who is not listened to may have said something that nobody has read.
                if unsettled.is_some() && early.is_empty() {
                    account.has_not_begun();
                }
                let (flag, details) = cut(&carried);
                refuse(account, flag, Blame::Proxy, details);
                return None;
            }
        };
    carried.goes_to(upstream.server());
    let mut early = Early { client: early, ..Early::default() };
    if let Some(ear) = unsettled {
        let heard = (early.client, ear);
        match late::settle(line, (&mut downstream, &mut upstream), heard, tcp.idle_timeout, account).await {
            Settled::Opaque(said, settled) => (early, account) = (said, settled),
            Settled::Known(prefix) => return Some(Late { socket: downstream, prefix }),
            Settled::Over => return None,
        }
    }
    let quiet = Quiet { greets, place: place.filter(|_| early.is_nothing()) };
    carry(line, (&mut downstream, &mut upstream), early, (tcp.idle_timeout, Some(quiet)), account).await.finish();
    None
}

/// Connects to a server of this cluster, with a place among the silent for a client who is one of them. It is listened to meanwhile.
async fn reach(
    (cluster, captured): (&Rc<Cluster>, Option<Captured>),
    announced: Option<&Rc<[u8]>>,
    registration: &Registration,
    downstream: &mut Socket,
    (heard, unsettled): Heard<'_>,
    account: &mut Account,
) -> Result<(upstream::Opaque, Option<Silent>), Unreached> {
    let place = silent::place(cluster, captured, registration, downstream, (&mut *heard, &mut *unsettled)).await?;
    account.attempt();
    let meter = account.meter();
    let opening = async {
        tokio::select! {
            biased;
            opened = upstream::open(cluster, captured, meter.upstream(), announced) => opened.map_err(Unreached::Refused),
            () = registration.aborted() => Err(Unreached::Cut),
        }
    };
    let opened = late::listen(opening, registration, downstream, (heard, unsettled)).await;
    Ok((opened.map_err(Unreached::Heard)??, place))
}

/// Carries bytes between the two ends until both have ended, one fails, nothing moved for `idle`, or the connection
/// is aborted; then writes the account. Dropping the future cuts both.
pub async fn forward(
    carried: Rc<Carried>,
    mut downstream: TunnelEnd,
    mut upstream: TunnelEnd,
    idle: Option<Duration>,
    account: Account,
) {
    let registration = account.connection().enter_tunnel(&carried);
    let ends = (&mut downstream, &mut upstream);
    carry((&registration, &carried), ends, Early::default(), (idle, None), account).await.finish();
}

async fn carry<D, U>(
    (registration, carried): (&Registration, &Carried),
    (downstream, upstream): (&mut D, &mut U),
    early: Early,
    (idle, quiet): (Option<Duration>, Option<Quiet>),
    mut account: Account,
) -> Account
where
    D: End,
    U: End,
{
    let meters = Meters::default();
    carried.begin(registration.control());
    let connection = Rc::clone(account.connection());
    let greets = quiet.as_ref().map(|quiet| quiet.greets);
    let mut place = quiet.and_then(|quiet| quiet.place);
    let outcome = {
        let mut copying = pin!(copy::copy(&connection.worker.passage, downstream, upstream, early, idle, &meters));
        let copied = poll_fn(|cx| {
            let copied = copying.as_mut().poll(cx);
            if place.is_some() && meters.moved() > 0 {
                place = None;
            }
            copied
        });
        tokio::select! {
            // In order: what has come by now is passed on first.
            biased;
            copied = copied => Outcome::Copied(copied),
            () = copy::silence(idle, || meters.moved()) => Outcome::Silent,
            () = registration.aborted() => Outcome::Aborted,
            () = poll_fn(|cx| account.chain().map_or(Poll::Pending, |chain| chain.poll_cut(cx))) => Outcome::Filtered,
            () = silent::unspoken(registration, greets, &meters) => Outcome::Unspoken,
        }
    };
    let outcome = match (outcome, meters.broken()) {
        // On HTTP/2 the connection is cut first, and its streams fail.
        _ if connection.aborted() => Outcome::Aborted,
        // A side that broke off, and another that took nothing of what came before.
        (Outcome::Silent, Some(broken)) => Outcome::Copied(Err(broken)),
        (outcome, _) => outcome,
    };
    let lost = cut_short(&outcome, &meters, downstream, upstream);
    let meter = account.meter();
    if !downstream.is_counted() {
        meter.received(meters.received());
        meter.sent(meters.sent());
    }
    meter.not_sent(lost);
    if let Some((flag, details)) = account.interrupted() {
        end(&mut account, flag, Blame::Proxy, details);
        return account;
    }
    match outcome {
        // How a filter ended it was told above.
        Outcome::Copied(Ok(())) | Outcome::Filtered => {}
        Outcome::Copied(Err(side)) => broken_off(&mut account, side, upstream),
        Outcome::Silent => end(&mut account, ResponseFlag::StreamIdleTimeout, Blame::Proxy, "idle_timeout"),
        Outcome::Aborted => {
            let (flag, details) = cut(carried);
            end(&mut account, flag, Blame::Proxy, details);
            if greets.is_some() && meters.unspoken() {
                account.has_not_begun();
            }
        }
        Outcome::Unspoken => silent::drained(&mut account),
    }
    account
}

/// Resets a side that would take its end for all that there was, and was not given it. Returns the bytes that the client is not sent for
/// that.
fn cut_short(outcome: &Outcome, meters: &Meters, downstream: &mut impl End, upstream: &mut impl End) -> u64 {
    let (up, down) = meters.held();
    // Neither side has said that this was all.
    let (cut_up, cut_down) = match outcome {
        Outcome::Aborted | Outcome::Filtered => (true, true),
        Outcome::Silent => (up == Holds::Something, down == Holds::Something),
        Outcome::Copied(_) | Outcome::Unspoken => (false, false),
    };
    if cut_up {
        upstream.reset_at_close();
    }
    if cut_down {
        downstream.reset_at_close();
    }
    // A reset throws away what is still on its way: nobody was sent that.
    if cut_down || meters.cut_downstream().is_some() { downstream.outgoing().bytes() } else { 0 }
}

/// Notes that one side broke off.
fn broken_off(account: &mut Account, side: Broken, upstream: &mut impl End) {
    let (flag, blame, details) = match side {
        Broken::Downstream => (ResponseFlag::DownstreamConnectionTermination, Blame::Downstream, "downstream_broken"),
        Broken::Upstream => match upstream.late_refusal() {
            Some(error) => (ResponseFlag::UpstreamConnectionFailure, Blame::Upstream, error.reason()),
            None => (ResponseFlag::UpstreamConnectionTermination, Blame::Upstream, "upstream_broken"),
        },
    };
    end(account, flag, blame, details);
}

/// Closes the account of a connection that never became a tunnel.
fn refuse(mut account: Account, flag: ResponseFlag, blame: Blame, details: impl Into<Cow<'static, str>>) {
    end(&mut account, flag, blame, details);
    account.finish();
}

/// Closes the account of one that has no server.
fn refuse_for(account: Account, cause: &Cause) {
    refuse(account, upstream_flag(cause), cause.blame(), details(cause));
}

fn end(account: &mut Account, flag: ResponseFlag, blame: Blame, details: impl Into<Cow<'static, str>>) {
    account.flag(flag);
    account.details(details);
    account.terminated_by(blame);
}

/// Why the proxy cut a tunnel: it may not be any more, its connection was cut, or the drain's deadline has come.
fn cut(carried: &Carried) -> (ResponseFlag, Cow<'static, str>) {
    match (carried.denied(), carried.connection().cut()) {
        (Some(denied), _) => (ResponseFlag::Unauthorized, denied.details),
        (None, Some((flag, why))) => (flag, Cow::Borrowed(why)),
        (None, None) => (ResponseFlag::LocalReset, Cow::Borrowed("drain_deadline")),
    }
}

/// Why no upstream connection could be had, in a word.
fn details(cause: &Cause) -> &'static str {
    match cause {
        Cause::NoEndpoint => "no_healthy_upstream",
        Cause::Overflow(limit) => limit.name(),
        Cause::Connect(error) => error.reason(),
        Cause::Request(error) => error.reason(),
        Cause::UpgradeUnsupported => "upgrade_unsupported",
    }
}
