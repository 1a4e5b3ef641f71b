//! What a scrape says, checked by a strict reader of the format.

use super::*;
use metrics::{counter, gauge, histogram, with_local_recorder};
use pillion_config::model::Name;
use pillion_core::telemetry::metrics::{ClusterMetrics, ListenerMetrics};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Everything a scrape yields.
fn text(recorder: &Recorder) -> String {
    recorder.scrape().collect()
}

/// Series and their values, by the key as printed; panics where the text is not what the format allows.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    let mut begun = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').expect("a help text");
            assert!(helped.insert(name.to_owned()), "HELP twice: {name}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {name}");
            assert!(begun.insert(name.to_owned()));
            name.clone_into(&mut family);
        } else {
            let (key, value) = line.rsplit_once(' ').expect("a value");
            let name = check_key(key);
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{name} in {family}"));
            match kinds[&family].as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            let value = match value {
                "+Inf" => f64::INFINITY,
                "-Inf" => f64::NEG_INFINITY,
                value => {
                    assert!(value.bytes().all(|byte| b"0123456789.-+eNa".contains(&byte)), "{line}");
                    value.parse().expect("a number")
                }
            };
            assert!(samples.insert(key.to_owned(), value).is_none(), "twice: {key}");
        }
    }
    samples
}

/// Checks `name{label="value",…}` and returns the name.
fn check_key(key: &str) -> &str {
    let (name, labels) = match key.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("a brace")),
        None => (key, ""),
    };
    let word = |text: &str| {
        !text.is_empty()
            && !text.as_bytes()[0].is_ascii_digit()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    assert!(word(name), "{key}");
    let mut rest = labels;
    let mut seen = BTreeSet::new();
    while !rest.is_empty() {
        let (label, tail) = rest.split_once("=\"").expect("a label");
        assert!(word(label) && seen.insert(label), "{key}");
        let mut bytes = tail.bytes().enumerate();
        let end = loop {
            match bytes.next().expect("an end of the value") {
                (at, b'"') => break at,
                (_, b'\\') => assert!(b"\\\"n".contains(&bytes.next().expect("an escape").1), "{key}"),
                (_, byte) => assert_ne!(byte, b'\n'),
            }
        };
        rest = &tail[end + 1..];
        rest = if rest.is_empty() { rest } else { rest.strip_prefix(',').expect("a comma") };
    }
    name
}

/// Whatever guests call their metrics, the page is one that a strict reader takes, and what they count is on it.
#[test]
fn what_guests_define_is_told_once_each() {
    use pillion_wasm::{
        abi::MetricType,
        shared::{GuestMetrics, Numbers},
    };
    let recorder = Recorder::default();
    recorder.say(Build::THIS);
    with_local_recorder(&recorder, || {
        let (metrics, mut numbers) = (GuestMetrics::default(), Numbers::default());
        let mut record = |kind, name: &str, value: i64| {
            let id = numbers.define(&metrics, "f", kind, name.as_bytes()).unwrap();
            numbers.record(id, value.cast_unsigned()).unwrap();
            assert_eq!(numbers.get(id).ok(), (kind != MetricType::Histogram).then_some(value.cast_unsigned()));
        };
        record(MetricType::Counter, "same", 3);
        record(MetricType::Gauge, "same", 7);
        record(MetricType::Histogram, "same", 5);
        record(MetricType::Counter, "a.b", 1);
        record(MetricType::Counter, "a-b", 2);
        record(MetricType::Histogram, "lat", 42);
        record(MetricType::Counter, "lat_count", 4);
        record(MetricType::Gauge, "z_sum", 6);
        record(MetricType::Histogram, "z", 6_000_000);
        record(MetricType::Gauge, "below", -1);
        record(MetricType::Gauge, "pillion_build_info", 8);
        record(MetricType::Counter, "process_cpu_seconds_total", 9);
        let gauge = numbers.define(&metrics, "f", MetricType::Gauge, b"steps").unwrap();
        numbers.increment(gauge, -3).unwrap();
        numbers.increment(gauge, 1).unwrap();
    });
    let text = text(&recorder);
    let samples = parse(&text);
    let expected = [
        ("same", 3.0),
        ("same_2", 7.0),
        ("same_3_count", 1.0),
        ("a_b", 1.0),
        ("a_b_2", 2.0),
        ("lat_bucket{le=\"25\"}", 0.0),
        ("lat_bucket{le=\"50\"}", 1.0),
        ("lat_count", 1.0),
        ("lat_count_2", 4.0),
        ("z_sum", 6.0),
        ("z_2_sum", 6_000_000.0),
        ("z_2_bucket{le=\"3600000\"}", 0.0),
        ("below", -1.0),
        ("steps", -2.0),
        ("wasm_pillion_build_info", 8.0),
        ("wasm_process_cpu_seconds_total", 9.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{text}");
    }
}

/// What Coraza and the Go SDK's example define, by the tags that their documentation gives Envoy.
#[test]
fn tags_are_labels_of_what_guests_define_and_a_change_of_them_loses_nothing() {
    use pillion_config::model::MetricTag;
    use pillion_wasm::{
        abi::MetricType::*,
        shared::{GuestMetrics, Numbers},
    };
    let recorder = Recorder::default();
    let metrics = GuestMetrics::default();
    let tag = |tags: &[(&str, &str)]| {
        let tag = |(name, regex): &(&str, &str)| MetricTag {
            name: (*name).into(),
            regex: regex::Regex::new(regex).expect("an expression"),
        };
        metrics.tag(&tags.iter().map(tag).collect::<Vec<_>>(), |renamed| recorder.rename(renamed));
    };
    let numbers = std::cell::RefCell::new(Numbers::default());
    let define = |kind, name: &str| numbers.borrow_mut().define(&metrics, "f", kind, name.as_bytes()).unwrap();
    let record = |number, value| numbers.borrow().record(number, value).unwrap();
    let told = |expected: &[(&str, f64)]| {
        let text = text(&recorder);
        let samples = parse(&text);
        for (name, value) in expected {
            assert_eq!(samples.get(*name), Some(value), "{name}\n{text}");
        }
        let guests = text.lines().filter(|line| line.contains("HELP") && line.contains("Defined by a wasm filter"));
        (samples, guests.count())
    };
    with_local_recorder(&recorder, || {
        let early = define(Counter, "waf_filter.tx.interruptions_ruleid=933100_phase=http_request_headers");
        let took = define(Histogram, "took_ruleid=7");
        let other = define(Gauge, "waf_filter.tx.interruptions");
        for id in [early, took, other] {
            record(id, 3);
        }
        told(&[
            ("waf_filter_tx_interruptions_ruleid_933100_phase_http_request_headers", 3.0),
            ("took_ruleid_7_sum", 3.0),
            ("waf_filter_tx_interruptions", 3.0),
        ]);
        tag(&[("phase", "(_phase=([a-z_]+))"), ("rule_id", "(_ruleid=([0-9]+))"), ("value", "(_value=([a-zA-Z]+))")]);
        let later = define(Counter, "waf_filter.tx.interruptions_ruleid=942100_phase=http_request_body");
        record(later, 1);
        record(define(Counter, "custom_header_value_counts_value=foo_reporter=wasmgosdk"), 2);
        for id in [early, took, other] {
            record(id, 4);
        }
        // Their labels are not the proxy's, whatever they are called.
        recorder.retain("rule_id", |_| false);
        let (samples, families) = told(&[
            // The name is what was defined first; the gauge of before stands behind it.
            ("waf_filter_tx_interruptions{phase=\"http_request_headers\",rule_id=\"933100\"}", 7.0),
            ("waf_filter_tx_interruptions{phase=\"http_request_body\",rule_id=\"942100\"}", 1.0),
            ("waf_filter_tx_interruptions_2", 4.0),
            ("custom_header_value_counts_reporter_wasmgosdk{value=\"foo\"}", 2.0),
            ("took_sum{rule_id=\"7\"}", 7.0),
            ("took_count{rule_id=\"7\"}", 2.0),
            ("took_bucket{rule_id=\"7\",le=\"5\"}", 2.0),
        ]);
        assert_eq!(families, 4);
        assert!(!samples.keys().any(|key| key.contains("ruleid")), "{samples:?}");
        tag(&[]);
        record(early, 1);
        let (_, families) = told(&[
            ("waf_filter_tx_interruptions_ruleid_933100_phase_http_request_headers", 8.0),
            ("waf_filter_tx_interruptions", 4.0),
            ("took_ruleid_7_sum", 7.0),
        ]);
        assert_eq!(families, 5);
    });
}

#[test]
fn counters_gauges_and_histograms_are_told() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        metrics::describe_counter!("a_total", "Things\nand \\ more.");
        counter!("a_total", "x" => "1").increment(2);
        counter!("a_total", "x" => "1").increment(3);
        counter!("a_total", "x" => "2").increment(1);
        gauge!("b").set(2.5);
        gauge!("b").increment(1.0);
        gauge!("b").decrement(0.5);
        gauge!("d").increment(3.0);
        gauge!("d").set(-1.0);
        gauge!("d").decrement(2.0);
        let took = histogram!("c_seconds", "l" => "v");
        for value in [0.0, 0.0005, 0.00051, 0.3, 60.0, 61.0, f64::NAN, f64::INFINITY] {
            took.record(value);
        }
        took.record_many(0.3, 2);
    });
    let text = text(&recorder);
    let samples = parse(&text);
    assert_eq!(samples["a_total{x=\"1\"}"], 5.0);
    assert_eq!(samples["a_total{x=\"2\"}"], 1.0);
    assert_eq!(samples["b"], 3.0);
    assert_eq!(samples["d"], -3.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"0.0005\"}"], 2.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"0.001\"}"], 3.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"0.25\"}"], 3.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"0.5\"}"], 6.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"60\"}"], 7.0);
    assert_eq!(samples["c_seconds_bucket{l=\"v\",le=\"+Inf\"}"], 8.0);
    assert_eq!(samples["c_seconds_count{l=\"v\"}"], 8.0);
    assert!((samples["c_seconds_sum{l=\"v\"}"] - 121.90101).abs() < 1e-9);
    assert!(text.contains("# HELP a_total Things\\nand \\\\ more.\n# TYPE a_total counter\n"));
    assert!(samples.contains_key("process_resident_memory_bytes"));
}

#[test]
fn a_key_is_one_series_and_a_name_one_kind() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        counter!("a_total").increment(1);
        gauge!("a_total").set(9.0);
        histogram!("a_total").record(9.0);
        counter!("odd name\"{", "k\"" => "\\", "l" => "\\\\", "m" => "\"\n").increment(1);
        counter!("odd name\"{", "k\"" => "\\\\", "l" => "\\\\", "m" => "\"\n").increment(2);
    });
    let samples = parse(&text(&recorder));
    assert_eq!(samples["a_total"], 1.0);
    assert_eq!(samples[r#"odd_name__{k_="\\",l="\\\\",m="\"\n"}"#], 1.0);
    assert_eq!(samples[r#"odd_name__{k_="\\\\",l="\\\\",m="\"\n"}"#], 2.0);
}

#[test]
fn the_data_paths_series_are_described_and_named_after_their_owners() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        pillion_core::telemetry::metrics::describe();
        recorder.say(Build { version: "1.2.3", commit: "abc" });
        let listener = ListenerMetrics::register(&Name("we\"b".into()));
        let _open = listener.connection();
        listener.refusal("obs_fold");
        listener.answer(None);
        let cluster = ClusterMetrics::register(&Name("api".into()));
        cluster.connected(Duration::from_millis(3));
    });
    let text = text(&recorder);
    let samples = parse(&text);
    assert_eq!(samples["pillion_accept_connections_total{listener=\"we\\\"b\"}"], 1.0);
    assert_eq!(samples["pillion_guard_refusals_total{listener=\"we\\\"b\",reason=\"obs_fold\"}"], 1.0);
    assert_eq!(samples["pillion_connect_duration_seconds_count{cluster=\"api\"}"], 1.0);
    assert_eq!(samples["pillion_build_info{version=\"1.2.3\",commit=\"abc\"}"], 1.0);
    let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    let helps = text.lines().filter(|line| line.starts_with("# HELP")).count();
    assert_eq!(families, helps);
}

#[test]
fn series_of_what_was_removed_go_and_come_back_at_zero() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        for name in ["one", "two", "th\\r\"ee"] {
            let cluster = ClusterMetrics::register(&Name(name.into()));
            cluster.connect_attempt();
            cluster.replay("unsent");
        }
        let listener = ListenerMetrics::register(&Name("two".into()));
        drop(listener.connection());
        let before = recorder.clone();
        recorder.retain("cluster", |name| name != "two");
        let samples = parse(&text(&before));
        assert_eq!(samples["pillion_connect_attempts_total{cluster=\"one\"}"], 1.0);
        assert_eq!(samples[r#"pillion_connect_attempts_total{cluster="th\\r\"ee"}"#], 1.0);
        assert!(!samples.keys().any(|key| key.contains("cluster=\"two\"")));
        assert_eq!(samples["pillion_accept_connections_total{listener=\"two\"}"], 1.0);

        drop(ClusterMetrics::register(&Name("two".into())).pool_idle());
        let samples = parse(&text(&recorder));
        assert_eq!(samples["pillion_connect_attempts_total{cluster=\"two\"}"], 0.0);
    });
}

#[test]
fn five_thousand_clusters_come_in_small_pieces_of_whole_lines() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        pillion_core::telemetry::metrics::describe();
        for number in 0..5_000 {
            let name = format!("outbound|8080||service-{number}.namespace.svc.cluster.local");
            let cluster = ClusterMetrics::register(&Name(name.into()));
            cluster.connect_attempt();
            cluster.connected(Duration::from_micros(number));
        }
    });
    let mut all = String::new();
    let mut slowest = Duration::ZERO;
    let mut scrape = recorder.scrape();
    loop {
        let started = Instant::now();
        let Some(piece) = scrape.next() else { break };
        slowest = slowest.max(started.elapsed());
        assert!(piece.len() <= PIECE_BYTES && piece.ends_with('\n'));
        all.push_str(&piece);
    }
    eprintln!("{} bytes, slowest piece {slowest:?}", all.len());
    let samples = parse(&all);
    let count = |family: &str| samples.keys().filter(|key| key.split('{').next() == Some(family)).count();
    assert_eq!(count("pillion_connect_attempts_total"), 5_000);
    assert_eq!(count("pillion_connect_duration_seconds_bucket"), 5_000 * 17);
    assert_eq!(count("pillion_upstream_requests_active"), 5_000);
}

#[test]
fn a_scrape_is_well_formed_while_series_come_and_go() {
    let recorder = Recorder::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..2 {
            let (recorder, stop) = (&recorder, &stop);
            scope.spawn(move || {
                with_local_recorder(recorder, || {
                    let mut number = worker;
                    while !stop.load(Ordering::Relaxed) {
                        number = (number + 7) % 500;
                        let cluster = ClusterMetrics::register(&Name(format!("c{number}").into()));
                        cluster.connected(Duration::from_millis(number));
                        recorder.retain("cluster", |name| name != format!("c{}", (number + 250) % 500));
                    }
                });
            });
        }
        let scrapes: Vec<_> = (0..20).map(|_| text(&recorder)).collect();
        // Before anything that may panic: the scope waits for the workers.
        stop.store(true, Ordering::Relaxed);
        for scrape in scrapes {
            let samples = parse(&scrape);
            let inf = samples.iter().filter(|(key, _)| key.contains("le=\"+Inf\""));
            for (key, value) in inf {
                let count = key.replace("_bucket", "_count").replace(",le=\"+Inf\"", "");
                assert_eq!(samples[&count], *value);
            }
        }
    });
}
