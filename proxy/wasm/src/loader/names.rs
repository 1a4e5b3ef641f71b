//! [`Names`]: which modules are named by configurations that are being loaded: one that none names any more is not compiled on.
//!
//! A configuration that is corrected while it is loaded names most modules again, a moment later. So who is left is given up once it
//! is clear that the next configuration does not name it, or where none comes.

use crate::artefact::Wanted;
use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a module that was left is compiled on where nothing else is loaded, or it is not known what: reading a configuration
/// again and its files takes less.
const GRACE: Duration = Duration::from_secs(1);

/// The modules that are named, by digest.
#[derive(Default)]
pub(super) struct Names {
    modules: RefCell<HashMap<[u8; 32], Weak<Named>>>,
    loads: Arc<Loads>,
}

/// Shared with the threads that compile.
#[derive(Debug, Default)]
struct Loads {
    /// Filters whose loading has begun, ever.
    begun: AtomicU64,
    /// Those of them of which it is not known yet which module they name.
    unknown: AtomicUsize,
}

/// A module that some filter names, or that is still being compiled. Shared with the thread that has it compiled.
#[derive(Debug)]
pub(super) struct Named {
    loads: Arc<Loads>,
    by: Mutex<By>,
}

#[derive(Debug, Default)]
struct By {
    filters: usize,
    /// When the last of them left it, and how many had begun then.
    left: Option<(Instant, u64)>,
}

/// A filter whose module is not known yet.
pub(super) struct Unknown(Arc<Loads>);

/// A filter names this module, until this is dropped.
pub(super) struct Naming(Arc<Named>);

impl Names {
    /// A filter's loading begins.
    pub(super) fn begin(&self) -> Unknown {
        self.loads.unknown.fetch_add(1, Ordering::SeqCst);
        self.loads.begun.fetch_add(1, Ordering::SeqCst);
        Unknown(Arc::clone(&self.loads))
    }

    /// A filter names the module of this digest.
    pub(super) fn name(&self, digest: [u8; 32]) -> Naming {
        let mut modules = self.modules.borrow_mut();
        modules.retain(|_, module| module.strong_count() > 0);
        let module = modules.get(&digest).and_then(Weak::upgrade).unwrap_or_else(|| {
            let module = Arc::new(Named { loads: Arc::clone(&self.loads), by: Mutex::default() });
            modules.insert(digest, Arc::downgrade(&module));
            module
        });
        {
            let mut by = module.by();
            by.filters += 1;
            by.left = None;
        }
        Naming(module)
    }
}

impl Named {
    fn by(&self) -> MutexGuard<'_, By> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some configuration names it, or may yet.
    pub(super) fn wanted(&self) -> Wanted {
        // In this order: whoever is known by now has said before what he names.
        let known = self.loads.unknown.load(Ordering::SeqCst) == 0;
        let begun = self.loads.begun.load(Ordering::SeqCst);
        match self.by().left {
            Some((at, before)) if (known && begun > before) || at.elapsed() >= GRACE => Wanted::No,
            Some(_) | None => Wanted::Yes,
        }
    }
}

impl Naming {
    /// What it names.
    pub(super) fn module(&self) -> Arc<Named> {
        Arc::clone(&self.0)
    }
}

impl Drop for Naming {
    fn drop(&mut self) {
        let mut by = self.0.by();
        by.filters -= 1;
        if by.filters == 0 {
            by.left = Some((Instant::now(), self.0.loads.begun.load(Ordering::SeqCst)));
        }
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        self.0.unknown.fetch_sub(1, Ordering::SeqCst);
    }
}
