//! A downstream connection, as its requests see it, and how it is told to leave.

use super::{
    accept::{ListenerSlot, Permits},
    admit::{Carried, Distrust},
    proxy_protocol::{self, Ends, Said, SaidTls},
};
use crate::{
    drain::{Control, Registration, Signal, Subject},
    exchange::head::forwarding::Peer,
    snapshot::ListenerSnapshot,
    telemetry::{ConnectionFacts, ResponseFlag, metrics::Active},
    worker::Worker,
};
use pillion_config::model::{Alpn, AnnouncedField, Announcement};
use std::{
    cell::{Cell, OnceCell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Sleep;

/// How long a draining connection that is idle waits for one request more. A request that is on its way when the
/// connection closes is lost to its client (the keep-alive race, seen from the other side); a busy client's next
/// one comes within this time and is answered with `Connection: close`.
pub(crate) const LAST_REQUEST: Duration = Duration::from_secs(1);

/// A downstream connection, as its requests see it.
pub struct Connection {
    /// The worker it lives on.
    pub worker: Rc<Worker>,
    /// The listener it came by.
    pub slot: Rc<ListenerSlot>,
    /// Who is at its ends.
    pub facts: Rc<ConnectionFacts>,
    /// Kept with the listener it was made for: a reload may change whom to trust.
    peer: RefCell<Option<(Arc<ListenerSnapshot>, Rc<Peer>)>>,
    /// Why the proxy cut it, where a deadline of the client's ran out or memory was short.
    cut: Cell<Option<(ResponseFlag, &'static str)>>,
    /// What it is called towards upstreams that want a name; made when the first does.
    unique_id: OnceCell<Box<[u8; 8]>>,
    registration: Registration,
    refusal: Cell<Refusal>,
    distrusted: Cell<Option<Distrust>>,
    arrived: Cell<bool>,
    _permits: Permits,
    _active: Active,
}

/// Whether what the guard refused on a connection is in the metrics; it refuses once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Uncounted,
    Counted,
}

/// What a connection must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing new.
    Carry,
    /// Close if no request is in flight; otherwise nothing.
    CloseIfIdle,
    /// Announce the end with the next answer.
    Announce,
    /// Close as soon as no request is in flight.
    CloseWhenIdle,
    /// What its client has not finished is too much beside that of others: close, and say so if that can be said.
    Shed,
    /// Close now.
    Abort,
}

/// Turns what the worker tells a connection into orders. Polled by the connection's own task.
pub struct Orders {
    connection: Rc<Connection>,
    grace: Option<Pin<Box<Sleep>>>,
    given: Order,
}

impl Connection {
    /// A connection that came by this listener.
    #[must_use]
    pub fn new(worker: Rc<Worker>, slot: Rc<ListenerSlot>, facts: ConnectionFacts, permits: Permits) -> Rc<Self> {
        let _active = slot.now().telemetry.metrics.connection();
        let registration = worker.register.enter(slot.id);
        // It waited in the kernel's queue while its listener was told to close.
        if slot.close.signal() >= Signal::Drain {
            registration.control().tell(Signal::Drain);
        }
        let connection = Rc::new(Self {
            worker,
            slot,
            facts: Rc::new(facts),
            cut: Cell::new(None),
            peer: RefCell::default(),
            unique_id: OnceCell::new(),
            registration,
            refusal: Cell::new(Refusal::Uncounted),
            distrusted: Cell::new(None),
            arrived: Cell::new(false),
            _permits: permits,
            _active,
        });
        let subject = Rc::downgrade(&connection) as Weak<dyn Subject>;
        connection.registration.control().concerns(subject);
        connection
    }

    /// What it speaks is known: nothing more of it is still to come but what it carries.
    pub(super) fn has_arrived(&self) {
        self.arrived.set(true);
    }

    /// Whether what it speaks is known.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.arrived.get()
    }

    /// Its client is not believed any more.
    pub(super) fn distrust(&self, why: Option<Distrust>) {
        self.distrusted.set(why);
    }

    /// Why its client is not believed any more.
    #[must_use]
    pub fn distrusted(&self) -> Option<Distrust> {
        self.distrusted.get()
    }

    /// Whether answers must announce the end of the connection.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.registration.control().signal() >= Signal::Drain
    }

    /// Tells the connection to leave when it is so old. Never ready: it only has an effect.
    pub async fn age(self: Rc<Self>, age: Duration) -> Infallible {
        tokio::time::sleep(jittered(age, self.worker.random.next())).await;
        self.registration.control().tell(Signal::Drain);
        std::future::pending().await
    }

    /// Notes that the proxy cuts the connection: what is in flight was not ended by the client.
    pub fn cut_for(&self, flag: ResponseFlag, why: &'static str) {
        self.cut.set(Some((flag, why)));
    }

    /// Why the proxy cut the connection, if it did.
    #[must_use]
    pub fn cut(&self) -> Option<(ResponseFlag, &'static str)> {
        let broken = || self.control().broken().map(|why| (ResponseFlag::DownstreamProtocolError, why));
        let aborted = || self.aborted().then_some((ResponseFlag::LocalReset, "drain_deadline"));
        self.cut.get().or_else(broken).or_else(aborted)
    }

    /// The line to the worker.
    #[must_use]
    pub fn control(&self) -> &Rc<Control> {
        self.registration.control()
    }

    /// Who is at the other end, as this listener's forwarding rules see it.
    #[must_use]
    pub fn peer(&self, listener: &Arc<ListenerSnapshot>) -> Rc<Peer> {
        let mut known = self.peer.borrow_mut();
        match &*known {
            Some((rules, peer)) if Arc::ptr_eq(rules, listener) => Rc::clone(peer),
            Some(_) | None => {
                let peer = Rc::new(
                    listener
                        .forwarding
                        .peer(self.facts.client().ip(), self.facts.scheme())
                        .certified(self.facts.peer()),
                );
                *known = Some((Arc::clone(listener), Rc::clone(&peer)));
                peer
            }
        }
    }

    /// What a connection made on behalf of this one begins with, where its cluster wants it. `server_name` is what the
    /// client asked for in TLS that is passed on.
    #[must_use]
    pub fn announced(&self, how: Option<&Announcement>, server_name: Option<&str>) -> Option<Rc<[u8]>> {
        let how = how?;
        let facts = &self.facts;
        let header = facts.proxied.get();
        let agreed = facts.tls.get().and_then(|tls| tls.alpn).map(|alpn| match alpn {
            Alpn::Http1 => &b"http/1.1"[..],
            Alpn::Http2 => b"h2",
        });
        let given = header.and_then(|header| header.unique_id.as_deref());
        let made = || self.unique_id.get_or_init(|| Box::new(self.worker.random.next().to_be_bytes())).as_slice();
        let named = how.fields.contains(&AnnouncedField::UniqueId);
        let said = Said {
            authority: server_name.or_else(|| facts.server_name()),
            alpn: agreed.or_else(|| header.and_then(|header| header.alpn.as_deref())),
            tls: match facts.tls.get() {
                Some(tls) => {
                    Some(SaidTls::Own { version: tls.version, cipher: tls.cipher, certificate: tls.peer.is_some() })
                }
                None => header.and_then(|header| header.tls.as_deref()).map(SaidTls::PassedOn),
            },
            unique_id: named.then(|| given.unwrap_or_else(made)),
        };
        let ends = Ends { source: facts.client(), destination: facts.destination() };
        Some(proxy_protocol::written(how, &ends, &said).into())
    }

    /// A second line to the worker, for a tunnel: that of the connection is its codec's.
    #[must_use]
    pub fn enter_tunnel(&self, carried: &Rc<Carried>) -> Registration {
        let registration = self.worker.register.enter(self.slot.id);
        let subject = Rc::downgrade(carried) as Weak<dyn Subject>;
        registration.control().concerns(subject);
        registration.control().tell(self.registration.control().signal());
        registration
    }

    /// Whether the proxy itself has cut the connection.
    #[must_use]
    pub fn aborted(&self) -> bool {
        self.registration.control().signal() == Signal::Abort
    }

    /// The guard's refusal has been answered, recorded and counted.
    pub fn refusal_counted(&self) {
        self.refusal.set(Refusal::Counted);
    }

    /// Counts what the guard refused, unless an answer to it did: the connection may have ended before.
    pub fn count_refusal(&self, reason: &'static str) {
        if self.refusal.replace(Refusal::Counted) == Refusal::Uncounted {
            self.slot.now().telemetry.metrics.refusal(reason);
        }
    }

    /// Ready when a connection on which nothing has come yet must close.
    pub async fn unwanted(self: &Rc<Self>) {
        let mut orders = Orders::new(Rc::clone(self));
        poll_fn(|cx| match orders.poll(cx) {
            Order::CloseIfIdle | Order::CloseWhenIdle | Order::Shed | Order::Abort => Poll::Ready(()),
            Order::Carry | Order::Announce => Poll::Pending,
        })
        .await;
    }
}

impl Orders {
    /// Orders for this connection.
    #[must_use]
    pub fn new(connection: Rc<Connection>) -> Self {
        Self { connection, grace: None, given: Order::Carry }
    }

    /// What must be done now. Each order but [`Order::CloseIfIdle`] is given until a stronger one takes its place.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Order {
        let control = self.connection.registration.control();
        control.set_waker(cx);
        match control.signal() {
            Signal::Abort => Order::Abort,
            Signal::Stay | Signal::CloseIfIdle | Signal::Drain if control.is_shed() => Order::Shed,
            Signal::Stay => Order::Carry,
            Signal::CloseIfIdle => {
                control.forget();
                Order::CloseIfIdle
            }
            // One whose client is not believed any more would have no request of it served: none is waited for.
            Signal::Drain if self.connection.distrusted().is_some() => {
                self.given = Order::CloseWhenIdle;
                Order::CloseWhenIdle
            }
            Signal::Drain => {
                let grace = self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_REQUEST)));
                if self.given == Order::CloseWhenIdle || grace.as_mut().poll(cx).is_ready() {
                    self.given = Order::CloseWhenIdle;
                    return Order::CloseWhenIdle;
                }
                Order::Announce
            }
        }
    }
}

/// Between nine and eleven tenths of `age`: connections made together must not leave together.
fn jittered(age: Duration, random: u64) -> Duration {
    let tenth = age / 10;
    let spread = u64::try_from(tenth.as_millis()).unwrap_or(u64::MAX).saturating_mul(2).max(1);
    age - tenth + Duration::from_millis(random % spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(millis in 1u64..100_000_000, random: u64) {
            let age = Duration::from_millis(millis);
            let got = jittered(age, random);
            prop_assert!(got >= age - age / 10);
            prop_assert!(got <= age + age / 10 + Duration::from_millis(1));
        }
    }
}
