//! The pieces the sets of handles are made of: registration, tables by class and by reason, gauges that count back.

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, with_recorder};
use pillion_config::model::Name;
use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

static METADATA: Metadata<'static> = Metadata::new("pillion", Level::INFO, None);

/// What a set of series belongs to: its label and that label's value.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    Listener(Arc<str>),
    Cluster(Arc<str>),
    Certificate(Arc<str>),
    Process,
}

impl Owner {
    pub(super) fn counter(&self, name: &'static str) -> Counter {
        let key = self.key(name, None);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    pub(super) fn counter_by(&self, name: &'static str, label: &'static str, value: &'static str) -> Counter {
        let key = self.key(name, Some(Label::from_static_parts(label, value)));
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    pub(super) fn counter_with(&self, name: &'static str, labels: impl IntoIterator<Item = Label>) -> Counter {
        let key = self.key(name, labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }

    pub(super) fn gauge(&self, name: &'static str) -> Gauge {
        let key = self.key(name, None);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    pub(super) fn histogram(&self, name: &'static str) -> Histogram {
        let key = self.key(name, None);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA))
    }

    fn key(&self, name: &'static str, extra: impl IntoIterator<Item = Label>) -> Key {
        let own = match self {
            Self::Listener(value) => Some(Label::new("listener", value.clone())),
            Self::Cluster(value) => Some(Label::new("cluster", value.clone())),
            Self::Certificate(value) => Some(Label::new("certificate", value.clone())),
            Self::Process => None,
        };
        Key::from_parts(KeyName::from_const_str(name), own.into_iter().chain(extra).collect::<Vec<_>>())
    }
}

/// A gauge's share: counted on creation, counted back on drop.
#[must_use = "a guard that is dropped at once counts nothing"]
pub struct Active(Gauge);

impl Active {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Active")
    }
}

/// Counters of one family by class of status: a load and an addition once the class was seen.
#[derive(Debug, Default)]
pub(super) struct ByClass([OnceLock<Counter>; CLASSES.len()]);

/// Label values; the place of a class is the first digit of its status.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl ByClass {
    pub(super) fn increment(&self, owner: &Owner, family: &'static str, status: Option<StatusCode>) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        // A status above 599 (RFC 9110 §15: treat as 5xx) is an upstream's to choose.
        let class = class.min(CLASSES.len() - 1);
        self.0[class].get_or_init(|| owner.counter_by(family, "class", CLASSES[class])).increment(1);
    }
}

/// Counters of one family by a word of a stage's enum. For the cold path: takes a lock that is never held for long.
pub(super) struct ByReason {
    family: &'static str,
    label: &'static str,
    /// Shared by all workers; few, since the words are those of an enum.
    handles: Mutex<Vec<(&'static str, Counter)>>,
}

impl ByReason {
    pub(super) const fn new(family: &'static str, label: &'static str) -> Self {
        Self { family, label, handles: Mutex::new(Vec::new()) }
    }

    pub(super) fn increment(&self, owner: &Owner, reason: &'static str) {
        self.add(owner, reason, 1);
    }

    pub(super) fn add(&self, owner: &Owner, reason: &'static str, count: u64) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = handles.iter().find(|(known, _)| *known == reason) {
            return counter.increment(count);
        }
        let counter = owner.counter_by(self.family, self.label, reason);
        counter.increment(count);
        handles.push((reason, counter));
    }
}

/// Counters of one family by filter and a word of an enum. As [`ByReason`].
pub(super) struct ByFilter {
    family: &'static str,
    /// As many as filters have ways to fail: few.
    handles: Mutex<Vec<(Name, &'static str, Counter)>>,
}

impl ByFilter {
    pub(super) const fn new(family: &'static str) -> Self {
        Self { family, handles: Mutex::new(Vec::new()) }
    }

    pub(super) fn increment(&self, owner: &Owner, filter: &Name, reason: &'static str) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., counter)) = handles.iter().find(|(known, word, _)| known == filter && *word == reason) {
            return counter.increment(1);
        }
        let labels = [Label::new("filter", Arc::clone(&filter.0)), Label::from_static_parts("reason", reason)];
        let counter = owner.counter_with(self.family, labels);
        counter.increment(1);
        handles.push((filter.clone(), reason, counter));
    }
}

/// Counters of two families by the trust domain of a TLS client. As [`ByReason`], and as many as domains are believed.
pub(super) struct ByDomain {
    /// Counts handshakes.
    of_peers: &'static str,
    /// Counts what comes behind one.
    of_requests: &'static str,
    handles: Mutex<Vec<(Box<str>, Counter, Counter)>>,
}

impl ByDomain {
    pub(super) const fn new(of_peers: &'static str, of_requests: &'static str) -> Self {
        Self { of_peers, of_requests, handles: Mutex::new(Vec::new()) }
    }

    /// Counts a client, and gives what its requests are counted with.
    pub(super) fn increment(&self, owner: &Owner, domain: &str) -> Counter {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let known = handles.iter().position(|(known, ..)| **known == *domain);
        let at = known.unwrap_or_else(|| {
            let counter = |family| owner.counter_with(family, [Label::new("trust_domain", domain.to_owned())]);
            handles.push((domain.into(), counter(self.of_peers), counter(self.of_requests)));
            handles.len() - 1
        });
        let (_, peers, requests) = &handles[at];
        peers.increment(1);
        requests.clone()
    }
}

impl fmt::Debug for ByDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByDomain({})", self.of_peers)
    }
}

impl fmt::Debug for ByFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByFilter({})", self.family)
    }
}

impl fmt::Debug for ByReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByReason({})", self.family)
    }
}
