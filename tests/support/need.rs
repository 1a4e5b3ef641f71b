//! What a test needs from the machine, and what happens where it is missing.
//!
//! Missing peers skip a test loudly: a line on standard error that the test harness does not swallow, and a line in
//! `$PILLION_SKIPPED` for the gate's summary. With `CI=true` the test fails instead, so that nothing is skipped for good.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
};

/// Says that the current test does not run, and why. Panics where `CI=true`.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(env::var("CI").as_deref() != Ok("true"), "{test} needs what this machine lacks: {reason}");
    let line = format!("SKIPPED {test}: {reason}\n");
    // Not `eprintln!`: the harness would swallow it when the test passes.
    drop(io::stderr().write_all(line.as_bytes()));
    if let Some(path) = env::var_os("PILLION_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }
}

/// The path of a program, or a loud skip.
#[must_use]
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("no `{name}`; install it with `apt-get install {package}`"));
    }
    found
}

/// Returns from the test where the machine lacks something: `let nginx = some_or_return!(need::program(…));`
#[macro_export]
macro_rules! some_or_return {
    ($option:expr) => {
        match $option {
            Some(value) => value,
            None => return,
        }
    };
}
