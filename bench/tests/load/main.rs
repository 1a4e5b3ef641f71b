//! The generator and the origin against each other, and the generator against servers that misbehave.
//!
//! Where counts are asserted the loop is open: what is due is counted whenever it is answered, so that a machine under
//! load changes latencies and no result.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by it")]

mod certificates;
mod errors;
mod http2;
mod open_loop;
mod processes;
mod protocols;
mod scripted;

use clap::Parser;
use pillion_bench::{
    load::{self, Outcome},
    origin::{self, Origin},
};

#[derive(Debug, Parser)]
struct Load {
    #[command(flatten)]
    args: load::Args,
}

#[derive(Debug, Parser)]
struct Serve {
    #[command(flatten)]
    args: origin::Args,
}

/// Runs the generator with these options and, where they do not say, more patience than any machine needs.
fn load(options: &str) -> Outcome {
    let grace = if options.contains("--grace") { "" } else { " --grace 30" };
    let options = format!("load {options}{grace}");
    let words = options.split_whitespace();
    load::measure(&Load::try_parse_from(words).unwrap().args).unwrap()
}

fn origin(options: &str) -> Origin {
    let words = ["origin"].into_iter().chain(options.split_whitespace());
    Origin::start(&Serve::try_parse_from(words).unwrap().args).unwrap()
}

/// Every request that was due was answered as expected.
#[track_caller]
fn assert_all_good(outcome: &Outcome, requests: u64) {
    assert_eq!((outcome.requests, &outcome.errors), (requests, &Default::default()), "{outcome}");
    assert_eq!(outcome.latency.count, requests);
}
