//! The head-to-head scenarios.

use std::error::Error;

/// What `pillion-bench compare` takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the scenarios.
pub fn run(_args: &Args) -> Result<(), Box<dyn Error>> {
    Ok(())
}
