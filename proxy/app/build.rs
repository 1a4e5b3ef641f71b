//! The released program (`cargo static`) is laid out so that functions that run lie together: `functions.ld`, written by
//! `bench/function-order`, which says why. Other builds are for work on it, and linked as ever.
//!
//! A released program has no symbols, unless `PILLION_SYMBOLS` is set.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PILLION_SYMBOLS");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|known| known.split(',').any(|one| one == value));
    // The profile for profilers is one with debug information, and "release" too.
    let released = is("PROFILE", "release") && is("DEBUG", "false");
    if released && is("CARGO_CFG_TARGET_OS", "linux") && env::var_os("PILLION_SYMBOLS").is_none() {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_FEATURE", "crt-static") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo names the package's folder"));
        let order = folder.join("functions.ld");
        println!("cargo::rerun-if-changed={}", order.display());
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", order.display());
    }
}
