//! The `pillion` binary: a name for [`pillion::cli::main`].

use pillion::{cli, passthrough::Passthrough};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(Passthrough::default)
}
