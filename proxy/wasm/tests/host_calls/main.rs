//! Guests that call any host function with anything: the fuzz target `host_calls` on programs that are the same each time,
//! so that it runs with every test, without a fuzzer.
//!
//! `PILLION_HOST_CALLS=100000 cargo test -p pillion-wasm --test host_calls` runs so many.

#![allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

#[path = "../../fuzz/fuzz_targets/guest.rs"]
mod guest;
#[path = "../../fuzz/fuzz_targets/judge.rs"]
mod judge;
#[path = "../../fuzz/fuzz_targets/world.rs"]
mod world;

use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Programs run where nothing else is asked for: a few seconds.
const PROGRAMS: u32 = 200;

/// Programs that found something once.
const FOUND: &[&[u8]] = &[
    // A filter holds back the body of the answer to a timeout.
    &[62, 255, 0, 255, 0, 255, 1, 255, 0, 255, 1],
    // A filter answers twice, at the end of a request that it held.
    &[43, 255, 255, 255, 255, 255, 2, 255, 154, 202, 117, 125, 109, 10, 10, 215],
    // A filter answers for a request's body while its response is read.
    &[
        26, 254, 255, 252, 255, 252, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 79, 255, 0, 0, 226, 0,
        247, 255, 255, 255, 255, 255, 255, 0, 255, 255, 68, 117, 16, 16, 68, 2, 0, 0, 0, 1, 0, 10, 0, 117, 16, 0, 0, 0,
    ],
];

#[test]
fn what_was_found_once_is_not_there_again() {
    for program in FOUND {
        judge::judge(program);
    }
}

#[test]
fn whatever_a_guest_calls_the_host_holds() {
    let cases = std::env::var("PILLION_HOST_CALLS").map_or(PROGRAMS, |many| many.parse().expect("a number"));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(&vec(any::<u8>(), 0..512), |program| {
        judge::judge(&program);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}
