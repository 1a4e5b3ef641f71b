//! What the injector counts, for Prometheus.

use super::review::{Asked, Ending};
use std::{cell::RefCell, collections::BTreeMap, fmt::Write as _, time::Duration};

/// Upper bounds of the duration's buckets, in seconds.
const BOUNDS: [f64; 8] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Counters of one thread.
#[derive(Debug, Default)]
pub(super) struct Tally(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    reviews: BTreeMap<(&'static str, &'static str), u64>,
    buckets: [u64; BOUNDS.len()],
    seconds: f64,
    count: u64,
    turned_away: BTreeMap<&'static str, u64>,
    renewals: u64,
    renewal_failures: u64,
}

impl Tally {
    /// A review was answered.
    pub(super) fn review(&self, asked: Asked, ending: Ending, took: Duration) {
        let counts = &mut *self.0.borrow_mut();
        let webhook = if asked == Asked::Mutate { "mutate" } else { "validate" };
        *counts.reviews.entry((webhook, ending.name())).or_default() += 1;
        let seconds = took.as_secs_f64();
        for (bucket, bound) in counts.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        counts.seconds += seconds;
        counts.count += 1;
    }

    /// A request or connection got no review: which bound it broke.
    pub(super) fn turned_away(&self, reason: &'static str) {
        *self.0.borrow_mut().turned_away.entry(reason).or_default() += 1;
    }

    /// A certificate was taken into use, or could not be.
    pub(super) fn renewal(&self, good: bool) {
        let counts = &mut *self.0.borrow_mut();
        *(if good { &mut counts.renewals } else { &mut counts.renewal_failures }) += 1;
    }

    /// Prometheus' text format.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let counts = &*self.0.borrow();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: &[(String, String)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let each = |(webhook, outcome): &(&str, &str), count: &u64| {
            (format!("{{webhook=\"{webhook}\",outcome=\"{outcome}\"}}"), count.to_string())
        };
        let reviews: Vec<_> = counts.reviews.iter().map(|(key, count)| each(key, count)).collect();
        family("pillion_injector_reviews_total", "counter", "Admission reviews answered.", &reviews);
        let away: Vec<_> = counts
            .turned_away
            .iter()
            .map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count.to_string()))
            .collect();
        family("pillion_injector_turned_away_total", "counter", "Requests and connections beyond a bound.", &away);
        let certificates = [
            ("{outcome=\"taken\"}".to_owned(), counts.renewals.to_string()),
            ("{outcome=\"failed\"}".to_owned(), counts.renewal_failures.to_string()),
        ];
        family(
            "pillion_injector_certificates_total",
            "counter",
            "Certificates taken into use, and those that could not be.",
            &certificates,
        );
        let name = "pillion_injector_review_duration_seconds";
        let _ = writeln!(text, "# HELP {name} Time from a review's first byte to its answer.\n# TYPE {name} histogram");
        for (bucket, bound) in counts.buckets.iter().zip(BOUNDS) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {bucket}");
        }
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {0}\n{name}_sum {1}\n{name}_count {0}",
            counts.count, counts.seconds
        );
        text
    }
}
