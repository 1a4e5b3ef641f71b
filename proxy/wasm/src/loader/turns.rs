//! [`Turns`]: what of loading several filters is done at the same time, and what one after the other.
//!
//! ```text
//!  a module is fetched     beside others, as many as whoever fetches them lets
//!  a child compiles        one at a time: a large module takes it hundreds of MiB, which count for the container, and all the CPU it can
//!                          have; with the quota of a sidecar, a CPU or less, two were done no sooner
//!  on a thread here        one at a time, each over soon: a file is read, an artefact looked for and mapped, a filter tried
//!                          (which may take the memory that a machine may)
//!  tried, and seated       in the order of the configuration, as on a worker: what one makes (a queue, a value) is there for those behind
//!    beside others
//! ```
//!
//! Nobody waits for a place in one line with a place in another, so what is in the cache waits for nothing that is fetched or compiled,
//! until it is tried behind those before it.

use super::Fault;
use crate::engine;
use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Weak},
    thread,
};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};

/// Who waits for whom.
pub(super) struct Turns {
    here: Arc<Semaphore>,
    child: Arc<Semaphore>,
    /// Modules that are being made, by their digest.
    made: RefCell<HashMap<[u8; 32], Weak<Mutex<()>>>>,
    /// When the filter that came last is over.
    last: RefCell<Option<oneshot::Receiver<Infallible>>>,
}

/// A filter's place in the order of the configuration. Dropped, the one behind it comes.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<Infallible>>,
    _over: oneshot::Sender<Infallible>,
}

impl Default for Turns {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { here: one(), child: one(), made: RefCell::default(), last: RefCell::default() }
    }
}

impl Turns {
    /// The next filter's place.
    pub(super) fn next(&self) -> Turn {
        let (over, last) = oneshot::channel();
        Turn { before: self.last.replace(Some(last)), _over: over }
    }

    /// Waits until nobody else makes this module; nobody does while what is returned lives.
    pub(super) async fn alone(&self, digest: [u8; 32]) -> OwnedMutexGuard<()> {
        let module = {
            let mut made = self.made.borrow_mut();
            made.retain(|_, module| module.strong_count() > 0);
            made.get(&digest).and_then(Weak::upgrade).unwrap_or_else(|| {
                let module = Arc::default();
                made.insert(digest, Arc::downgrade(&module));
                module
            })
        };
        module.lock_owned().await
    }

    /// Runs what is over soon.
    pub(super) async fn here<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        on_thread(&self.here, work).await
    }

    /// Runs what has a child compile. What was given up goes on, and in its place, until [nobody names it](super::names): a configuration
    /// that is read anew has the same modules more often than not.
    pub(super) async fn child<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        on_thread(&self.child, work).await
    }
}

impl Turn {
    /// Waits until those before it are over.
    pub(super) async fn comes(&mut self) {
        if let Some(before) = &mut self.before {
            // It says nothing but that it is gone.
            before.await.ok();
            self.before = None;
        }
    }
}

/// Runs what blocks on a thread of its own, which has the place it waited for until its end, whoever still waits for that.
async fn on_thread<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let place: OwnedSemaphorePermit = Arc::clone(places).acquire_owned().await.expect("invariant: nobody closes it");
    let (done, outcome) = oneshot::channel();
    thread::Builder::new()
        .name("pillion-wasm".to_owned())
        .stack_size(engine::GUEST_STACK + 1024 * 1024)
        .spawn(move || {
            let outcome = work();
            drop(place);
            // Whoever asked may have given up.
            done.send(outcome).ok();
        })
        .map_err(|error| format!("no thread to load it on: {error}"))?;
    outcome.await.unwrap_or_else(|_| Err(Fault::from("loading it failed; the log says why".to_owned())))
}
