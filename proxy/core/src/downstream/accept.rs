//! accept: connections out of the kernel's queue, as many as the limits allow.
//!
//! One task for each listener and worker. An error of one connection is counted and passed over; a lack of the
//! process's own (descriptors, memory) is back-pressure: the queue waits in the kernel. It never reads a byte.

use super::{
    Connection,
    codec::{http1, http2},
    limit::{Permit, Pressure},
    original_dst::{self, Arrival},
};
use crate::{
    drain::{Control, Signal},
    io::{Accept, Socket},
    snapshot::ListenerSnapshot,
    telemetry::ConnectionFacts,
    worker::{View, Worker},
};
use pillion_config::model::{Capture, Http, Listener, Name};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// How long the loop waits when the process itself lacks something. Long enough not to burn a CPU that is
/// short already, short beside any client's patience.
const BACK_OFF: Duration = Duration::from_millis(20);

/// How long clients that have begun to connect get for the last of their three packets, once nobody else can begin: some
/// round trips of a data centre, and nothing anybody waits for.
const HANDSHAKE: Duration = Duration::from_millis(25);

/// A listener as one worker runs it. Its identity stays while its configuration changes.
pub struct ListenerSlot {
    /// Its identity within the worker.
    pub id: usize,
    /// Its name.
    pub name: Name,
    /// Its configuration as it is now. Together with the view it belongs to: routes name clusters by their place in
    /// it, and a listener that was removed goes on serving what it was made with.
    serving: RefCell<(Rc<View>, Arc<ListenerSnapshot>)>,
    /// Tells the accept loop to end.
    pub close: Rc<Control>,
    /// Which socket it accepts from, where that can be told.
    socket: Option<u64>,
    /// Its socket is another listener's now, with whoever waits in its queue.
    handed_on: Cell<bool>,
    /// Made from the model when the first HTTP/1 connection comes.
    http1: Made<http1::Settings>,
    /// The same for HTTP/2.
    http2: Made<http2::Settings>,
}

/// Something made of a listener's model, and kept as long as that is in force.
type Made<T> = RefCell<Option<(Arc<Listener>, Rc<T>)>>;

/// What an accepted connection counts against, given back when it is gone.
#[derive(Debug)]
pub struct Permits {
    _process: Permit,
    _listener: Permit,
}

/// What to do after `accept` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// That connection is gone; the next one may be well.
    Connection,
    /// The process lacks descriptors or memory.
    Process(&'static str),
}

/// Connections accepted before everything else that is ready has its turn. A flood of connections that want a handshake, or
/// nothing at all, takes no more of the thread than so many of them for each pass over those that live; the rest waits in the
/// kernel's queue, which sheds what is too much at no cost of ours.
const BURST: u32 = 8;

impl ListenerSlot {
    /// A listener that has not accepted anything yet.
    #[must_use]
    pub fn new(id: usize, view: Rc<View>, listener: Arc<ListenerSnapshot>, socket: Option<u64>) -> Self {
        Self {
            id,
            socket,
            handed_on: Cell::new(false),
            name: listener.model.name.clone(),
            serving: RefCell::new((view, listener)),
            close: Rc::default(),
            http1: RefCell::default(),
            http2: RefCell::default(),
        }
    }

    /// Ends the accept loop. If its socket is among `others`, those of listeners that begin, nobody is turned away and what
    /// the kernel has queued is theirs.
    pub fn leave(&self, mut others: impl Iterator<Item = u64>) {
        self.handed_on.set(self.socket.is_some_and(|socket| others.any(|other| other == socket)));
        self.close.tell(Signal::Drain);
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn now(&self) -> Arc<ListenerSnapshot> {
        Arc::clone(&self.serving.borrow().1)
    }

    /// The configuration as it is now, with the view that its routes speak of.
    #[must_use]
    pub fn serving(&self) -> (Rc<View>, Arc<ListenerSnapshot>) {
        self.serving.borrow().clone()
    }

    /// Takes another configuration into use.
    pub fn serve(&self, view: Rc<View>, listener: Arc<ListenerSnapshot>) {
        self.serving.replace((view, listener));
    }

    /// What this listener asks of HTTP/1 connections.
    pub fn http1_settings(&self, listener: &ListenerSnapshot) -> Rc<http1::Settings> {
        made(&self.http1, &listener.model, http1::Settings::new)
    }

    /// What this listener asks of HTTP/2 connections.
    pub fn http2_settings(&self, listener: &ListenerSnapshot) -> Rc<http2::Settings> {
        made(&self.http2, &listener.model, http2::Settings::new)
    }
}

fn made<T>(known: &Made<T>, model: &Arc<Listener>, make: impl FnOnce(&Http) -> T) -> Rc<T> {
    let mut known = known.borrow_mut();
    match &*known {
        Some((of, made)) if Arc::ptr_eq(of, model) => Rc::clone(made),
        Some(_) | None => {
            let made = Rc::new(make(&model.http));
            *known = Some((Arc::clone(model), Rc::clone(&made)));
            made
        }
    }
}

/// Accepts until told to close, and then what the kernel has queued already.
pub async fn run(worker: Rc<Worker>, slot: Rc<ListenerSlot>, source: Box<dyn Accept>) {
    // Counted among the connections: the worker is idle only when it accepts nothing any more.
    let present = worker.register.enter(slot.id);
    let mut turned_away = false;
    let mut in_a_row = 0;
    loop {
        match next(&slot, present.control(), &*source).await {
            Next::Connection(socket, peer) => {
                // One connection at most waits here, in hand; the others wait in the kernel's queue.
                let permits = permits(&worker, &slot).await;
                admit(&worker, &slot, socket, peer, source.local_addr(), permits);
                in_a_row += 1;
                if in_a_row == BURST {
                    in_a_row = 0;
                    // Back behind everything else that is ready.
                    tokio::task::yield_now().await;
                }
            }
            Next::Failed(error) => match classify(&error) {
                Failure::Connection => {}
                Failure::Process(name) => {
                    slot.now().telemetry.metrics.accept_error(name);
                    // Idle connections hold descriptors that a waiting client could use.
                    worker.close_idle();
                    tokio::time::sleep(BACK_OFF).await;
                }
            },
            // Whoever came in between the last look and the end would be reset.
            Next::Closed if !turned_away && !slot.handed_on.get() && present.control().signal() < Signal::Abort => {
                turned_away = true;
                source.turn_away();
                tokio::time::sleep(HANDSHAKE).await;
            }
            Next::Closed => return,
        }
    }
}

enum Next {
    Connection(Socket, SocketAddr),
    Failed(io::Error),
    Closed,
}

/// The next connection. Once the slot is closing, only what is ready now; at the abort, none.
async fn next(slot: &ListenerSlot, worker: &Control, source: &dyn Accept) -> Next {
    poll_fn(|cx| {
        slot.close.set_waker(cx);
        worker.set_waker(cx);
        if worker.signal() == Signal::Abort || slot.handed_on.get() {
            return Poll::Ready(Next::Closed);
        }
        let accepted = match source.poll_accept(cx) {
            Poll::Ready(accepted) => Some(accepted),
            // A client that was just told to go elsewhere may be here again before the runtime has heard of it.
            Poll::Pending if slot.close.signal() >= Signal::Drain => source.accept_queued(),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(match accepted {
            Some(Ok((socket, peer))) => Next::Connection(socket, peer),
            Some(Err(error)) => Next::Failed(error),
            None => Next::Closed,
        })
    })
    .await
}

/// A permit of the process and one of the listener; waits for both. Connections that leave make room, so that
/// draining ends the wait too.
async fn permits(worker: &Worker, slot: &ListenerSlot) -> Permits {
    let mut waited = false;
    loop {
        let listener = slot.now();
        let short_of = match (worker.process.connections.take(), listener.connections.take()) {
            (Some(process), Some(listener)) => return Permits { _process: process, _listener: listener },
            (None, _) => "process_limit",
            (Some(_), None) => "listener_limit",
        };
        if !waited {
            waited = true;
            listener.telemetry.metrics.refused(short_of);
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

fn admit(
    worker: &Rc<Worker>,
    slot: &Rc<ListenerSlot>,
    socket: Socket,
    peer: SocketAddr,
    listening: SocketAddr,
    permits: Permits,
) {
    if worker.process.pressure.get() == Pressure::Refuse {
        slot.now().telemetry.metrics.refused("memory");
        return;
    }
    let local = match socket.kernels() {
        // Only a listener on a wildcard address needs to ask which address the client reached.
        Some(stream) if listening.ip().is_unspecified() => stream.local_addr().unwrap_or(listening),
        Some(_) | None => listening,
    };
    let listener = slot.now();
    let captured = listener.model.capture != Capture::Off;
    let local = match listener.model.capture {
        Capture::Off => local,
        Capture::Redirect | Capture::Tproxy | Capture::Agent => {
            let capture = &worker.process.capture;
            match original_dst::arrival(&listener.model, &socket, peer, listening, &capture.own) {
                Arrival::For(destination) => destination,
                Arrival::Probe => {
                    let answer =
                        original_dst::probe_answer(capture.token, listener.model.name.as_str(), listening.port());
                    tokio::task::spawn_local(original_dst::answer_probe(socket, answer));
                    return;
                }
                Arrival::Refused(refusal) => {
                    listener.telemetry.metrics.refused(refusal.name());
                    return;
                }
            }
        }
    };
    drop(listener);
    let facts = ConnectionFacts { captured, ..ConnectionFacts::new(peer, local) };
    let connection = Connection::new(Rc::clone(worker), Rc::clone(slot), facts, permits);
    tokio::task::spawn_local(super::serve_connection(connection, socket));
}

/// accept(2) on Linux passes on errors of the connection being accepted; those concern nobody else.
fn classify(error: &io::Error) -> Failure {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => Failure::Process("process_descriptors"),
        Some(Errno::NFILE) => Failure::Process("system_descriptors"),
        Some(Errno::NOBUFS | Errno::NOMEM) => Failure::Process("kernel_memory"),
        Some(_) | None => Failure::Connection,
    }
}
