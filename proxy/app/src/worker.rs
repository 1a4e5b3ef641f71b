//! A worker thread: one operating-system thread, one single-threaded runtime, told what to do over a bounded channel.
//!
//! The frame around the data path: it starts the thread, carries commands to whatever implements [`Run`] and reports
//! a thread that dies. It never touches a connection itself. A panic in a connection's task costs that connection;
//! a panic of the worker itself is fatal for the process, because a proxy that silently lost a worker refuses a
//! part of all connections for ever.

use crate::{memory, sockets::Handed};
use pillion_wasm::census::Number;
use std::{
    any::Any,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    thread,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::spawn_local,
};

/// What runs on a worker's thread. Everything of it stays there.
pub trait Run: 'static {
    /// The configuration, compiled; shared by all workers because it is immutable.
    type Snapshot: Send + Sync + 'static;

    /// Puts a snapshot in force. A socket replaces the one of the same listener; a listener that the snapshot no
    /// longer has accepts what the kernel queued and closes. Connections finish on the snapshot they began with.
    ///
    /// # Errors
    ///
    /// When a socket cannot be registered with the runtime.
    fn apply(&self, snapshot: Arc<Self::Snapshot>, sockets: Vec<Handed>) -> io::Result<()>;

    /// Tells the worker's connections and listeners something.
    fn order(&self, order: Order);

    /// Ready once every listener is closed and no connection is open. Only asked after [`Order::Drain`].
    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Something told to all connections and listeners of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Accept what the kernel queued, close the listeners, tell connections to finish and leave.
    Drain,
    /// The same for inbound listeners and their connections alone; outbound ones go on.
    DrainInbound,
    /// Close connections at rest, once.
    CloseIdle,
    /// Cut some of the connections on which most is in flight: memory is so short that the kernel would kill.
    Relieve,
    /// Give this machine of a filter back, if it is here: memory is short, and none has grown more.
    GiveBack(Number),
    /// Give freed memory back to the system: little is left, and what the allocator keeps counts as used.
    GiveBackHeap,
    /// Look whether what lives may go on: others are trusted than before.
    LookAgain,
    /// Close everything now.
    Abort,
}

/// A command to a worker.
#[derive(Debug)]
pub enum Command<S> {
    /// Put a snapshot in force; `done` says how it went.
    Apply {
        /// The snapshot.
        snapshot: Arc<S>,
        /// This worker's sockets for new listeners.
        sockets: Vec<Handed>,
        /// Told when it is in force.
        done: oneshot::Sender<io::Result<()>>,
    },
    /// Drain; `idle` is told when nothing is open any more.
    Drain {
        /// Told, or dropped when the worker stops first.
        idle: oneshot::Sender<()>,
    },
    /// Any other order.
    Order(Order),
    /// End the thread; what is still open is cut.
    Stop,
}

/// A worker thread that ended without being told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} died: {reason}")]
pub struct Death {
    /// Its number.
    pub worker: usize,
    /// What the panic said, or why the runtime could not start.
    pub reason: String,
}

/// The control thread's end of a worker.
#[derive(Debug)]
pub struct Worker<S> {
    commands: mpsc::Sender<Command<S>>,
    thread: thread::JoinHandle<()>,
}

/// Commands that may wait. The control thread sends one and waits for its outcome, so a handful is plenty.
const QUEUE: usize = 16;

/// Bytes of a worker's stack. Tasks live on the heap: what the deepest poll needs is a few dozen KiB in a release
/// build, several times that in a debug build; the rest is what frames of wasm filters may use. The kernel backs only
/// what is touched.
const STACK: usize = 512 * 1024 + pillion_wasm::engine::GUEST_STACK;

impl<S: Send + Sync + 'static> Worker<S> {
    /// Starts a thread and builds its [`Run`] there.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub fn start<R, M>(number: usize, make: M, deaths: mpsc::UnboundedSender<Death>) -> io::Result<Self>
    where
        R: Run<Snapshot = S>,
        M: FnOnce() -> R + Send + 'static,
    {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name(format!("pillion-w{number}")).stack_size(STACK).spawn(move || {
            // Nothing of the worker is used after the panic, so nothing broken can be seen.
            let reason = match catch_unwind(AssertUnwindSafe(|| live(make, inbox))) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("its runtime could not start: {error}"),
                Err(panic) => words(&*panic),
            };
            // Nobody hears it when the control thread is gone as well.
            deaths.send(Death { worker: number, reason }).ok();
        })?;
        Ok(Self { commands, thread })
    }

    /// Sends a command; waits while the queue is full. A dead worker takes it in silence: its death is reported.
    pub async fn send(&self, command: Command<S>) {
        self.commands.send(command).await.ok();
    }

    /// Sends an order that may be lost when the worker is too busy to hear it.
    pub fn hint(&self, order: Order) {
        self.commands.try_send(Command::Order(order)).ok();
    }

    /// Ends the thread; what is still open is cut. Whether it has ended is asked with [`Self::ended`].
    pub async fn stop(&self) {
        self.send(Command::Stop).await;
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }
}

fn live<R: Run>(make: impl FnOnce() -> R, inbox: mpsc::Receiver<Command<R::Snapshot>>) -> io::Result<()> {
    // A runtime of local tasks: a `LocalSet` within an ordinary one would schedule every task twice.
    let runtime = Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())?;
    runtime.block_on(obey(make, inbox));
    Ok(())
}

async fn obey<R: Run>(make: impl FnOnce() -> R, mut inbox: mpsc::Receiver<Command<R::Snapshot>>) {
    let run = Rc::new(make());
    spawn_local(memory::keep_small());
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Apply { snapshot, sockets, done } => {
                // The control thread may have given up waiting; the snapshot is in force all the same.
                done.send(run.apply(snapshot, sockets)).ok();
            }
            Command::Drain { idle } => {
                run.order(Order::Drain);
                let run = Rc::clone(&run);
                spawn_local(async move {
                    poll_fn(|cx| run.poll_idle(cx)).await;
                    idle.send(()).ok();
                });
            }
            Command::Order(order) => run.order(order),
            Command::Stop => return,
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A worker that dies of the snapshot 13 and is idle once drained.
    #[derive(Default)]
    struct Fragile {
        drained: Cell<bool>,
    }

    impl Run for Fragile {
        type Snapshot = u32;

        fn apply(&self, snapshot: Arc<u32>, _: Vec<Handed>) -> io::Result<()> {
            match *snapshot {
                13 => panic!("unlucky {}", 13),
                7 => {
                    tokio::task::spawn_local(async { panic!("a connection's task") });
                    Ok(())
                }
                0 => Err(io::Error::other("zero")),
                _ => Ok(()),
            }
        }

        fn order(&self, order: Order) {
            self.drained.set(order == Order::Drain);
        }

        fn poll_idle(&self, _: &mut Context<'_>) -> Poll<()> {
            assert!(self.drained.get(), "asked before the drain");
            Poll::Ready(())
        }
    }

    async fn apply(worker: &Worker<u32>, snapshot: u32) -> Option<io::Result<()>> {
        let (done, outcome) = oneshot::channel();
        worker.send(Command::Apply { snapshot: Arc::new(snapshot), sockets: Vec::new(), done }).await;
        outcome.await.ok()
    }

    #[tokio::test]
    async fn a_panicking_task_costs_itself_a_panicking_worker_is_reported() {
        let (deaths, mut died) = mpsc::unbounded_channel();
        let worker = Worker::start(4, Fragile::default, deaths).unwrap();
        assert!(matches!(apply(&worker, 1).await, Some(Ok(()))));
        assert!(matches!(apply(&worker, 0).await, Some(Err(_))));
        assert!(matches!(apply(&worker, 7).await, Some(Ok(()))));
        assert!(matches!(apply(&worker, 2).await, Some(Ok(()))), "the worker outlives the task");
        assert!(apply(&worker, 13).await.is_none());
        assert_eq!(died.recv().await, Some(Death { worker: 4, reason: "unlucky 13".to_owned() }));
        worker.stop().await;
    }

    #[tokio::test]
    async fn a_drained_worker_says_so_and_a_stopped_one_is_no_death() {
        let (deaths, mut died) = mpsc::unbounded_channel();
        let worker = Worker::start(0, Fragile::default, deaths).unwrap();
        let (idle, is_idle) = oneshot::channel();
        worker.send(Command::Drain { idle }).await;
        is_idle.await.unwrap();
        worker.stop().await;
        assert_eq!(died.recv().await, None);
    }
}
