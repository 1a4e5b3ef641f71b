//! All worker threads at once.

use crate::{
    assembly::Plane,
    sockets::Handed,
    worker::{Command, Death, Order, Worker},
};
use std::{future::pending, io, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

/// The worker threads of this process.
#[derive(Debug)]
pub(super) struct Workers<S> {
    workers: Vec<Worker<S>>,
    /// Of those that were told to drain and are not idle yet.
    busy: Vec<oneshot::Receiver<()>>,
}

/// Time a worker may take to put a snapshot in force. It takes microseconds unless the thread is stuck.
const APPLY: Duration = Duration::from_secs(5);
/// Time threads may take to end before the process exits over them.
const END: Duration = Duration::from_secs(1);

impl<S: Send + Sync + 'static> Workers<S> {
    pub(super) fn start<P>(plane: &P, count: NonZeroUsize, deaths: &mpsc::UnboundedSender<Death>) -> io::Result<Self>
    where
        P: Plane<Snapshot = S>,
    {
        let start = |number| {
            let make = plane.maker();
            Worker::start(number, move || make(number), deaths.clone())
        };
        let workers = (0..count.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, busy: Vec::new() })
    }

    /// Puts a snapshot in force everywhere; `sockets` by worker.
    pub(super) async fn apply(&self, snapshot: &Arc<S>, sockets: Vec<Vec<Handed>>) -> io::Result<()> {
        let mut outcomes = Vec::with_capacity(self.workers.len());
        for (worker, sockets) in self.workers.iter().zip(sockets) {
            let (done, outcome) = oneshot::channel();
            worker.send(Command::Apply { snapshot: Arc::clone(snapshot), sockets, done }).await;
            outcomes.push(outcome);
        }
        for outcome in outcomes {
            match timeout(APPLY, outcome).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(_)) => return Err(io::Error::other("a worker died")),
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "a worker is stuck")),
            }
        }
        Ok(())
    }

    /// Tells all to close their listeners and finish; [`Self::idle`] says when they have.
    pub(super) async fn drain(&mut self) {
        for worker in &self.workers {
            let (idle, is_idle) = oneshot::channel();
            worker.send(Command::Drain { idle }).await;
            self.busy.push(is_idle);
        }
    }

    /// Ready once every worker is idle. Never before [`Self::drain`]. Cancel-safe.
    pub(super) async fn idle(&mut self) {
        if self.busy.is_empty() {
            return pending().await;
        }
        while let Some(next) = self.busy.last_mut() {
            // A worker that died has nothing open either.
            next.await.ok();
            self.busy.pop();
        }
    }

    pub(super) async fn order(&self, order: Order) {
        for worker in &self.workers {
            worker.send(Command::Order(order)).await;
        }
    }

    /// An order that may be lost on workers too busy to hear it.
    pub(super) fn hint(&self, order: Order) {
        self.workers.iter().for_each(|worker| worker.hint(order));
    }

    /// Ends the threads and waits a moment for them.
    pub(super) async fn stop(self) {
        for worker in &self.workers {
            worker.stop().await;
        }
        let last = Instant::now() + END;
        while Instant::now() < last && !self.workers.iter().all(Worker::ended) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}
