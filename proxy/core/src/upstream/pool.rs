//! pool: the connections of one worker to one address, and who gets them.
//!
//! HTTP/1.1 connections rest in a stack, so that the youngest serves and the oldest expire; HTTP/2 connections are
//! shared up to the peer's stream limit, and requests that come while the first is being made wait for it. Waiting is
//! bounded by the circuit. It never sends anything.

use super::{
    circuit_wait::{Opened, Waiting},
    cluster::{ClusterState, Member, Permit},
    connect,
    error::{Cause, ConnectError, Limit},
    handshake,
    heard::Heard,
    host_core::HostCore,
    http1::{Home, Http1Connection},
    http2::{Http2Connection, Slot},
    tls,
    worker_cluster::WorkerCluster,
};
use crate::{
    exchange::head::grpc::is_grpc,
    identity::{Dialling, Failure, Speaks},
    io::{Look, Socket},
    upstream::RequestBody,
};
use http::HeaderMap;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::IpAddr,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// One address and this worker's connections to it.
pub(super) struct Host<B> {
    pub(super) core: Rc<HostCore>,
    pub(super) waiting: Rc<Waiting>,
    cluster: Weak<WorkerCluster<B>>,
    #[expect(clippy::vec_box, reason = "a connection moves to its request and back by its pointer")]
    resting: RefCell<Vec<Box<Http1Connection>>>,
    shared: RefCell<Vec<Rc<Http2Connection>>>,
    first: First,
}

/// The HTTP/2 connection being made, if any: one at a time, others wait for it.
#[derive(Default)]
struct First {
    connecting: Cell<bool>,
    made: Notify,
    /// Attempts so far, and how the last failed: those who waited for it fail alike.
    attempts: Cell<u64>,
    failure: Cell<Option<(u64, ConnectError)>>,
}

/// A connection to send a request on.
pub(super) enum Taken {
    Http1(Box<Http1Connection>),
    Http2(Rc<Slot>),
    /// Nothing is spoken on it yet.
    Socket(Socket, Opened),
}

/// Whether a request that is lost on a resting connection could be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It could: the connection is used as it is.
    Possible,
    /// It could not: a connection that rested for a while is looked at first.
    Never,
    /// It was lost on such a connection already: it gets a new one.
    Fresh,
}

/// When a connection that was closed to make room has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Now,
    /// Once its own task has had a turn.
    Soon,
}

/// Rest after which the kernel is asked before a connection carries a request that cannot be replayed. Shorter, and the
/// runtime has heard of a close by now; longer, and a server's idle timer may just have fired.
const LOOK_AFTER: Duration = Duration::from_millis(50);

impl<B: RequestBody> Host<B> {
    pub(super) fn new(
        state: &Arc<ClusterState>,
        member: Arc<Member>,
        source: Option<IpAddr>,
        waiting: &Rc<Waiting>,
        cluster: Weak<WorkerCluster<B>>,
    ) -> Rc<Self> {
        Rc::new(Self {
            core: Rc::new(HostCore::new(Arc::clone(state), member, source)),
            waiting: Rc::clone(waiting),
            cluster,
            resting: RefCell::default(),
            shared: RefCell::default(),
            first: First::default(),
        })
    }

    /// A connection for an HTTP/1.1 request: one that rests, or a new one, once the limits allow.
    pub(super) async fn take_http1(
        self: &Rc<Self>,
        cluster: &WorkerCluster<B>,
        replay: Replay,
        announced: Option<&Rc<[u8]>>,
    ) -> Result<Taken, Cause> {
        let mut pending = None;
        let mut called = false;
        loop {
            if replay != Replay::Fresh
                && let Some(connection) = poll_fn(|cx| Poll::Ready(self.rested(replay, announced, cx))).await
            {
                if pending.is_some() {
                    self.waiting.pass_on();
                }
                return Ok(Taken::Http1(connection));
            }
            self.count_pending(&mut pending)?;
            match self.open(called) {
                Ok(opened) => {
                    let made = handshake::http1(self, cluster, opened, announced).await;
                    return made.map(Taken::Http1).map_err(|error| self.core.unreachable(error));
                }
                Err(_) => cluster.wait_for_connection().await,
            }
            called = true;
        }
    }

    /// A stream for an HTTP/2 request: on a connection with room, or on a new one, once the limits allow. Where the cluster
    /// leaves the protocol to its clients and the server speaks HTTP/1.1 alone, a connection for that.
    pub(super) async fn take_http2(
        self: &Rc<Self>,
        cluster: &WorkerCluster<B>,
        headers: &HeaderMap,
        replay: Replay,
        announced: Option<&Rc<[u8]>>,
    ) -> Result<Taken, Cause> {
        // gRPC is HTTP/2: it fails where there is none.
        let may_fall_back = || cluster.asks_for_http2() && !is_grpc(headers);
        let mut pending = None;
        let mut called = false;
        loop {
            if let Some(slot) = self.stream(announced) {
                if pending.is_some() {
                    self.waiting.pass_on();
                }
                return Ok(Taken::Http2(slot));
            }
            if self.core.heard.get().is_http1(Instant::now()) && may_fall_back() {
                break;
            }
            self.count_pending(&mut pending)?;
            // A connection that is announced serves its own client's requests only.
            let made = if announced.is_none() && self.first.connecting.get() {
                match self.first.wait().await {
                    Ok(()) => continue,
                    Err(cause) => Err(cause),
                }
            } else if let Ok(opened) = self.open(called) {
                self.make_http2(cluster, opened, announced).await.map(Taken::Http2)
            } else {
                cluster.wait_for_connection().await;
                called = true;
                continue;
            };
            // Nothing of the request has left.
            let instead = match made {
                Err(Cause::Connect(ConnectError::NotHttp2)) => true,
                Err(Cause::Connect(ConnectError::Reset)) => self.core.heard.get() == Heard::Silence,
                Ok(_) | Err(_) => false,
            };
            if !(instead && may_fall_back()) {
                return made;
            }
            break;
        }
        drop(pending);
        // Boxed: it is rare, and no request to a server of HTTP/2 carries the room for it.
        Box::pin(self.take_http1(cluster, replay, announced)).await
    }

    /// A connection on which no protocol is spoken, for CONNECT and opaque bytes. Those who ask for it may be heard by
    /// nobody while they wait, so they wait no longer than a connect may take.
    pub(super) async fn take_socket(
        self: &Rc<Self>,
        cluster: &WorkerCluster<B>,
        announced: Option<&Rc<[u8]>>,
    ) -> Result<(Socket, Opened), Cause> {
        let mut pending = None;
        let mut called = false;
        loop {
            self.count_pending(&mut pending)?;
            match self.open(called) {
                Ok(opened) => {
                    let model = cluster.model();
                    let dialled = async {
                        let socket = connect::connect(cluster, &self.core, &opened, announced).await?;
                        tls::secure(socket, &self.core, Speaks::Opaque).await
                    };
                    let made = connect::within(model.connect_timeout, cluster.state().metrics(), dialled).await;
                    let socket = made.map_err(|error| self.core.unreachable(error))?;
                    self.core.reached();
                    return Ok((socket, opened));
                }
                Err(limit) => {
                    let longest = cluster.model().connect_timeout;
                    let waited = timeout(longest, cluster.wait_for_connection()).await;
                    waited.map_err(|_| self.core.state.overflow(limit))?;
                }
            }
            called = true;
        }
    }

    async fn make_http2(
        self: &Rc<Self>,
        cluster: &WorkerCluster<B>,
        opened: Opened,
        announced: Option<&Rc<[u8]>>,
    ) -> Result<Rc<Slot>, Cause> {
        let making = self.first.begin();
        let made = handshake::http2(self, cluster, opened, announced).await;
        let connection = made.map_err(|error| {
            making.failed(error);
            self.core.unreachable(error)
        })?;
        let slot = Slot::first(&connection);
        self.shared.borrow_mut().push(connection);
        drop(making);
        self.wake_sweeper();
        Ok(slot)
    }

    /// The youngest connection that rests and still looks alive.
    fn rested(
        &self,
        replay: Replay,
        announced: Option<&Rc<[u8]>>,
        cx: &mut Context<'_>,
    ) -> Option<Box<Http1Connection>> {
        loop {
            let mut resting = self.resting.borrow_mut();
            let youngest = resting.iter().rposition(|connection| connection.began_with(announced))?;
            let mut connection = resting.remove(youngest);
            drop(resting);
            self.waiting.unrest(1);
            connection.set_idle(None);
            if !self.still_trusts(connection.made_by()) {
                continue;
            }
            let rest = match replay {
                Replay::Possible => Duration::ZERO,
                Replay::Never | Replay::Fresh => Instant::now().saturating_duration_since(connection.resting_since()),
            };
            if connection.is_fit(cx, if rest > LOOK_AFTER { Look::Kernel } else { Look::Known }) {
                return Some(connection);
            }
        }
    }

    /// A stream on a shared connection that takes one more.
    fn stream(&self, announced: Option<&Rc<[u8]>>) -> Option<Rc<Slot>> {
        let mut shared = self.shared.borrow_mut();
        // One that is let go of here finishes what it carries.
        shared.retain(|connection| connection.takes_more() && self.still_trusts(connection.made_by()));
        shared.iter().find(|connection| connection.began_with(announced) && connection.has_room()).map(Slot::on)
    }

    /// Whether a connection made by this may carry a request: whom the cluster believes and what we show is as it was.
    fn still_trusts(&self, made_by: Option<&Dialling>) -> bool {
        match (made_by, self.core.state.tls()) {
            (Some(made_by), Some(tls)) => tls.is_latest(made_by),
            (None, _) | (_, None) => true,
        }
    }

    /// The request waits from here on, within the limit.
    fn count_pending(&self, pending: &mut Option<Permit>) -> Result<(), Cause> {
        if pending.is_none() {
            *pending = Some(self.core.state.permit(Limit::Pending).map_err(|limit| self.core.state.overflow(limit))?);
        }
        Ok(())
    }

    /// A place for one more connection, from before it is dialled. Who was not `called` stands behind those who wait.
    fn open(&self, called: bool) -> Result<Opened, Limit> {
        if !called && self.core.state.in_row() > 0 {
            return Err(Limit::Connections);
        }
        let permit = self.core.state.permit(Limit::Connections)?;
        Ok(Opened::new(permit, self.core.state.metrics().pool_connection(), &self.waiting))
    }

    /// Forgets HTTP/2 connections that ended.
    pub(super) fn prune(&self) {
        self.shared.borrow_mut().retain(|connection| connection.is_open());
    }

    /// Closes what ended while it rested, and has `cx` woken when more does.
    pub(super) fn reap(&self, cx: &mut Context<'_>) {
        let mut resting = self.resting.borrow_mut();
        let before = resting.len();
        resting.retain_mut(|connection| connection.poll_over(cx).is_pending());
        self.waiting.unrest(before - resting.len());
    }

    /// Whether it serves a request or keeps a connection.
    pub(super) fn is_used(&self) -> bool {
        self.core.member.active() > 0 || !self.resting.borrow().is_empty() || !self.shared.borrow().is_empty()
    }

    /// Closes what rests.
    pub(super) fn close_idle(&self) {
        let resting = self.resting.take();
        self.waiting.unrest(resting.len());
        self.shared.borrow_mut().retain(|connection| !connection.is_idle());
    }

    /// Closes what rests and was made when others were believed, or with another certificate of ours; what of that carries
    /// something carries nothing new.
    pub(super) fn close_distrusted(&self) {
        let mut resting = self.resting.borrow_mut();
        let before = resting.len();
        resting.retain(|connection| self.still_trusts(connection.made_by()));
        self.waiting.unrest(before - resting.len());
        self.shared.borrow_mut().retain(|connection| self.still_trusts(connection.made_by()));
    }

    /// Closes the connection that rested longest; `None` if none rests.
    pub(super) fn close_oldest(&self) -> Option<Closed> {
        let mut resting = self.resting.borrow_mut();
        if !resting.is_empty() {
            resting.remove(0);
            self.waiting.unrest(1);
            return Some(Closed::Now);
        }
        let mut shared = self.shared.borrow_mut();
        let idle = shared.iter().position(|connection| connection.is_idle())?;
        shared.remove(idle);
        Some(Closed::Soon)
    }

    /// Closes what has rested for `idle` by `now`; the oldest that is left, if any.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> Option<Instant> {
        let mut resting = self.resting.borrow_mut();
        let expired = resting.partition_point(|connection| connection.resting_since() + idle <= now);
        resting.drain(..expired);
        self.waiting.unrest(expired);
        let http1 = resting.first().map(|connection| connection.resting_since());
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.is_idle() || connection.resting_since() + idle > now);
        let http2 = shared.iter().map(|connection| connection.resting_since()).min();
        [http1, http2].into_iter().flatten().min()
    }

    fn wake_sweeper(&self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.wake_sweeper();
        }
    }
}

impl<B: RequestBody> Home for Host<B> {
    fn refused_late(&self, failure: Failure) -> ConnectError {
        tls::refused_late(&self.core, failure)
    }

    fn rest(&self, mut connection: Box<Http1Connection>) {
        let idle_connections = self.core.state.model().idle_connections;
        let bound = if self.waiting.anyone() { usize::MAX } else { idle_connections };
        // A cluster that is gone after a reload takes nothing back: its connections end with their last response.
        let Some(cluster) = self.cluster.upgrade().filter(|_| self.waiting.resting() < bound) else { return };
        if self.waiting.yields() || !self.still_trusts(connection.made_by()) {
            return;
        }
        // It may have been closed behind its last response.
        if cluster.watch(&mut connection).is_ready() {
            return;
        }
        connection.set_idle(Some(self.core.state.metrics().pool_idle()));
        self.resting.borrow_mut().push(connection);
        self.waiting.rest();
        cluster.wake_sweeper();
    }
}

impl First {
    fn begin(&self) -> Making<'_> {
        self.connecting.set(true);
        self.attempts.set(self.attempts.get() + 1);
        Making(self)
    }

    /// Waits for the attempt under way; fails as it fails. When its request was given up, somebody else takes over.
    async fn wait(&self) -> Result<(), Cause> {
        let attempt = self.attempts.get();
        self.made.notified().await;
        match self.failure.get() {
            Some((failed, error)) if failed == attempt => Err(Cause::Connect(error)),
            _ => Ok(()),
        }
    }
}

/// An attempt at the shared connection, over on drop.
struct Making<'a>(&'a First);

impl Making<'_> {
    fn failed(&self, error: ConnectError) {
        self.0.failure.set(Some((self.0.attempts.get(), error)));
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.made.notify_waiters();
    }
}
