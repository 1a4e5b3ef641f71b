//! What filters store in data and queues that they share, by `vm_id`.

use super::{GUEST, LIMIT, holding, machines::leak, quiet};
use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{cgroup::Cgroup, client::Client, origin::Origin, proxy::Proxy, some_or_return, wait};
use std::{net::SocketAddr, thread, time::Duration};

/// No end of a machine gives back what filters store in what they share: it must not become so much.
#[test]
fn what_filters_store_neither_kills_nor_closes_other_listeners() {
    let group = some_or_return!(Cgroup::new(Some(LIMIT), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'S', "", "workers: 2");
    let before = proxy.resident_own();
    for _ in 0..30 {
        assert_eq!(leak(&proxy), Some(200));
        assert!(proxy.ended().is_none(), "the kernel killed it");
        assert_eq!(quiet(&proxy), Some(200), "somebody else");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(proxy.resident_own() > before + (5 << 20), "it stores what there is room for");
}

/// Bytes that filters store are told by vm_id, and no more once the last owner has gone.
#[test]
fn what_filters_store_is_told_for_as_long_as_it_is_stored() {
    let origin = Origin::start();
    let module = STANDARD.encode(wat::parse_str(GUEST).expect("the guest's text is right"));
    let yaml = |filters: &str, on: &str| {
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n\
             listeners:\n  - {{ name: quiet, address: {{listen}}, {on} routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}\n\
             {filters}clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
            origin.address
        )
    };
    let filters = format!(
        "filters:\n  - {{ name: stores, wasm: {{ inline: \"{module}\", configuration: S, vm_id: shop, \
         limits: {{ callback: 5s }} }} }}\n"
    );
    let proxy = Proxy::start(&yaml(&filters, "filters: [stores],"));
    let told = |proxy: &Proxy, series: &str| {
        let metrics = proxy.metrics();
        metrics.has(series).then(|| metrics.sum(series, &["vm_id=\"shop\""]))
    };
    let (data, queued) = ("pillion_wasm_shared_data_bytes", "pillion_wasm_shared_queue_bytes");
    assert_eq!((told(&proxy, data), told(&proxy, queued)), (Some(0.0), Some(0.0)));
    assert_eq!(quiet(&proxy), Some(200));
    assert_eq!(
        (told(&proxy, data), told(&proxy, queued)),
        (Some(100.0 * (600_004.0 + 128.0)), Some(100.0 * (600_000.0 + 64.0)))
    );
    proxy.replace_config(&yaml("", ""));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    wait::until_true("nothing to be told of who has gone", || {
        [data, queued].iter().all(|series| !proxy.metrics().has(series))
    });
}

/// Stores another 60,000 bytes with each request, and goes on where it cannot.
const STORES: &str = r#"(module
  (import "env" "proxy_set_shared_data" (func $store (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $key (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (i32.store (i32.const 0) (global.get $key))
    (global.set $key (i32.add (global.get $key) (i32.const 1)))
    (drop (call $store (i32.const 0) (i32.const 4) (i32.const 65536) (i32.const 60000) (i32.const 0)))
    (i32.const 0)))"#;

/// A request of a client of its own; its status.
fn ask(address: SocketAddr, client: usize) -> u16 {
    let mut connection = Client::connect(address);
    connection.send(format!("GET / HTTP/1.1\r\nHost: test\r\nx-client: {client}\r\nConnection: close\r\n\r\n"));
    connection.receive().status
}

/// Our limiter, counting clients, and a filter that stores without end: each on a listener of its own.
fn limited(origin: &Origin, group: Option<&Cgroup>, limiters: &str) -> Proxy {
    let stores = STANDARD.encode(wat::parse_str(STORES).expect("the guest's text is right"));
    let limiter = concat!(env!("CARGO_MANIFEST_DIR"), "/../filters/prebuilt/rate-limit.wasm");
    let route = "[{ match: { prefix: / }, cluster: origin }]";
    let config = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n\
         listeners:\n  - {{ name: quiet, address: {{listen}}, filters: [limits], routes: {route} }}\n  \
         - {{ name: storing, address: {{listen2}}, filters: [stores], routes: {route} }}\n\
         filters:\n  - {{ name: stores, wasm: {{ inline: \"{stores}\", vm_id: leaky }} }}\n  \
         - {{ name: limits, wasm: {{ file: {limiter}, {limiters} }} }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        origin.address
    );
    match group {
        Some(group) => Proxy::start_with(&config, |program| group.command(&program)),
        None => Proxy::start(&config),
    }
}

const COUNTS: &str =
    r#"configuration: '{ "requests": 2, "per_seconds": 60, "slots": 65536, "key": { "header": "x-client" } }'"#;

fn refused(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("pillion_wasm_shared_refused_total", &["vm_id=\"leaky\"", "store=\"data\""])
}

/// What one keeps, in a container that gets full, is nobody else's: a limiter beside it counts on.
#[test]
fn a_filter_that_stores_without_end_denies_no_other_vm_id_anything() {
    let group = some_or_return!(Cgroup::new(Some(64 << 20), None));
    let origin = Origin::start();
    let mut proxy = limited(&origin, Some(&group), COUNTS);
    wait::until_true("it to be refused", || {
        for client in 0..50 {
            assert_eq!(ask(proxy.second, client), 200);
        }
        refused(&proxy) > 0.0
    });
    for client in 0..300 {
        assert_eq!((ask(proxy.second, client), ask(proxy.address, client)), (200, 200), "{client}");
    }
    assert_eq!((ask(proxy.address, 7), ask(proxy.address, 7)), (200, 429), "they are counted");
    let died = proxy.metrics().sum("pillion_wasm_failures_total", &[]);
    assert!(died < 1.0, "{died}");
    let (_, log) = proxy.stop();
    let told = log.lines().filter(|line| line.contains("shared data refuses a vm_id more")).count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("vm_id=leaky") && log.contains("raise the container's limit"), "{log}");
}

/// One that shares its vm_id with who fills it cannot count, and does as it is configured; it does not die.
#[test]
fn a_limiter_whose_store_is_full_decides_as_it_is_configured() {
    for (busy, status) in [("allow", 200), ("refuse", 429)] {
        let origin = Origin::start();
        let counts = COUNTS.replace("\"slots\"", &format!("\"when_busy\": \"{busy}\", \"slots\""));
        let proxy = limited(&origin, None, &format!("vm_id: leaky, {counts}"));
        assert_eq!(ask(proxy.address, 0), 200);
        wait::until_true("its store to be full", || {
            for client in 0..400 {
                assert_eq!(ask(proxy.second, client), 200);
            }
            refused(&proxy) > 0.0
        });
        // 60 KB are what there is no room for: what is left of it goes by clients' buckets.
        let mut last = 0;
        for client in 1..400 {
            last = ask(proxy.address, client);
        }
        assert_eq!(last, status, "{busy}");
        assert!(proxy.metrics().sum("pillion_wasm_failures_total", &[]) < 1.0, "it lives");
    }
}
