//! The program: reads the command line, runs one of the parts, prints what went wrong.

use clap::Parser;
use pillion_bench::{
    compare::{self, measure::interrupt},
    flood, instructions, load, origin, resident, say,
};
use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

/// Measures Pillion, and others beside it, on this machine's loopback.
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    /// Run the scenarios against Pillion, Envoy, nginx and HAProxy, and write the report
    Compare(compare::Args),
    /// Send requests to a server and print what came of them
    Load(Box<load::Args>),
    /// Serve answers that cost as little as possible
    Origin(origin::Args),
    /// Flood the proxy with TLS handshakes, and tell what that does to connections that live
    Flood(flood::Args),
    /// Count the instructions that a request costs the proxy
    Instructions(instructions::Args),
    /// Tell what of the proxy is resident at rest, and fail above a bound
    Resident(resident::Args),
}

fn main() -> ExitCode {
    let done: Result<(), Box<dyn Error>> = match Command::parse() {
        Command::Compare(args) => compare::run(&args),
        Command::Load(args) => load::run(&args).map_err(Into::into),
        Command::Origin(args) => origin::run(&args).map_err(Into::into),
        Command::Flood(args) => flood::run(&args),
        Command::Instructions(args) => instructions::run(&args).map_err(Into::into),
        Command::Resident(args) => resident::run(&args).map_err(Into::into),
    };
    let lost = say::lost().map(|error| format!("standard output: {error}"));
    let failed = done.err().map(|error| error.to_string()).or(lost);
    if let Some(error) = &failed {
        drop(writeln!(io::stderr(), "pillion-bench: {error}"));
    }
    match (interrupt::signal(), failed) {
        // As a shell tells it of who dies of a signal.
        (Some(signal), _) => ExitCode::from(128 + signal),
        (None, Some(_)) => ExitCode::FAILURE,
        (None, None) => ExitCode::SUCCESS,
    }
}
