//! The counters of wasm filters, by filter.
//!
//! | series | |
//! |---|---|
//! | `pillion_wasm_failures_total{filter,reason}` | machines that died: `trap`, `timeout`, `stack`, `memory`, `pressure`, `abi`, `start` |
//! | `pillion_wasm_restarts_total{filter}` | machines started again |
//! | `pillion_wasm_machines{filter}` | machines that run, over all workers |
//! | `pillion_wasm_memory_bytes{filter}` | linear memory of the machine whose memory changed last |
//! | `pillion_wasm_metrics_refused_total{filter}` | metrics that the guest defined and there was no room for |

use crate::{shared::REFUSED, vm::Cause};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use pillion_config::model::Name;
use std::cell::Cell;

/// Handles to one filter's series, on one worker.
pub struct Metrics {
    name: Name,
    restarts: Counter,
    machines: Gauge,
    memory: Gauge,
    /// Bytes of memory told last.
    told: Cell<usize>,
}

/// Says what the series mean.
pub fn describe() {
    describe_counter!("pillion_wasm_failures_total", "Machines of wasm filters that died, by reason.");
    describe_counter!("pillion_wasm_restarts_total", "Machines of wasm filters that were started again.");
    describe_counter!(REFUSED, "Metrics that wasm filters defined beyond what there is room for.");
    describe_gauge!("pillion_wasm_machines", "Machines of wasm filters that run, over all workers.");
    describe_gauge!(
        "pillion_wasm_memory_bytes",
        "Linear memory of a wasm filter's machine, of the worker where it changed last."
    );
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
            name: filter.clone(),
            told: Cell::new(0),
        }
    }

    /// A machine died.
    pub fn failure(&self, cause: Cause) {
        let name = self.name.as_str().to_owned();
        counter!("pillion_wasm_failures_total", "filter" => name, "reason" => cause.word()).increment(1);
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

    /// Bytes of its memory now.
    #[expect(clippy::cast_precision_loss, reason = "at most a gibibyte")]
    pub fn memory(&self, bytes: usize) {
        // Called at the end of each stream, and all workers share the gauge: written only where there is something to say.
        if self.told.replace(bytes) != bytes {
            self.memory.set(bytes as f64);
        }
    }
}
