//! The program as others start it: its output, its end.

use pillion_bench::{
    load::{Held, Outcome},
    origin::Listening,
};
use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(options: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion-bench"));
        command.args(options.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line<T: serde::de::DeserializeOwned>(&mut self) -> T {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Ends its standard input and waits for it.
    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn an_outcome_is_one_line_of_json() {
    let mut origin = Running::start("origin --stop-with-stdin");
    let listening: Listening = origin.line();
    let mut load = Running::start(&format!(
        "load --json --target {} --protocol http1 --rate 50 --duration 0.5 --grace 30",
        listening.http1
    ));
    let outcome: Outcome = load.line();
    assert_eq!((outcome.requests, outcome.latency.count), (25, 25), "{outcome}");
    assert_eq!(outcome.latency.histogram().unwrap().len(), 25);
    load.end();
    origin.end();
}

#[test]
fn idle_connections_are_held_until_standard_input_ends() {
    let mut origin = Running::start("origin --stop-with-stdin");
    let listening: Listening = origin.line();
    for (protocol, target) in [("http1", listening.http1), ("http2", listening.http2)] {
        let mut load =
            Running::start(&format!("load --json --target {target} --protocol {protocol} --idle 40 --duration 600"));
        let held: Held = load.line();
        assert_eq!((held.open, held.closed_by_peer, held.errors.len()), (40, 0, 0), "{protocol}");
        drop(load.child.stdin.take());
        let held: Held = load.line();
        assert_eq!((held.open, held.closed_by_peer), (40, 0), "{protocol}");
        load.end();
    }
    // Those whose server goes away are told of.
    let options = format!("load --json --target {} --protocol http1 --idle 40 --duration 600", listening.http1);
    let mut load = Running::start(&options);
    let held: Held = load.line();
    assert_eq!(held.open, 40);
    origin.end();
    drop(load.child.stdin.take());
    let held: Held = load.line();
    assert_eq!((held.open, held.closed_by_peer), (0, 40));
    load.end();
}

#[test]
fn nothing_leaves_the_machine() {
    for options in ["load --target 192.0.2.1:80 --protocol http1 --duration 1", "origin --address 0.0.0.0"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion-bench"));
        let output = command.args(options.split_whitespace()).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("loopback"), "{options}: {told}");
    }
}
