//! What wasm filters put into the names of their metrics, as labels: what Coraza's filter defines, by the tags that its
//! documentation gives Envoy. The expected lines are those of Envoy 1.40's `/stats/prometheus`.

use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::proxy::Proxy;
use std::fmt::Write as _;

/// As the guest's documentation has them.
const TAGS: &str = r#"metrics:
  tags:
    - { name: phase, regex: "(_phase=([a-z_]+))" }
    - { name: rule_id, regex: "(_ruleid=([0-9]+))" }
    - { name: authority, regex: "(_authority=([0-9a-z.:]+))" }
"#;

/// A guest that defines counters of these names when it is configured, and adds one to each with each request.
fn guest(names: &[&str]) -> String {
    let (mut data, mut define, mut add) = (String::new(), String::new(), String::new());
    for (number, name) in names.iter().enumerate() {
        let (at, id) = (4096 + 256 * number, 4 * number);
        let _ = writeln!(data, "(data (i32.const {at}) \"{name}\")");
        let _ = writeln!(
            define,
            "(drop (call $define (i32.const 0) (i32.const {at}) (i32.const {}) (i32.const {id})))",
            name.len()
        );
        let _ = writeln!(add, "(drop (call $add (i32.load (i32.const {id})) (i64.const 1)))");
    }
    let text = format!(
        r#"(module
          (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_increment_metric" (func $add (param i32 i64) (result i32)))
          (memory (export "memory") 1)
          {data}
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
          (func (export "proxy_on_configure") (param i32 i32) (result i32) {define} (i32.const 1))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {add} (i32.const 0)))"#
    );
    STANDARD.encode(wat::parse_str(text).expect("the guest's text is right"))
}

/// The lines of the guest's metrics.
fn told(proxy: &Proxy) -> Vec<String> {
    let page = proxy.admin_get("/stats/prometheus").text();
    // Read as a scraper does.
    assert!(!proxy.metrics().is_empty());
    page.lines().filter(|line| line.contains("waf_filter")).map(str::to_owned).collect()
}

#[test]
fn what_a_filter_writes_into_names_is_labels_and_a_reload_moves_what_was_counted() {
    let module = guest(&[
        "waf_filter.tx.total",
        "waf_filter.tx.interruptions_ruleid=933100_phase=http_request_headers",
        "waf_filter.tx.interruptions_ruleid=942100_phase=http_request_body",
        "waf_filter.tx.interruptions_ruleid=942100_phase=http_request_body_authority=shop.example:8080",
    ]);
    let rest = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         listeners: [{{ name: web, address: {{listen}}, filters: [waf], routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200 }} }}] }}]\n\
         filters: [{{ name: waf, wasm: {{ inline: \"{module}\", limits: {{ callback: 5s, start: 10s }} }} }}]\n"
    );
    let mut proxy = Proxy::start(&format!("{TAGS}{rest}"));
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(
        told(&proxy),
        [
            "# HELP waf_filter_tx_interruptions Defined by a wasm filter.",
            "# TYPE waf_filter_tx_interruptions counter",
            // What `[a-z_]+` finds goes on into the next tag's name, in Envoy as well.
            "waf_filter_tx_interruptions{authority=\"shop.example:8080\",phase=\"http_request_body_authority\",rule_id=\"942100\"} 1",
            "waf_filter_tx_interruptions{phase=\"http_request_body\",rule_id=\"942100\"} 1",
            "waf_filter_tx_interruptions{phase=\"http_request_headers\",rule_id=\"933100\"} 1",
            "# HELP waf_filter_tx_total Defined by a wasm filter.",
            "# TYPE waf_filter_tx_total counter",
            "waf_filter_tx_total 1",
        ]
    );
    // Without tags names are whole. The machine is the same, and so is what it counts by.
    proxy.replace_config(&rest);
    assert_eq!(proxy.admin_post("/reload").text().trim(), "reloaded: ~metrics");
    assert_eq!(proxy.get("/").status, 200);
    let plain = told(&proxy);
    assert!(
        plain.contains(&"waf_filter_tx_interruptions_ruleid_933100_phase_http_request_headers 2".to_owned()),
        "{plain:#?}"
    );
    assert!(!plain.iter().any(|line| line.contains('{')), "{plain:#?}");
    proxy.replace_config(&format!("{TAGS}{rest}").replace("ruleid=([0-9]+)", "ruleid=([0-9]+"));
    let answer = proxy.admin_post("/reload");
    assert!(
        answer.text().contains("metrics.tags[1].regex: not a regular expression: unclosed group"),
        "{}",
        answer.text()
    );
    assert_eq!(told(&proxy), plain);
    proxy.replace_config(&format!("{TAGS}{rest}"));
    assert_eq!(proxy.admin_post("/reload").text().trim(), "reloaded: ~metrics");
    assert_eq!(proxy.get("/").status, 200);
    let lines = told(&proxy);
    assert!(
        lines.contains(&"waf_filter_tx_interruptions{phase=\"http_request_headers\",rule_id=\"933100\"} 3".to_owned()),
        "{lines:#?}"
    );
    let (_, stderr) = proxy.stop();
    assert!(!stderr.contains("died"), "{stderr}");
}
