//! Whatever stands in a document, there is an answer, it comes soon, and it says where.

use pillion_config::{SourceName, parse, simple, template::Template};
use proptest::prelude::*;
use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

/// Pieces that bring arbitrary text near to a document.
const PIECES: [&str; 48] = [
    "listeners:",
    "clusters:",
    "routes:",
    "- ",
    "  ",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "name: a",
    "address: 0.0.0.0:80",
    "match: {prefix: /}",
    "cluster: a",
    "clusters: [{name: a, weight: 1}]",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "---\n",
    "...\n",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "# ",
    "\t",
    "5s",
    "64KiB",
    "80",
    "true",
    "~",
    "regex: \"(a|b\"",
    "respond: {status: 200}",
    "%REQ(",
    ")%",
    "endpoints: [\"a:80\"]",
    "limits: {",
    "? ",
    "\u{feff}",
    "\u{0}",
    "é",
    "\r\n",
    "request_headers: {set: {a: b}}",
    "timeouts: {idle: 5s}",
    "redirect: {path: /x}",
];

fn answer(text: &str) {
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let begin = Instant::now();
    if let Err(errors) = parse(&SourceName::new("t.yaml"), text, &read) {
        let all: Vec<_> = errors.iter().collect();
        assert!(!all.is_empty());
        let lines = u32::try_from(text.lines().count()).expect("a test document has few lines") + 1;
        for error in &all {
            assert!((1..=lines.max(2)).contains(&error.line) && error.column >= 1, "{error}");
            assert!(!error.message.is_empty());
        }
        assert!(all.windows(2).all(|pair| (pair[0].line, pair[0].column) <= (pair[1].line, pair[1].column)));
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{} bytes took {:?}", text.len(), begin.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_gets_an_answer(text in any::<String>()) {
        answer(&text);
    }

    #[test]
    fn text_of_yaml_gets_an_answer(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        answer(&pieces.concat());
    }

    #[test]
    fn a_template_says_where_it_is_wrong(text in "[%A-Z_():?0-9a ]{0,40}") {
        match Template::parse(&text) {
            Err(error) => prop_assert_eq!(text.as_bytes().get(error.at), Some(&b'%')),
            Ok(template) => prop_assert_eq!(template.is_static(), template.variables().next().is_none()),
        }
    }

    #[test]
    fn text_without_a_percent_sign_is_itself(text in "[^%]{0,40}") {
        let template = Template::parse(&text).unwrap();
        prop_assert!(template.is_static());
        prop_assert_eq!(template.0.len(), usize::from(!text.is_empty()));
    }

    #[test]
    fn any_upstream_gets_an_answer(upstream in any::<String>()) {
        let _ = simple("127.0.0.1:80".parse().unwrap(), &upstream);
    }
}

#[test]
fn aliases_cannot_make_a_small_document_large() {
    let mut text = String::from(
        "x0: &x0 {match: {}, respond: {status: 200}}\nlisteners:\n- name: a\n  address: 0.0.0.0:1\n  routes: &r0 [",
    );
    text.push_str(&"{match: {}, respond: {status: 200}}, ".repeat(2000));
    text.push_str("]\n");
    for listener in 0..2000 {
        text.push_str(&format!("- {{name: a{listener}, address: '0.0.0.0:{}', routes: *r0}}\n", listener + 2));
    }
    let begin = Instant::now();
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let errors = parse(&SourceName::new("t.yaml"), &text, &read).unwrap_err().to_string();
    assert!(errors.contains("aliases make this document too large"), "{errors}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn the_largest_documents_end() {
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let told = |text: &str| parse(&SourceName::new("t.yaml"), text, &read).unwrap_err().to_string();
    assert!(told(&"a".repeat((16 << 20) + 1)).contains("at most 16777216 (16 MiB) are read"));
    assert!(told(&"- ".repeat(10_000)).contains("nested more than 64 deep"));
    assert!(told(&"[".repeat(10_000)).contains("t.yaml:1:"));
    let many: String = (0..20_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(told(&many).lines().count(), 20_001);
}

/// What a start costs. Bounds are generous, for an unoptimised build on a busy machine; `--nocapture` shows the figures.
#[test]
fn large_configurations_load_in_time() {
    let mut text = String::from("listeners:\n  - name: web\n    address: 0.0.0.0:8080\n    routes:\n");
    for n in 0..5000 {
        text.push_str(&format!(
            "      - match: {{ host: h{n}.example.com, prefix: /v{n}/ }}\n        cluster: c{n}\n        timeout: 5s\n"
        ));
    }
    text.push_str("clusters:\n");
    for n in 0..5000 {
        text.push_str(&format!("  - name: c{n}\n    endpoints: [10.0.{}.{}:8080]\n", n / 250, n % 250));
    }
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let begin = Instant::now();
    let loaded = parse(&SourceName::new("large.yaml"), &text, &read).unwrap();
    let large = begin.elapsed();
    assert_eq!(loaded.config.clusters.len(), 5000);
    let small = include_str!("../examples/reverse-proxy.yaml");
    let begin = Instant::now();
    parse(&SourceName::new("small.yaml"), small, &read).unwrap();
    println!("5,000 routes and clusters: {large:?}; {} lines: {:?}", small.lines().count(), begin.elapsed());
    assert!(large < Duration::from_secs(15), "{large:?}");
}
