//! The `pillion` binary: a name for [`pillion::cli::main`], and the choice of allocator.

#![forbid(unsafe_code)]

use mimalloc::MiMalloc;
use pillion::{cli, plane::DataPlane};
use std::process::ExitCode;

/// Chosen by measurement: a request takes about a dozen short-lived allocations, two of them read buffers of 8 KiB,
/// for which glibc's malloc walks and consolidates free lists; and what a burst took is given back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    cli::main(DataPlane::default)
}
