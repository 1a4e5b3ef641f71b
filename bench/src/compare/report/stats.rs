//! Medians, spreads and ratios of runs. Pure.

use crate::compare::{
    peers::Peer,
    results::{Metric, Results, Run},
};
use std::collections::BTreeMap;

/// What several rounds gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one (of an even number, the mean of the middle two).
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// Requests that failed in the runs it is of: nothing is to be concluded from it then.
    pub failed: f64,
}

impl Spread {
    /// Of some values; none of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most, half) = (*sorted.first()?, *sorted.last()?, sorted.len() / 2);
        let median = if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Some(Self { median, least, most, failed: 0.0 })
    }

    fn with_failed(self, failed: f64) -> Self {
        Self { failed, ..self }
    }
}

/// A step of a scenario: its name and what each peer had in it.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The step.
    pub name: String,
    /// Values by kind and peer, one for each round that had it.
    pub figures: BTreeMap<Metric, BTreeMap<Peer, Spread>>,
}

/// A scenario: its name and its steps in the order in which they first ran.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The scenario.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
}

/// All runs by scenario, step, kind and peer.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The scenarios in the order in which they ran.
    pub tables: Vec<Table>,
}

impl Summary {
    /// Of all runs.
    #[must_use]
    pub fn of(results: &Results) -> Self {
        let mut order: Vec<(&str, Vec<&str>)> = Vec::new();
        // The direct way has fewer steps than the proxies, though it comes first.
        let direct = |run: &&Run| run.peer == Peer::Direct;
        let proxies = results.runs.iter().filter(|run| !direct(run));
        for run in proxies.chain(results.runs.iter().filter(direct)) {
            let at = order.iter().position(|(scenario, _)| *scenario == run.scenario).unwrap_or_else(|| {
                order.push((&run.scenario, Vec::new()));
                order.len() - 1
            });
            if !order[at].1.contains(&run.step.as_str()) {
                order[at].1.push(&run.step);
            }
        }
        let step = |scenario: &str, name: &str| {
            let runs: Vec<&Run> =
                results.runs.iter().filter(|run| run.scenario == scenario && run.step == name).collect();
            Step { name: name.to_owned(), figures: spreads(&runs) }
        };
        let table = |(scenario, steps): &(&str, Vec<&str>)| Table {
            name: (*scenario).to_owned(),
            steps: steps.iter().map(|name| step(scenario, name)).collect(),
        };
        Self { tables: order.iter().map(table).collect() }
    }

    /// The spread of one figure.
    #[must_use]
    pub fn get(&self, scenario: &str, step: &str, metric: Metric, peer: Peer) -> Option<Spread> {
        let table = self.tables.iter().find(|table| table.name == scenario)?;
        let step = table.steps.iter().find(|found| found.name == step)?;
        step.figures.get(&metric)?.get(&peer).copied()
    }
}

/// Spreads of the runs of one step. Added latency is the difference to the direct run of the same round.
fn spreads(runs: &[&Run]) -> BTreeMap<Metric, BTreeMap<Peer, Spread>> {
    let mut values: BTreeMap<Metric, BTreeMap<Peer, (Vec<f64>, f64)>> = BTreeMap::new();
    let mut put = |metric, peer, value, failed| {
        let of = values.entry(metric).or_default().entry(peer).or_default();
        of.0.push(value);
        of.1 += failed;
    };
    for run in runs {
        let direct = runs.iter().find(|other| other.peer == Peer::Direct && other.round == run.round);
        for (&metric, &value) in &run.figures {
            put(metric, run.peer, value, run.failed());
            let base = direct.and_then(|direct| Some((direct.figures.get(&metric)?, direct.failed())));
            if let (Some(added), Some((base, failed)), true) = (metric.added(), base, run.peer != Peer::Direct) {
                put(added, run.peer, value - base, run.failed() + failed);
            }
        }
    }
    let spread = |peers: BTreeMap<Peer, (Vec<f64>, f64)>| {
        let of =
            |(peer, (values, failed)): (Peer, (Vec<f64>, f64))| Some((peer, Spread::of(&values)?.with_failed(failed)));
        peers.into_iter().filter_map(of).collect()
    };
    values.into_iter().map(|(metric, peers)| (metric, spread(peers))).collect()
}

/// One median over another; none where that says nothing (nothing measurable beneath, or failed requests in either).
#[must_use]
pub fn ratio(one: Spread, other: Spread) -> Option<f64> {
    (one.median >= 0.0 && other.median > 0.0 && one.failed + other.failed == 0.0).then(|| one.median / other.median)
}

#[cfg(test)]
mod tests {
    use super::{Spread, Summary, ratio};
    use crate::compare::{
        peers::Peer,
        results::{Metric, Results, Run},
    };

    fn spread(median: f64) -> Spread {
        Spread { median, least: median, most: median, failed: 0.0 }
    }

    fn run(peer: Peer, round: u32, step: &str, figures: &[(Metric, f64)]) -> Run {
        Run {
            scenario: "s".to_owned(),
            step: step.to_owned(),
            peer,
            round,
            figures: figures.iter().copied().collect(),
            command: Vec::new(),
            outcome: None,
            calls: None,
        }
    }

    #[test]
    fn medians_have_their_spread() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0, failed: 0.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0, failed: 0.0 }));
        assert_eq!(Spread::of(&[f64::NAN]), None);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_need_something_beneath() {
        assert_eq!(ratio(spread(1.0), spread(4.0)), Some(0.25));
        assert_eq!(ratio(spread(1.0), spread(0.0)), None);
        assert_eq!(ratio(spread(1.0), spread(-2.0)), None);
        assert_eq!(ratio(spread(-1.0), spread(2.0)), None);
        let failed = |median| Spread { failed: 1.0, ..spread(median) };
        assert_eq!((ratio(failed(1.0), spread(4.0)), ratio(spread(1.0), failed(4.0))), (None, None));
    }

    #[test]
    fn added_latency_is_of_the_same_round() {
        let results = Results {
            runs: vec![
                run(Peer::Direct, 1, "rate", &[(Metric::P50, 10.0)]),
                run(Peer::Envoy, 1, "rate", &[(Metric::P50, 110.0)]),
                run(Peer::Direct, 2, "rate", &[(Metric::P50, 100.0)]),
                run(Peer::Envoy, 2, "rate", &[(Metric::P50, 220.0)]),
                run(Peer::Envoy, 3, "rate", &[(Metric::P50, 500.0)]),
            ],
            ..Results::default()
        };
        let summary = Summary::of(&results);
        let added = summary.get("s", "rate", Metric::AddedP50, Peer::Envoy);
        assert_eq!(added, Some(Spread { median: 110.0, least: 100.0, most: 120.0, failed: 0.0 }));
        assert_eq!(summary.get("s", "rate", Metric::AddedP50, Peer::Direct), None);
        assert_eq!(summary.get("s", "rate", Metric::P50, Peer::Envoy).map(|spread| spread.median), Some(220.0));
    }

    #[test]
    fn failed_requests_stay_with_every_figure_of_their_run() {
        let broken = |peer, value| run(peer, 1, "rate", &[(Metric::P50, value), (Metric::Errors, 3.0)]);
        let whole = |peer, round, value| run(peer, round, "rate", &[(Metric::P50, value)]);
        let of = |runs| Summary::of(&Results { runs, ..Results::default() });
        let failed = |summary: &Summary, metric, peer| summary.get("s", "rate", metric, peer).unwrap().failed;
        let peers = of(vec![
            whole(Peer::Direct, 1, 10.0),
            broken(Peer::Envoy, 110.0),
            whole(Peer::Envoy, 2, 110.0),
            whole(Peer::Nginx, 1, 90.0),
        ]);
        assert_eq!(failed(&peers, Metric::P50, Peer::Envoy), 3.0);
        assert_eq!(failed(&peers, Metric::AddedP50, Peer::Nginx), 0.0);
        // What was subtracted is a part of the figure.
        let direct = of(vec![broken(Peer::Direct, 10.0), whole(Peer::Nginx, 1, 90.0)]);
        assert_eq!(failed(&direct, Metric::AddedP50, Peer::Nginx), 3.0);
        assert_eq!(failed(&direct, Metric::P50, Peer::Nginx), 0.0);
    }

    #[test]
    fn steps_stay_in_order() {
        let results = Results {
            runs: vec![run(Peer::Nginx, 1, "z", &[]), run(Peer::Nginx, 1, "a", &[]), run(Peer::Nginx, 2, "z", &[])],
            ..Results::default()
        };
        let names: Vec<_> = Summary::of(&results).tables[0].steps.iter().map(|step| step.name.clone()).collect();
        assert_eq!(names, ["z", "a"]);
    }
}
