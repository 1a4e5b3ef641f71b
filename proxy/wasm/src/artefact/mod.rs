//! Compiled modules: made by a short-lived child, kept in a private directory, mapped by the process.
//!
//! ```text
//!  module bytes ─► name (SHA-256 of content, wasmtime's version, the CPU's features)
//!       ├─ in the cache, MAC right, taken by the engine ─► mapped
//!       └─ else: child process compiles into a new file ─► MAC ─► kept ─► mapped
//! ```
//!
//! Whoever can change an artefact can run code in the proxy: the directory is the user's own and closed to others, and
//! every artefact is authenticated by a key that lies beside it and is readable to the user alone, so that a file put
//! there by a restore, a shared volume or another tool is compiled anew and never run.

mod child;
mod compiler;
mod directory;
mod unfinished;

pub use child::{Spare, Wanted};
pub use compiler::{CompileError, Compiler, MEMORY, compile_main, leave_room};
pub use directory::Directory;
pub use unfinished::Kept;

use crate::engine::Runtime;
use aws_lc_rs::digest::{SHA256, digest};
use std::{
    fs::File,
    hash::{Hash, Hasher},
    io::Read,
    path::PathBuf,
};

/// Part of every name; changed with whatever makes older artefacts unfit that wasmtime does not check.
const FORMAT: &str = "pillion-1";

/// The digest of a module's bytes.
#[must_use]
pub fn sha256(module: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, module).as_ref());
    out
}

/// In hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Under which name the artefact of a module is kept.
fn name(module: &[u8; 32]) -> String {
    let parts = format!("{FORMAT}\n{}\n{}\n{}", wasmtime_version(), features(), hex(module));
    hex(&sha256(parts.as_bytes())[..16])
}

/// The engine's version in full: it would itself take artefacts of any with the same first number, though a later one may
/// have mended what the compiler got wrong.
fn wasmtime_version() -> String {
    let mut version = Bytes(Vec::new());
    wasmtime::ModuleVersionStrategy::WasmtimeVersion.hash(&mut version);
    hex(&version.0)
}

/// Keeps what it is given.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// The features of the CPU that compiled code may use: a directory may be shared by machines of different kinds.
fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! have {
            ($($feature:tt),*) => {
                [$(($feature, std::arch::is_x86_feature_detected!($feature)),)*]
            };
        }
        let known = have!(
            "sse3",
            "ssse3",
            "sse4.1",
            "sse4.2",
            "popcnt",
            "avx",
            "avx2",
            "bmi1",
            "bmi2",
            "lzcnt",
            "fma",
            "avx512f",
            "avx512vl",
            "avx512dq",
            "avx512bitalg",
            "avx512vbmi",
            "cmpxchg16b"
        );
        let have = known.into_iter().filter_map(|(name, there)| there.then_some(name));
        have.collect::<Vec<_>>().join(",")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // The engine checks the rest when it takes the artefact.
        std::env::consts::ARCH.to_owned()
    }
}

/// A compiled module from the cache, for the module of this digest. Blocks: for a thread of its own.
#[must_use]
pub fn kept(runtime: &Runtime, directory: &Directory, digest: &[u8; 32]) -> Option<wasmtime::Module> {
    take(runtime, directory.find(&name(digest))?).ok()
}

/// A compiled module for this module's bytes, from the cache or made now, for as long as it is `wanted`. Blocks: for a thread of its own.
///
/// # Errors
///
/// What is wrong with the module, or why it cannot be compiled here.
pub fn module(
    runtime: &Runtime,
    directory: &Directory,
    compiler: &Compiler,
    bytes: &[u8],
    digest: &[u8; 32],
    wanted: &dyn Fn() -> Wanted,
) -> Result<wasmtime::Module, CompileError> {
    if let Some(module) = kept(runtime, directory, digest) {
        return Ok(module);
    }
    let name = name(digest);
    let begun = std::time::Instant::now();
    let made = made(directory, compiler, bytes, &name, wanted).or_else(|error| match (directory.path(), &error) {
        // A full disk is no reason not to serve. What needs more memory than there is, or cannot be started, is not tried again.
        (Some(path), CompileError::Keep(_) | CompileError::Compiler(_)) => {
            tracing::warn!(
                "{}: the compiled wasm module {} cannot be put there: {error}; it is compiled anew at each start and kept in memory \
                 until it can (PILLION_WASM_CACHE names another directory)",
                path.display(),
                hex(&digest[..6]),
            );
            made(&Directory::memory(), compiler, bytes, &name, wanted)
        }
        (_, CompileError::Unwanted) => {
            let after = begun.elapsed();
            tracing::info!(module = hex(&digest[..6]), ?after, "compiling a wasm module was given up: no configuration names it any more");
            Err(error)
        }
        _ => Err(error),
    })?;
    tracing::info!(module = hex(&digest[..6]), took = ?begun.elapsed(), "wasm module compiled");
    take(runtime, made)
}

/// Compiles into the directory; the artefact, to be read.
fn made(
    directory: &Directory,
    compiler: &Compiler,
    bytes: &[u8],
    name: &str,
    wanted: &dyn Fn() -> Wanted,
) -> Result<File, CompileError> {
    let kept = directory.new_file().map_err(|error| CompileError::Keep(error.to_string()))?;
    compiler.compile(bytes, &kept, wanted)?;
    directory.keep(name, kept).map_err(|error| CompileError::Keep(error.to_string()))
}

/// Lets the engine take an artefact that is authentic.
fn take(runtime: &Runtime, file: File) -> Result<wasmtime::Module, CompileError> {
    let spare = file.try_clone().map_err(|error| CompileError::Keep(error.to_string()))?;
    // SAFETY: the file was written by `compiler` of this binary, as its MAC says, or by this very process into a file
    // that has no name; nobody but this user can write to it, who could change this process as well.
    let mapped = unsafe { wasmtime::Module::deserialize_open_file(&runtime.engine, file) };
    mapped.or_else(|error| {
        // A file system mounted `noexec` maps no code; a copy in memory does as well.
        let mut bytes = Vec::new();
        let read = rewound(spare).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| CompileError::Keep(error.to_string()))?;
        // SAFETY: as above.
        unsafe { wasmtime::Module::deserialize(&runtime.engine, &bytes) }
            .map_err(|_| CompileError::Engine(format!("{error:#}")))
    })
}

fn rewound(mut file: File) -> std::io::Result<File> {
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// Where artefacts are kept when nothing is said: the first of these that can be made private.
#[must_use]
pub fn candidates() -> Vec<PathBuf> {
    let own = asked_for();
    let xdg = variable("XDG_CACHE_HOME").map(|path| path.join("pillion/wasm"));
    let home = variable("HOME").map(|path| path.join(".cache/pillion/wasm"));
    let user = rustix::process::geteuid().as_raw();
    let temporary = std::env::temp_dir().join(format!("pillion-wasm-{user}"));
    own.into_iter().chain(xdg).chain(home).chain([PathBuf::from("/var/cache/pillion/wasm"), temporary]).collect()
}

/// The directory that an operator named; the first candidate.
pub(crate) fn asked_for() -> Option<PathBuf> {
    variable("PILLION_WASM_CACHE")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
