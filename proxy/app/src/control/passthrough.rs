//! The least data path there can be: bytes, unseen, to the first endpoint of the first cluster.
//!
//! For the control thread's tests, where only connections matter.

use crate::{
    assembly::{ClusterStatus, EndpointStatus, Plane, Rejected},
    cgroup::Pressure,
    sockets::Handed,
    worker::{Order, Run},
};
use bytes::Bytes;
use pillion_config::model::{ClusterIndex, Config, EndpointAddress, Name};
use pillion_core::{
    drain::{Register, Signal},
    identity::Secrets,
    snapshot::TlsState,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
};

/// The plane's part on the control thread.
#[derive(Debug, Default)]
pub(crate) struct Passthrough {
    connections: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// A configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    config: Arc<Config>,
    /// Shared with the control thread, which learns it from names.
    upstream: Mutex<Option<SocketAddr>>,
}

/// A worker's part.
#[derive(Debug)]
pub struct Worker {
    snapshot: RefCell<Option<Arc<Snapshot>>>,
    listeners: RefCell<HashMap<Name, watch::Sender<()>>>,
    register: Rc<Register>,
    accepting: Rc<Cell<usize>>,
    waker: Rc<RefCell<Option<Waker>>>,
    connections: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Plane for Passthrough {
    type Snapshot = Snapshot;
    type Run = Rc<Worker>;
    type Filters = ();

    fn maker(&self) -> impl FnOnce(usize) -> Rc<Worker> + Send + 'static {
        let (connections, lost) = (Arc::clone(&self.connections), Arc::clone(&self.lost));
        move |_| {
            Rc::new(Worker {
                snapshot: RefCell::default(),
                listeners: RefCell::default(),
                register: Rc::default(),
                accepting: Rc::default(),
                waker: Rc::default(),
                connections,
                lost,
            })
        }
    }

    fn pressure(&self, _: Pressure) {}

    fn allow_unfinished(&self, _: &dyn Fn(u64) -> u64) {}

    fn allow_requests(&self, _: &dyn Fn(u64) -> u64) {}

    fn compile(
        &self,
        config: &Arc<Config>,
        _: Option<&Arc<Snapshot>>,
        _: Option<()>,
    ) -> Result<Arc<Snapshot>, Rejected> {
        let first = config.clusters.first().and_then(|cluster| cluster.endpoints.first());
        let upstream = first.and_then(|endpoint| match endpoint.address {
            EndpointAddress::Ip(address) => Some(address),
            EndpointAddress::Name(..) | EndpointAddress::Service(_) => None,
        });
        Ok(Arc::new(Snapshot { config: Arc::clone(config), upstream: Mutex::new(upstream) }))
    }

    fn update_tls(&self, _: &Snapshot, _: &Secrets) -> TlsState {
        TlsState::default()
    }

    fn in_force(&self, _: &Snapshot) {}

    fn resolved(&self, snapshot: &Snapshot, cluster: ClusterIndex, endpoint: &EndpointAddress, addresses: &[IpAddr]) {
        if let (0, EndpointAddress::Name(_, port), Some(address)) = (cluster.0, endpoint, addresses.first()) {
            let upstream = Some(SocketAddr::new(*address, *port));
            *snapshot.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
        }
    }

    fn clusters(&self, snapshot: &Snapshot) -> Vec<ClusterStatus> {
        let upstream = *snapshot.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = |address| EndpointStatus { address, hostname: None, weight: 1, requests: 0 };
        let cluster = snapshot.config.clusters.first();
        let status = cluster.map(|cluster| ClusterStatus {
            name: cluster.name.clone(),
            circuit: cluster.circuit,
            connections: self.connections.load(Ordering::Relaxed),
            pending: 0,
            requests: 0,
            endpoints: upstream.map(endpoint).into_iter().collect(),
        });
        status.into_iter().collect()
    }

    fn connections(&self) -> usize {
        usize::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    fn lost(&self) -> usize {
        usize::try_from(self.lost.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    fn metrics(&self) -> Box<dyn Iterator<Item = Bytes>> {
        let open = self.connections.load(Ordering::Relaxed);
        Box::new(std::iter::once(Bytes::from(format!("passthrough_connections {open}\n"))))
    }

    fn reopen_logs(&self) {}

    fn flush_logs(&self) {}
}

impl Run for Rc<Worker> {
    type Snapshot = Snapshot;

    fn apply(&self, snapshot: Arc<Snapshot>, sockets: Vec<Handed>) -> io::Result<()> {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|name, _| snapshot.config.listeners.iter().any(|listener| listener.name == *name));
        for Handed { name, socket } in sockets {
            let socket = TcpListener::from_std(socket)?;
            let (close, closed) = watch::channel(());
            listeners.insert(name, close);
            spawn_local(Rc::clone(self).accept(socket, closed));
        }
        *self.snapshot.borrow_mut() = Some(snapshot);
        Ok(())
    }

    fn order(&self, order: Order) {
        match order {
            Order::Drain => self.listeners.borrow_mut().clear(),
            Order::CloseIdle | Order::Relieve | Order::GiveBack(_) | Order::GiveBackHeap | Order::LookAgain => {}
            // Its listeners are all inbound.
            Order::DrainInbound => self.register.tell(None, Signal::Drain),
            Order::Abort => self.register.tell(None, Signal::Abort),
        }
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.accepting.get() == 0 {
            return self.register.poll_empty(cx);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Worker {
    async fn accept(self: Rc<Self>, socket: TcpListener, mut closed: watch::Receiver<()>) {
        self.accepting.set(self.accepting.get() + 1);
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = socket.accept() => accepted,
                // An error says that the listener is not wanted any more; what was queued has been accepted by then.
                _ = closed.changed() => break,
            };
            if let Ok((client, _)) = accepted {
                spawn_local(Rc::clone(&self).carry(client));
            }
        }
        drop(socket);
        self.accepting.set(self.accepting.get() - 1);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    async fn carry(self: Rc<Self>, mut client: TcpStream) {
        let registration = self.register.enter(0);
        let upstream = self
            .snapshot
            .borrow()
            .as_ref()
            .and_then(|snapshot| *snapshot.upstream.lock().unwrap_or_else(PoisonError::into_inner));
        let aborted = poll_fn(|cx| {
            registration.control().set_waker(cx);
            if registration.control().signal() == Signal::Abort { Poll::Ready(()) } else { Poll::Pending }
        });
        self.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(upstream) = upstream {
            let carry = async {
                let mut server = TcpStream::connect(upstream).await?;
                copy_bidirectional(&mut client, &mut server).await
            };
            tokio::select! {
                _ = carry => {}
                () = aborted => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
