//! The released program (`cargo static`) is laid out so that functions that run lie together: `functions.ld`, written by
//! `bench/function-order`, which says why. Other builds are for work on it, and linked as ever.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=functions.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|known| known.split(',').any(|one| one == value));
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_FEATURE", "crt-static") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo names the package's folder"));
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", folder.join("functions.ld").display());
    }
}
