//! Metrics that guests define, as they read them back and as they are scraped.
//!
//! Each is printed under the name the guest gave, made into what Prometheus takes, without a prefix: as Envoy prints
//! them, so that dashboards keep working. Names beginning with `pillion_` are the proxy's own and get `wasm_` before them.

use crate::abi::{MetricType, Status};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Metrics over all guests. Series are never forgotten, so a guest that puts ids into names meets this bound.
pub const MOST_METRICS: usize = 10_000;

/// Bytes of a name.
const MOST_NAME: usize = 1024;

/// All metrics of guests. Shared by all workers: a counter counts for the process.
#[derive(Debug, Default)]
pub struct GuestMetrics(Mutex<Store>);

#[derive(Default)]
struct Store {
    ids: HashMap<u32, usize>,
    by_name: HashMap<(MetricType, Box<str>), usize>,
    metrics: Vec<Metric>,
    last: [u32; 3],
}

struct Metric {
    /// What a guest reads back: Envoy's numbers are 64 bits without sign, and wrap.
    value: u64,
    handle: Handle,
}

enum Handle {
    Counter(metrics::Counter),
    Gauge(metrics::Gauge),
    Histogram(metrics::Histogram),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("metrics", &self.metrics.len()).finish_non_exhaustive()
    }
}

impl GuestMetrics {
    /// Defines a metric. One defined again gets another number for the same series.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] for a name that is too long or not text, [`Status::InternalFailure`] when there are too many.
    pub fn define(&self, kind: MetricType, name: &[u8]) -> Result<u32, Status> {
        let name = std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
        if name.is_empty() || name.len() > MOST_NAME {
            return Err(Status::BadArgument);
        }
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if store.ids.len() >= MOST_METRICS {
            return Err(Status::InternalFailure);
        }
        let place = match store.by_name.get(&(kind, name.into()) as &(MetricType, Box<str>)) {
            Some(place) => *place,
            None => {
                let handle = register(kind, &printed(name));
                store.metrics.push(Metric { value: 0, handle });
                let place = store.metrics.len() - 1;
                store.by_name.insert((kind, name.into()), place);
                place
            }
        };
        // Envoy's numbers: counters 4, 8, …; gauges 5, 9, …; histograms 6, 10, ….
        let (at, class) = match kind {
            MetricType::Counter => (0, 0),
            MetricType::Gauge => (1, 1),
            MetricType::Histogram => (2, 2),
        };
        store.last[at] += 4;
        let id = store.last[at] + class;
        store.ids.insert(id, place);
        Ok(id)
    }

    /// Adds to a counter or gauge.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`]: there is no such metric, as Envoy has it, or it is a histogram; or a counter that would
    /// not grow.
    pub fn increment(&self, id: u32, by: i64) -> Result<(), Status> {
        self.with(id, Status::BadArgument, |metric| {
            match &metric.handle {
                Handle::Counter(counter) => match u64::try_from(by) {
                    Ok(by @ 1..) => counter.increment(by),
                    Ok(0) | Err(_) => return Err(Status::BadArgument),
                },
                Handle::Gauge(gauge) => gauge.set(shown(metric.value.wrapping_add_signed(by))),
                Handle::Histogram(_) => return Err(Status::BadArgument),
            }
            metric.value = metric.value.wrapping_add_signed(by);
            Ok(())
        })
    }

    /// Sets a gauge, adds to a counter, puts a value into a histogram.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`].
    pub fn record(&self, id: u32, value: u64) -> Result<(), Status> {
        self.with(id, Status::NotFound, |metric| {
            match &metric.handle {
                Handle::Counter(counter) => {
                    counter.increment(value);
                    metric.value = metric.value.wrapping_add(value);
                }
                Handle::Gauge(gauge) => {
                    gauge.set(shown(value));
                    metric.value = value;
                }
                Handle::Histogram(histogram) => histogram.record(shown(value)),
            }
            Ok(())
        })
    }

    /// A counter's or gauge's value.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`]: there is no such metric, as Envoy has it, or it is a histogram.
    pub fn get(&self, id: u32) -> Result<u64, Status> {
        self.with(id, Status::BadArgument, |metric| match metric.handle {
            Handle::Counter(_) | Handle::Gauge(_) => Ok(metric.value),
            Handle::Histogram(_) => Err(Status::BadArgument),
        })
    }

    fn with<R>(
        &self,
        id: u32,
        unknown: Status,
        use_it: impl FnOnce(&mut Metric) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = *store.ids.get(&id).ok_or(unknown)?;
        let metric = store.metrics.get_mut(place).ok_or(unknown)?;
        use_it(metric)
    }
}

#[expect(clippy::cast_precision_loss, reason = "the scraped form is a double; the guest reads the exact number")]
fn shown(value: u64) -> f64 {
    value as f64
}

fn register(kind: MetricType, name: &str) -> Handle {
    const HELP: &str = "Defined by a wasm filter.";
    let name = name.to_owned();
    match kind {
        MetricType::Counter => {
            metrics::describe_counter!(name.clone(), HELP);
            Handle::Counter(metrics::counter!(name))
        }
        MetricType::Gauge => {
            metrics::describe_gauge!(name.clone(), HELP);
            Handle::Gauge(metrics::gauge!(name))
        }
        MetricType::Histogram => {
            metrics::describe_histogram!(name.clone(), HELP);
            Handle::Histogram(metrics::histogram!(name))
        }
    }
}

/// A name as Prometheus takes it (`[a-zA-Z_:][a-zA-Z0-9_:]*`).
fn printed(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    for character in name.chars() {
        let fits = character.is_ascii_alphanumeric() || character == '_' || character == ':';
        if out.is_empty() && (character.is_ascii_digit() || !fits) {
            out.push('_');
        }
        if fits {
            out.push(character);
        } else if out.len() > 1 || !out.ends_with('_') {
            out.push('_');
        }
    }
    if out.starts_with("pillion_") {
        out.insert_str(0, "wasm_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_statuses_are_envoys() {
        let metrics = GuestMetrics::default();
        let counter = metrics.define(MetricType::Counter, b"c").unwrap();
        let again = metrics.define(MetricType::Counter, b"c").unwrap();
        let gauge = metrics.define(MetricType::Gauge, b"g").unwrap();
        let histogram = metrics.define(MetricType::Histogram, b"h").unwrap();
        assert_eq!((counter, again, gauge, histogram), (4, 8, 5, 6));
        metrics.increment(counter, 2).unwrap();
        metrics.record(again, 3).unwrap();
        assert_eq!(metrics.get(counter), Ok(5), "record adds to a counter, and both numbers are one series");
        assert_eq!(metrics.increment(counter, -1), Err(Status::BadArgument));
        assert_eq!(metrics.increment(counter, 0), Err(Status::BadArgument));
        metrics.record(gauge, 3).unwrap();
        metrics.increment(gauge, -10).unwrap();
        assert_eq!(metrics.get(gauge), Ok(18_446_744_073_709_551_609));
        metrics.record(histogram, 3).unwrap();
        assert_eq!(metrics.increment(histogram, 1), Err(Status::BadArgument));
        assert_eq!(metrics.get(histogram), Err(Status::BadArgument));
        assert_eq!(
            (metrics.get(7), metrics.increment(7, 1), metrics.record(7, 1)),
            (Err(Status::BadArgument), Err(Status::BadArgument), Err(Status::NotFound))
        );
    }

    #[test]
    fn names_are_made_fit_and_stay_apart_from_the_proxys() {
        assert_eq!(printed("istio_requests_total"), "istio_requests_total");
        assert_eq!(printed("a.b-c d"), "a_b_c_d");
        assert_eq!(printed("9lives"), "_9lives");
        assert_eq!(printed("pillion_requests"), "wasm_pillion_requests");
        assert_eq!(printed("é"), "_");
        let metrics = GuestMetrics::default();
        assert_eq!(metrics.define(MetricType::Counter, b""), Err(Status::BadArgument));
        assert_eq!(metrics.define(MetricType::Counter, &[b'a'; 2000]), Err(Status::BadArgument));
    }
}
