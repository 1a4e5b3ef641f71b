//! A recorder for tests that keeps every series by its printed key.

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// Series by `name{label=value,…}`: a counter's or gauge's value, a histogram's number of samples.
#[derive(Default)]
pub(crate) struct Recorded {
    series: Mutex<BTreeMap<String, Arc<Cell>>>,
    described: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Cell(Mutex<f64>);

impl Recorded {
    /// The value of a series; 0 where there is none.
    pub(crate) fn get(&self, key: &str) -> f64 {
        self.series.lock().unwrap().get(key).map_or(0.0, |cell| *cell.0.lock().unwrap())
    }

    /// The sum over all series of a family.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let series = self.series.lock().unwrap();
        let of_family = series.iter().filter(|(key, _)| key.split('{').next() == Some(family));
        of_family.map(|(_, cell)| *cell.0.lock().unwrap()).sum()
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        self.series.lock().unwrap().len()
    }

    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let key = format!("{}{{{}}}", key.name(), labels.join(","));
        self.series.lock().unwrap().entry(key).or_default().clone()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().into());
    }
    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().into());
    }
    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().insert(key.as_str().into());
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        *self.0.lock().unwrap() += value as f64;
    }
    fn absolute(&self, value: u64) {
        *self.0.lock().unwrap() = value as f64;
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        *self.0.lock().unwrap() += value;
    }
    fn decrement(&self, value: f64) {
        *self.0.lock().unwrap() -= value;
    }
    fn set(&self, value: f64) {
        *self.0.lock().unwrap() = value;
    }
}

impl HistogramFn for Cell {
    fn record(&self, _: f64) {
        *self.0.lock().unwrap() += 1.0;
    }
}
