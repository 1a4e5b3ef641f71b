//! Under which names what guests define is printed: such as Prometheus takes, and each once.
//!
//! Envoy keeps counters, gauges and histograms apart and prints all that share a name under it, which makes its page one that
//! strict readers refuse as a whole. Here whoever comes second has a number behind the name.

use crate::abi::MetricType;
use std::collections::HashMap;

/// What a histogram's samples end in.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Beginnings of names that the proxy's own series have.
const OURS: [&str; 2] = ["pillion_", "process_"];

/// The names that are taken, with the last number that was put behind each.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, u32>);

impl Names {
    /// Takes a name for a metric that the guest calls `name`.
    pub(super) fn take(&mut self, kind: MetricType, name: &str) -> String {
        let fit = fit(name);
        let mut printed = fit.clone();
        while !self.is_free(kind, &printed) {
            let last = self.0.entry(fit.as_str().into()).or_insert(1);
            *last += 1;
            printed = format!("{fit}_{last}");
        }
        for sample in samples(kind, &printed) {
            self.0.insert(sample.into(), 1);
        }
        printed
    }

    fn is_free(&self, kind: MetricType, printed: &str) -> bool {
        samples(kind, printed).all(|sample| !self.0.contains_key(sample.as_str()))
    }
}

/// The names of a metric's type and samples.
fn samples(kind: MetricType, name: &str) -> impl Iterator<Item = String> {
    let parts: &[&str] = if kind == MetricType::Histogram { &PARTS } else { &[] };
    std::iter::once(name.to_owned()).chain(parts.iter().map(move |part| format!("{name}{part}")))
}

/// A name as Prometheus takes it (`[a-zA-Z_:][a-zA-Z0-9_:]*`), and none of the proxy's own.
fn fit(name: &str) -> String {
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
    if OURS.iter().any(|ours| out.starts_with(ours)) {
        out.insert_str(0, "wasm_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_and_stay_apart_from_the_proxys() {
        assert_eq!(fit("istio_requests_total"), "istio_requests_total");
        assert_eq!(fit("a.b-c d"), "a_b_c_d");
        assert_eq!(fit("9lives"), "_9lives");
        assert_eq!(fit("pillion_requests"), "wasm_pillion_requests");
        assert_eq!(fit("process.cpu_seconds_total"), "wasm_process_cpu_seconds_total");
        assert_eq!(fit("é"), "_");
    }

    #[test]
    fn each_name_is_printed_once() {
        use MetricType::{Counter, Gauge, Histogram};
        let mut names = Names::default();
        let table = [
            (Counter, "a.b", "a_b"),
            (Counter, "a-b", "a_b_2"),
            (Gauge, "a_b", "a_b_3"),
            (Counter, "a_b_2", "a_b_2_2"),
            (Histogram, "lat", "lat"),
            (Counter, "lat_count", "lat_count_2"),
            (Gauge, "lat_sum", "lat_sum_2"),
            (Histogram, "lat-", "lat_"),
            (Counter, "size_bucket", "size_bucket"),
            (Histogram, "size", "size_2"),
            (Gauge, "wasm_pillion_x", "wasm_pillion_x"),
            (Gauge, "pillion_x", "wasm_pillion_x_2"),
        ];
        for (kind, name, printed) in table {
            assert_eq!(names.take(kind, name), printed, "{kind:?} {name}");
        }
    }

    #[test]
    fn many_of_one_name_take_no_time() {
        let mut names = Names::default();
        let begun = std::time::Instant::now();
        for number in 0..super::super::metrics::MOST_OF_ONE {
            names.take(MetricType::Gauge, &format!("x{}", if number % 2 == 0 { '.' } else { '-' }));
        }
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }
}
