//! [`WorkerCluster`]: a cluster as one worker uses it, its picker and its pools.
//!
//! Holds together what the spine asks for: which host next, which connection; and closes what rested too long, or was
//! closed by its server meanwhile. One task and one timer for the whole cluster, and none while nothing rests.

use super::{
    Bonds, RequestBody, SendOptions,
    balance::{Picker, Random, Standing},
    circuit_wait::Waiting,
    cluster::{ClusterState, Member, Seat},
    http1::Http1Connection,
    pool::{Closed, Host},
};
use crate::{
    downstream::{original_dst::Captured, windows::Windows},
    io::{Dial, DialOptions},
};
use http::Version;
use pillion_config::model::{Cluster, OriginalDestination, Source, UpstreamProtocol};
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    task::spawn_local,
    time::{Instant, sleep_until},
};

/// A cluster as one worker uses it. Dropped after a reload, it closes what rests and lets the rest finish.
pub struct WorkerCluster<B> {
    me: Weak<Self>,
    state: Arc<ClusterState>,
    dial: Rc<dyn Dial>,
    dial_options: DialOptions,
    random: Rc<Random>,
    table: RefCell<Table<B>>,
    waiting: Rc<Waiting>,
    /// The worker's, as what is behind it.
    bonds: Rc<Bonds>,
    windows: Rc<Windows>,
    sweeper: RefCell<Sweeper>,
}

/// The hosts known at a version of the state, in its order.
struct Table<B> {
    version: Option<u64>,
    hosts: Box<[Rc<Host<B>>]>,
    /// Those of a cluster that lives where captured connections were going, by address and the client it is for.
    original: HashMap<(SocketAddr, Option<IpAddr>), Rc<Host<B>>>,
    /// How many of those there may be before the unused ones go.
    prune_at: usize,
    shares: Box<[u64]>,
    picker: Picker,
}

/// The task that closes what rested too long, or was closed by its server while it rested.
enum Sweeper {
    /// There is none: nothing rests.
    Asleep,
    /// It has not run yet; when it does, it looks at everything that rests.
    Starting,
    /// It is woken by whatever rests.
    Awake(Waker),
}

/// The hosts a request cannot use again: those tried before, and those that could not be reached just now.
pub(super) struct Tried<'a> {
    before: &'a [SocketAddr],
    captured: Option<Captured>,
    now: Vec<SocketAddr>,
}

/// Addresses that a request or a connection tries before it gives up.
const MAX_ATTEMPTS: usize = 3;

/// Original destinations remembered before the unused ones are forgotten; a browser knows about as many servers at once.
const PRUNE_AT: usize = 64;

impl<B: RequestBody> WorkerCluster<B> {
    /// A worker's view of `state`; nothing is built or connected yet. `dial` and all behind it are the worker's.
    #[must_use]
    pub fn new(
        state: Arc<ClusterState>,
        dial: Rc<dyn Dial>,
        random: Rc<Random>,
        bonds: Rc<Bonds>,
        windows: Rc<Windows>,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            dial_options: DialOptions {
                keepalive: state.model().tcp_keepalive,
                mark: state.model().mark,
                ..DialOptions::default()
            },
            table: RefCell::new(Table {
                version: None,
                hosts: Box::default(),
                original: HashMap::new(),
                prune_at: PRUNE_AT,
                shares: Box::default(),
                picker: Picker::new(state.model().balance, &[]),
            }),
            waiting: Waiting::new(&state),
            state,
            dial,
            random,
            bonds,
            windows,
            sweeper: RefCell::new(Sweeper::Asleep),
        })
    }

    /// What all workers share.
    #[must_use]
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// HTTP/1.1 connections that rest in this worker.
    #[must_use]
    pub fn resting(&self) -> usize {
        self.waiting.resting()
    }

    /// Connections this worker has open or is making.
    #[must_use]
    pub fn open(&self) -> usize {
        self.waiting.open()
    }

    /// Closes every connection that rests.
    pub fn close_idle(&self) {
        self.table.borrow().all().for_each(|host| host.close_idle());
    }

    /// Closes every connection that rests and was made when others were believed, or we were somebody else.
    pub fn close_distrusted(&self) {
        if self.state.tls().is_some() {
            self.table.borrow().all().for_each(|host| host.close_distrusted());
        }
    }

    /// Whether there is an address that is not among these.
    #[must_use]
    pub fn has_other(&self, than: &[SocketAddr]) -> bool {
        self.table.borrow().hosts.iter().any(|host| !than.contains(&host.core.member.address))
    }

    /// Whether a request that came by this version goes to its servers by HTTP/2, where they speak it.
    #[must_use]
    pub fn speaks_http2(&self, downstream: Version) -> bool {
        match self.model().protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::SameAsDownstream => downstream == Version::HTTP_2,
        }
    }

    /// Whether such a server may speak HTTP/1.1 alone: what its clients speak says nothing of that.
    pub(super) fn asks_for_http2(&self) -> bool {
        self.model().protocol == UpstreamProtocol::SameAsDownstream
    }

    pub(super) fn model(&self) -> &Cluster {
        self.state.model()
    }

    pub(super) fn dial(&self) -> &dyn Dial {
        &*self.dial
    }

    pub(super) fn windows(&self) -> &Rc<Windows> {
        &self.windows
    }

    pub(super) fn bonds(&self) -> &Bonds {
        &self.bonds
    }

    pub(super) fn dial_options(&self) -> &DialOptions {
        &self.dial_options
    }

    /// balance: the host for a request that `tried` some.
    pub(super) fn balance(&self, tried: &Tried<'_>) -> Option<Rc<Host<B>>> {
        if let Some(original) = self.model().original_destination {
            return tried.captured.map(|captured| self.original(original, captured));
        }
        let mut table = self.table.borrow_mut();
        let version = self.state.version();
        if table.version != Some(version) {
            self.refresh(&mut table, version);
        }
        let Table { hosts, shares, picker, .. } = &mut *table;
        let standing = |index: usize| {
            let host: &Host<B> = &hosts[index];
            if tried.contains(host.core.member.address) {
                Standing::Avoided
            } else if host.core.is_demoted() {
                host.core.passed_over();
                Standing::Avoided
            } else {
                Standing::Good
            }
        };
        let picked = picker.pick(shares, || self.random.next(), |index| hosts[index].core.member.active(), standing)?;
        Some(Rc::clone(&hosts[picked]))
    }

    /// The host for a captured connection, made when it is first asked for.
    fn original(&self, original: OriginalDestination, captured: Captured) -> Rc<Host<B>> {
        let address = original.address.of(captured.destination);
        let source = (original.source == Source::Client).then_some(captured.client);
        let table = &mut *self.table.borrow_mut();
        if let Some(host) = table.original.get(&(address, source)) {
            return Rc::clone(host);
        }
        if table.original.len() >= table.prune_at {
            table.original.retain(|_, host| Rc::strong_count(host) > 1 || host.is_used());
            table.prune_at = (2 * table.original.len()).max(PRUNE_AT);
        }
        let host = Host::new(&self.state, self.state.original(address), source, &self.waiting, Weak::clone(&self.me));
        table.original.insert((address, source), Rc::clone(&host));
        host
    }

    /// After `host` could not be reached: another address of the same name, while there are some to try.
    pub(super) fn sibling(&self, host: &Host<B>, tried: &mut Tried<'_>) -> Option<Rc<Host<B>>> {
        tried.now.push(host.core.member.address);
        if tried.now.len() >= MAX_ATTEMPTS {
            return None;
        }
        let table = self.table.borrow();
        let of_name = |other: &&Rc<Host<B>>| {
            other.core.member.endpoint == host.core.member.endpoint && !tried.contains(other.core.member.address)
        };
        table.hosts.iter().filter(of_name).min_by_key(|other| other.core.is_demoted()).map(Rc::clone)
    }

    /// As [`sibling`](Self::sibling), and then another member of the cluster: nothing was sent that could be lost.
    pub(super) fn another(&self, host: &Host<B>, tried: &mut Tried<'_>) -> Option<Rc<Host<B>>> {
        let sibling = self.sibling(host, tried);
        if sibling.is_some() || tried.now.len() >= MAX_ATTEMPTS {
            return sibling;
        }
        self.balance(tried).filter(|other| !tried.contains(other.core.member.address))
    }

    /// At the limit of connections: makes room if something rests here or in another worker, and waits for a connection
    /// to be free or closed.
    pub(super) async fn wait_for_connection(&self) {
        if self.close_oldest() != Some(Closed::Now) {
            self.waiting.wait().await;
        }
    }

    fn close_oldest(&self) -> Option<Closed> {
        self.table.borrow().all().find_map(|host| host.close_oldest())
    }

    /// Closes what rests, as far as requests of other workers wait for room.
    fn make_room(&self) {
        for _ in 0..self.waiting.others() {
            if self.state.has_room() || self.close_oldest().is_none() {
                return;
            }
        }
    }

    /// Hosts that stay keep their pools; the connections of those that went finish what they carry.
    fn refresh(&self, table: &mut Table<B>, version: u64) {
        let seats = self.state.seats();
        // A service may have thousands: looked up, not searched.
        let mut before: HashMap<*const Member, Rc<Host<B>>> =
            table.hosts.iter().map(|host| (Arc::as_ptr(&host.core.member), Rc::clone(host))).collect();
        let host = |seat: &Seat| {
            before.remove(&Arc::as_ptr(&seat.member)).unwrap_or_else(|| {
                Host::new(&self.state, Arc::clone(&seat.member), None, &self.waiting, Weak::clone(&self.me))
            })
        };
        let hosts: Box<[_]> = seats.iter().map(host).collect();
        before.values().for_each(|gone| gone.close_idle());
        table.hosts = hosts;
        table.shares = seats.iter().map(|seat| seat.share).collect();
        table.picker = Picker::new(self.model().balance, &table.shares);
        table.version = Some(version);
    }

    /// Something rests from now on.
    pub(super) fn wake_sweeper(&self) {
        let mut sweeper = self.sweeper.borrow_mut();
        if matches!(*sweeper, Sweeper::Asleep) {
            *sweeper = Sweeper::Starting;
            spawn_local(sweep(Weak::clone(&self.me), Instant::now() + self.model().idle_timeout));
        }
    }

    /// Has the sweeper woken when a connection that is about to rest ends. Ready: it has ended already.
    pub(super) fn watch(&self, connection: &mut Http1Connection) -> Poll<()> {
        match &*self.sweeper.borrow() {
            Sweeper::Asleep | Sweeper::Starting => Poll::Pending,
            Sweeper::Awake(waker) => connection.poll_over(&mut Context::from_waker(waker)),
        }
    }

    /// Closes what ended while it rested, and listens for more.
    fn reap(&self, cx: &mut Context<'_>) {
        let mut sweeper = self.sweeper.borrow_mut();
        match &mut *sweeper {
            Sweeper::Awake(waker) => waker.clone_from(cx.waker()),
            Sweeper::Asleep | Sweeper::Starting => *sweeper = Sweeper::Awake(cx.waker().clone()),
        }
        drop(sweeper);
        self.table.borrow().all().for_each(|host| host.reap(cx));
    }

    /// Closes what rested too long; when to come back, if something is left.
    fn sweep(&self) -> Option<Instant> {
        let idle = self.model().idle_timeout;
        let now = Instant::now();
        let table = self.table.borrow();
        let oldest = table.all().filter_map(|host| host.sweep(now, idle)).min();
        if oldest.is_none() {
            *self.sweeper.borrow_mut() = Sweeper::Asleep;
        }
        Some(oldest? + idle)
    }
}

impl<B> Table<B> {
    fn all(&self) -> impl Iterator<Item = &Rc<Host<B>>> {
        self.hosts.iter().chain(self.original.values())
    }
}

/// Comes by whenever the oldest connection that rests would expire, whenever one that rests was closed, and whenever
/// another worker wants room.
async fn sweep<B: RequestBody>(cluster: Weak<WorkerCluster<B>>, when: Instant) {
    let Some(state) = cluster.upgrade().map(|cluster| Arc::clone(&cluster.state)) else { return };
    let mut timer = pin!(sleep_until(when));
    let mut wanted = pin!(state.row().wanted());
    poll_fn(|cx| {
        // First the ear, then the look: nobody who comes in between is missed.
        while wanted.as_mut().poll(cx).is_ready() {
            wanted.set(state.row().wanted());
        }
        loop {
            let Some(cluster) = cluster.upgrade() else { return Poll::Ready(()) };
            cluster.make_room();
            cluster.reap(cx);
            ready!(timer.as_mut().poll(cx));
            let Some(next) = cluster.sweep() else { return Poll::Ready(()) };
            timer.as_mut().reset(next);
        }
    })
    .await;
}

impl<'a> Tried<'a> {
    pub(super) fn new(options: &SendOptions<'a>) -> Self {
        Self { before: options.tried, captured: options.captured, now: Vec::new() }
    }

    /// For what is tried for the first time.
    pub(super) fn nothing(captured: Option<Captured>) -> Self {
        Self { before: &[], captured, now: Vec::new() }
    }

    fn contains(&self, address: SocketAddr) -> bool {
        self.before.contains(&address) || self.now.contains(&address)
    }
}

impl<B> fmt::Debug for WorkerCluster<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCluster").field("name", &self.state.model().name).finish_non_exhaustive()
    }
}
