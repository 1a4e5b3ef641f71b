//! The proxy-wasm host: unmodified filters on wasmtime, bounded in time and memory.
//!
//! ```text
//!  model ─► loader ─► artefact (compiled by a child, cached, authenticated) ─► module (checked, linked) ─► trial
//!                                                                                                          │
//!     core's Factory ◄── filter ◄───────────────────────────────────────────────────────────────────────────┘
//!        └─► Instance (worker): a Seat in a Slot's machine ─► Filter (stream): a context in that machine
//!
//!  guest ◄─ callbacks ─ vm::Machine ─ host functions ─► core's Stream, Services; shared (data, queues, metrics)
//! ```
//!
//! ABI 0.1.0, 0.2.0 and 0.2.1, HTTP and TCP, chosen by the module's marker. Where Envoy and the specification differ,
//! Envoy is followed, since filters were written against it; its crashes are not.
//!
//! The parts, in the order a filter meets them: [`loader`], [`artefact`], [`module`], [`vm`] (one instance: its start,
//! its callbacks, its death), [`host`] (what a guest can call), [`worker`] (which machines there are, and when they are
//! started again), [`filter`] (the seam). Beside them: [`abi`] (numbers and encodings), [`cel`] (expressions), [`engine`] and
//! [`ticker`] (one of each for the process, made with the first filter), [`shared`], [`calls`], [`census`], [`metrics`],
//! [`plugin`].
//!
//! What is not trusted: everything a guest gives. Pointers and lengths are checked with sums of 64 bits; what a host
//! function copies, holds or works on is bounded, since it cannot be interrupted; a callback is interrupted at its time
//! limit; memory grows to a limit; what fails is one machine, never the proxy.

pub mod abi;
pub mod artefact;
pub mod calls;
pub mod cel;
pub mod census;
pub mod engine;
pub mod filter;
pub mod host;
pub mod loader;
pub mod metrics;
pub mod module;
pub mod plugin;
pub mod shared;
pub mod ticker;
pub mod vm;
pub mod worker;

pub use artefact::{Compiler, Directory, compile_main};
pub use loader::{Fault, Fetch, Fetching, WasmLoader};
