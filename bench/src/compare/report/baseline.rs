//! How two runs differ beside their figures: a ratio of figures means something only as far as they do not. Pure.

use super::stats::Summary;
use crate::compare::{peers::Peer, results::Results};
use std::collections::BTreeSet;

/// What the peers and the machine differ in; nothing where only Pillion can have changed.
#[must_use]
pub fn surroundings(now: &Results, then: &Results) -> Vec<String> {
    let gigabytes = |results: &Results| format!("{:.1} GB", crate::compare::results::mb(results.machine.memory) / 1e3);
    let mut found: Vec<String> = [
        ("processor", now.machine.processor.clone(), then.machine.processor.clone()),
        ("cores of the machine", now.machine.cores.to_string(), then.machine.cores.to_string()),
        ("memory", gigabytes(now), gigabytes(then)),
        ("kernel", now.machine.kernel.clone(), then.machine.kernel.clone()),
        ("who has which core", now.cores.clone(), then.cores.clone()),
        ("rounds", now.rounds.to_string(), then.rounds.to_string()),
        ("seconds of a measurement", now.seconds.to_string(), then.seconds.to_string()),
        ("options", or_none(&now.options), or_none(&then.options)),
        ("the peers' configurations", or_unknown(&now.configurations), or_unknown(&then.configurations)),
    ]
    .into_iter()
    .filter(|(_, now, then)| now != then)
    .map(|(what, now, then)| format!("{what}: {now}, then {then}"))
    .collect();
    for peer in &Peer::PROXIES[1..] {
        let (now, then) = (version(now, *peer), version(then, *peer));
        if now != then {
            let words = |version: Option<&str>| version.unwrap_or("not there").to_owned();
            found.push(format!("version of {peer}: {}, then {}", words(now), words(then)));
        }
    }
    found
}

/// What is known of the two builds of Pillion.
#[must_use]
pub fn pillion(now: &Results, then: &Results) -> Vec<String> {
    let build = |results: &Results| match version(results, Peer::Pillion) {
        None => "not there".to_owned(),
        Some(version) if version.contains("PILLION_BIN") => {
            format!("{version}, checkout at {}", results.machine.commit)
        }
        Some(version) => format!("{version}, commit {}", results.machine.commit),
    };
    let (now, then) = (build(now), build(then));
    if now == then && !now.contains("PILLION_BIN") {
        return vec![format!("Pillion: the same commit in both runs ({now})")];
    }
    vec![format!("Pillion: {now}; then {then}")]
}

/// Scenarios, steps and proxies that only one of the runs has figures of.
#[must_use]
pub fn only_in_one(now: &Summary, then: &Summary) -> Vec<String> {
    let (now, then) = (places(now), places(then));
    [(&now, &then, "now"), (&then, &now, "then")]
        .into_iter()
        .flat_map(|(one, other, when)| {
            let scenarios = |of: &BTreeSet<(String, String, Peer)>| -> BTreeSet<String> {
                of.iter().map(|(scenario, ..)| scenario.clone()).collect()
            };
            let (mine, others) = (scenarios(one), scenarios(other));
            let whole = mine.difference(&others).map(move |name| format!("only {when}: {name}"));
            let parts = one.difference(other).filter(|(scenario, ..)| others.contains(scenario));
            let parts = parts.map(move |(scenario, step, peer)| format!("only {when}: {scenario}, {step}, {peer}"));
            whole.chain(parts).collect::<Vec<_>>()
        })
        .collect()
}

fn places(of: &Summary) -> BTreeSet<(String, String, Peer)> {
    let steps = of.tables.iter().flat_map(|table| table.steps.iter().map(move |step| (table, step)));
    let peers = steps.flat_map(|(table, step)| {
        let peers = step.figures.values().flat_map(|peers| peers.keys());
        peers.map(move |peer| (table.name.clone(), step.name.clone(), *peer))
    });
    peers.filter(|(.., peer)| *peer != Peer::Direct).collect()
}

/// A peer's version, as the run told it.
#[must_use]
pub fn version(results: &Results, peer: Peer) -> Option<&str> {
    let name = format!("{peer} ");
    results.versions.iter().find(|version| version.starts_with(&name)).map(String::as_str)
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.to_owned()
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "not known" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{only_in_one, pillion, surroundings};
    use crate::compare::{
        peers::Peer,
        report::stats::Summary,
        results::{Metric, Results, Run},
    };

    fn results(version: &str) -> Results {
        Results { versions: vec!["Pillion 0.1.0".to_owned(), version.to_owned()], rounds: 2, ..Results::default() }
    }

    #[test]
    fn what_changed_is_named() {
        let then = results("Envoy 1.40.0");
        assert_eq!(surroundings(&then, &then), Vec::<String>::new());
        let mut now = results("Envoy 1.41.0");
        now.machine.kernel = "Linux 7".to_owned();
        (now.rounds, now.options) = (5, "--quick".to_owned());
        let said = surroundings(&now, &then).join("\n");
        for words in
            ["kernel: Linux 7, then", "rounds: 5, then 2", "options: --quick, then none", "1.41.0, then Envoy 1.40.0"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn a_commit_that_is_not_known_is_said_so() {
        let then = results("Envoy 1.40.0");
        let mut now = then.clone();
        now.versions[0] = "Pillion 0.1.0, named by PILLION_BIN (/p): of which commit is not known".to_owned();
        assert!(pillion(&now, &then)[0].contains("not known"));
        assert!(pillion(&then, &then)[0].contains("the same commit"));
    }

    #[test]
    fn what_only_one_has_is_named() {
        let run = |scenario: &str, step: &str, peer| Run {
            scenario: scenario.to_owned(),
            step: step.to_owned(),
            peer,
            round: 1,
            figures: [(Metric::P50, 1.0)].into(),
            command: Vec::new(),
            outcome: None,
            calls: None,
        };
        let of = |runs: Vec<Run>| Summary::of(&Results { runs, ..Results::default() });
        let now = of(vec![run("a", "x", Peer::Pillion), run("a", "x", Peer::Envoy), run("b", "x", Peer::Pillion)]);
        let then = of(vec![run("a", "x", Peer::Pillion), run("a", "y", Peer::Pillion)]);
        assert_eq!(only_in_one(&now, &then), ["only now: b", "only now: a, x, Envoy", "only then: a, y, Pillion"]);
    }
}
