//! The counters of wasm filters, by filter.
//!
//! | series | |
//! |---|---|
//! | `pillion_wasm_failures_total{filter,reason}` | machines that died: `trap`, `timeout`, `stack`, `memory`, `pressure`, `abi`, `start`; of another filter in it: `neighbour` |
//! | `pillion_wasm_restarts_total{filter}` | machines started again |
//! | `pillion_wasm_machines{filter}` | machines that run, over all workers |
//! | `pillion_wasm_memory_bytes{filter}` | linear memories, tables and what calls hold (in steps of 64 KiB) of the machines that run, over all workers; of calls, as the last streams and events left it |
//! | `pillion_wasm_metrics_refused_total{filter}` | metrics that the guest defined and there was no room for |
//! | `pillion_wasm_log_lines_dropped_total{filter}` | lines that the guest logged beyond `limits.log_lines` |
//! | `pillion_wasm_fetches_total{filter,outcome}` | modules wanted from a URL: `success`, `failure` (each attempt), `cached` (no server needed) |
//! | `pillion_wasm_shared_data_bytes{vm_id}` | keys and values in shared data, and 128 for each key |
//! | `pillion_wasm_shared_queue_bytes{vm_id}` | messages in shared queues, and 64 for each |
//! | `pillion_wasm_shared_refused_total{vm_id,store,bound}` | what a guest was refused: `data`, `queue`; the vm_id's `bytes` or `queues`, one `queue`'s own, the container's `memory`; not before the first |

use crate::{
    shared::{REFUSED, refused::Bound},
    vm::Cause,
};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use pillion_config::model::Name;
use std::cell::Cell;

/// Handles to one filter's series, on one worker.
pub struct Metrics {
    restarts: Counter,
    machines: Gauge,
    memory: Gauge,
    /// What the gauge has of it.
    told: Cell<usize>,
}

/// What became of an attempt to have a module that is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It came, and is the one that was wanted.
    Success,
    /// It did not, or is another one.
    Failure,
    /// It was there already.
    Cached,
}

/// An attempt to have a filter's module was made.
pub fn fetch(filter: &Name, outcome: Fetched) {
    let word = match outcome {
        Fetched::Success => "success",
        Fetched::Failure => "failure",
        Fetched::Cached => "cached",
    };
    counter!(FETCHES, "filter" => filter.as_str().to_owned(), "outcome" => word).increment(1);
}

/// A machine died with this filter in it, or could not be started.
pub fn failure(filter: &Name, cause: Cause) {
    counter!("pillion_wasm_failures_total", "filter" => filter.as_str().to_owned(), "reason" => cause.word())
        .increment(1);
}

/// Where lines of this filter's that are not written are counted.
pub(crate) fn lines_dropped(filter: &str) -> Counter {
    counter!(LINES, "filter" => filter.to_owned())
}

/// Says what the series mean.
pub fn describe() {
    describe_counter!("pillion_wasm_failures_total", "Machines of wasm filters that died, by reason.");
    describe_counter!("pillion_wasm_restarts_total", "Machines of wasm filters that were started again.");
    describe_counter!(
        FETCHES,
        "Attempts to fetch modules of wasm filters, by outcome; those found in the cache need none."
    );
    describe_counter!(REFUSED, "Metrics that wasm filters defined beyond what there is room for.");
    describe_counter!(
        LINES,
        "Lines that wasm filters logged beyond their limits.log_lines, and that were not written."
    );
    describe_gauge!("pillion_wasm_machines", "Machines of wasm filters that run, over all workers.");
    describe_gauge!(
        "pillion_wasm_memory_bytes",
        "Linear memories, tables and what calls hold of a wasm filter's machines, over all workers; of calls, as the last streams and events left it."
    );
    describe_gauge!(
        DATA,
        "Bytes of keys and values that wasm filters of a vm_id keep in shared data, and 128 for each key."
    );
    describe_gauge!(QUEUED, "Bytes of messages in the shared queues of a vm_id, and 64 for each.");
    describe_counter!(
        NOT_STORED,
        "Writes to shared data and queues that wasm filters of a vm_id were refused, by bound."
    );
}

const FETCHES: &str = "pillion_wasm_fetches_total";
const LINES: &str = "pillion_wasm_log_lines_dropped_total";
const DATA: &str = "pillion_wasm_shared_data_bytes";
const QUEUED: &str = "pillion_wasm_shared_queue_bytes";

/// A vm_id has so many bytes in shared data and in queues.
#[expect(clippy::cast_precision_loss, reason = "at most some hundred mebibytes")]
pub(crate) fn stored(vm_id: &str, data: usize, queued: usize) {
    gauge!(DATA, "vm_id" => vm_id.to_owned()).set(data as f64);
    gauge!(QUEUED, "vm_id" => vm_id.to_owned()).set(queued as f64);
}

const NOT_STORED: &str = "pillion_wasm_shared_refused_total";

/// A vm_id was refused so often, by [`Bound`].
pub(crate) fn not_stored(vm_id: &str, store: &'static str, refused: [u64; Bound::ALL.len()]) {
    for (bound, refused) in Bound::ALL.into_iter().zip(refused).filter(|(_, refused)| *refused > 0) {
        counter!(NOT_STORED, "vm_id" => vm_id.to_owned(), "store" => store, "bound" => bound.word()).absolute(refused);
    }
}

impl Metrics {
    /// Of this filter.
    #[must_use]
    pub fn new(filter: &Name) -> Self {
        let name = filter.as_str().to_owned();
        Self {
            restarts: counter!("pillion_wasm_restarts_total", "filter" => name.clone()),
            machines: gauge!("pillion_wasm_machines", "filter" => name.clone()),
            memory: gauge!("pillion_wasm_memory_bytes", "filter" => name),
            told: Cell::new(0),
        }
    }

    /// A machine was started again.
    pub fn restarted(&self) {
        self.restarts.increment(1);
    }

    /// One more machine with it runs.
    pub fn up(&self) {
        self.machines.increment(1.0);
    }

    /// One less.
    pub fn down(&self) {
        self.machines.decrement(1.0);
    }

    /// Bytes of memory that were told of it.
    pub fn told(&self) -> usize {
        self.told.get()
    }

    /// Bytes of its machine's memory now; 0: none runs.
    #[expect(clippy::cast_precision_loss, reason = "at most a gibibyte")]
    pub fn memory(&self, bytes: usize) {
        let before = self.told.replace(bytes);
        // All workers share the gauge, so that each adds what is new of its own.
        self.memory.increment(bytes as f64 - before as f64);
    }

    /// What was told of it is told of another's.
    pub fn hand_over(&self, to: &Self) {
        to.told.set(to.told.get() + self.told.take());
    }
}
