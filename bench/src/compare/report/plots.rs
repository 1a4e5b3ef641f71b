//! Which plots there are: latency by percentile, memory by connections and routes, cost a request.

use super::{
    stats::{Summary, Table},
    svg::{self, Axis, Scale, Series},
};
use crate::compare::{
    peers::Peer,
    results::{Metric, Results},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};

const EVERYBODY: [Peer; 5] = [Peer::Direct, Peer::Pillion, Peer::Nginx, Peer::Haproxy, Peer::Envoy];

/// A peer's colour, the same everywhere.
#[must_use]
pub fn colour(peer: Peer) -> &'static str {
    match peer {
        Peer::Direct => "#999999",
        Peer::Pillion => "#d1495b",
        Peer::Nginx => "#3a7d44",
        Peer::Haproxy => "#2e5eaa",
        Peer::Envoy => "#8e6bbf",
    }
}

/// The plots of a scenario.
#[must_use]
pub fn of(results: &Results, table: &Table) -> Vec<String> {
    let mut plots: Vec<String> =
        table.steps.iter().filter_map(|step| latency(results, &table.name, &step.name)).collect();
    plots.extend(by_number(table, " idle connections", "idle connections"));
    plots.extend(by_number(table, " routes", "routes and clusters"));
    plots
}

/// CPU time a request at the maximum, of all scenarios that have it.
#[must_use]
pub fn costs(summary: &Summary) -> Option<String> {
    let proxies = Peer::PROXIES;
    let groups: Vec<(String, Vec<Option<f64>>)> = summary
        .tables
        .iter()
        .filter_map(|table| {
            let of =
                |peer| summary.get(&table.name, "maximum", Metric::CpuPerRequest, peer).map(|spread| spread.median);
            let values: Vec<_> = proxies.into_iter().map(of).collect();
            values.iter().any(Option::is_some).then(|| (table.name.clone(), values))
        })
        .collect();
    let names: Vec<(String, &str)> = proxies.iter().map(|peer| (peer.to_string(), colour(*peer))).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(name, colour)| (name.as_str(), *colour)).collect();
    (!groups.is_empty())
        .then(|| svg::bars("CPU time of the proxy for a request, at the maximum", "µs", &names, &groups))
}

/// Latency by percentile at a rate, the rounds put together.
fn latency(results: &Results, scenario: &str, step: &str) -> Option<String> {
    let series: Vec<Series> = EVERYBODY
        .into_iter()
        .filter_map(|peer| {
            let mut all = Histogram::<u64>::new(3).ok()?;
            let runs =
                results.runs.iter().filter(|run| run.peer == peer && run.scenario == scenario && run.step == step);
            for outcome in
                runs.filter(|run| run.figures.contains_key(&Metric::P50)).filter_map(|run| run.outcome.as_ref())
            {
                all.add(decode(&outcome.latency.hdr)?).ok()?;
            }
            (!all.is_empty()).then(|| Series { name: peer.to_string(), colour: colour(peer), points: curve(&all) })
        })
        .collect();
    let x = Axis { title: "share of the requests", scale: Scale::Percentile };
    let y = Axis { title: "latency, µs", scale: Scale::Log };
    (!series.is_empty()).then(|| {
        svg::lines(&format!("{scenario}: latency at {step}, rounds together (tables: medians)"), x, y, &series)
    })
}

/// A histogram as the generator prints it.
fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

/// Shares and microseconds; the last share is that of one request less than all.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds and counts of a run are far below 2^52")]
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let most = 1.0 - 1.0 / histogram.len() as f64;
    let shares = (0..=100_i32).map(|n| 1.0 - 10_f64.powf(-f64::from(n) / 20.0));
    shares
        .take_while(|share| *share <= most)
        .map(|share| (share, histogram.value_at_quantile(share) as f64 / 1e3))
        .collect()
}

/// Resident memory by the number with which steps begin.
fn by_number(table: &Table, suffix: &str, title: &'static str) -> Option<String> {
    let number = |name: &str| name.strip_suffix(suffix)?.parse::<f64>().ok();
    let series: Vec<Series> = Peer::PROXIES
        .into_iter()
        .filter_map(|peer| {
            let points: Vec<(f64, f64)> = table
                .steps
                .iter()
                .filter_map(|step| {
                    let spread = step.figures.get(&Metric::Resident)?.get(&peer)?;
                    Some((number(&step.name)?, spread.median))
                })
                .collect();
            (!points.is_empty()).then(|| Series { name: peer.to_string(), colour: colour(peer), points })
        })
        .collect();
    let x = Axis { title, scale: Scale::Linear };
    let y = Axis { title: "resident, MB", scale: Scale::Log };
    (!series.is_empty()).then(|| svg::lines(&format!("{}: memory by {title}", table.name), x, y, &series))
}

#[cfg(test)]
mod tests {
    use super::{curve, decode};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hdrhistogram::{
        Histogram,
        serialization::{Serializer as _, V2DeflateSerializer},
    };

    #[test]
    fn histograms_come_back_as_curves() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for n in 1..=1000 {
            histogram.record(n * 1000).unwrap();
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
        let curve = curve(&decode(&STANDARD.encode(bytes)).unwrap());
        let (share, value) = curve[curve.len() - 1];
        assert!((share - 0.999).abs() < 1e-9 && (value - 999.0).abs() < 2.0, "{share} {value}");
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(decode("no base64").is_none() && decode("AAAA").is_none());
    }
}
