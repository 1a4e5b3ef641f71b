//! Under which names and labels what guests define is printed: such as Prometheus takes, and each once.
//!
//! ```text
//!  waf.hits_ruleid=7  ── tags: what their expressions find ──►  waf.hits, rule_id="7"  ── fit ──►  waf_hits{rule_id="7"}
//! ```
//!
//! Envoy keeps counters, gauges and histograms apart and prints all that share a name under it, which makes its page one that
//! strict readers refuse as a whole. Here whoever comes second with a name of another kind, or with the same labels, has a
//! number behind the name.

use crate::abi::MetricType;
use pillion_config::model::MetricTag;
use std::collections::{HashMap, HashSet};

/// What a histogram's samples end in.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Beginnings of names that the proxy's own series have.
const OURS: [&str; 2] = ["pillion_", "process_"];

/// What stands before a guest's names where tags look at them: Envoy's namespace of them, which filters' documentation knows.
const NAMESPACE: &str = "wasmcustom.";

/// Bytes of one series' labels: as many as a name may have. Expressions may find the same bytes again and again.
const MOST_LABELS: usize = super::metrics::MOST_NAME;

/// A series as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Printed {
    /// Its name.
    pub(super) name: String,
    /// Its labels by name, sorted, so that the same ones are the same.
    pub(super) labels: Vec<(Box<str>, String)>,
}

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names of samples, and of which kind their family is; `None`: a histogram's part, which nobody else can have.
    families: HashMap<Box<str>, Option<MetricType>>,
    /// The series.
    series: HashSet<Printed>,
    /// The last number that was put behind the name of one that wanted to be this.
    last: HashMap<(MetricType, Printed), u32>,
    /// The number of the family that those of a kind have in place of a name that another kind has.
    other: HashMap<(MetricType, String), u32>,
}

impl Names {
    /// Takes a name for a metric that the guest calls `name`.
    pub(super) fn take(&mut self, kind: MetricType, name: &str, tags: &[MetricTag]) -> Printed {
        let wanted = split(name, tags);
        let elsewhere = !self.is_open(kind, &wanted.name);
        let first = match elsewhere {
            true => self.other.get(&(kind, wanted.name.clone())).copied().unwrap_or(2),
            false => 1,
        };
        let again = (kind, wanted);
        let mut number = self.last.get(&again).map_or(first, |last| last + 1);
        let printed = loop {
            let printed = again.1.numbered(number);
            if self.is_open(kind, &printed.name) && !self.series.contains(&printed) {
                break printed;
            }
            number += 1;
        };
        if elsewhere {
            self.other.entry((kind, again.1.name.clone())).or_insert(number);
        }
        if number > 1 {
            self.last.insert(again, number);
        }
        for sample in samples(kind, &printed.name).skip(1) {
            self.families.insert(sample.into(), None);
        }
        self.families.insert(printed.name.as_str().into(), Some(kind));
        self.series.insert(printed.clone());
        printed
    }

    /// Whether a metric of this kind may have the name: nobody has it, or others of its kind.
    fn is_open(&self, kind: MetricType, name: &str) -> bool {
        match self.families.get(name) {
            Some(known) => *known == Some(kind),
            None => samples(kind, name).all(|sample| !self.families.contains_key(sample.as_str())),
        }
    }
}

impl Printed {
    /// With a number behind its name, beyond the first.
    fn numbered(&self, number: u32) -> Self {
        match number {
            1 => self.clone(),
            _ => Self { name: format!("{}_{number}", self.name), labels: self.labels.clone() },
        }
    }
}

/// The names of a metric's type and samples.
fn samples(kind: MetricType, name: &str) -> impl Iterator<Item = String> {
    let parts: &[&str] = if kind == MetricType::Histogram { &PARTS } else { &[] };
    std::iter::once(name.to_owned()).chain(parts.iter().map(move |part| format!("{name}{part}")))
}

/// Takes the tags out of a name. As in Envoy each looks at the whole, and of two for one label the first that matches counts;
/// a dot at the end of a value or a name is none of it.
fn split(name: &str, tags: &[MetricTag]) -> Printed {
    if tags.is_empty() {
        return Printed { name: fit(name), labels: Vec::new() };
    }
    let whole = format!("{NAMESPACE}{name}");
    let mut labels: Vec<(Box<str>, String)> = Vec::new();
    let mut out = vec![false; whole.len()];
    let mut room = MOST_LABELS;
    for MetricTag { name, regex } in tags {
        if labels.iter().any(|(known, _)| known == name) {
            continue;
        }
        let Some(found) = regex.captures(&whole) else { continue };
        let removed = found.get(1);
        let value = if found.len() > 2 { found.get(2) } else { removed };
        let value = value.map_or("", |value| value.as_str().trim_end_matches('.'));
        let Some(left) = room.checked_sub(value.len()) else { continue };
        room = left;
        if let Some(removed) = removed {
            out[removed.range()].fill(true);
        }
        // To Prometheus one that is empty is none.
        if !value.is_empty() {
            labels.push((name.clone(), value.to_owned()));
        }
    }
    labels.sort();
    let kept: String = whole.char_indices().filter(|(at, _)| !out[*at]).map(|(_, character)| character).collect();
    Printed { name: fit(kept.strip_prefix(NAMESPACE).unwrap_or(&kept)), labels }
}

/// A name as Prometheus takes it (`[a-zA-Z_:][a-zA-Z0-9_:]*`), and none of the proxy's own.
fn fit(name: &str) -> String {
    let name = name.trim_end_matches('.');
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
    if out.is_empty() {
        out.push('_');
    }
    if OURS.iter().any(|ours| out.starts_with(ours)) {
        out.insert_str(0, "wasm_");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use MetricType::{Counter, Gauge, Histogram};

    fn tags(tags: &[(&str, &str)]) -> Vec<MetricTag> {
        let tag = |&(name, regex): &(&str, &str)| MetricTag {
            name: name.into(),
            regex: regex::Regex::new(regex).expect("an expression"),
        };
        tags.iter().map(tag).collect()
    }

    fn shown(Printed { name, labels }: Printed) -> String {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if labels.is_empty() { name } else { format!("{name} {}", labels.join(" ")) }
    }

    #[test]
    fn names_are_made_fit_and_stay_apart_from_the_proxys() {
        assert_eq!(fit("istio_requests_total"), "istio_requests_total");
        assert_eq!(fit("a.b-c d"), "a_b_c_d");
        assert_eq!(fit("9lives"), "_9lives");
        assert_eq!(fit("pillion_requests"), "wasm_pillion_requests");
        assert_eq!(fit("process.cpu_seconds_total"), "wasm_process_cpu_seconds_total");
        assert_eq!(fit("é"), "_");
        assert_eq!((fit("trail.."), fit(".lead"), fit("...")), ("trail".into(), "_lead".into(), "_".into()));
    }

    #[test]
    fn each_name_is_printed_once() {
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
            assert_eq!(shown(names.take(kind, name, &[])), printed, "{kind:?} {name}");
        }
    }

    /// The tags of Coraza's and Higress' documentation and of Istio's, and what Envoy 1.40 made of these names.
    #[test]
    fn tags_are_taken_out_as_envoy_does() {
        let tags = tags(&[
            ("phase", "(_phase=([a-z_]+))"),
            ("rule_id", "(_ruleid=([0-9]+))"),
            ("identifier", "(_identifier=([0-9a-z.:]+))"),
            ("ai_route", r"^wasmcustom\.route\.((.*?)\.)upstream"),
            ("ai_cluster", r"^wasmcustom\..*?\.upstream\.((.*?)\.)model"),
            ("ai_model", r"^wasmcustom\..*?\.model\.((.*?)\.)metric"),
            ("response_code", r"(response_code=\.=(.+?);\.;)|_rq(_(\.\d{3}))$"),
            ("source", r"(source=\.=(.+?);\.;)"),
            ("odd", "(odd=(.*))_end"),
            ("opt", "(opt(y)?)_z"),
            ("s1", "(_A)_B"),
            ("s2", "(_A_(B))"),
            ("u", "(=(é))"),
            ("one", r"onegrp=(\d+)"),
            ("x", r"(x=(\d\.?))"),
            ("either", r"(\.zz)|(\.yy)"),
            ("d", "(dupx=([0-9]))"),
            ("d", "(_?dupy=([0-9]))"),
        ]);
        let table = [
            (
                "waf_filter.tx.interruptions_ruleid=933100_phase=http_request_headers",
                "waf_filter_tx_interruptions phase=http_request_headers rule_id=933100",
            ),
            (
                "waf_filter.tx.interruptions_ruleid=1_identifier=a.b:1_phase=x",
                "waf_filter_tx_interruptions identifier=a.b:1 phase=x rule_id=1",
            ),
            (
                "route.r1.upstream.c1.model.m1.metric.input",
                "route_upstream_model_metric_input ai_cluster=c1 ai_model=m1 ai_route=r1",
            ),
            (
                "istio_requests_total;response_code=.=200;.;source=.=a;.;",
                "istio_requests_total_ response_code=200 source=a",
            ),
            ("alt_rq_.404", "alt_rq__404"),
            ("odd=\"q\\u\"_end", "_end odd=\"q\\u\""),
            ("opt_z", "_z"),
            ("seq_A_B_C", "seq_C s1=_A s2=B"),
            ("ü=é", "_ u=é"),
            ("onegrp=77", "onegrp_ one=77"),
            ("cut.x=5.", "cut x=5"),
            ("or.zz.x", "or_x"),
            ("or.yy.x", "or_yy_x either=.yy"),
            ("dupx=1_dupy=2", "_dupy_2 d=1 x=1"),
            ("dupy=4", "_ d=4"),
            ("foo_ruleid=1_ruleid=2", "foo_ruleid_2 rule_id=1"),
            ("plain.name", "plain_name"),
        ];
        for (name, printed) in table {
            assert_eq!(shown(split(name, &tags)), printed, "{name}");
        }
    }

    #[test]
    fn a_family_has_one_kind_and_a_series_stands_once() {
        let tags = tags(&[("id", "(_id=([0-9]+))")]);
        let mut names = Names::default();
        let table = [
            (Counter, "n_id=1", "n id=1"),
            (Counter, "n_id=2", "n id=2"),
            (Counter, "n", "n"),
            (Gauge, "n_id=1", "n_2 id=1"),
            (Gauge, "n_id=2", "n_2 id=2"),
            (Counter, "n_2", "n_2_2"),
            (Histogram, "n_id=1", "n_3 id=1"),
            (Histogram, "n_id=3", "n_3 id=3"),
            (Counter, "n_3_sum_id=1", "n_3_sum_2 id=1"),
            (Counter, "a.b_id=1", "a_b id=1"),
            (Counter, "a-b_id=1", "a_b_2 id=1"),
            (Counter, "a-b_id=2", "a_b id=2"),
            (Counter, "n_id=4", "n id=4"),
        ];
        for (kind, name, printed) in table {
            assert_eq!(shown(names.take(kind, name, &tags)), printed, "{kind:?} {name}");
        }
    }

    /// Expressions that find the same bytes over and over make no series larger than its name may be.
    #[test]
    fn labels_are_bounded() {
        let all: Vec<_> = (0..50).map(|number| format!("l{number}")).collect();
        let tags = tags(&all.iter().map(|name| (name.as_str(), "(x+)")).collect::<Vec<_>>());
        let Printed { labels, .. } = split(&"x".repeat(300), &tags);
        assert_eq!(labels.len(), 3);
    }

    #[test]
    fn many_of_one_name_take_no_time() {
        let tags = tags(&[("id", "(_id=([0-9]+))")]);
        let mut names = Names::default();
        let begun = std::time::Instant::now();
        for number in 0..super::super::metrics::MOST_OF_ONE {
            let end = if number % 2 == 0 { '.' } else { '-' };
            names.take(Gauge, &format!("x{end}y"), &tags);
            names.take(Counter, &format!("x{end}y_id={}", number % 7), &tags);
        }
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }
}
