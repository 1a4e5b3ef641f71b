//! What machines share over all workers, by vm_id: data with compare-and-swap, queues, metrics of guests.
//!
//! One lock for each store, held for a look-up or a copy, never while a guest runs. Everything is bounded; what is
//! beyond a bound is refused with a status, not by ending the guest.

mod data;
mod metrics;
mod queue;

pub use data::{MOST_BYTES as MOST_DATA_BYTES, MOST_KEYS, SharedData};
pub(crate) use metrics::REFUSED;
pub use metrics::{GuestMetrics, MOST_METRICS, MOST_OF_ONE};
pub use queue::{MOST_ITEMS, MOST_QUEUE_BYTES, MOST_QUEUES, Queues, Ready};

use std::sync::{Arc, OnceLock};

/// All that guests share in this process. Shared by all threads: a guest on one worker must see what another wrote.
#[derive(Debug, Default)]
pub struct Shared {
    /// Values by key.
    pub data: SharedData,
    /// Queues by name.
    pub queues: Queues,
    /// Counters, gauges, histograms.
    pub metrics: GuestMetrics,
}

impl Shared {
    /// The process's.
    #[must_use]
    pub fn process() -> Arc<Self> {
        static PROCESS: OnceLock<Arc<Shared>> = OnceLock::new();
        Arc::clone(PROCESS.get_or_init(Arc::default))
    }
}
