//! What the source filter counts, as series.

use crate::loopback::grown;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use redirect::filter::{Count, Mode};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

const PACKETS: &str = "pillion_source_filter_packets_total";
const BYTES: &str = "pillion_source_filter_bytes_total";
const ATTACHED: &str = "pillion_source_filter_attached";

/// Frames and bytes by kind and rule.
type Counted = BTreeMap<(&'static str, String), (u64, u64)>;

/// Handles are looked up anew each time: once a second, for some rules.
pub(super) struct Metrics {
    /// Interfaces that have a series.
    known: RefCell<BTreeSet<(String, Mode)>>,
    /// What was counted when it was looked at last, by kind and rule. A rule that is not there any more is forgotten: one of
    /// its name that comes later counts from 0.
    before: RefCell<Counted>,
}

impl Metrics {
    pub(super) fn register() -> Self {
        describe_counter!(
            PACKETS,
            "Packets that the source filter saw, by rule; and those that no rule decided, by kind."
        );
        describe_counter!(BYTES, "Their bytes.");
        describe_gauge!(
            ATTACHED,
            "1 while the source filter's program is attached to an interface, and in which mode."
        );
        Self { known: RefCell::default(), before: RefCell::default() }
    }

    pub(super) fn counted(&self, counts: &[Count]) {
        let now: Counted = counts
            .iter()
            .map(|count| ((count.kind, count.rule.clone().unwrap_or_default()), (count.frames, count.bytes)))
            .collect();
        let before = self.before.replace(now.clone());
        for ((kind, rule), (frames, bytes)) in now {
            let (frames_before, bytes_before) = before.get(&(kind, rule.clone())).copied().unwrap_or_default();
            counter!(PACKETS, "kind" => kind, "rule" => rule.clone()).increment(grown(frames_before, frames));
            counter!(BYTES, "kind" => kind, "rule" => rule).increment(grown(bytes_before, bytes));
        }
    }

    pub(super) fn attached<'a>(&self, now: impl Iterator<Item = (&'a str, Mode)>) {
        let now: BTreeSet<_> = now.map(|(interface, mode)| (interface.to_owned(), mode)).collect();
        let mut known = self.known.borrow_mut();
        known.extend(now.iter().cloned());
        for place in &*known {
            let (interface, mode) = place.clone();
            let on = if now.contains(place) { 1.0 } else { 0.0 };
            gauge!(ATTACHED, "interface" => interface, "mode" => mode.word()).set(on);
        }
    }
}
