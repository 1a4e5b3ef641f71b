//! Metrics that guests define, as they read them back and as they are scraped.
//!
//! Each is printed under the name the guest gave, without the tags that are labels and made into what Prometheus takes
//! ([`names`](super::names)), without a prefix: as Envoy prints them, so that dashboards keep working. That is decided where it is
//! defined, and anew where other tags come into force; nothing of it is done where it counts. A gauge that a guest took below zero is printed as that, where Envoy
//! prints 18446744073709551615 for -1: a filter that counts down first must not ruin a graph. Guests read back what they do in Envoy.
//!
//! Series are never forgotten, so a guest that puts ids into names meets a bound. What it defines beyond is not printed,
//! and is logged once and counted; it gets a number all the same: SDKs panic where they get none, and who may choose
//! names would switch the filter off.

use super::names::{Names, Printed};
use crate::abi::{MetricType, Status};
use metrics::{Key, KeyName, Label, Level, Metadata};
use pillion_config::model::MetricTag;
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Series over all guests.
pub const MOST_METRICS: usize = 10_000;

/// Series of one filter: others have room beside it.
pub const MOST_OF_ONE: usize = 2_000;

/// Numbers of one series. Each machine defines its metrics when it starts, and some guests theirs in each stream.
const MOST_NUMBERS: u32 = 4;

/// Bytes of a name.
pub(super) const MOST_NAME: usize = 1024;

/// Histograms with this target hold whole numbers of the guest's own unit (milliseconds, bytes), as Envoy's do, and have its
/// buckets. Those of the proxy are seconds.
pub const WHOLE_NUMBERS: &str = "whole-numbers";

/// Counts definitions that got no series.
pub(crate) const REFUSED: &str = "pillion_wasm_metrics_refused_total";

/// All metrics of guests. Shared by all workers: a counter counts for the process.
#[derive(Debug, Default)]
pub struct GuestMetrics(Mutex<Store>);

#[derive(Default)]
struct Store {
    ids: HashMap<u32, usize>,
    by_name: HashMap<(MetricType, Box<str>), usize>,
    metrics: Vec<Metric>,
    names: Names,
    tags: Vec<MetricTag>,
    last: [u32; 3],
    /// How many series each filter has made, and whether it was told that there are no more.
    made: HashMap<Box<str>, (usize, Told)>,
    /// The numbers of what is not printed.
    beyond: [Option<u32>; 3],
}

/// Whether a filter's log says that it has met the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// A series that is printed otherwise from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Its name and labels until now.
    pub from: Key,
    /// Those that it has.
    pub to: Key,
}

struct Metric {
    /// What it is printed as.
    key: Key,
    /// What a guest reads back: Envoy's numbers are 64 bits without sign, and wrap.
    value: u64,
    handle: Handle,
    /// How many numbers it has, and the last one.
    numbers: u32,
    number: u32,
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
    /// Defines a metric of `filter`. One defined again gets another number for the same series, the first few times.
    ///
    /// # Errors
    ///
    /// [`Status::BadArgument`] for a name that is too long or not text.
    pub fn define(&self, filter: &str, kind: MetricType, name: &[u8]) -> Result<u32, Status> {
        if name.is_empty() || name.len() > MOST_NAME {
            return Err(Status::BadArgument);
        }
        let name = std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
        let mut store = self.lock();
        let store = &mut *store;
        let known = store.by_name.get(&(kind, name.into()) as &(MetricType, Box<str>)).copied();
        let place = match known {
            Some(place) => place,
            None if store.has_room_for(filter) => {
                let key = key(store.names.take(kind, name, &store.tags));
                let handle = register(kind, &key);
                let place = store.add(key, handle);
                store.by_name.insert((kind, name.into()), place);
                place
            }
            None => return Ok(store.beyond(kind)),
        };
        Ok(store.number(kind, place))
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
        let mut keys: Vec<_> = known.iter().map(|(_, kind, name)| key(names.take(*kind, name, tags))).collect();
        let mut store = self.lock();
        if store.by_name.len() > known.len() {
            let all = store.known();
            keys.extend(all.iter().skip(known.len()).map(|(_, kind, name)| key(names.take(*kind, name, tags))));
            known = all;
        }
        (store.names, store.tags) = (names, tags.to_vec());
        let mut renamed = Vec::new();
        for ((place, ..), to) in known.into_iter().zip(keys) {
            let Some(metric) = store.metrics.get_mut(place).filter(|metric| metric.key != to) else { continue };
            renamed.push(Renamed { from: mem::replace(&mut metric.key, to.clone()), to });
        }
        rename(&renamed);
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
                Handle::Gauge(gauge) => gauge.set(signed(metric.value.wrapping_add_signed(by))),
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
                    gauge.set(signed(value));
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
        let mut store = self.lock();
        let place = *store.ids.get(&id).ok_or(unknown)?;
        let metric = store.metrics.get_mut(place).ok_or(unknown)?;
        use_it(metric)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn add(&mut self, key: Key, handle: Handle) -> usize {
        self.metrics.push(Metric { key, value: 0, handle, numbers: 0, number: 0 });
        self.metrics.len() - 1
    }

    /// What is printed, in the order in which it was defined: place, kind, the guest's name.
    fn known(&self) -> Vec<(usize, MetricType, Box<str>)> {
        let mut known: Vec<_> =
            self.by_name.iter().map(|((kind, name), place)| (*place, *kind, name.clone())).collect();
        known.sort_unstable_by_key(|(place, ..)| *place);
        known
    }

    /// Another number of the metric at this place, or the last one if it has enough.
    fn number(&mut self, kind: MetricType, place: usize) -> u32 {
        // Envoy's numbers: counters 4, 8, …; gauges 5, 9, …; histograms 6, 10, ….
        let class = class(kind);
        let Some(metric) = self.metrics.get_mut(place) else { return 0 };
        if metric.numbers < MOST_NUMBERS {
            let last = &mut self.last[class];
            *last += 4;
            metric.numbers += 1;
            metric.number = *last + u32::try_from(class).unwrap_or_default();
            self.ids.insert(metric.number, place);
        }
        metric.number
    }

    /// Whether this filter may make a series more; says so where it may not.
    fn has_room_for(&mut self, filter: &str) -> bool {
        let full = self.metrics.len() >= MOST_METRICS;
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

    /// The number of what is not printed.
    fn beyond(&mut self, kind: MetricType) -> u32 {
        if let Some(number) = self.beyond[class(kind)] {
            return number;
        }
        let handle = match kind {
            MetricType::Counter => Handle::Counter(metrics::Counter::noop()),
            MetricType::Gauge => Handle::Gauge(metrics::Gauge::noop()),
            MetricType::Histogram => Handle::Histogram(metrics::Histogram::noop()),
        };
        let place = self.add(Key::from_static_name(""), handle);
        let number = self.number(kind, place);
        self.beyond[class(kind)] = Some(number);
        number
    }
}

/// A kind's place in Envoy's numbers.
fn class(kind: MetricType) -> usize {
    match kind {
        MetricType::Counter => 0,
        MetricType::Gauge => 1,
        MetricType::Histogram => 2,
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

fn register(kind: MetricType, key: &Key) -> Handle {
    const HELP: &str = "Defined by a wasm filter.";
    const PLAIN: Metadata<'_> = Metadata::new("pillion_wasm", Level::INFO, None);
    const WHOLE: Metadata<'_> = Metadata::new(WHOLE_NUMBERS, Level::INFO, None);
    let name = KeyName::from(key.name().to_owned());
    metrics::with_recorder(|recorder| match kind {
        MetricType::Counter => {
            recorder.describe_counter(name, None, HELP.into());
            Handle::Counter(recorder.register_counter(key, &PLAIN))
        }
        MetricType::Gauge => {
            recorder.describe_gauge(name, None, HELP.into());
            Handle::Gauge(recorder.register_gauge(key, &PLAIN))
        }
        MetricType::Histogram => {
            // First registered, which settles its buckets.
            let histogram = recorder.register_histogram(key, &WHOLE);
            recorder.describe_histogram(name, None, HELP.into());
            Handle::Histogram(histogram)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_statuses_are_envoys() {
        let metrics = GuestMetrics::default();
        let counter = metrics.define("f", MetricType::Counter, b"c").unwrap();
        let again = metrics.define("f", MetricType::Counter, b"c").unwrap();
        let gauge = metrics.define("f", MetricType::Gauge, b"g").unwrap();
        let histogram = metrics.define("f", MetricType::Histogram, b"h").unwrap();
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
    fn what_is_defined_again_and_again_takes_no_room() {
        let metrics = GuestMetrics::default();
        let first = metrics.define("f", MetricType::Counter, b"c").unwrap();
        let last =
            (0..3 * MOST_METRICS).map(|_| metrics.define("f", MetricType::Counter, b"c").unwrap()).last().unwrap();
        metrics.increment(last, 1).unwrap();
        assert_eq!(metrics.get(first), Ok(1), "all numbers are one series");
        metrics.define("g", MetricType::Counter, b"another").unwrap();
    }

    #[test]
    fn a_filter_with_ids_in_names_leaves_room_to_others_and_goes_on() {
        let metrics = GuestMetrics::default();
        let define = |filter: &str, number: usize| {
            let name = format!("requests_of_{filter}_{number}");
            metrics.define(filter, MetricType::Counter, name.as_bytes()).expect("it is given a number")
        };
        let known = define("f", 0);
        let numbers: Vec<_> = (1..3 * MOST_OF_ONE).map(|number| define("f", number)).collect();
        assert_eq!(numbers.last(), numbers.get(numbers.len() - 2), "what is beyond is one");
        metrics.increment(*numbers.last().unwrap(), 1).expect("it can be added to");
        metrics.increment(known, 1).unwrap();
        assert_eq!(metrics.get(known), Ok(1));
        let (one, other) = (define("g", 1), define("g", 2));
        assert_ne!(one, other, "another filter's are series of their own");
        for filter in ["h", "i", "j", "k", "l"] {
            (0..MOST_OF_ONE).for_each(|number| assert!(define(filter, number) > 0));
        }
        assert!(metrics.0.lock().unwrap().metrics.len() <= MOST_METRICS + 3);
        assert_eq!(define("m", 1), define("m", 2), "there is an end for all together");
    }

    #[test]
    fn other_tags_rename_what_is_there() {
        let metrics = GuestMetrics::default();
        let tags = |regex: &str| vec![MetricTag { name: "id".into(), regex: regex::Regex::new(regex).unwrap() }];
        let first = metrics.define("f", MetricType::Counter, b"n_id=1").unwrap();
        metrics.define("f", MetricType::Gauge, b"plain").unwrap();
        metrics.increment(first, 2).unwrap();
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
        assert_eq!((metrics.get(first), metrics.define("f", MetricType::Counter, b"n_id=1")), (Ok(2), Ok(first + 8)));
        let back = [
            Renamed { from: labelled, to: plain },
            Renamed { from: Key::from_parts("n", vec![Label::new("id", "2")]), to: Key::from_name("n_id_2") },
        ];
        assert_eq!(renamed(&[]), Some(back.to_vec()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let metrics = GuestMetrics::default();
        assert_eq!(metrics.define("f", MetricType::Counter, b""), Err(Status::BadArgument));
        assert_eq!(metrics.define("f", MetricType::Counter, &[b'a'; 2000]), Err(Status::BadArgument));
    }
}
