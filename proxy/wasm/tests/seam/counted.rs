//! What is counted on this thread while something runs.

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Counters by name and labels, as `name{label=value,…}`.
pub(crate) type Counted = BTreeMap<String, u64>;

#[derive(Default)]
struct Counts(Arc<Mutex<Counted>>);

struct Count(String, Arc<Mutex<Counted>>);

impl CounterFn for Count {
    fn increment(&self, by: u64) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner).entry(self.0.clone()).or_default() += by;
    }

    fn absolute(&self, to: u64) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).insert(self.0.clone(), to);
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(Arc::new(Count(name, Arc::clone(&self.0))))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What `f` gives, and what it counts on this thread.
pub(crate) fn counted<R>(f: impl FnOnce() -> R) -> (R, Counted) {
    let counts = Counts::default();
    let result = with_local_recorder(&counts, f);
    let counted = std::mem::take(&mut *counts.0.lock().unwrap_or_else(PoisonError::into_inner));
    (result, counted)
}
