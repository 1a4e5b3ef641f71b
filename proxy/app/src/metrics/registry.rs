//! Which series there are. Series are kept rendered: the labels as they stand between the braces, in order.

use super::cells::{CounterCell, GaugeCell, HistogramCell, Seconds, Whole};
use metrics::Key;
use metrics_exporter_prometheus::formatting::{sanitize_label_key, sanitize_metric_name};
use pillion_wasm::shared::Renamed;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// What the names of the proxy's own families begin with.
const OURS: &str = "pillion_";

/// All families. Shared by all threads: each registers series.
#[derive(Debug, Default)]
pub(super) struct Registry {
    families: Mutex<BTreeMap<Box<str>, Arc<Family>>>,
}

/// Series of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    pub(super) help: OnceLock<Box<str>>,
    /// Sorted by labels. A scrape takes a reference and reads without the lock; a registration meanwhile copies.
    series: Mutex<Arc<Vec<Series>>>,
}

#[derive(Debug, Clone)]
pub(super) struct Series {
    /// `cluster="api",class="2xx"`, escaped.
    pub(super) labels: Arc<str>,
    pub(super) cell: Cell,
}

#[derive(Debug, Clone)]
pub(super) enum Cell {
    Counter(Arc<CounterCell>),
    Gauge(Arc<GaugeCell>),
    Histogram(Arc<HistogramCell<Seconds, 17>>),
    WholeHistogram(Arc<HistogramCell<Whole, 20>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Of whole numbers; a histogram all the same.
    WholeHistogram,
}

impl Registry {
    pub(super) fn describe(&self, name: &str, kind: Kind, help: &str) {
        // The first description stands.
        let _ = self.family(name, kind).help.set(help.into());
    }

    /// `None`: the name is another kind's, and what is counted goes nowhere.
    pub(super) fn counter(&self, key: &Key) -> Option<Arc<CounterCell>> {
        match self.family(key.name(), Kind::Counter).cell(key) {
            Cell::Counter(cell) => Some(cell),
            Cell::Gauge(_) | Cell::Histogram(_) | Cell::WholeHistogram(_) => None,
        }
    }

    pub(super) fn gauge(&self, key: &Key) -> Option<Arc<GaugeCell>> {
        match self.family(key.name(), Kind::Gauge).cell(key) {
            Cell::Gauge(cell) => Some(cell),
            Cell::Counter(_) | Cell::Histogram(_) | Cell::WholeHistogram(_) => None,
        }
    }

    pub(super) fn histogram(&self, key: &Key) -> Option<Arc<HistogramCell<Seconds, 17>>> {
        match self.family(key.name(), Kind::Histogram).cell(key) {
            Cell::Histogram(cell) => Some(cell),
            Cell::Counter(_) | Cell::Gauge(_) | Cell::WholeHistogram(_) => None,
        }
    }

    pub(super) fn whole_histogram(&self, key: &Key) -> Option<Arc<HistogramCell<Whole, 20>>> {
        match self.family(key.name(), Kind::WholeHistogram).cell(key) {
            Cell::WholeHistogram(cell) => Some(cell),
            Cell::Counter(_) | Cell::Gauge(_) | Cell::Histogram(_) => None,
        }
    }

    /// The families as they are now, by name.
    pub(super) fn families(&self) -> Vec<Arc<Family>> {
        self.lock().values().cloned().collect()
    }

    /// Of the proxy's own: in those of wasm filters a label of that name may be anything.
    pub(super) fn retain(&self, label: &str, keep: impl Fn(&str) -> bool) {
        for family in self.families().into_iter().filter(|family| family.name.starts_with(OURS)) {
            let mut series = family.lock();
            let stays = |one: &Series| label_value(&one.labels, label).is_none_or(|value| keep(&value));
            if !series.iter().all(stays) {
                *series = Arc::new(series.iter().filter(|one| stays(one)).cloned().collect());
            }
        }
    }

    /// Gives series other names and labels; what they have counted stays theirs, and handles to them go on. Families that have none
    /// left go.
    pub(super) fn rename(&self, renamed: &[Renamed]) {
        let mut families = self.lock();
        let mut leave: BTreeMap<Box<str>, HashMap<String, &Renamed>> = BTreeMap::new();
        for one in renamed {
            let name = sanitize_metric_name(one.from.name()).into_boxed_str();
            leave.entry(name).or_default().insert(labels(&one.from), one);
        }
        let mut moved = Vec::with_capacity(renamed.len());
        for (name, leave) in &leave {
            let Some(family) = families.get(name).cloned() else { continue };
            let mut series = family.lock();
            let (gone, stays): (Vec<_>, Vec<_>) =
                series.iter().cloned().partition(|one| leave.contains_key(&*one.labels));
            moved
                .extend(gone.into_iter().filter_map(|one| Some((*leave.get(&*one.labels)?, one.cell, family.clone()))));
            if stays.is_empty() {
                families.remove(name);
            }
            *series = Arc::new(stays);
        }
        let mut joined = BTreeMap::new();
        for (Renamed { to, .. }, cell, from) in moved {
            let name = sanitize_metric_name(to.name()).into_boxed_str();
            let family = families.entry(name).or_insert_with_key(|name| {
                let (kind, help, series) = (from.kind, from.help.clone(), Mutex::default());
                Arc::new(Family { name: name.clone(), kind, help, series })
            });
            if family.kind == from.kind {
                Arc::make_mut(&mut family.lock()).push(Series { labels: labels(to).into(), cell });
                joined.insert(family.name.clone(), family.clone());
            }
        }
        for family in joined.values() {
            Arc::make_mut(&mut family.lock()).sort_unstable_by(|one, other| one.labels.cmp(&other.labels));
        }
    }

    /// The family of the name; of the kind asked for only if nobody took the name for another before.
    fn family(&self, name: &str, kind: Kind) -> Arc<Family> {
        let mut families = self.lock();
        if let Some(family) = families.get(name) {
            return family.clone();
        }
        let printed = sanitize_metric_name(name).into_boxed_str();
        let family = families.entry(printed).or_insert_with_key(|name| {
            let (help, series) = (OnceLock::new(), Mutex::default());
            Arc::new(Family { name: name.clone(), kind, help, series })
        });
        family.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<Family>>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    /// The series as they are now.
    pub(super) fn series(&self) -> Arc<Vec<Series>> {
        self.lock().clone()
    }

    fn cell(&self, key: &Key) -> Cell {
        let labels = labels(key);
        let mut series = self.lock();
        match series.binary_search_by(|one| (*one.labels).cmp(labels.as_str())) {
            Ok(place) => series[place].cell.clone(),
            Err(place) => {
                let cell = match self.kind {
                    Kind::Counter => Cell::Counter(Arc::default()),
                    Kind::Gauge => Cell::Gauge(Arc::default()),
                    Kind::Histogram => Cell::Histogram(Arc::default()),
                    Kind::WholeHistogram => Cell::WholeHistogram(Arc::default()),
                };
                let one = Series { labels: labels.into(), cell: cell.clone() };
                Arc::make_mut(&mut series).insert(place, one);
                cell
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Vec<Series>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key's labels as they are printed.
///
/// Values are escaped here and not with the exporter's function, which takes `\\` for an escape made by its caller:
/// two names could become one, and a name could not be read back.
fn labels(key: &Key) -> String {
    let mut out = String::new();
    for label in key.labels() {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&sanitize_label_key(label.key()));
        out.push_str("=\"");
        for character in label.value().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

/// The value of a label in printed labels; the reverse of [`labels`].
fn label_value(labels: &str, name: &str) -> Option<String> {
    let mut rest = labels;
    while let Some((key, tail)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = tail.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => match characters.next()? {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        if key == name {
            return Some(value);
        }
        rest = characters.as_str().trim_start_matches(',');
    }
    None
}
