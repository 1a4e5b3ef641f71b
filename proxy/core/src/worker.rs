//! A worker: one thread's share of the proxy. Its listeners, connections and pools; nothing of it is `Send`.
//!
//! Beside the path. The app makes the thread and its runtime and hands over [`Snapshot`]s; here they are applied.
//! It never reads files, binds sockets or talks to operators.

use crate::{
    alarm::Alarms,
    downstream::{
        accept::{self, ListenerSlot},
        limit::{Limit, PressureGauge},
        unfinished::Allowance,
    },
    drain::{Lost, Register, Signal},
    exchange::{
        filter::{Factory, Instance, Interest, LastRead, Services},
        stream::RequestBody,
    },
    io::{Accept, Dial, Own, RedirectSwitch},
    snapshot::Snapshot,
    tunnel::Passage,
    upstream::{Bonds, Random, WorkerCluster},
};
use pillion_config::model::{self, ClusterIndex, Direction, FilterIndex, Name};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
};

/// What all workers of a process share.
#[derive(Debug)]
pub struct Process {
    /// Downstream connections over all listeners.
    pub connections: Arc<Limit>,
    /// How tight memory is.
    pub pressure: PressureGauge,
    /// What clients may leave unfinished.
    pub unfinished: Arc<Allowance>,
    /// What was cut at the end.
    pub lost: Arc<Lost>,
    /// What is captured, and what comes back.
    pub capture: Capturing,
    /// Whether BPF programs may redirect its connections.
    pub redirect: Arc<RedirectSwitch>,
}

/// What capture needs to know of the process.
#[derive(Debug)]
pub struct Capturing {
    /// The connections it made.
    pub own: Arc<Own>,
    /// What a probe is answered with: this process and no other captured it.
    pub token: [u8; 16],
}

impl Default for Capturing {
    fn default() -> Self {
        let random = Random::from_system();
        let token = (u128::from(random.next()) << 64) | u128::from(random.next());
        Self { own: Arc::default(), token: token.to_be_bytes() }
    }
}

/// One thread's share of the proxy.
pub struct Worker {
    /// What all workers share.
    pub process: Arc<Process>,
    /// How upstream connections are made.
    pub dial: Rc<dyn Dial>,
    /// Its downstream connections.
    pub register: Rc<Register>,
    /// Chance, for balancing and identifiers.
    pub random: Rc<Random>,
    /// Bytes of its tunnels in passing.
    pub passage: Passage,
    /// Deadlines of its requests.
    pub alarms: Rc<Alarms>,
    /// Which stream keeps claims as they were read.
    pub(crate) last_read: LastRead,
    /// Its connections to servers that were judged.
    bonds: Rc<Bonds>,
    view: RefCell<Rc<View>>,
    listeners: RefCell<Vec<Rc<ListenerSlot>>>,
    next_listener: Cell<usize>,
    draining: Cell<bool>,
}

/// A cluster as this worker uses it.
pub type Cluster = WorkerCluster<RequestBody>;

/// A snapshot with what this worker built for it. A request keeps the view it began with.
pub struct View {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    clusters: Box<[OnceCell<Rc<Cluster>>]>,
    /// Made when a filter first calls a cluster.
    names: OnceCell<HashMap<Arc<str>, ClusterIndex>>,
    /// Made once the view is in its place.
    filters: OnceCell<Box<[WorkerFilter]>>,
}

/// A filter as this worker uses it.
pub struct WorkerFilter {
    /// What it was made by.
    pub factory: Arc<dyn Factory>,
    /// The worker's share.
    pub instance: Rc<dyn Instance>,
    /// The callbacks it wants.
    pub interest: Interest,
    /// What the configuration says of it. Counted by this worker: each stream holds on to it, and counting what all workers
    /// share would take an atomic operation twice a request.
    pub model: Rc<Arc<model::Filter>>,
}

/// A source of connections for a listener of the snapshot that comes with it.
pub struct Source {
    /// The listener's name.
    pub listener: Name,
    /// Where its connections come from.
    pub accept: Box<dyn Accept>,
}

impl Worker {
    /// A worker that has no listener yet.
    #[must_use]
    pub fn new(process: Arc<Process>, dial: Rc<dyn Dial>, snapshot: Arc<Snapshot>) -> Rc<Self> {
        let worker = Rc::new(Self {
            register: Register::within(Arc::clone(&process.unfinished), Arc::clone(&process.lost)),
            process,
            dial,
            random: Rc::new(Random::from_system()),
            passage: Passage::default(),
            alarms: Rc::default(),
            last_read: LastRead::default(),
            bonds: Rc::default(),
            view: RefCell::new(Rc::new(View::new(snapshot, None))),
            listeners: RefCell::default(),
            next_listener: Cell::new(0),
            draining: Cell::new(false),
        });
        worker.view().start_filters(None, &worker);
        worker
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// Whether the worker is on its way out.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Takes a configuration into use: requests that begin from now on see it. `sources` are those of listeners
    /// that had none before or changed their address; a listener that is gone stops accepting and its connections
    /// are asked to leave.
    pub fn apply(self: &Rc<Self>, snapshot: Arc<Snapshot>, sources: Vec<Source>) {
        let before = self.view();
        let view = Rc::new(View::new(snapshot, Some(&before)));
        *self.view.borrow_mut() = Rc::clone(&view);
        view.start_filters(Some(&before), self);
        before.retire(&view);

        let mut slots = self.listeners.borrow_mut();
        slots.retain(|slot| {
            let position = view.position(&slot.name);
            let replaced = sources.iter().any(|source| source.listener == slot.name);
            match position {
                Some(position) if !replaced => {
                    slot.serve(Rc::clone(&view), Arc::clone(&view.snapshot.listeners[position]));
                    true
                }
                _ => {
                    slot.leave(sources.iter().filter_map(|source| source.accept.identity()));
                    self.register.tell(Some(slot.id), Signal::Drain);
                    false
                }
            }
        });
        // On its way out, a worker opens nothing new.
        for source in sources.into_iter().filter(|_| !self.draining()) {
            let Some(position) = view.position(&source.listener) else { continue };
            let id = self.next_listener.replace(self.next_listener.get() + 1);
            let listener = Arc::clone(&view.snapshot.listeners[position]);
            let socket = source.accept.identity();
            let slot = Rc::new(ListenerSlot::new(id, Rc::clone(&view), listener, socket));
            tokio::task::spawn_local(accept::run(Rc::clone(self), Rc::clone(&slot), source.accept));
            slots.push(slot);
        }
        drop(slots);
        self.look_again();
    }

    /// Everything that lives looks whether it may go on: whom to trust, or who we are, has changed. What is in flight on
    /// connections that may not is answered, for as long as a drain may last; then they are cut.
    pub fn look_again(self: &Rc<Self>) {
        let view = self.view();
        let revoked = self.register.look_again();
        let doubted = self.bonds.doubt(&view.snapshot.clusters);
        if !revoked.is_empty() || !doubted.is_empty() {
            let deadline = view.snapshot.config.drain.deadline;
            let worker = Rc::downgrade(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(deadline).await;
                revoked.iter().filter_map(Weak::upgrade).for_each(|control| control.overdue());
                let Some(view) = worker.upgrade().map(|worker| worker.view()) else { return };
                doubted.ask(&view.snapshot.clusters);
            });
        }
        // A server that rests was judged by what held before.
        for cluster in view.clusters.iter().filter_map(OnceCell::get) {
            cluster.close_distrusted();
        }
    }

    /// Stops accepting, after what the kernel has queued; connections announce their end and finish.
    pub fn drain(&self) {
        self.draining.set(true);
        for slot in self.listeners.borrow_mut().drain(..) {
            slot.close.tell(Signal::Drain);
        }
        self.register.tell(None, Signal::Drain);
    }

    /// Does so for inbound listeners and their connections alone: a sidecar serves what its application sends out to the end.
    pub fn drain_inbound(&self) {
        self.listeners.borrow_mut().retain(|slot| {
            let stays = slot.now().model.direction == Direction::Outbound;
            if !stays {
                slot.close.tell(Signal::Drain);
                self.register.tell(Some(slot.id), Signal::Drain);
            }
            stays
        });
    }

    /// Tells every connection something: to leave if idle, or at once.
    pub fn tell(&self, signal: Signal) {
        self.register.tell(None, signal);
    }

    /// Closes downstream connections at rest, once the runtime has heard what the kernel has: a request that has come is
    /// served.
    pub fn close_idle(self: &Rc<Self>) {
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // Whoever yields is polled again after the kernel was asked; those who heard of something are woken before.
            tokio::task::yield_now().await;
            worker.register.close_idle(worker.process.pressure.get());
        });
    }

    /// Closes resting upstream connections.
    pub fn close_idle_upstreams(&self) {
        for cluster in self.view.borrow().clusters.iter().filter_map(OnceCell::get) {
            cluster.close_idle();
        }
    }

    /// Waits until no connection is open.
    pub async fn idle(&self) {
        poll_fn(|cx| self.register.poll_empty(cx)).await;
    }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, before: Option<&Self>) -> Self {
        let clusters: Box<[OnceCell<Rc<Cluster>>]> = snapshot.clusters.iter().map(|_| OnceCell::new()).collect();
        // Pools go over with the state they belong to; an unchanged cluster has the same state.
        let built = before.into_iter().flat_map(|view| view.clusters.iter().filter_map(OnceCell::get));
        let places: HashMap<_, _> =
            snapshot.clusters.iter().enumerate().map(|(at, state)| (Arc::as_ptr(state), at)).collect();
        for cluster in built {
            if let Some(place) = places.get(&Arc::as_ptr(cluster.state())) {
                clusters[*place].set(Rc::clone(cluster)).ok();
            }
        }
        Self { filters: OnceCell::new(), snapshot, clusters, names: OnceCell::new() }
    }

    /// Makes its filters, but for those that the view before has: one that calls a cluster as it starts finds those of its own
    /// configuration.
    fn start_filters(&self, before: Option<&Self>, worker: &Rc<Worker>) {
        let known = before.map_or(&[][..], Self::filters);
        let filters = self.snapshot.filters.loaded().iter().map(|loaded| {
            let same = known.iter().find(|known| Arc::ptr_eq(&known.factory, &loaded.factory));
            let instance = match same {
                Some(same) => Rc::clone(&same.instance),
                None => loaded.factory.instance(Services::new(Rc::downgrade(worker))),
            };
            WorkerFilter {
                factory: Arc::clone(&loaded.factory),
                interest: instance.interest(),
                instance,
                model: Rc::new(Arc::clone(&loaded.model)),
            }
        });
        let filters = filters.collect();
        self.filters.get_or_init(|| filters);
    }

    fn filters(&self) -> &[WorkerFilter] {
        self.filters.get().map_or(&[][..], |filters| filters)
    }

    /// Tells the filters that a newer view does without.
    fn retire(&self, newer: &Self) {
        for filter in self.filters() {
            if !newer.filters().iter().any(|known| Arc::ptr_eq(&known.factory, &filter.factory)) {
                filter.instance.retire();
            }
        }
    }

    /// A filter's share of this worker.
    #[must_use]
    pub fn filter(&self, index: FilterIndex) -> &WorkerFilter {
        &self.filters()[index.0]
    }

    /// The place of the cluster of this name.
    #[must_use]
    pub fn cluster_named(&self, name: &str) -> Option<ClusterIndex> {
        let names = self.names.get_or_init(|| {
            let clusters = self.snapshot.config.clusters.iter().enumerate();
            clusters.map(|(at, cluster)| (Arc::clone(&cluster.name.0), ClusterIndex(at))).collect()
        });
        names.get(name).copied()
    }

    /// A cluster's pools and picker, built on first use.
    #[must_use]
    pub fn cluster(&self, index: ClusterIndex, worker: &Worker) -> &Rc<Cluster> {
        self.clusters[index.0].get_or_init(|| {
            WorkerCluster::new(
                Arc::clone(&self.snapshot.clusters[index.0]),
                Rc::clone(&worker.dial),
                Rc::clone(&worker.random),
                Rc::clone(&worker.bonds),
                Rc::clone(worker.register.windows()),
            )
        })
    }

    fn position(&self, listener: &Name) -> Option<usize> {
        self.snapshot.listeners.iter().position(|known| known.model.name == *listener)
    }
}
