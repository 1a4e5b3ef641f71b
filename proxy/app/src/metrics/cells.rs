//! Where series are counted. Relaxed atomics: a scrape wants each number, not an order between them.

use metrics::{CounterFn, GaugeFn, HistogramFn};
use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

/// A histogram's buckets. Few, since each costs a line for each series at each scrape.
pub(super) trait Scale<const BUCKETS: usize> {
    /// Upper bounds; the last is infinite.
    const BOUNDS: [f64; BUCKETS];
    /// The bounds as a scrape prints them: formatting each anew was most of what a scrape cost.
    const PRINTED: [&str; BUCKETS];
}

/// Seconds: near-logarithmic from what loopback takes to what a person waits for.
#[derive(Debug, Default)]
pub(super) struct Seconds;

impl Scale<17> for Seconds {
    const BOUNDS: [f64; 17] = [
        0.0005,
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.1,
        0.25,
        0.5,
        1.0,
        2.5,
        5.0,
        10.0,
        30.0,
        60.0,
        f64::INFINITY,
    ];
    const PRINTED: [&str; 17] = [
        "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10",
        "30", "60", "+Inf",
    ];
}

/// Whole numbers of any unit: Envoy's buckets.
#[derive(Debug, Default)]
pub(super) struct Whole;

impl Scale<20> for Whole {
    const BOUNDS: [f64; 20] = [
        0.5,
        1.0,
        5.0,
        10.0,
        25.0,
        50.0,
        100.0,
        250.0,
        500.0,
        1000.0,
        2500.0,
        5000.0,
        10000.0,
        30000.0,
        60000.0,
        300000.0,
        600000.0,
        1800000.0,
        3600000.0,
        f64::INFINITY,
    ];
    const PRINTED: [&str; 20] = [
        "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000",
        "300000", "600000", "1800000", "3600000", "+Inf",
    ];
}

#[derive(Debug, Default)]
pub(super) struct CounterCell(AtomicU64);

impl CounterCell {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl CounterFn for CounterCell {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }
}

/// A gauge: what it was set to and what was counted since. Whole steps, which are all that the data path makes, are one
/// addition and never retried, however many workers count. Setting and counting the same gauge at the same instant
/// may lose the count; nothing does both.
#[derive(Debug, Default)]
pub(super) struct GaugeCell {
    set: FloatCell,
    counted: AtomicI64,
}

impl GaugeCell {
    pub(super) fn get(&self) -> f64 {
        self.set.get() + self.counted.load(Relaxed) as f64
    }
}

impl GaugeFn for GaugeCell {
    fn increment(&self, value: f64) {
        let whole = value as i64;
        if whole as f64 == value {
            self.counted.fetch_add(whole, Relaxed);
        } else {
            self.set.add(value);
        }
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        self.set.0.store(value.to_bits(), Relaxed);
        self.counted.store(0, Relaxed);
    }
}

/// A number of floating point, by its bits.
#[derive(Debug, Default)]
struct FloatCell(AtomicU64);

impl FloatCell {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn add(&self, value: f64) {
        let mut now = self.0.load(Relaxed);
        loop {
            let next = (f64::from_bits(now) + value).to_bits();
            match self.0.compare_exchange_weak(now, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

/// Samples by bucket. Their number is the sum of the buckets, so one read of each makes a consistent histogram.
pub(super) struct HistogramCell<S, const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    sum: FloatCell,
    scale: PhantomData<fn() -> S>,
}

impl<S, const BUCKETS: usize> Default for HistogramCell<S, BUCKETS> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::default()), sum: FloatCell::default(), scale: PhantomData }
    }
}

impl<S, const BUCKETS: usize> fmt::Debug for HistogramCell<S, BUCKETS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistogramCell").field("buckets", &self.buckets).finish_non_exhaustive()
    }
}

impl<S, const BUCKETS: usize> HistogramCell<S, BUCKETS> {
    /// Samples of each bucket, not cumulated.
    pub(super) fn buckets(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|index| self.buckets[index].load(Relaxed))
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum.get()
    }
}

impl<S: Scale<BUCKETS>, const BUCKETS: usize> HistogramFn for HistogramCell<S, BUCKETS> {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        // One sample that is no number would make the sum none for ever.
        if !value.is_finite() {
            return;
        }
        // Counting all bounds has no branch to mispredict and is done several at a time.
        let bucket = S::BOUNDS.iter().map(|bound| usize::from(value > *bound)).sum::<usize>();
        self.buckets[bucket].fetch_add(count as u64, Relaxed);
        self.sum.add(value * count as f64);
    }
}
