//! Filters whose module is fetched: what is waited for, and for how long; what a reload does meanwhile; what the cache is for.

use aws_lc_rs::digest::{SHA256, digest};
use pillion_tests::{
    origin::Origin,
    port,
    proxy::{Proxy, Shape},
    tempdir::TempDir,
    wait::{self, SOON},
};
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A guest that does nothing; the number makes it another one.
fn guest(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{number}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#
    );
    wat::parse_str(text).expect("the guest's text is right")
}

fn sha256(module: &[u8]) -> String {
    digest(&SHA256, module).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn filter(address: SocketAddr, module: &[u8]) -> String {
    let sha256 = sha256(module);
    format!(
        "filters:\n  - {{ name: far, wasm: {{ url: 'http://{address}/m.wasm', sha256: {sha256}, fetch_retry_for: 30s }} }}\n"
    )
}

fn yaml(origin: &Origin, filter: &str) -> String {
    let route = if filter.is_empty() { "" } else { "filters: [far]\n" };
    Shape { top: filter, route, ..Shape::default() }.yaml(&[origin.address])
}

/// Gives this module to whoever asks, for as long as the test runs.
fn serve(address: SocketAddr, module: Vec<u8>) {
    let listener = TcpListener::bind(address).expect("the port is still free");
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client");
            let mut request = [0; 4096];
            if socket.read(&mut request).is_ok_and(|read| read > 0) {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", module.len());
                // Whoever asked may have gone.
                socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&module)).ok();
            }
        }
    });
}

fn spawn(yaml: &str, cache: &TempDir) -> Proxy {
    let cache = cache.path().join("cache");
    Proxy::spawn(yaml, |program| {
        let mut command = Command::new(program);
        command.env("PILLION_WASM_CACHE", &cache);
        command
    })
}

fn ready(proxy: &Proxy) -> (u16, String) {
    proxy.try_admin("GET", "/ready").map_or((0, String::new()), |answer| (answer.status, answer.text()))
}

fn fetches(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metrics().sum("pillion_wasm_fetches_total", &[&format!("outcome=\"{outcome}\"")])
}

#[test]
fn a_start_waits_for_a_server_that_comes_late_and_needs_none_once_it_has_the_module() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let yaml = yaml(&origin, &filter(address, &guest(0)));
    let mut proxy = spawn(&yaml, &cache);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("cannot fetch"));
    // Longer than the attempts of a reload.
    thread::sleep(Duration::from_millis(2500));
    let (status, words) = ready(&proxy);
    assert_eq!(status, 503, "{words}");
    let line = words.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with(&format!("filter far: cannot fetch http://{address}/m.wasm: ")), "{words}");
    assert!(line.contains("the start waits for it"), "{words}");
    assert_eq!(proxy.admin_get("/livez").status, 200);
    serve(address, guest(0));
    proxy.await_ready().expect("it starts once the module is there");
    assert_eq!(ready(&proxy).1, "LIVE\n");
    assert_eq!(fetches(&proxy, "success"), 1.0);
    assert!(fetches(&proxy, "failure") >= 3.0);
    assert_eq!(proxy.stderr().matches("cannot fetch the module").count(), 1, "{}", proxy.stderr());
    proxy.assert_healthy();
    drop(proxy);

    // The same from elsewhere, where nobody is.
    let yaml = yaml.replace(&address.to_string(), &port::free().to_string());
    let mut proxy = spawn(&yaml, &cache);
    proxy.await_ready().expect("what is in the cache needs no server");
    assert_eq!((fetches(&proxy, "cached"), fetches(&proxy, "failure")), (1.0, 0.0));
    let told = format!("wasm filter loaded filter=far sha256={}\n", sha256(&guest(0)));
    assert!(proxy.stderr().contains(&told), "which bytes run is told: {}", proxy.stderr());
}

/// As the receiver of a queue and who fills it: the second looks for the queue as it is configured.
#[test]
fn filters_start_in_their_order_whichever_module_is_there_first() {
    let guest = |function: &str, arguments: &str| {
        let text = format!(
            r#"(module (import "env" "proxy_{function}" (func $queue (param {params}) (result i32)))
                (memory (export "memory") 1) (data (i32.const 16) "vq")
                (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 8))
                (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.eqz (call $queue {arguments}))))"#,
            params = "i32 ".repeat(arguments.matches("i32").count()),
        );
        wat::parse_str(text).expect("the guest's text is right")
    };
    let registers = guest("register_shared_queue", "(i32.const 17) (i32.const 1) (i32.const 32)");
    let resolves =
        guest("resolve_shared_queue", "(i32.const 16) (i32.const 1) (i32.const 17) (i32.const 1) (i32.const 32)");
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let file = cache.path().join("resolves.wasm");
    std::fs::write(&file, resolves).expect("a file");
    let filters = format!(
        "filters:\n  - {{ name: far, wasm: {{ vm_id: v, url: 'http://{address}/m.wasm', sha256: {}, fetch_retry_for: 30s }} }}\n  \
         - {{ name: near, wasm: {{ vm_id: v, file: {} }} }}\n",
        sha256(&registers),
        file.display()
    );
    let yaml = Shape { top: &filters, route: "filters: [far, near]\n", ..Shape::default() }.yaml(&[origin.address]);
    let mut proxy = spawn(&yaml, &cache);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("cannot fetch"));
    serve(address, registers);
    proxy.await_ready().expect("the second finds what the first made");
    proxy.assert_healthy();
}

#[test]
fn a_signal_ends_the_wait_at_once() {
    let (origin, cache) = (Origin::start(), TempDir::new());
    let mut proxy = spawn(&yaml(&origin, &filter(port::free(), &guest(0))), &cache);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("cannot fetch"));
    let begun = Instant::now();
    proxy.signal(Signal::TERM);
    assert!(proxy.wait(SOON).success(), "{}", proxy.stderr());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_start_that_waited_long_enough_says_for_what() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let filter = filter(address, &guest(0)).replace("30s", "1s");
    let mut proxy = spawn(&yaml(&origin, &filter), &cache);
    assert_eq!(proxy.wait(SOON).code(), Some(1));
    let words = proxy.stderr();
    let line = words.lines().find(|line| line.contains(": filters[0]: filter far: ")).unwrap_or_default();
    for part in [&*format!("http://{address}/m.wasm: "), "refused", " attempts in 1 s)", "fetch_retry_for"] {
        assert!(line.contains(part), "{part} is not in {words}");
    }
}

#[test]
fn another_module_than_the_one_that_was_wanted_is_not_waited_for() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    serve(address, guest(1));
    let begun = Instant::now();
    let mut proxy = spawn(&yaml(&origin, &filter(address, &guest(0))), &cache);
    assert_eq!(proxy.wait(SOON).code(), Some(1));
    assert!(proxy.stderr().contains("its SHA-256 is"), "{}", proxy.stderr());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    let proxy = Proxy::start(&yaml_without(&origin));
    proxy.replace_config(&yaml(&origin, &filter(address, &guest(0))));
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"rejected\""], |count| count == 1.0);
    assert!(!proxy.stderr().contains("is tried again"), "{}", proxy.stderr());
    assert_eq!(ready(&proxy), (200, "LIVE\n".to_owned()));
}

fn yaml_without(origin: &Origin) -> String {
    yaml(origin, "")
}

#[test]
fn a_reload_that_cannot_fetch_leaves_what_was_and_comes_into_force_when_it_can() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let mut proxy = spawn(&yaml_without(&origin), &cache);
    proxy.await_ready().expect("the proxy becomes ready");
    proxy.replace_config(&yaml(&origin, &filter(address, &guest(0))));
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"rejected\""], |count| count == 1.0);
    proxy.await_metric("pillion_config_last_reload_success", &[], |value| value == 0.0);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("is not in force"));
    let (status, words) = ready(&proxy);
    assert_eq!(status, 200, "what was serves: {words}");
    // Who asks is told, and is counted as who asked.
    let answer = proxy.admin_post("/reload");
    assert!(answer.status != 200 && answer.text().contains("tried again until it is there"), "{}", answer.text());
    thread::sleep(Duration::from_secs(2));
    assert_eq!(proxy.metrics().sum("pillion_config_reloads_total", &["outcome=\"rejected\""]), 2.0);
    assert_eq!(proxy.stderr().matches(": filters[0]: filter far: ").count(), 2, "{}", proxy.stderr());
    proxy.assert_healthy();

    serve(address, guest(0));
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"applied\""], |count| count == 1.0);
    proxy.await_metric("pillion_config_last_reload_success", &[], |value| value == 1.0);
    assert_eq!(ready(&proxy), (200, "LIVE\n".to_owned()));
    proxy.await_metric("pillion_wasm_machines", &["filter=\"far\""], |machines| machines == 1.0);
    assert_eq!(fetches(&proxy, "success"), 1.0);
    proxy.assert_healthy();
}

#[test]
fn a_newer_configuration_ends_the_wait_of_a_reload() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let mut proxy = spawn(&yaml_without(&origin), &cache);
    proxy.await_ready().expect("the proxy becomes ready");
    proxy.replace_config(&yaml(&origin, &filter(address, &guest(0))));
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("is not in force"));
    proxy.await_metric("pillion_config_reloads_total", &["outcome=\"rejected\""], |count| count == 1.0);
    proxy.replace_config(&yaml_without(&origin));
    proxy.await_metric("pillion_config_last_reload_success", &[], |value| value == 1.0);
    assert_eq!(ready(&proxy), (200, "LIVE\n".to_owned()));
    let failures = fetches(&proxy, "failure");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(fetches(&proxy, "failure"), failures, "nobody asks any more");
}

#[test]
fn a_configuration_that_is_read_again_while_a_start_waits() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let mut proxy = spawn(&yaml(&origin, &filter(address, &guest(0))), &cache);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("cannot fetch"));
    // Who asks for it is not kept until the start is through.
    let begun = Instant::now();
    let answer = proxy.try_admin("POST", "/reload").expect("an answer");
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("starts with it once the modules of its filters are loaded: see /ready"));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    proxy.replace_config("listeners: [nonsense\n");
    proxy.signal(Signal::HUP);
    wait::until_true("a word on what is wrong", || proxy.stderr().contains("pillion.yaml:"));
    assert!(ready(&proxy).1.contains("the start waits for it"), "what cannot be read changes nothing");
    proxy.replace_config(&yaml_without(&origin));
    proxy.signal(Signal::HUP);
    proxy.await_ready().expect("nothing is waited for any more");
    assert_eq!(ready(&proxy), (200, "LIVE\n".to_owned()));
    proxy.assert_healthy();
}

#[test]
fn a_file_that_is_corrected_while_a_start_waits_is_taken() {
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let mut proxy = spawn(&yaml(&origin, &filter(address, &guest(0))), &cache);
    wait::until_true("a word on what is waited for", || ready(&proxy).1.contains("cannot fetch"));
    proxy.replace_config("listeners: [nonsense\n");
    wait::until_true("a word on what is wrong", || proxy.stderr().contains("pillion.yaml:"));
    assert!(ready(&proxy).1.contains("the start waits for it"), "what cannot be read changes nothing");
    proxy.replace_config(&yaml_without(&origin));
    proxy.await_ready().expect("nothing is waited for any more");
    assert_eq!(ready(&proxy), (200, "LIVE\n".to_owned()));
    proxy.assert_healthy();
}

/// Answers 404 to whoever asks, when told to; counts them.
fn refuse(address: SocketAddr, after: Duration) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(address).expect("the port is still free");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a client");
            if socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(after);
                // Whoever asked may have gone.
                socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
            }
        }
    });
    asked
}

/// The file's change, a signal that tells of it, and who asks for the same: one fetch, be it over by then or under way.
#[test]
fn a_change_that_several_notice_is_fetched_once() {
    let origin = Origin::start();
    for after in [Duration::ZERO, Duration::from_secs(2)] {
        let (cache, address) = (TempDir::new(), port::free());
        let mut proxy = spawn(&yaml_without(&origin), &cache);
        proxy.await_ready().expect("the proxy becomes ready");
        let asked = refuse(address, after);
        proxy.replace_config(&yaml(&origin, &filter(address, &guest(0))));
        proxy.signal(Signal::HUP);
        proxy.await_metric("pillion_config_reloads_total", &["outcome=\"rejected\""], |count| count == 1.0);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "after {after:?}");
        assert_eq!(proxy.stderr().matches("answered 404").count(), 1, "{}", proxy.stderr());
        // Who asks again is answered anew.
        assert_eq!(proxy.admin_post("/reload").status, 409);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
    // A file that was written just before is read once more, which begins nothing anew.
    let (cache, address) = (TempDir::new(), port::free());
    let asked = refuse(address, Duration::from_secs(2));
    let mut proxy = spawn(&yaml(&origin, &filter(address, &guest(0))), &cache);
    wait::until_true("an attempt", || asked.load(Ordering::Relaxed) == 1);
    proxy.signal(Signal::HUP);
    assert_eq!(proxy.wait(SOON).code(), Some(1));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// Modules of several filters are asked for at the same time, and of no more than four.
#[test]
fn several_modules_are_fetched_at_the_same_time() {
    const FILTERS: u32 = 6;
    let (origin, cache, address) = (Origin::start(), TempDir::new(), port::free());
    let listener = TcpListener::bind(address).expect("the port is still free");
    // Those that are asked for and not answered, and the most there were.
    let open = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counted = Arc::clone(&open);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, open) = (socket.expect("a client"), Arc::clone(&counted));
            thread::spawn(move || {
                let mut request = [0; 4096];
                let read = socket.read(&mut request).expect("a request");
                let path = String::from_utf8_lossy(&request[..read]);
                let number = path.trim_start_matches("GET /").split('.').next().and_then(|number| number.parse().ok());
                let module = guest(number.expect("a number"));
                open.1.fetch_max(open.0.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(500));
                open.0.fetch_sub(1, Ordering::SeqCst);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", module.len());
                socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&module)).expect("it is taken");
            });
        }
    });
    let one = |number: u32| {
        let line = filter(address, &guest(number)).replace("m.wasm", &format!("{number}.wasm"));
        line.replace("filters:\n", "").replace("name: far", &format!("name: far{number}"))
    };
    let top = format!("filters:\n{}", (0..FILTERS).map(one).collect::<String>());
    let mut proxy = spawn(&Shape { top: &top, ..Shape::default() }.yaml(&[origin.address]), &cache);
    proxy.await_ready().expect("it becomes ready");
    assert_eq!(open.1.load(Ordering::SeqCst), 4);
    assert_eq!(fetches(&proxy, "success"), f64::from(FILTERS));
}
