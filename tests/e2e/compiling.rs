//! Modules that are compiled beside those who are served, in a container: nobody suffers for the memory that it takes.

use pillion_tests::{cgroup::Cgroup, client::Client, origin::Origin, proxy::Proxy, some_or_return, wait::SOON};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// What a request takes of the guest's memory: a filter that keeps much.
const GUEST: &str = r#"(module (memory (export "memory") 2)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.lt_u (memory.size) (i32.const 200)) (then (drop (memory.grow (i32.const 16)))))
    (memory.fill (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65536)) (i32.const 1) (i32.const 65536))
    (i32.const 0)))"#;

/// A module of so many statements in one function, which the compiler holds all at once: 145 MiB for 20,000.
fn large(statements: usize) -> Vec<u8> {
    let mut text = String::from(
        r#"(module (memory (export "memory") 2) (func (export "proxy_abi_version_0_2_1"))
           (func (export "malloc") (param i32) (result i32) (i32.const 65536))
           (func (export "f") (param $at i32) (param $by i32) (local $sum i32)"#,
    );
    for _ in 0..statements {
        let _ = text.write_str(
            "(local.set $sum (i32.add (i32.mul (local.get $by) (local.get $sum)) (i32.load (local.get $at))))
             (if (local.get $sum) (then (i32.store (local.get $at) (local.get $by))))",
        );
    }
    wat::parse_str(text + "))").expect("the module's text is right")
}

/// Puts a whole file in the place of another.
fn replace(path: &Path, module: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, module).expect("the directory can be written");
    fs::rename(new, path).expect("the directory can be written");
}

fn status(address: SocketAddr) -> Option<u16> {
    let mut client = Client::over(std::net::TcpStream::connect_timeout(&address, SOON).ok()?);
    client.try_send("GET /x HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    Some(client.try_receive("GET").ok()?.status)
}

#[test]
fn a_module_that_needs_more_memory_than_there_is_is_refused_and_nobody_suffers() {
    let group = some_or_return!(Cgroup::new(Some(112 << 20), None));
    let origin = Origin::start();
    let folder = pillion_tests::tempdir::TempDir::new();
    let module = folder.path().join("filter.wasm");
    replace(&module, &wat::parse_str(GUEST).expect("the guest's text is right"));
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n\
         - {{ name: web, address: {{listen}}, routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}\n\
         - {{ name: filtered, address: {{listen2}}, filters: [keeps], routes: [{{ match: {{ prefix: / }}, cluster: origin }}] }}\n\
         filters: [{{ name: keeps, wasm: {{ file: \"{}\" }} }}]\n\
         clusters: [{{ name: origin, endpoints: [\"{}\"] }}]\n",
        module.display(),
        origin.address
    );
    let mut proxy = Proxy::start_with(&yaml, |program| {
        let mut command = group.command(&program);
        command.env("PILLION_WASM_CACHE", folder.path().join("cache"));
        command
    });
    for _ in 0..20 {
        assert_eq!(status(proxy.second), Some(200));
    }
    replace(&module, &large(20_000));
    let reloaded = AtomicBool::new(false);
    let (answer, others) = thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut seen = Vec::new();
            while !reloaded.load(Ordering::Relaxed) {
                seen.extend([status(proxy.address), status(proxy.second)]);
            }
            seen
        });
        let answer = proxy.try_admin("POST", "/reload");
        reloaded.store(true, Ordering::Relaxed);
        (answer, clients.join().expect("the clients end"))
    });
    let answer = answer.unwrap_or_else(|error| {
        let (status, said) = proxy.stop();
        panic!("the proxy lives: {error}, {status}\n{said}")
    });
    let words = answer.text();
    assert_eq!(answer.status, 409, "{words}");
    assert!(words.contains("takes more memory than is left") && words.contains("PILLION_WASM_CACHE"), "{words}");
    let refused = others.iter().filter(|status| **status != Some(200)).count();
    assert_eq!((refused, others.len() > 2), (0, true), "of {}", others.len());
    let metrics = proxy.admin_get("/metrics").text();
    assert!(!metrics.lines().any(|line| line.contains("wasm_failures_total{") && !line.ends_with(" 0")), "{metrics}");
    assert!(proxy.ended().is_none());
    assert_eq!((status(proxy.second), status(proxy.address)), (Some(200), Some(200)));
}
