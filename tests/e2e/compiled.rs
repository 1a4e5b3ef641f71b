//! What is left of a module that was being compiled when the proxy went: nothing that runs on, and no file for long.

use pillion_tests::{
    origin::Origin,
    proxy::{Proxy, Shape},
    tempdir::TempDir,
    wait::{self, SOON},
};
use rustix::process::Signal;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// What the large guest takes at least, on any machine and unoptimised.
const COMPILES: Duration = Duration::from_secs(10);

const ABI: &str = r#"(module (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32) (i32.const 8))"#;

fn small() -> Vec<u8> {
    wat::parse_str(format!("{ABI})")).expect("the guest's text is right")
}

/// A guest whose code takes long to compile.
fn large() -> Vec<u8> {
    let mut text = ABI.to_owned();
    for number in 0..4000 {
        text.push_str("(func (param i32) (result i32) (local.get 0)");
        for step in 0..50 {
            let branch = format!("(if (result i32) (local.get 0) (then (i32.const {step})) (else (i32.const 2)))");
            write!(text, "(i32.const {})(i32.mul){branch}(i32.add)", number + step).expect("a String takes everything");
        }
        text.push(')');
    }
    text.push(')');
    wat::parse_str(text).expect("the guest's text is right")
}

fn spawn(yaml: &str, cache: &Path) -> Proxy {
    Proxy::spawn(yaml, |program| {
        let mut command = Command::new(program);
        command.env("PILLION_WASM_CACHE", cache);
        command
    })
}

/// The process's child that compiles, once it has what it compiles.
fn compiler(of: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let others = fs::read_dir(format!("/proc/{of}/task")).ok()?.flatten();
    let of_others = others.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
    let mut all = children.split_whitespace().chain(of_others.split_whitespace()).filter_map(|pid| pid.parse().ok());
    all.find(|pid| is_compiler(*pid) && resident(*pid) > 30 << 20)
}

fn is_compiler(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("__compile-wasm"))
}

fn resident(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0u64) * 4096
}

/// What is being written there.
fn begun(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "new")).collect()
}

#[test]
fn a_proxy_that_ends_while_it_compiles_leaves_nobody_who_does() {
    let (origin, cache) = (Origin::start(), TempDir::new());
    let module = cache.path().join("large.wasm");
    fs::write(&module, large()).expect("a file in a temporary directory");
    let cache = cache.path().join("cache");
    let top = format!("filters:\n  - {{ name: large, wasm: {{ file: {module:?} }} }}\n");
    let yaml = Shape { top: &top, route: "filters: [large]\n", ..Shape::default() }.yaml(&[origin.address]);
    for signal in [Signal::TERM, Signal::KILL] {
        let mut proxy = spawn(&yaml, &cache);
        let compiler = wait::until("a child that compiles", SOON, || compiler(proxy.pid()));
        let written = begun(&cache);
        assert_eq!(written.len(), 1, "what the one before left is gone: {written:?}");
        let begun = Instant::now();
        proxy.signal(signal);
        assert_eq!(proxy.wait(SOON).success(), signal == Signal::TERM, "{}", proxy.stderr());
        wait::until_true("the child's end", || !is_compiler(compiler));
        assert!(begun.elapsed() < COMPILES / 2, "it ended by itself: {:?}", begun.elapsed());
    }
    fs::write(&module, small()).expect("a file in a temporary directory");
    let mut proxy = spawn(&yaml, &cache);
    proxy.await_ready().expect("it becomes ready");
    assert_eq!(begun(&cache), Vec::<PathBuf>::new());
}
