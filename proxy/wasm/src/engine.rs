//! The engine: how modules are compiled and run. One for the process, made when the first wasm filter is.
//!
//! Workers hold no compiler: theirs is the engine of [`runtime`], which only loads what [`compile`] made in another
//! process. Both are configured by [`config`], so that what one makes the other takes.

use crate::ticker::Ticker;
use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
};
use wasmtime::{Config, OptLevel};

/// Bytes of a worker's own stack that a guest's frames may use. A worker's stack must be larger by what host functions
/// and the request path need.
///
/// Guests keep what they take addresses of in linear memory. A MiB of frames is what V8 gives in Envoy: a parser that recurses
/// goes as deep into a client's JSON.
pub const GUEST_STACK: usize = 1024 * 1024;

/// Frames of a guest's backtrace that are kept.
const FRAMES: usize = 24;

/// The engine, and the clock that interrupts what runs too long.
#[derive(Clone)]
pub struct Runtime {
    /// The engine. Its clones are the same.
    pub engine: wasmtime::Engine,
    /// Shared by all workers: each machine says when it enters its guest, one thread counts the time.
    pub ticker: Arc<Ticker>,
}

/// The process's engine, made now if it was not before.
///
/// # Errors
///
/// When this machine cannot run it: wasmtime says why.
pub fn runtime() -> Result<&'static Runtime, EngineError> {
    static RUNTIME: OnceLock<Result<Runtime, EngineError>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let mut config = config();
        config.enable_compiler(false);
        let engine = wasmtime::Engine::new(&config).map_err(|error| EngineError(format!("{error:#}")))?;
        let ticker = Ticker::new(engine.clone());
        Ok(Runtime { engine, ticker })
    });
    made.as_ref().map_err(Clone::clone)
}

/// The engine cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the wasm engine does not run on this machine: {0}")]
pub struct EngineError(String);

/// Compiles a module for engines of [`runtime`] in this process, on this thread: for the short-lived child and for
/// tests.
///
/// # Errors
///
/// What is wrong with the module, in wasmtime's words.
pub fn compile(module: &[u8]) -> Result<Vec<u8>, String> {
    let engine = wasmtime::Engine::new(&config()).map_err(|error| format!("{error:#}"))?;
    engine.precompile_module(module).map_err(|error| format!("{error:#}"))
}

/// One reason for each switch that is not wasmtime's own default.
fn config() -> Config {
    let mut config = Config::new();
    // A guest's callback is bounded in time: compiled code looks at the epoch at loop heads and function entries.
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES));
    // Compiled once and run a million times.
    config.cranelift_opt_level(OptLevel::Speed);
    // Backtraces name functions, which the name section tells; offsets within them are a third of an artefact's size.
    config.generate_address_map(false);
    // For unwinders outside the process; wasmtime's own needs none, and registering it takes time at each load.
    config.native_unwind_info(false);
    config
}
