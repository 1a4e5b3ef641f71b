//! The `pillion` binary: a name for [`pillion::cli::main`].

use pillion::{cli, plane::DataPlane};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(DataPlane::default)
}
