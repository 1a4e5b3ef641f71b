//! What the host costs by itself: loading, starting, entering a guest, a host function.
//!
//! `cargo bench -p pillion-wasm --bench host`. Each figure is given for the least guest there can be and for a real one,
//! `filters/prebuilt/header-policy.wasm`, 216 KB made with the Rust SDK. With `PILLION_BENCH_WASM=FILE` that file takes the
//! real one's place; it is configured with `PILLION_BENCH_CONFIGURATION`.

use bytes::Bytes;
use divan::Bencher;
use pillion_config::model::{AllowedCapabilities, AllowedClusters, FailPolicy, Name, WasmLimits};
use pillion_wasm::{
    Compiler, Directory,
    artefact::{Wanted, module, sha256},
    engine,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Shared,
    vm::{Machine, Starts},
};
use std::{rc::Rc, sync::Arc, time::Duration};

fn main() {
    divan::main();
}

/// The least guest: a tick that does nothing, one host call for `proxy_on_queue_ready`.
const LEAST: &str = r#"(module
    (import "env" "proxy_get_log_level" (func $level (param i32) (result i32)))
    (memory (export "memory") 17)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "proxy_on_tick") (param i32))
    (func (export "proxy_on_queue_ready") (param i32 i32) (drop (call $level (i32.const 0)))))"#;

/// Which module.
#[derive(Debug, Clone, Copy)]
enum Guest {
    Least,
    Real,
}

const GUESTS: [Guest; 2] = [Guest::Least, Guest::Real];

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters/prebuilt/header-policy.wasm");

impl Guest {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Least => wat::parse_str(LEAST).expect("text of ours"),
            Self::Real => {
                let path = std::env::var_os("PILLION_BENCH_WASM").unwrap_or_else(|| REAL.into());
                std::fs::read(path).expect("the module is there")
            }
        }
    }

    fn linked(self) -> Module {
        let (bytes, runtime) = (self.bytes(), engine::runtime().expect("an engine"));
        let compiled = module(runtime, &directory(), &Compiler::Here, &bytes, &sha256(&bytes), &|| Wanted::Yes)
            .expect("it compiles");
        Module::link(runtime, &compiled, &AllowedCapabilities::All).expect("it links")
    }
}

fn directory() -> Directory {
    Directory::open(&[std::env::temp_dir().join("pillion-wasm-bench")])
}

fn plugin() -> Arc<Plugin> {
    Arc::new(Plugin {
        name: Name("bench".into()),
        root_id: String::new(),
        configuration: Bytes::from(std::env::var("PILLION_BENCH_CONFIGURATION").unwrap_or_else(|_| "{}".to_owned())),
        allowed_clusters: AllowedClusters::All,
        limits: WasmLimits {
            callback: Duration::from_secs(1),
            start: Duration::from_secs(5),
            memory: 64 << 20,
            calls: 10,
            call_response: 1 << 20,
            restarts: 30,
            log_lines: 1000,
        },
        fail: FailPolicy::Closed,
        allow_on_headers_stop_iteration: false,
    })
}

fn started(module: &Module) -> (Rc<Machine>, u32) {
    let spec = Arc::new(MachineSpec { memory: 64 << 20, shared: Arc::<Shared>::default(), ..MachineSpec::default() });
    let runtime = engine::runtime().expect("an engine");
    let (machine, _) =
        Machine::start(runtime, module, &spec, Duration::from_secs(5), &Starts::ToServe).expect("it starts");
    let root = machine.add_root(&plugin(), None).expect("it is configured");
    (machine, root)
}

/// artefact on disk ─► MAC ─► mapped ─► linked. Target: 5 ms for 150 KB.
#[divan::bench(args = GUESTS)]
fn load_of_a_cached_module(bencher: Bencher<'_, '_>, guest: Guest) {
    let (bytes, runtime, directory) = (guest.bytes(), engine::runtime().expect("an engine"), directory());
    guest.linked();
    bencher.bench_local(|| {
        let compiled = module(runtime, &directory, &Compiler::Here, &bytes, &sha256(&bytes), &|| Wanted::Yes)
            .expect("it is cached");
        Module::link(runtime, &compiled, &AllowedCapabilities::All).expect("it links")
    });
}

/// module ─► instance, started and configured. Target: 100 µs.
#[divan::bench(args = GUESTS)]
fn instance(bencher: Bencher<'_, '_>, guest: Guest) {
    let module = guest.linked();
    bencher.bench_local(|| started(&module));
}

/// The same, and its end: what a restart takes.
#[divan::bench(args = GUESTS)]
fn instance_and_its_end(bencher: Bencher<'_, '_>, guest: Guest) {
    let module = guest.linked();
    bencher.bench_local(|| drop(started(&module)));
}

/// host ─► guest ─► host: an empty callback.
#[divan::bench(args = GUESTS)]
fn entry_of_an_empty_callback(bencher: Bencher<'_, '_>, guest: Guest) {
    let (machine, root) = started(&guest.linked());
    bencher.bench_local(|| machine.tick(root));
}

/// host ─► guest ─► host function ─► guest ─► host.
#[divan::bench]
fn entry_with_a_host_function(bencher: Bencher<'_, '_>) {
    let (machine, root) = started(&Guest::Least.linked());
    bencher.bench_local(|| machine.queue_ready(root, 1));
}
