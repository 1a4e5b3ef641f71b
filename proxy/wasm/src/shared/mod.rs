//! What machines share over all workers, by vm_id: data with compare-and-swap, queues, metrics of guests.
//!
//! One lock for each store, held for a look-up or a copy, never while a guest runs. Everything is bounded for each
//! vm_id, metrics for each filter; what is beyond a bound is refused with a status, not by ending the guest. Where memory is short, who holds much is
//! refused before who holds little ([`census`](crate::census::allow)).

mod data;
mod metrics;
mod names;
mod queue;
pub(crate) mod refused;

pub use data::{KEY, MOST_BYTES as MOST_DATA_BYTES, SharedData};
pub(crate) use metrics::REFUSED;
pub use metrics::{GuestMetrics, MOST_METRICS, MOST_OF_ONE, Numbers, Renamed, WHOLE_NUMBERS};
pub use queue::{
    MESSAGE, MOST_BYTES as MOST_QUEUED_BYTES, MOST_ITEMS, MOST_NAME, MOST_QUEUE_BYTES, MOST_QUEUES, Queues, Ready,
};

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// All that guests share in this process. Shared by all threads: a guest on one worker must see what another wrote.
#[derive(Debug, Default)]
pub struct Shared {
    /// Values by key.
    pub data: SharedData,
    /// Queues by name.
    pub queues: Queues,
    /// Counters, gauges, histograms.
    pub metrics: GuestMetrics,
    /// How many owners each vm_id has.
    owners: Mutex<HashMap<Box<str>, usize>>,
}

/// Keeps what machines of a vm_id share: data and queues go with its last owner, as in Envoy.
#[derive(Debug)]
pub struct Owner {
    shared: Arc<Shared>,
    vm_id: Box<str>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut owners = self.shared.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = owners.get_mut(&self.vm_id) else { return };
        *count -= 1;
        if *count == 0 {
            owners.remove(&self.vm_id);
            // Under the lock: who comes next begins anew, and is taken nothing away.
            self.shared.data.forget(&self.vm_id);
            self.shared.queues.forget(&self.vm_id);
        }
    }
}

static PROCESS: OnceLock<Arc<Shared>> = OnceLock::new();

/// Sets the gauges of what each vm_id stores; `None` before anybody stores anything. Called for a scrape, so that no write pays for
/// them. Returns whose they are: series of others are to be forgotten.
#[must_use]
pub fn tell() -> Option<HashSet<Box<str>>> {
    PROCESS.get().map(|shared| shared.tell())
}

impl Shared {
    /// The process's.
    #[must_use]
    pub fn process() -> Arc<Self> {
        Arc::clone(PROCESS.get_or_init(Arc::default))
    }

    fn tell(&self) -> HashSet<Box<str>> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let told: HashSet<_> = owners.keys().cloned().collect();
        drop(owners);
        for vm_id in &told {
            crate::metrics::stored(vm_id, self.data.bytes(vm_id), self.queues.bytes(vm_id));
            crate::metrics::not_stored(vm_id, "data", self.data.refused(vm_id));
            crate::metrics::not_stored(vm_id, "queue", self.queues.refused(vm_id));
        }
        told
    }

    /// Another owner of what machines of this vm_id share.
    #[must_use]
    pub fn own(self: &Arc<Self>, vm_id: &str) -> Owner {
        *self.owners.lock().unwrap_or_else(PoisonError::into_inner).entry(vm_id.into()).or_default() += 1;
        Owner { shared: Arc::clone(self), vm_id: vm_id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[test]
    fn what_a_vm_id_shares_goes_with_its_last_owner() {
        let shared = Arc::<Shared>::default();
        let (first, other) = (shared.own("v"), shared.own("w"));
        shared.data.set("v", b"k", b"1", 0).unwrap();
        shared.data.set("w", b"k", b"1", 0).unwrap();
        let (ready, _told) = mpsc::channel(1);
        shared.queues.register("v", b"q", 1, &ready).unwrap();
        // As in a reload: the next is there before the last one goes.
        let second = shared.own("v");
        drop(first);
        assert!(shared.data.get("v", b"k").is_some() && shared.queues.resolve("v", b"q").is_some());
        drop(second);
        assert!(shared.data.get("v", b"k").is_none() && shared.queues.resolve("v", b"q").is_none());
        assert!(shared.data.get("w", b"k").is_some(), "another's");
        drop(other);
    }
}
