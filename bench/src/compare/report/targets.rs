//! What the project promises itself, and how far it is: each target against medians of the same run. Pure.

use super::stats::{Summary, ratio};
use crate::compare::{peers::Peer, results::Metric, scenario::filters::NO_FILTER};

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

/// A target that has a figure.
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
}

const MAXIMUM: &str = "maximum";
const RATE: &str = "2,000 a second";

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
        ("resident 60 s after a burst (MB)", burst("60 s after the burst"), NearOwn("50 a second on 10 connections")),
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

/// Every target for which this run has the figures.
#[must_use]
pub fn verdicts(summary: &Summary) -> Vec<Verdict> {
    targets().into_iter().filter_map(|(what, place, bound)| verdict(summary, what, place, bound)).collect()
}

fn verdict(summary: &Summary, what: &str, place: Place, bound: Bound) -> Option<Verdict> {
    let of = |step, peer| summary.get(place.scenario, step, place.metric, peer);
    let own = of(place.step, Peer::Pillion)?;
    let against = |factor: f64, peer: Peer| {
        let reached = ratio(own, of(place.step, peer)?)?;
        Some((format!("≤ {factor} × {peer}"), format!("{reached:.2} × {peer}"), reached <= factor))
    };
    let (target, reached, kept) = match bound {
        Bound::Most(most) => (format!("≤ {most}"), format!("{:.1}", own.median), own.median <= most),
        Bound::Of(factor, peer) => against(factor, peer)?,
        Bound::OfTheBetter(factor) => {
            let of_peer = |&peer: &Peer| of(place.step, peer).map(|spread| (peer, spread.median));
            let better = [Peer::Nginx, Peer::Haproxy].iter().filter_map(of_peer).min_by(|a, b| a.1.total_cmp(&b.1))?;
            let (_, reached, kept) = against(factor, better.0)?;
            (format!("≤ {factor} × the better of nginx and HAProxy"), reached, kept)
        }
        Bound::AtLeast(factor, peer) => {
            let reached = ratio(own, of(place.step, peer)?)?;
            (format!("≥ {factor} × {peer}"), format!("{reached:.2} × {peer}"), reached >= factor)
        }
        Bound::AtLeastOwn(factor, step) => {
            let reached = ratio(own, of(step, Peer::Pillion)?)?;
            (format!("≥ {factor} × that with {step}"), format!("{reached:.2} ×"), reached >= factor)
        }
        Bound::OfOwn(factor, step) => {
            let reached = ratio(own, of(step, Peer::Pillion)?)?;
            (format!("≤ {factor} × that with {step}"), format!("{reached:.2} ×"), reached <= factor)
        }
        Bound::NearOwn(step) => {
            let most = of(step, Peer::Pillion)?.median;
            let most = (most * 1.3).max(most + 4.0);
            (format!("≤ {most:.1} (1.3 × before, or 4 MB more)"), format!("{:.1}", own.median), own.median <= most)
        }
    };
    Some(Verdict { what: what.to_owned(), target, reached, kept: if kept { Kept::Yes } else { Kept::No } })
}

#[cfg(test)]
mod tests {
    use super::{Kept, verdicts};
    use crate::compare::{
        peers::Peer,
        report::stats::Summary,
        results::{Metric, Results, Run},
    };

    #[test]
    fn targets_with_figures_are_judged() {
        let run = |scenario: &str, step: &str, peer, metric, value| Run {
            scenario: scenario.to_owned(),
            step: step.to_owned(),
            peer,
            round: 1,
            figures: [(metric, value)].into(),
            command: Vec::new(),
            outcome: None,
            calls: None,
        };
        let cost = |peer, value| run("http1_keepalive_small", "maximum", peer, Metric::CpuPerRequest, value);
        let burst = |step, value| run("memory_after_burst", step, Peer::Pillion, Metric::Resident, value);
        let results = Results {
            runs: vec![
                cost(Peer::Pillion, 22.0),
                cost(Peer::Envoy, 80.0),
                cost(Peer::Nginx, 25.0),
                cost(Peer::Haproxy, 20.0),
                burst("50 a second on 10 connections", 5.0),
                burst("60 s after the burst", 8.9),
            ],
            ..Results::default()
        };
        let found: Vec<_> = verdicts(&Summary::of(&results))
            .into_iter()
            .map(|verdict| (verdict.target, verdict.reached, verdict.kept))
            .collect();
        let expected = [
            ("≤ 0.3 × Envoy", "0.28 × Envoy", Kept::Yes),
            ("≤ 1 × the better of nginx and HAProxy", "1.10 × HAProxy", Kept::No),
            ("≤ 9.0 (1.3 × before, or 4 MB more)", "8.9", Kept::Yes),
        ];
        assert_eq!(found, expected.map(|(target, reached, kept)| (target.to_owned(), reached.to_owned(), kept)));
    }
}
