//! What the project promises itself, and how far it is: each target against medians of the same run. Pure.

use super::stats::{Spread, Summary, ratio};
use crate::compare::{peers::Peer, results::Metric, scenario::filters::NO_FILTER};
use std::collections::BTreeSet;

/// A figure's place.
#[derive(Debug, Clone, Copy)]
struct Place {
    scenario: &'static str,
    step: &'static str,
    metric: Metric,
}

/// What a figure of Pillion's is held against.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// At most so much.
    Most(f64),
    /// At most this multiple of a peer's.
    Of(f64, Peer),
    /// At most this multiple of the better of nginx and HAProxy.
    OfTheBetter(f64),
    /// At least this multiple of a peer's.
    AtLeast(f64, Peer),
    /// At least this multiple of Pillion's own in another step.
    AtLeastOwn(f64, &'static str),
    /// At most this multiple of Pillion's own in another step.
    OfOwn(f64, &'static str),
    /// At most 1.3 times Pillion's own in another step, or 4 MB more if that is larger.
    NearOwn(&'static str),
}

/// A target of a scenario that was run.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What is promised of.
    pub what: String,
    /// The promise.
    pub target: String,
    /// What was reached.
    pub reached: String,
    /// Whether it was kept.
    pub kept: Kept,
}

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Yes.
    Yes,
    /// Not yet.
    No,
    /// A figure is missing, or requests failed where it was measured.
    NotTold,
}

const MAXIMUM: &str = "maximum";
const RATE: &str = "2,000 a second";
/// What the step's name ends with; before it how long after, which is less in the short form.
const AFTER_BURST: &str = " after the burst";

/// What the project promises and another command measures.
pub const ELSEWHERE: [&str; 2] = [
    "a wasm module from the cache ≤ 5 ms, an instance started and configured ≤ 100 µs: \
     `cargo bench -p pillion-wasm --bench host`",
    "resident at rest, read from the disk, ≤ 5 MB: `pillion-bench resident --requests 0 --bound 5000`",
];

fn targets() -> Vec<(&'static str, Place, Bound)> {
    use Bound::{AtLeast, AtLeastOwn, Most, NearOwn, Of, OfOwn, OfTheBetter};
    use Metric::{
        AddedP50, AddedP99, BytesPerCpuSecond, ConnectionMemory, CpuPerRequest, FilterCpu, FirstAnswer, MachineMemory,
        P50, P99, Resident, Throughput, Unanswered,
    };
    let at = |scenario, step, metric| Place { scenario, step, metric };
    let small = |step, metric| at("http1_keepalive_small", step, metric);
    let idle = at("idle_5000_connections", "5000 idle connections", ConnectionMemory);
    let idle_as = |step| at("idle_5000_connections", step, ConnectionMemory);
    let routes = |metric| at("routes_5000", "5000 routes", metric);
    let burst = |step| at("memory_after_burst", step, Resident);
    let h1 = "CPU a request, HTTP/1.1 keep-alive";
    let h2 = "CPU a request, HTTP/2 to HTTP/2";
    let grpc = "CPU a request, gRPC unary";
    let tls = "CPU a request, TLS downstream, mutual TLS upstream";
    let connection = "memory a kept-alive idle connection";
    let (noop, adds) = ("no-op filter", "header-adding filter");
    let wasm = |step, metric| at("wasm_headers", step, metric);
    let storm = |step, metric| at("wasm_storms", step, metric);
    let (traps, spins, leaks) = ("1 in 10 requests traps", "every request spins", "every request leaks 1 MiB");
    let sockmap = |step, metric| at("sockmap_on_off", step, metric);
    const OFF: &str = "TCP on both legs";
    vec![
        (h1, small(MAXIMUM, CpuPerRequest), Of(0.3, Peer::Envoy)),
        (h1, small(MAXIMUM, CpuPerRequest), OfTheBetter(1.0)),
        (h2, at("http2_multiplexed", MAXIMUM, CpuPerRequest), Of(0.6, Peer::Envoy)),
        (grpc, at("grpc_unary", MAXIMUM, CpuPerRequest), Of(0.6, Peer::Envoy)),
        (tls, at("http1_mtls", MAXIMUM, CpuPerRequest), Of(0.4, Peer::Envoy)),
        (tls, at("http1_mtls", MAXIMUM, CpuPerRequest), Of(1.0, Peer::Nginx)),
        (
            "CPU a new TLS connection with one request",
            at("tls_handshakes", MAXIMUM, CpuPerRequest),
            Of(1.0, Peer::Nginx),
        ),
        ("added p50 at 2,000 a second", small(RATE, AddedP50), Of(0.35, Peer::Envoy)),
        ("added p50 at 2,000 a second", small(RATE, AddedP50), Of(1.0, Peer::Nginx)),
        ("added p99 at 2,000 a second", small(RATE, AddedP99), Of(0.35, Peer::Envoy)),
        ("added p99 at 2,000 a second", small(RATE, AddedP99), Of(1.0, Peer::Nginx)),
        ("resident, idle (MB)", at("startup", "start", Resident), Most(5.0)),
        ("resident at 1,000 a second on 100 connections (MB)", burst("1,000 a second on 100 connections"), Most(10.0)),
        ("memory a kept-alive idle connection (KB)", idle, Most(2.0)),
        (connection, idle, Of(0.15, Peer::Envoy)),
        ("memory an idle TLS connection", idle_as("1000 idle connections, TLS"), Of(1.5, Peer::Nginx)),
        ("memory an idle HTTP/2 connection", idle_as("1000 idle connections, HTTP/2"), Of(1.5, Peer::Nginx)),
        ("resident with 5,000 routes and clusters (MB)", routes(Resident), Most(25.0)),
        ("resident with 5,000 routes and clusters", routes(Resident), Of(0.1, Peer::Envoy)),
        ("throughput on the last of 5,000 routes", routes(Throughput), AtLeastOwn(0.95, "10 routes")),
        ("resident 60 s after a burst (MB)", burst(AFTER_BURST), NearOwn("50 a second on 10 connections")),
        ("exec to first answer (ms)", at("startup", "start", FirstAnswer), Most(3.0)),
        ("CPU a request, both legs past TCP", sockmap("both legs past TCP", CpuPerRequest), OfOwn(0.6, OFF)),
        ("CPU a request, both legs past TCP", sockmap("both legs past TCP", CpuPerRequest), Of(0.2, Peer::Envoy)),
        ("throughput, both legs past TCP", sockmap("both legs past TCP", Throughput), AtLeastOwn(1.4, OFF)),
        ("p50, both legs past TCP", sockmap("both legs past TCP", P50), OfOwn(0.8, OFF)),
        (
            "CPU a request, the client's leg past TCP",
            sockmap("the client's leg past TCP", CpuPerRequest),
            OfOwn(0.8, OFF),
        ),
        (
            "CPU a request, the upstream's leg past TCP",
            sockmap("the upstream's leg past TCP", CpuPerRequest),
            OfOwn(0.8, OFF),
        ),
        ("TCP bytes for a CPU second", at("tcp_stream", MAXIMUM, BytesPerCpuSecond), AtLeast(1.0, Peer::Haproxy)),
        ("CPU a request that a no-op wasm filter adds (µs)", wasm(noop, FilterCpu), Most(2.0)),
        ("CPU a request that a no-op wasm filter adds", wasm(noop, FilterCpu), Of(0.3, Peer::Envoy)),
        ("CPU a request that a header-adding wasm filter adds", wasm(adds, FilterCpu), Of(0.3, Peer::Envoy)),
        ("memory of a further wasm machine (KB)", wasm("5 machines", MachineMemory), Most(1_000.0)),
        ("p99 of another listener while a filter traps", storm(traps, P99), OfOwn(1.5, NO_FILTER)),
        ("p99 of another listener while a filter spins", storm(spins, P99), OfOwn(1.5, NO_FILTER)),
        ("p99 of another listener while a filter leaks", storm(leaks, P99), OfOwn(1.5, NO_FILTER)),
        ("requests of a spinning filter without its policy's answer", storm(spins, Unanswered), Most(0.0)),
        ("requests of a trapping filter without its policy's answer", storm(traps, Unanswered), Most(0.0)),
    ]
}

/// Every target of a scenario that was run.
#[must_use]
pub fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let ran = |place: &Place| summary.tables.iter().any(|table| table.name == place.scenario);
    let targets = targets().into_iter().filter(|(_, place, _)| ran(place));
    targets.map(|(what, place, bound)| verdict(summary, what, place, bound)).collect()
}

/// Scenarios with targets of which this run has nothing.
#[must_use]
pub fn untouched(summary: &Summary) -> Vec<&'static str> {
    let mut names: Vec<&str> = targets().iter().map(|(_, place, _)| place.scenario).collect();
    names.retain(|name| summary.tables.iter().all(|table| table.name != *name));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

/// A figure that a verdict may be given from; the error says why there is none.
fn figure(summary: &Summary, place: Place, step: &str, peer: Peer) -> Result<Spread, String> {
    let spread = summary.get(place.scenario, step, place.metric, peer);
    let spread = spread.ok_or_else(|| format!("no figure of {peer} in \u{201c}{step}\u{201d}"))?;
    if spread.failed > 0.0 {
        return Err(format!("{} requests of {peer} failed in \u{201c}{step}\u{201d}", spread.failed));
    }
    Ok(spread)
}

fn verdict(summary: &Summary, what: &str, place: Place, bound: Bound) -> Verdict {
    let place = match summary.tables.iter().find(|table| table.name == place.scenario) {
        Some(table) if place.step == AFTER_BURST => {
            let after = table.steps.iter().find(|step| step.name.ends_with(AFTER_BURST));
            Named { step: after.map_or("60 s after the burst", |step| &step.name), place }
        }
        _ => Named { step: place.step, place },
    };
    let what = match place.step.strip_suffix(AFTER_BURST) {
        Some(time) => what.replace("60 s", time),
        None => what.to_owned(),
    };
    let target = target(bound);
    match reached(summary, place, bound) {
        Ok((reached, kept)) => Verdict { what, target, reached, kept: if kept { Kept::Yes } else { Kept::No } },
        Err(why) => Verdict { what, target, reached: why, kept: Kept::NotTold },
    }
}

/// A place with its step as this run calls it.
#[derive(Debug, Clone, Copy)]
struct Named<'a> {
    step: &'a str,
    place: Place,
}

/// The promise in words.
fn target(bound: Bound) -> String {
    match bound {
        Bound::Most(most) => format!("≤ {most}"),
        Bound::Of(factor, peer) => format!("≤ {factor} × {peer}"),
        Bound::OfTheBetter(factor) => format!("≤ {factor} × the better of nginx and HAProxy"),
        Bound::AtLeast(factor, peer) => format!("≥ {factor} × {peer}"),
        Bound::AtLeastOwn(factor, step) => format!("≥ {factor} × that with {step}"),
        Bound::OfOwn(factor, step) => format!("≤ {factor} × that with {step}"),
        Bound::NearOwn(_) => "≤ 1.3 × before, or 4 MB more".to_owned(),
    }
}

/// What was reached, and whether that is enough; the error says why it is not told.
fn reached(summary: &Summary, at: Named<'_>, bound: Bound) -> Result<(String, bool), String> {
    let of = |step, peer| figure(summary, at.place, step, peer);
    let over = |one: Spread, other: Spread| ratio(one, other).ok_or_else(|| NO_RATIO.to_owned());
    let own = of(at.step, Peer::Pillion)?;
    let beside = |peer: Peer| {
        let reached = over(own, of(at.step, peer)?)?;
        Ok::<_, String>((format!("{reached:.2} × {peer}"), reached))
    };
    let beside_own = |step| {
        let reached = over(own, of(step, Peer::Pillion)?)?;
        Ok::<_, String>((format!("{reached:.2} ×"), reached))
    };
    Ok(match bound {
        Bound::Most(most) => (format!("{:.1}", own.median), own.median <= most),
        Bound::Of(factor, peer) => {
            let (words, reached) = beside(peer)?;
            (words, reached <= factor)
        }
        Bound::OfTheBetter(factor) => {
            // Of the two both are wanted: the one that is missing may be the better.
            let (nginx, haproxy) = (of(at.step, Peer::Nginx)?, of(at.step, Peer::Haproxy)?);
            let better = if nginx.median <= haproxy.median { Peer::Nginx } else { Peer::Haproxy };
            let (words, reached) = beside(better)?;
            (words, reached <= factor)
        }
        Bound::AtLeast(factor, peer) => {
            let (words, reached) = beside(peer)?;
            (words, reached >= factor)
        }
        Bound::AtLeastOwn(factor, step) => {
            let (words, reached) = beside_own(step)?;
            (words, reached >= factor)
        }
        Bound::OfOwn(factor, step) => {
            let (words, reached) = beside_own(step)?;
            (words, reached <= factor)
        }
        Bound::NearOwn(step) => {
            let before = of(step, Peer::Pillion)?.median;
            let most = (before * 1.3).max(before + 4.0);
            (format!("{:.1} of at most {most:.1}", own.median), own.median <= most)
        }
    })
}

/// Below the noise a latency may be negative.
const NO_RATIO: &str = "below what can be measured";

#[cfg(test)]
mod tests {
    use super::{Kept, untouched, verdicts};
    use crate::compare::{
        peers::Peer,
        report::stats::Summary,
        results::{Metric, Results, Run},
    };

    #[test]
    fn what_failed_or_is_missing_is_not_told() {
        let cost = |peer, value| run("http1_keepalive_small", "maximum", peer, Metric::CpuPerRequest, value);
        let mut runs = vec![cost(Peer::Pillion, 22.0), cost(Peer::Envoy, 80.0), cost(Peer::Nginx, 25.0)];
        let of = |runs: &[Run]| {
            let results = Results { runs: runs.to_vec(), ..Results::default() };
            let found = verdicts(&Summary::of(&results)).into_iter().take(2);
            found.map(|verdict| (verdict.reached, verdict.kept)).collect::<Vec<_>>()
        };
        let missing = ("no figure of HAProxy in \u{201c}maximum\u{201d}".to_owned(), Kept::NotTold);
        assert_eq!(of(&runs), [("0.28 × Envoy".to_owned(), Kept::Yes), missing.clone()]);
        runs[1].figures.insert(Metric::Errors, 2.0);
        let failed = ("2 requests of Envoy failed in \u{201c}maximum\u{201d}".to_owned(), Kept::NotTold);
        assert_eq!(of(&runs), [failed, missing]);
    }

    fn run(scenario: &str, step: &str, peer: Peer, metric: Metric, value: f64) -> Run {
        Run {
            scenario: scenario.to_owned(),
            step: step.to_owned(),
            peer,
            round: 1,
            figures: [(metric, value)].into(),
            command: Vec::new(),
            outcome: None,
            calls: None,
        }
    }

    #[test]
    fn targets_with_figures_are_judged() {
        let cost = |peer, value| run("http1_keepalive_small", "maximum", peer, Metric::CpuPerRequest, value);
        let burst = |step, value| run("memory_after_burst", step, Peer::Pillion, Metric::Resident, value);
        let results = Results {
            runs: vec![
                cost(Peer::Pillion, 22.0),
                cost(Peer::Envoy, 80.0),
                cost(Peer::Nginx, 25.0),
                cost(Peer::Haproxy, 20.0),
                burst("50 a second on 10 connections", 5.0),
                // The short form waits less.
                burst("10 s after the burst", 8.9),
            ],
            ..Results::default()
        };
        assert!(!untouched(&Summary::of(&results)).contains(&"memory_after_burst"));
        assert!(untouched(&Summary::of(&results)).contains(&"tls_handshakes"));
        let found: Vec<_> = verdicts(&Summary::of(&results))
            .into_iter()
            .filter(|verdict| verdict.kept != Kept::NotTold)
            .map(|verdict| (verdict.target, verdict.reached, verdict.kept))
            .collect();
        let expected = [
            ("≤ 0.3 × Envoy", "0.28 × Envoy", Kept::Yes),
            ("≤ 1 × the better of nginx and HAProxy", "1.10 × HAProxy", Kept::No),
            ("≤ 1.3 × before, or 4 MB more", "8.9 of at most 9.0", Kept::Yes),
        ];
        assert_eq!(found, expected.map(|(target, reached, kept)| (target.to_owned(), reached.to_owned(), kept)));
    }
}
