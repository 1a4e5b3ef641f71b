//! What filters take for themselves: the memory of their machines.

use super::{holding, quiet};
use base64::{Engine, engine::general_purpose::STANDARD};
use pillion_tests::{
    cgroup::Cgroup,
    client::Client,
    origin::Origin,
    proxy::Proxy,
    some_or_return,
    wait::{self, SOON},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// A request with the guest: 1 MiB more. The status, where there is an answer.
pub(super) fn leak(proxy: &Proxy) -> Option<u16> {
    let mut client = Client::over(TcpStream::connect_timeout(&proxy.second, SOON).ok()?);
    client.try_send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    client.try_receive("GET").ok().map(|response| response.status)
}

/// Two workers, whose machines stay each below what it may have and fill the container together.
const LEAK: &str = "workers: 2\nlimits: { memory_shrink: 30%, memory_refuse: 40% }";

const ROOM: u64 = 256 << 20;

fn given_back(proxy: &Proxy) -> f64 {
    proxy.metrics().sum("pillion_wasm_failures_total", &["filter=\"holds\"", "reason=\"pressure\""])
}

#[test]
fn a_filter_that_leaks_closes_no_other_listener() {
    let group = some_or_return!(Cgroup::new(Some(ROOM), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'L', "", LEAK);
    let mut peak = 0;
    wait::until_true("a machine to be given back", || {
        leak(&proxy);
        peak = peak.max(proxy.resident_own());
        assert!(proxy.ended().is_none(), "the kernel killed it");
        // Not so fast that it is denied memory before it is looked at.
        thread::sleep(Duration::from_millis(25));
        given_back(&proxy) > 0.0
    });
    // It is given back to the kernel, and so is more if that was not enough; then everybody is let in again.
    wait::until_true("memory to be there again", || proxy.resident_own() + (30 << 20) < peak);
    wait::until_true("others to be served", || quiet(&proxy) == Some(200));
    wait::until_true("the filter to serve again", || leak(&proxy) == Some(200));
    let died = given_back(&proxy);
    assert!(died <= 2.0, "{died} machines for what one holds");
    let (_, stderr) = proxy.stop();
    let told: Vec<_> = stderr.lines().filter(|line| line.contains("memory is short, and its machine, with")).collect();
    assert!(!told.is_empty() && told.iter().all(|line| line.contains("holds")), "{stderr}");
}

/// A container as a sidecar has it whose guests may have all of it.
const SMALL: u64 = 64 << 20;

/// A machine is given back while there is room for what others do until it is, and its memory is told no more at once.
#[test]
fn a_filter_that_leaks_slowly_leaves_the_kernel_a_margin() {
    let group = some_or_return!(Cgroup::new(Some(SMALL), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'L', "", "workers: 1");
    let told = |proxy: &Proxy| proxy.metrics().sum("pillion_wasm_memory_bytes", &["filter=\"holds\""]);
    for died in 1..4 {
        let (mut most, mut refused) = (0, 0);
        let deadline = Instant::now() + SOON;
        while given_back(&proxy) < f64::from(died) {
            for _ in 0..5 {
                leak(&proxy);
                most = most.max(group.used());
                refused += u32::from(quiet(&proxy) != Some(200));
                // Slowly: memory is looked at several times for each.
                thread::sleep(Duration::from_millis(40));
            }
            assert!(proxy.ended().is_none(), "the kernel killed it");
            assert!(Instant::now() < deadline, "no machine is given back");
        }
        let permille = most * 1000 / SMALL;
        println!("{permille} thousandths of the container at most, others refused {refused} times");
        let left = told(&proxy);
        assert!(left < f64::from(8 << 20), "{left} bytes are told of a machine that was given back");
        assert!(permille < 950, "{permille} thousandths of the container were in use");
        assert_eq!(refused, 0, "others are served all the while");
        wait::until_true("others to be served", || quiet(&proxy) == Some(200));
        wait::until_true("the filter to serve again", || leak(&proxy) == Some(200));
    }
}

/// It takes more than is left before memory is looked at again.
#[test]
fn a_filter_that_grows_fast_is_denied_memory_before_the_kernel_kills() {
    let group = some_or_return!(Cgroup::new(Some(80 << 20), None));
    let origin = Origin::start();
    let mut proxy = holding(&origin, &group, 'L', "", "workers: 2");
    wait::until_true("memory to be short", || {
        for _ in 0..50 {
            leak(&proxy);
        }
        assert!(proxy.ended().is_none(), "the kernel killed it");
        given_back(&proxy) > 0.0
    });
    wait::until_true("others to be served", || quiet(&proxy) == Some(200));
    wait::until_true("the filter to serve again", || leak(&proxy) == Some(200));
}

/// Fills 32 MiB as it is configured, as a rule engine does, and dies where it has none.
const TABLE: &str = r#"(module
  (memory (export "memory") 2)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (if (i32.eq (memory.grow (i32.const 512)) (i32.const -1)) (then (unreachable)))
    (memory.fill (i32.const 131072) (i32.const 1) (i32.const 33554432))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

/// Declares 64 MiB, as what Emscripten makes declares all it will have, and fills a MiB of it with each request.
const DECLARED: &str = r#"(module
  (memory (export "memory") 1024)
  (global $next (mut i32) (i32.const 1))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.lt_u (global.get $next) (i32.const 63))
      (then
        (memory.fill (i32.shl (global.get $next) (i32.const 20)) (i32.const 1) (i32.const 1048576))
        (global.set $next (i32.add (global.get $next) (i32.const 1)))))
    (i32.const 0)))"#;

/// A proxy in that container, with one worker: a listener without filters, and one with the guest.
fn with(origin: &Origin, group: &Cgroup, guest: &str, wasm: &str) -> Proxy {
    on(1, origin, group, guest, wasm)
}

fn on(workers: u32, origin: &Origin, group: &Cgroup, guest: &str, wasm: &str) -> Proxy {
    let module = STANDARD.encode(wat::parse_str(guest).expect("the guest's text is right"));
    let route = "[{ match: { prefix: / }, cluster: origin }]";
    let config = format!(
        "admin: {{ address: {{admin}} }}\nworkers: {workers}\n\
         listeners:\n  - {{ name: quiet, address: {{listen}}, routes: {route} }}\n  \
         - {{ name: holding, address: {{listen2}}, filters: [holds], routes: {route} }}\n\
         filters:\n  - {{ name: holds, wasm: {{ inline: \"{module}\"{wasm} }} }}\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        origin.address
    );
    Proxy::start_with(&config, |program| group.command(&program))
}

/// A filter is tried in a machine of its own before it serves: what that finds no memory for is refused, and who serves goes on.
#[test]
fn a_reload_that_finds_no_memory_for_its_filter_is_refused() {
    let group = some_or_return!(Cgroup::new(Some(SMALL), None));
    let origin = Origin::start();
    let mut proxy = with(&origin, &group, TABLE, ", configuration: one, limits: { memory: 48MiB, start: 10s }");
    assert_eq!(leak(&proxy), Some(200));
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    proxy.replace_config(&yaml.replace("configuration: one", "configuration: two"));
    let answer = proxy.admin_post("/reload");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.text().contains("the container's memory is short"), "{answer:?}");
    assert!(proxy.ended().is_none(), "the kernel killed it");
    assert_eq!((leak(&proxy), quiet(&proxy)), (Some(200), Some(200)));
}

/// Takes a MiB more again and again as it is configured, as allocators do, and dies where it has none.
const GROWS: &str = r#"(module
  (memory (export "memory") 2)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (if (i32.eq (local.get 1) (i32.const 3)) (then (loop $more
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (memory.fill (i32.shl (i32.sub (memory.size) (i32.const 16)) (i32.const 16)) (i32.const 1) (i32.const 1048576))
      (br $more))))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

/// What serves pays nothing for a reload that takes all the memory there is: nobody is refused, and no machine given back.
#[test]
fn a_reload_that_takes_all_memory_costs_nobody_anything() {
    let group = some_or_return!(Cgroup::new(Some(SMALL), None));
    let origin = Origin::start();
    let proxy = with(&origin, &group, GROWS, ", configuration: small, limits: { memory: 100MiB, start: 10s }");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    proxy.replace_config(&yaml.replace("configuration: small", "configuration: big"));
    let most = thread::scope(|scope| {
        let reload = scope.spawn(|| proxy.admin_post("/reload"));
        let mut most = 0;
        while !reload.is_finished() {
            assert_eq!((leak(&proxy), quiet(&proxy)), (Some(200), Some(200)), "at {most}");
            most = most.max(group.used());
            thread::sleep(Duration::from_millis(5));
        }
        let answer = reload.join().expect("it is answered");
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.text().contains("the container's memory is short"), "{answer:?}");
        most
    });
    assert!(most > SMALL * 3 / 4, "it took what there is: {most}");
    assert!(given_back(&proxy) < 1.0);
    wait::until_true("its memory to be there again", || group.used() < SMALL / 2);
}

/// Fills 15 of 16 MiB that it declares as it is configured, which nobody can deny it.
const FILLS: &str = r#"(module
  (memory (export "memory") 256)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 15728640)) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

/// A container that has room for such a machine on each of two workers, but not for two of them on each.
#[test]
fn a_reload_whose_modules_declare_what_is_not_there_is_refused() {
    let group = some_or_return!(Cgroup::new(Some(56 << 20), None));
    let origin = Origin::start();
    let mut proxy = with(&origin, &group, FILLS, ", vm_configuration: one, limits: { start: 10s }");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    for configuration in ["two", "three"] {
        proxy.replace_config(&yaml.replace("vm_configuration: one", &format!("vm_configuration: {configuration}")));
        let answer = proxy.admin_post("/reload");
        assert_eq!(answer.status, 200, "{configuration}: one worker has room for two: {answer:?}");
    }
    proxy.stop();
    let mut proxy = on(2, &origin, &group, FILLS, ", vm_configuration: one, limits: { start: 10s }");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    proxy.replace_config(&yaml.replace("vm_configuration: one", "vm_configuration: two"));
    let answer = proxy.admin_post("/reload");
    assert!(proxy.ended().is_none(), "the kernel killed it");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.text().contains("raise the container's limit"), "{answer:?}");
    assert_eq!((leak(&proxy), quiet(&proxy)), (Some(200), Some(200)));
}

/// Each is tried alone, and gone before all of them have taken what is free.
#[test]
fn a_reload_of_many_filters_takes_memory_for_one_after_the_other() {
    let group = some_or_return!(Cgroup::new(Some(160 << 20), None));
    let origin = Origin::start();
    // Of one machine, which fills its memory once.
    let guest = TABLE.replace(
        "(if (i32.eq (memory.grow",
        "(if (i32.gt_u (memory.size) (i32.const 2)) (then (return (i32.const 1))))\n    (if (i32.eq (memory.grow",
    );
    let proxy = with(&origin, &group, &guest, ", configuration: one, limits: { start: 10s }");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    let line = yaml.lines().find(|line| line.contains("name: holds, wasm")).expect("the filter's line");
    let all: Vec<_> = (0..8).map(|n| line.replace("name: holds", &format!("name: more{n}"))).collect();
    let many = yaml.replace(line, &[&[line.to_owned()], &all[..]].concat().join("\n"));
    for number in 0..3 {
        proxy.replace_config(&many.replace("configuration: one", &format!("configuration: of-{number}")));
        let answer = proxy.admin_post("/reload");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((leak(&proxy), quiet(&proxy)), (Some(200), Some(200)));
    }
}

/// What plugins take that are put into the machine of another is looked for on each worker, too: one is tried, and two workers have them.
#[test]
fn a_reload_whose_filters_share_a_machine_that_does_not_fit_is_refused() {
    let group = some_or_return!(Cgroup::new(Some(SMALL), None));
    let origin = Origin::start();
    let guest = TABLE.replace("(i32.const 512)", "(i32.const 160)").replace("33554432", "10485760");
    let mut proxy = on(2, &origin, &group, &guest, ", configuration: one, limits: { start: 10s }");
    let yaml = fs::read_to_string(proxy.dir().join("pillion.yaml")).expect("the configuration is there");
    let line = yaml.lines().find(|line| line.contains("name: holds, wasm")).expect("the filter's line");
    let all: Vec<_> =
        (0..2).map(|n| line.replace("name: holds", &format!("name: more{n}")).replace("one", &n.to_string())).collect();
    proxy.replace_config(&yaml.replace(line, &[&[line.to_owned()], &all[..]].concat().join("\n")));
    let answer = proxy.admin_post("/reload");
    assert!(proxy.ended().is_none(), "the kernel killed it");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.text().contains("on each worker (2)"), "{answer:?}");
    for _ in 0..10 {
        assert_eq!((leak(&proxy), quiet(&proxy)), (Some(200), Some(200)));
    }
}

/// It never grows, so that only the kernel knows that it has filled what it declared.
#[test]
fn a_filter_that_fills_what_it_declared_is_given_back() {
    let group = some_or_return!(Cgroup::new(Some(SMALL), None));
    let origin = Origin::start();
    let mut proxy = with(&origin, &group, DECLARED, "");
    wait::until_true("its machine to be given back", || {
        leak(&proxy);
        thread::sleep(Duration::from_millis(40));
        assert!(proxy.ended().is_none(), "the kernel killed it");
        given_back(&proxy) > 0.0
    });
    wait::until_true("others to be served", || quiet(&proxy) == Some(200));
    wait::until_true("the filter to serve again", || leak(&proxy) == Some(200));
}

#[test]
fn streams_of_a_machine_that_is_given_back_go_by_their_policy() {
    for (policy, status) in [("fail: open,", 200), ("", 503)] {
        let group = some_or_return!(Cgroup::new(Some(ROOM), None));
        let origin = Origin::start();
        let proxy =
            holding(&origin, &group, 'Q', policy, "workers: 1\nlimits: { memory_shrink: 15%, memory_refuse: 20% }");
        let mut held = Vec::new();
        wait::until_true("a machine to be given back", || {
            let mut client = Client::connect(proxy.second);
            if client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").is_ok() {
                held.push(client);
            }
            thread::sleep(Duration::from_millis(2));
            given_back(&proxy) > 0.0
        });
        // The first was taken on, long before memory was short.
        assert_eq!(held[0].receive().status, status, "{policy}");
        wait::until_true("others to be served", || quiet(&proxy) == Some(200));
    }
}

/// A machine is told as soon as it is there, and what it grows by while the connection lives that it grew for.
#[test]
fn the_memory_of_a_filter_of_opaque_bytes_is_told_while_its_connections_live() {
    const PAGE: f64 = 65_536.0;
    let group = some_or_return!(Cgroup::new(Some(ROOM), None));
    let origin = Origin::start();
    let proxy = holding(&origin, &group, 'T', "", "workers: 1");
    let told = || proxy.metrics().sum("pillion_wasm_memory_bytes", &["filter=\"holds\""]);
    wait::until_true("its memory to be told before anybody came", || told() == 2.0 * PAGE);
    let mut client = TcpStream::connect(proxy.second).expect("it listens");
    client.write_all(b"GET /bytes/2 HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is let in");
    client.read_exact(&mut [0; 4096]).expect("an answer comes");
    assert_eq!(told(), 66.0 * PAGE, "beside the connection");
    drop(client);
}
