//! Wasm filters that misbehave under load: their own requests are answered as their policy says, another listener of the
//! same worker serves on, memory and the worker's time stay bounded. (How latency bears it: `bench`, `wasm_storms`.)

use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{
    client::{Client, End},
    load::{Figures, Load},
    metrics::Metrics,
    origin::Origin,
    proxy::Proxy,
    scripted::Scripted,
    wait::{self, SOON},
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// Says what it does by its plugin configuration's first letter.
const STORM: &str = include_str!("../../bench/peers/storm.wat");

/// A proxy with one worker: a listener without filters, and one with the guest.
fn storm(origin: &Origin, does: char, filter: &str) -> Proxy {
    // A callback's time is the clock's: what ends by something else must not be late on a busy machine.
    let callback = if does == 'S' { "5ms" } else { "5s" };
    let module = STANDARD.encode(wat::parse_str(STORM).expect("the guest's text is right"));
    let route = "[{ match: { prefix: / }, cluster: origin }]";
    Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         access_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \
           \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }} }}\n\
         listeners:\n  - {{ name: quiet, address: {{listen}}, routes: {route} }}\n  \
         - {{ name: stormy, address: {{listen2}}, filters: [storm], routes: {route} }}\n\
         filters:\n  - {{ name: storm, {filter} wasm: {{ inline: \"{module}\", configuration: {does}, \
           limits: {{ callback: {callback}, memory: 8MiB }} }} }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        origin.address
    ))
}

/// What requests with the filter were answered, in order.
fn ask(proxy: &Proxy, requests: usize) -> Vec<u16> {
    let mut client = Client::connect(proxy.second);
    let one = |client: &mut Client, number: usize| {
        client.send(format!("GET /stormy/{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client.receive().status
    };
    (0..requests).map(|number| one(&mut client, number)).collect()
}

/// Requests of the quiet listener, while `during` runs; it is asked for some more afterwards.
fn beside<T>(proxy: &Proxy, during: impl FnOnce() -> T) -> (T, Figures) {
    let load = Load::gets(proxy.address, 2, Duration::from_millis(1));
    load.await_more(20);
    let result = during();
    load.await_more(20);
    (result, load.stop())
}

fn deaths(metrics: &Metrics, reason: &str) -> f64 {
    metrics.sum("pillion_wasm_failures_total", &["filter=\"storm\"", &format!("reason=\"{reason}\"")])
}

/// Every 503 is in the access log and the counters as a filter's failure, and nothing else is.
fn told(proxy: &Proxy, statuses: &[u16]) {
    let refused = statuses.iter().filter(|&&status| status == 503).count();
    let file = proxy.dir().join("access.log");
    let failed = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("/stormy/") && line.ends_with(" 503 FF wasm_fail_stream{storm}"))
            .count()
    };
    wait::until_true("every refusal in the access log", || {
        failed(&fs::read_to_string(&file).unwrap_or_default()) == refused
    });
    #[expect(clippy::cast_precision_loss, reason = "some hundred")]
    let refused = refused as f64;
    proxy.await_metric("pillion_filter_failures_total", &["listener=\"stormy\""], |count| count == refused);
}

#[test]
fn one_in_ten_traps_and_fails_closed() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'T', "");
    let (statuses, quiet) = beside(&proxy, || ask(&proxy, 300));
    quiet.assert_clean();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert_eq!(&statuses[..10], [200, 200, 200, 200, 200, 200, 200, 200, 200, 503]);
    told(&proxy, &statuses);
    assert!(deaths(&proxy.metrics(), "trap") >= 1.0);
    // Its machine comes back, after a while.
    wait::until_true("the filter to serve again", || ask(&proxy, 1) == [200]);
}

#[test]
fn one_in_ten_traps_and_fails_open() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'T', "fail: open,");
    let (statuses, quiet) = beside(&proxy, || ask(&proxy, 300));
    quiet.assert_clean();
    assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
    assert!(deaths(&proxy.metrics(), "trap") >= 1.0);
}

/// A machine that a reload goes on with runs still, however often.
#[test]
fn reloads_that_go_on_with_a_machine_leave_it_counted() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'T', "fail: closed,");
    let counted = || proxy.await_metric("pillion_wasm_machines", &["filter=\"storm\""], |machines| machines == 1.0);
    counted();
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    for fail in ["open", "closed", "open"] {
        proxy.replace_config(&yaml.replace("fail: closed,", &format!("fail: {fail},")));
        assert_eq!(proxy.admin_post("/reload").status, 200);
        assert_eq!(ask(&proxy, 1), [200]);
        counted();
    }
    assert_eq!(proxy.metrics().sum("pillion_wasm_restarts_total", &["filter=\"storm\""]), 0.0);
}

/// A filter that a route configures anew has two plugins in one machine.
#[test]
fn a_machine_that_dies_is_counted_once() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'T', "");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    let own = "filters: [storm], routes: [\
               { match: { prefix: /own }, cluster: origin, filters: [{ name: storm, configuration: Too }] }, ";
    proxy.replace_config(&yaml.replace("filters: [storm], routes: [", own));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert_eq!(ask(&proxy, 10)[9], 503);
    proxy.await_metric("pillion_wasm_restarts_total", &["filter=\"storm\""], |restarts| restarts == 1.0);
    assert_eq!(deaths(&proxy.metrics(), "trap"), 1.0);
}

/// In a crash loop of spins, what they burn is at most a thousandth of the time, and one spin more.
#[test]
fn spins_take_a_thousandth_at_most() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'S', "");
    let begun = Instant::now();
    let (statuses, quiet) = beside(&proxy, || {
        let mut statuses = Vec::new();
        // The first spin, the one after the first restart, and the one that had to wait for both.
        wait::until_true("three machines to die", || {
            statuses.extend(ask(&proxy, 10));
            deaths(&proxy.metrics(), "timeout") >= 3.0
        });
        statuses
    });
    let spins = deaths(&proxy.metrics(), "timeout");
    let elapsed = begun.elapsed();
    quiet.assert_clean();
    assert!(statuses.iter().all(|&status| status == 503), "{statuses:?}");
    told(&proxy, &statuses);
    // Before every spin but the first two there was a wait of 1,000 times the limit of a callback.
    let most = 2.0 + elapsed.as_secs_f64() / (1_000.0 * 0.005);
    assert!(spins <= most, "{spins} spins in {elapsed:?}: {most} at most");
}

#[test]
fn leaks_end_at_the_limit() {
    let origin = Origin::start();
    let proxy = storm(&origin, 'L', "");
    assert_eq!(proxy.get("/").status, 200);
    let before = proxy.resident_own();
    let mut most = 0;
    let (statuses, quiet) = beside(&proxy, || {
        let mut statuses = ask(&proxy, 8);
        for _ in 0..100 {
            most = most.max(proxy.resident_own());
            statuses.extend(ask(&proxy, 3));
        }
        statuses
    });
    quiet.assert_clean();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    // Two pages at the start, seven times sixteen more.
    assert_eq!(&statuses[..8], [200, 200, 200, 200, 200, 200, 200, 503]);
    told(&proxy, &statuses);
    assert!(deaths(&proxy.metrics(), "memory") >= 1.0);
    // The limit, what load takes by itself, and no more, however often the machine came back.
    let grown = most.saturating_sub(before);
    assert!(grown < (8 << 20) + (8 << 20), "{grown} bytes more than {before}");
}

/// Holds what a server says, for ever, and logs when its stream is over.
const HOLDER: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "the stream is over")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_delete") (param i32) (drop (call $log (i32.const 2) (i32.const 0) (i32.const 18)))))"#;

/// Holds connections for ever, and logs which of its streams are over.
const DOORKEEPER: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "the stream is done")
  (data (i32.const 32) "the stream is logged")
  (data (i32.const 64) "the stream is over")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_new_connection") (param i32) (result i32) (i32.const 1))
  (func (export "proxy_on_done") (param i32) (result i32)
    (drop (call $log (i32.const 2) (i32.const 0) (i32.const 18))) (i32.const 1))
  (func (export "proxy_on_log") (param i32) (drop (call $log (i32.const 2) (i32.const 32) (i32.const 20))))
  (func (export "proxy_on_delete") (param i32) (drop (call $log (i32.const 2) (i32.const 64) (i32.const 18)))))"#;

/// A client that resets its connection while a filter holds it is waited for no longer, whatever it said before; one that has closed
/// its side may wait for an answer.
#[test]
fn a_connection_that_a_filter_holds_ends_with_its_clients_reset() {
    let origin = Origin::start();
    let module = STANDARD.encode(wat::parse_str(DOORKEEPER).expect("the guest's text is right"));
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         access_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \
           \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %TERMINATED_BY%\" }} }}\n\
         listeners: [{{ name: opaque, address: {{listen}}, tcp: {{ cluster: origin, filters: [doorkeeper] }} }}]\n\
         filters:\n  - {{ name: doorkeeper, wasm: {{ inline: \"{module}\" }} }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        origin.address
    ));
    let tunnels = ("pillion_tunnel_connections_active", ["listener=\"opaque\""]);
    let mut stays = proxy.connect();
    stays.send("hello");
    stays.half_close();
    let mut leaves = proxy.connect();
    leaves.send("hello");
    let silent = proxy.connect();
    proxy.await_metric(tunnels.0, &tunnels.1, |active| active == 3.0);
    leaves.reset();
    silent.reset();
    proxy.await_metric(tunnels.0, &tunnels.1, |active| active == 1.0);
    for word in ["done", "logged", "over"] {
        let told = || proxy.stderr().matches(&format!("the stream is {word}")).count();
        wait::until_true("the filter to be told", || told() == 2);
    }
    let log = || fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
    wait::until_true("the records", || log() == "DC downstream_broken downstream\n".repeat(2));
    drop(stays);
}

/// What a filter holds is let go with whom it was for.
#[test]
fn what_a_filter_holds_ends_with_its_client() {
    let server = Scripted::start(|mut peer| {
        // Says something and closes, whatever is said to it.
        if peer.some().is_ok() {
            peer.send("bye");
        }
    });
    let module = STANDARD.encode(wat::parse_str(HOLDER).expect("the guest's text is right"));
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         listeners:\n  - {{ name: http, address: {{listen}}, filters: [holder], routes: [{{ match: {{ prefix: / }}, respond: {{ status: 200 }} }}] }}\n  \
         - {{ name: opaque, address: {{listen2}}, tcp: {{ cluster: server, filters: [holder] }} }}\n\
         filters:\n  - {{ name: holder, wasm: {{ inline: \"{module}\" }} }}\n\
         clusters: [{{ name: server, endpoints: [\"{}\"] }}]\n",
        server.address
    ));
    let told = || proxy.stderr().matches("the stream is over").count();
    // A body that nobody reads: the route answers without it, and the filter holds the answer.
    let active = ("pillion_exchange_requests_active", ["listener=\"http\""]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc");
    proxy.await_metric(active.0, &active.1, |active| active == 1.0);
    client.send("def");
    drop(client);
    proxy.await_metric(active.0, &active.1, |active| active == 0.0);
    wait::until_true("the filter to be told", || told() == 1);
    // A server's last words, once its client has said its own.
    let tunnels = ("pillion_tunnel_connections_active", ["listener=\"opaque\""]);
    let mut client = Client::connect(proxy.second);
    client.send("hello");
    wait::until_true("the server to have closed", || server.connections() == 1 && server.open() == 0);
    proxy.await_metric(tunnels.0, &tunnels.1, |active| active == 1.0);
    client.half_close();
    assert_eq!(client.end_within(SOON), End::Closed);
    proxy.await_metric(tunnels.0, &tunnels.1, |active| active == 0.0);
    wait::until_true("the filter to be told", || told() == 2);
}

/// Traps at each request of the second plugin in its machine.
const SECOND: &str = r#"(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 32768))
    (func $root (param $id i32) (result i32) (i32.add (i32.const 1024) (i32.shl (local.get $id) (i32.const 2))))
    (func (export "proxy_on_context_create") (param $id i32) (param $root i32)
        (i32.store (call $root (local.get $id)) (local.get $root)))
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (if (i32.eq (i32.load (call $root (local.get $id))) (i32.const 2)) (then (unreachable)))
        (i32.const 0)))"#;

#[test]
fn of_filters_that_share_a_machine_the_access_log_names_the_one_that_died() {
    let origin = Origin::start();
    let module = STANDARD.encode(wat::parse_str(SECOND).expect("the guest's text is right"));
    let filter = |name: &str| format!("{{ name: {name}, wasm: {{ inline: \"{module}\", configuration: {name} }} }}");
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         access_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%\" }} }}\n\
         listeners: [{{ name: web, address: {{listen}}, filters: [first, second, third], \
           routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}]\n\
         filters: [{}, {}, {}]\nclusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        filter("first"),
        filter("second"),
        filter("third"),
        origin.address
    ));
    let mut client = Client::connect(proxy.address);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.receive().status, 503);
    let mut line = String::new();
    wait::until_true("the request in the access log", || {
        line = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
        line.ends_with('\n')
    });
    assert_eq!(line, "503 wasm_fail_stream{second}\n");
}
