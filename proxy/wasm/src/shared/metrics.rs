//! Metrics that guests define, as they read them back and as they are scraped.
//!
//! Each is printed under the name the guest gave, made into what Prometheus takes ([`names`](super::names)), without a prefix:
//! as Envoy prints them, so that dashboards keep working. A gauge that a guest took below zero is printed as that, where Envoy
//! prints 18446744073709551615 for -1: a filter that counts down first must not ruin a graph. Guests read back what they do in Envoy.
//!
//! Series are never forgotten, so a guest that puts ids into names meets a bound. What it defines beyond is not printed,
//! and is logged once and counted; it gets a number all the same: SDKs panic where they get none, and who may choose
//! names would switch the filter off.

mod numbers;

pub use numbers::Numbers;

use super::names::{Names, Printed};
use crate::abi::{MetricType, Status};
use metrics::{Key, KeyName, Label, Level, Metadata};
use pillion_config::model::MetricTag;
use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Series over all guests.
pub const MOST_METRICS: usize = 10_000;

/// Series of one filter: others have room beside it.
pub const MOST_OF_ONE: usize = 2_000;

/// Bytes of a name.
pub(super) const MOST_NAME: usize = 1024;

/// Histograms with this target hold whole numbers of the guest's own unit (milliseconds, bytes), as Envoy's do, and have its
/// buckets. Those of the proxy are seconds.
pub const WHOLE_NUMBERS: &str = "whole-numbers";

/// Counts definitions that got no series.
pub(crate) const REFUSED: &str = "pillion_wasm_metrics_refused_total";

/// All metrics of guests by name. Shared by all workers: a counter counts for the process, whichever machine's guest adds to it.
#[derive(Debug, Default)]
pub struct GuestMetrics(Mutex<Store>);

#[derive(Default)]
struct Store {
    by_name: HashMap<(MetricType, Box<str>), Known>,
    names: Names,
    tags: Vec<MetricTag>,
    /// How many series each filter has made, and whether it was told that there are no more.
    made: HashMap<Box<str>, (usize, Told)>,
}

/// Whether a filter's log says that it has met the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// A metric that was defined.
struct Known {
    series: Arc<Series>,
    /// What it is printed as.
    key: Key,
    /// How many were defined before it.
    before: usize,
}

/// A series that is printed otherwise from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Its name and labels until now.
    pub from: Key,
    /// Those that it has.
    pub to: Key,
}

/// One metric. Guests read back what they do in Envoy, whose numbers are 64 bits without sign, and wrap. Shared by the machines whose
/// guests defined it.
#[derive(Debug)]
enum Series {
    Counter(metrics::Counter, AtomicU64),
    /// Under a lock, so that what is printed last is what was set last.
    Gauge(metrics::Gauge, Mutex<u64>),
    Histogram(metrics::Histogram),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("metrics", &self.by_name.len()).finish_non_exhaustive()
    }
}

impl GuestMetrics {
    /// The metric that `filter` defines; none where there is no room for another.
    fn define(&self, filter: &str, kind: MetricType, name: &[u8]) -> Result<Option<Arc<Series>>, Status> {
        if name.is_empty() || name.len() > MOST_NAME {
            return Err(Status::BadArgument);
        }
        let name = std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
        let mut store = self.lock();
        let store = &mut *store;
        let of = (kind, name.into());
        if let Some(known) = store.by_name.get(&of) {
            return Ok(Some(Arc::clone(&known.series)));
        }
        if !store.has_room_for(filter) {
            return Ok(None);
        }
        let key = key(store.names.take(kind, name, &store.tags));
        let series = Arc::new(Series::printed(kind, &key));
        let before = store.by_name.len();
        store.by_name.insert(of, Known { series: Arc::clone(&series), key, before });
        Ok(Some(series))
    }

    /// Puts tags in force, for what is there as for what will be defined. What is printed otherwise then is renamed by `rename`, which
    /// keeps what it has counted; nobody defines a metric meanwhile.
    pub fn tag(&self, tags: &[MetricTag], rename: impl FnOnce(&[Renamed])) {
        let mut known = match &*self.lock() {
            store if store.tags == tags => return,
            store => store.known(),
        };
        // The most of it while guests count.
        let mut names = Names::default();
        let mut keys: Vec<_> = known.iter().map(|(kind, name)| key(names.take(*kind, name, tags))).collect();
        let mut store = self.lock();
        if store.by_name.len() > known.len() {
            let all = store.known();
            keys.extend(all.iter().skip(known.len()).map(|(kind, name)| key(names.take(*kind, name, tags))));
            known = all;
        }
        (store.names, store.tags) = (names, tags.to_vec());
        let mut renamed = Vec::new();
        for (of, to) in known.into_iter().zip(keys) {
            let Some(metric) = store.by_name.get_mut(&of).filter(|metric| metric.key != to) else { continue };
            renamed.push(Renamed { from: mem::replace(&mut metric.key, to.clone()), to });
        }
        rename(&renamed);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn increment(&self, by: i64) -> Result<(), Status> {
        match self {
            Self::Counter(printed, value) => match u64::try_from(by) {
                Ok(by @ 1..) => {
                    printed.increment(by);
                    value.fetch_add(by, Relaxed);
                }
                Ok(0) | Err(_) => return Err(Status::BadArgument),
            },
            Self::Gauge(printed, value) => {
                let mut value = value.lock().unwrap_or_else(PoisonError::into_inner);
                *value = value.wrapping_add_signed(by);
                printed.set(signed(*value));
            }
            Self::Histogram(_) => return Err(Status::BadArgument),
        }
        Ok(())
    }

    fn record(&self, new: u64) {
        match self {
            Self::Counter(printed, value) => {
                printed.increment(new);
                value.fetch_add(new, Relaxed);
            }
            Self::Gauge(printed, value) => {
                let mut value = value.lock().unwrap_or_else(PoisonError::into_inner);
                *value = new;
                printed.set(signed(new));
            }
            Self::Histogram(printed) => printed.record(shown(new)),
        }
    }

    fn value(&self) -> Result<u64, Status> {
        match self {
            Self::Counter(_, value) => Ok(value.load(Relaxed)),
            Self::Gauge(_, value) => Ok(*value.lock().unwrap_or_else(PoisonError::into_inner)),
            Self::Histogram(_) => Err(Status::BadArgument),
        }
    }

    /// One that is not printed.
    fn unseen(kind: MetricType) -> Self {
        match kind {
            MetricType::Counter => Self::counter(metrics::Counter::noop()),
            MetricType::Gauge => Self::gauge(metrics::Gauge::noop()),
            MetricType::Histogram => Self::Histogram(metrics::Histogram::noop()),
        }
    }

    /// One that is printed so.
    fn printed(kind: MetricType, key: &Key) -> Self {
        const HELP: &str = "Defined by a wasm filter.";
        const PLAIN: Metadata<'_> = Metadata::new("pillion_wasm", Level::INFO, None);
        const WHOLE: Metadata<'_> = Metadata::new(WHOLE_NUMBERS, Level::INFO, None);
        let name = KeyName::from(key.name().to_owned());
        metrics::with_recorder(|recorder| match kind {
            MetricType::Counter => {
                recorder.describe_counter(name, None, HELP.into());
                Self::counter(recorder.register_counter(key, &PLAIN))
            }
            MetricType::Gauge => {
                recorder.describe_gauge(name, None, HELP.into());
                Self::gauge(recorder.register_gauge(key, &PLAIN))
            }
            MetricType::Histogram => {
                // First registered, which settles its buckets.
                let histogram = recorder.register_histogram(key, &WHOLE);
                recorder.describe_histogram(name, None, HELP.into());
                Self::Histogram(histogram)
            }
        })
    }

    fn counter(printed: metrics::Counter) -> Self {
        Self::Counter(printed, AtomicU64::new(0))
    }

    fn gauge(printed: metrics::Gauge) -> Self {
        Self::Gauge(printed, Mutex::new(0))
    }
}

impl Store {
    /// What is printed, in the order in which it was defined.
    fn known(&self) -> Vec<(MetricType, Box<str>)> {
        let mut known: Vec<_> = self.by_name.iter().map(|(of, metric)| (metric.before, of.clone())).collect();
        known.sort_unstable_by_key(|(before, _)| *before);
        known.into_iter().map(|(_, of)| of).collect()
    }

    /// Whether this filter may make a series more; says so where it may not.
    fn has_room_for(&mut self, filter: &str) -> bool {
        let full = self.by_name.len() >= MOST_METRICS;
        if !self.made.contains_key(filter) {
            self.made.insert(filter.into(), (0, Told::No));
        }
        let Some((made, told)) = self.made.get_mut(filter) else { return false };
        if *made < MOST_OF_ONE && !full {
            *made += 1;
            return true;
        }
        metrics::counter!(REFUSED, "filter" => filter.to_owned()).increment(1);
        if *told == Told::No {
            *told = Told::Yes;
            tracing::warn!(
                filter,
                "the wasm filter defines more metrics than there is room for ({MOST_OF_ONE} of a filter, {MOST_METRICS} of \
                 all): further ones are not printed; are there ids in their names?"
            );
        }
        false
    }
}

#[expect(clippy::cast_precision_loss, reason = "the scraped form is a double; the guest reads the exact number")]
fn shown(value: u64) -> f64 {
    value as f64
}

/// A gauge's value as it is printed: no guest counts to 2⁶³ upwards.
#[expect(clippy::cast_precision_loss, reason = "the scraped form is a double; the guest reads the exact number")]
fn signed(value: u64) -> f64 {
    value.cast_signed() as f64
}

fn key(Printed { name, labels }: Printed) -> Key {
    let labels: Vec<_> = labels.into_iter().map(|(name, value)| Label::new(String::from(name), value)).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_with_ids_in_names_leaves_room_to_others() {
        let metrics = GuestMetrics::default();
        let define = |filter: &str, number: usize| {
            let name = format!("requests_of_{filter}_{number}");
            metrics.define(filter, MetricType::Counter, name.as_bytes()).unwrap()
        };
        (0..MOST_OF_ONE).for_each(|number| assert!(define("f", number).is_some()));
        assert!(define("f", MOST_OF_ONE).is_none() && define("f", 0).is_some());
        for filter in ["g", "h", "i", "j"] {
            (0..MOST_OF_ONE).for_each(|number| assert!(define(filter, number).is_some()));
        }
        assert!(define("k", 0).is_none(), "there is an end for all together");
        assert_eq!(metrics.0.lock().unwrap().by_name.len(), MOST_METRICS);
    }

    #[test]
    fn other_tags_rename_what_is_there() {
        let metrics = GuestMetrics::default();
        let tags = |regex: &str| vec![MetricTag { name: "id".into(), regex: regex::Regex::new(regex).unwrap() }];
        let first = metrics.define("f", MetricType::Counter, b"n_id=1").unwrap().unwrap();
        metrics.define("f", MetricType::Gauge, b"plain").unwrap();
        first.increment(2).unwrap();
        let renamed = |tags: &[MetricTag]| {
            let mut all = None;
            metrics.tag(tags, |renamed| all = Some(renamed.to_vec()));
            all
        };
        let labelled = Key::from_parts("n", vec![Label::new("id", "1")]);
        let plain = Key::from_name("n_id_1");
        let there = Renamed { from: plain.clone(), to: labelled.clone() };
        assert_eq!(renamed(&tags("(_id=([0-9]+))")), Some(vec![there]));
        assert_eq!(renamed(&tags("(_id=([0-9]+))")), None, "the same tags");
        metrics.define("f", MetricType::Counter, b"n_id=2").unwrap();
        let again = metrics.define("f", MetricType::Counter, b"n_id=1").unwrap().unwrap();
        assert!(again.value() == Ok(2) && Arc::ptr_eq(&first, &again));
        let back = [
            Renamed { from: labelled, to: plain },
            Renamed { from: Key::from_parts("n", vec![Label::new("id", "2")]), to: Key::from_name("n_id_2") },
        ];
        assert_eq!(renamed(&[]), Some(back.to_vec()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let metrics = GuestMetrics::default();
        for name in [&b""[..], &[b'a'; 2000], &[0xff]] {
            assert_eq!(metrics.define("f", MetricType::Counter, name).err(), Some(Status::BadArgument));
        }
    }
}
