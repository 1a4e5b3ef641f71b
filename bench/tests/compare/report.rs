//! A small run's report, as text.

use pillion_bench::{
    compare::{
        measure::{machine::Machine, trace::Calls},
        peers::Peer,
        report::{document, html, markdown},
        results::{Gravity, Metric, Note, Results, Run},
    },
    load::Outcome,
};
use std::{env, fs, path::Path};

fn run(peer: Peer, round: u32, step: &str, figures: &[(Metric, f64)]) -> Run {
    Run {
        scenario: "http1_keepalive_small".to_owned(),
        step: step.to_owned(),
        peer,
        round,
        figures: figures.iter().copied().collect(),
        command: vec!["load".to_owned(), "--json".to_owned()],
        outcome: None,
        calls: None,
    }
}

fn small() -> Results {
    let cost = |peer, round, value| run(peer, round, "maximum", &[(Metric::CpuPerRequest, value)]);
    let late = |peer, round, value| run(peer, round, "2,000 a second", &[(Metric::Rate, 2000.0), (Metric::P50, value)]);
    let calls = Calls([("read".to_owned(), 25), ("futex".to_owned(), 1), ("write".to_owned(), 20)].into());
    let counted = Run {
        calls: Some(calls),
        outcome: Some(Outcome { requests: 10, ..Outcome::default() }),
        ..run(Peer::Pillion, 1, "system calls at the maximum", &[(Metric::SystemCalls, 4.6)])
    };
    Results {
        machine: Machine {
            processor: "A <processor>".to_owned(),
            cores: 2,
            memory: 8_000_000_000,
            kernel: "Linux 6.18".to_owned(),
            date: "2026-11-22 07:05:03".to_owned(),
            commit: "0123456789ab".to_owned(),
            load: 0.25,
            tracked: true,
            fresh_page_us: 12.34,
        },
        cores: "the proxy has core 0; generator and origin share core 1".to_owned(),
        command: "pillion-bench compare --quick".to_owned(),
        rounds: 2,
        seconds: 0.5,
        options: "--quick".to_owned(),
        configurations: "0123".to_owned(),
        versions: vec!["Pillion 0.1.0".to_owned(), "Envoy 1.40.0".to_owned()],
        missing: vec!["nginx: not on the path".to_owned()],
        runs: vec![
            late(Peer::Direct, 1, 50.0),
            cost(Peer::Pillion, 1, 20.0),
            late(Peer::Pillion, 1, 150.0),
            counted,
            cost(Peer::Envoy, 1, 70.0),
            late(Peer::Envoy, 1, 450.0),
            late(Peer::Direct, 2, 60.0),
            cost(Peer::Pillion, 2, 22.0),
            late(Peer::Pillion, 2, 180.0),
            cost(Peer::Envoy, 2, 80.0),
            late(Peer::Envoy, 2, 440.0),
        ],
        notes: vec![Note {
            scenario: "tcp_stream".to_owned(),
            peer: Peer::Pillion,
            text: "can't: it has no TCP listeners yet".to_owned(),
            gravity: Gravity::Remark,
        }],
    }
}

/// `PILLION_BLESS=1` writes the file anew.
#[test]
fn a_small_report_looks_as_kept() {
    let text = markdown::render(&document::compose(&small(), Some(&small())));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compare/report.md");
    if env::var_os("PILLION_BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(file).unwrap());
}

/// The other run was of another version and had more, and one of its runs failed: nothing of that is passed over in silence.
#[test]
fn what_differs_and_what_failed_is_said() {
    let (mut now, then) = (small(), small());
    now.versions[1] = "Envoy 1.41.0".to_owned();
    now.runs.retain(|run| run.step != "system calls at the maximum");
    let envoy = now.runs.iter_mut().find(|run| run.peer == Peer::Envoy && run.step == "maximum").unwrap();
    envoy.figures.insert(Metric::Errors, 7.0);
    let text = markdown::render(&document::compose(&now, Some(&then)));
    for words in [
        "version of Envoy: Envoy 1.41.0, then Envoy 1.40.0",
        "only then: http1_keepalive_small, system calls at the maximum, Pillion",
        "| CPU a request, µs | 21.0 (20.0–22.0) | 75.0 (70.0–80.0), 7 failed | – |",
        "| ≤ 0.3 × Envoy | 7 requests of Envoy failed in \u{201c}maximum\u{201d} | not told |",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(!text.contains("did not change"), "{text}");
}

#[test]
fn the_page_needs_nothing_beside_it() {
    let page = html::render(&document::compose(&small(), None));
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("A &lt;processor&gt;") && page.contains("<svg"));
    for link in ["src=", "href=", "url(", "@import"] {
        assert!(!page.contains(link), "{link}");
    }
}

#[test]
fn results_are_read_again() {
    let bytes = serde_json::to_vec(&small()).unwrap();
    let again: Results = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(again.runs.len(), small().runs.len());
    assert_eq!(again.runs[1].figures, small().runs[1].figures);
    assert_eq!(again.notes, small().notes);
}
