//! What a filter's calls hold while their server reads nothing: bounded, told, and nobody else's trouble. And where a filter leads
//! connections: where it may.

use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{cgroup::Cgroup, client, origin::Origin, proxy::Proxy, some_or_return, wait};
use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

/// Calls the cluster `stuck` with 4 MiB for each request, and does not wait for the answer. Traps where a request has a body.
const GUEST: &str = r#"(module
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 80)
  (data (i32.const 0) "stuck")
  (data (i32.const 64) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00POST\00:path\00/\00:authority\00x\00")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_request_headers") (param i32 i32) (param $end i32) (result i32)
    (if (i32.eqz (local.get $end)) (then (unreachable)))
    (drop (call $call (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 62) (i32.const 131072) (i32.const 4194304)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 16)))
    (i32.const 0)))
"#;

/// A container in which such bodies of a few dozen requests would be all there is.
const LIMIT: u64 = 128 << 20;

#[test]
fn calls_whose_server_reads_nothing_neither_kill_nor_close_other_listeners() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let stuck = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = stuck.local_addr().expect("a bound socket has an address");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    thread::spawn(move || stuck.incoming().for_each(|stream| keeping.lock().expect("nobody panics").push(stream)));
    let module = STANDARD.encode(wat::parse_str(GUEST).expect("the guest's text is right"));
    let route = "routes: [{ match: { prefix: / }, cluster: origin }]";
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         listeners:\n  - {{ name: quiet, address: {{listen}}, {route} }}\n  \
         - {{ name: filtered, address: {{listen2}}, filters: [shadows], {route} }}\n\
         filters:\n  - {{ name: shadows, wasm: {{ inline: \"{module}\", limits: {{ callback: 5s, memory: 32MiB }} }} }}\n\
         clusters:\n  - {{ name: origin, endpoints: [\"{}\"] }}\n  - {{ name: stuck, endpoints: [\"{address}\"] }}\n",
        origin.address
    );
    let mut proxy = Proxy::start_with(&yaml, |program| group.command(&program));
    for number in 0..100 {
        let status = |address| client::get(address, "/").status;
        assert_eq!(status(proxy.second), 200, "request {number}: its call is not waited for");
        assert_eq!(status(proxy.address), 200, "somebody else, beside {number} calls");
        assert!(proxy.ended().is_none(), "the kernel killed it, with {number} calls");
    }
    let told = |proxy: &Proxy| proxy.metrics().sum("pillion_wasm_memory_bytes", &["filter=\"shadows\""]);
    // 5 MiB of its own, and three bodies within half of its limit.
    assert_eq!(told(&proxy), f64::from(17 << 20));
    // Its end gives room, which is told though no stream ends.
    kept.lock().expect("nobody panics").clear();
    wait::until_true("what calls held to be told no more", || told(&proxy) == f64::from(5 << 20));
    for _ in 0..3 {
        assert_eq!(client::get(proxy.second, "/").status, 200);
    }
    assert_eq!(told(&proxy), f64::from(17 << 20));
    assert_eq!(client::post(proxy.second, "/", b"trap").status, 503);
    wait::until_true("the machine's memory to be told no more", || told(&proxy) < f64::from(6 << 20));
    let (_, stderr) = proxy.stop();
    let refused = stderr.lines().filter(|line| line.contains("a call is refused the filter")).count();
    assert_eq!(refused, 1, "{stderr}");
}

/// Leads a connection to `other`, and where it may not to `origin`.
const LEADS: &str = r#"(module
  (import "env" "proxy_call_foreign_function" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "set_envoy_filter_state")
  (data (i32.const 64) "\0a\17envoy.tcp_proxy.cluster\12\05other")
  (data (i32.const 128) "\0a\17envoy.tcp_proxy.cluster\12\06origin")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_new_connection") (param $status i32) (result i32)
    (local.set $status (call $call (i32.const 0) (i32.const 22) (i32.const 64) (i32.const 32) (i32.const 0) (i32.const 0)))
    (if (i32.eqz (local.get $status)) (then (return (i32.const 0))))
    ;; BadArgument, as for a call.
    (if (i32.ne (local.get $status) (i32.const 2)) (then (unreachable)))
    (call $call (i32.const 0) (i32.const 22) (i32.const 128) (i32.const 33) (i32.const 0) (i32.const 0))
    (if (then (unreachable)))
    (i32.const 0)))
"#;

#[test]
fn a_filter_leads_connections_to_their_own_cluster_and_to_those_that_it_is_allowed() {
    let (origin, other) = (Origin::start(), Origin::start());
    let module = STANDARD.encode(wat::parse_str(LEADS).expect("the guest's text is right"));
    let filter = |name: &str, allowed: &str| {
        format!(
            "  - {{ name: {name}, wasm: {{ inline: \"{module}\", allowed_clusters: {allowed}, limits: {{ callback: 5s }} }} }}\n"
        )
    };
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  \
         - {{ name: held, address: {{listen}}, tcp: {{ cluster: origin, filters: [held] }} }}\n  \
         - {{ name: led, address: {{listen2}}, tcp: {{ cluster: origin, filters: [led] }} }}\n\
         filters:\n{}{}clusters:\n  - {{ name: origin, endpoints: [\"{}\"] }}\n  - {{ name: other, endpoints: [\"{}\"] }}\n",
        filter("held", "[]"),
        filter("led", "[other]"),
        origin.address,
        other.address
    );
    let proxy = Proxy::start(&yaml);
    assert_eq!(client::get(proxy.address, "/").status, 200);
    assert_eq!((origin.requests(), other.requests()), (1, 0), "it may lead nowhere else");
    assert_eq!(client::get(proxy.second, "/").status, 200);
    assert_eq!((origin.requests(), other.requests()), (1, 1), "it may");
}
