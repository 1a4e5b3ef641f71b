//! A compiled module, checked: which ABI it speaks, whether all it imports is here.

use crate::{
    abi::{
        AbiVersion, LogLevel, Status,
        callback::{Callbacks, exports_function, words},
    },
    engine::Runtime,
    host,
    vm::{log, state::Host},
};
use pillion_config::model::AllowedCapabilities;
use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::mpsc;
use wasmtime::{ExternType, ImportType, InstancePre, Linker, Store, Val};

/// A compiled module, linked to the host functions of its ABI. Shared by all workers: immutable.
#[derive(Clone)]
pub struct Module {
    pre: InstancePre<Host>,
    abi: AbiVersion,
    /// Bytes of what it declares that its machines were seen to have touched once they had started; [`UNSEEN`]: none was seen yet.
    touched: Arc<AtomicUsize>,
}

const UNSEEN: usize = usize::MAX;

/// Bytes of a page of WebAssembly.
const PAGE: u64 = 65_536;

/// Why a module is none that can run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// It exports no marker.
    #[error(
        "it exports no proxy_abi_version_0_2_1, proxy_abi_version_0_2_0 or proxy_abi_version_0_1_0: is it a proxy-wasm \
         filter, built as a library (Rust: crate-type cdylib)?"
    )]
    NoAbi,
    /// Its marker is of another version.
    #[error(
        "it exports {0}, a version of proxy-wasm that is not known here: build it with an SDK of 0.2.1, 0.2.0 or 0.1.0 (Envoy \
         knows no other either)"
    )]
    OtherAbi(String),
    /// It exports no allocator.
    #[error("it exports neither malloc nor proxy_on_memory_allocate: the host has no way to hand it bytes")]
    NoAllocator,
    /// It has several memories: where memory is short, only what the exported one has touched would be found.
    #[error("it has {0} memories: build it with one, which is what every SDK makes")]
    Memories(u32),
    /// Nothing of these names is here.
    #[error("it imports {names}: no function of proxy-wasm ABI {abi} nor of the part of WASI offered")]
    UnknownImports {
        /// The first of them, each with the import's module.
        names: String,
        /// The version the module speaks.
        abi: &'static str,
    },
    /// It is here with another signature.
    #[error("it imports {module}.{name} as {found}; in proxy-wasm ABI {abi} it is {wanted}")]
    ImportSignature {
        /// The import's module.
        module: String,
        /// Its name.
        name: String,
        /// As the module has it.
        found: String,
        /// As it is.
        wanted: String,
        /// The version the module speaks.
        abi: &'static str,
    },
    /// A restriction names what there is not.
    #[error("allowed_capabilities: {0:?} is no function of proxy-wasm, of the part of WASI offered, nor a callback{1}")]
    UnknownCapability(String, Guess),
    /// wasmtime does not take it.
    #[error("{0}")]
    Engine(String),
}

/// What was meant, perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess(Option<String>);

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, ": did you mean {name}?"))
    }
}

impl Module {
    /// Checks and links a compiled module to what it may call.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, by name.
    pub fn link(
        runtime: &Runtime,
        module: &wasmtime::Module,
        capabilities: &AllowedCapabilities,
    ) -> Result<Self, ModuleError> {
        let abi = AbiVersion::ALL.into_iter().find(|version| exports_function(module, version.marker())).ok_or_else(
            || {
                let other = module.exports().find(|export| export.name().starts_with("proxy_abi_version_"));
                other.map_or(ModuleError::NoAbi, |other| ModuleError::OtherAbi(log::name(other.name())))
            },
        )?;
        if !["malloc", "proxy_on_memory_allocate"].into_iter().any(|name| exports_function(module, name)) {
            return Err(ModuleError::NoAllocator);
        }
        match module.resources_required().num_memories {
            0 | 1 => {}
            several => return Err(ModuleError::Memories(several)),
        }
        let engine = |error: wasmtime::Error| ModuleError::Engine(log::quoted(format!("{error:#}").as_bytes()));
        let mut linker = host::linker(&runtime.engine, abi).map_err(engine)?;
        check_imports(&linker, module, abi)?;
        if let AllowedCapabilities::Only(names) = capabilities {
            check_capabilities(runtime, names)?;
            restrict(&mut linker, module, capabilities).map_err(engine)?;
        }
        let pre = linker.instantiate_pre(module).map_err(engine)?;
        Ok(Self { pre, abi, touched: Arc::new(AtomicUsize::new(UNSEEN)) })
    }

    /// The ABI it speaks.
    #[must_use]
    pub fn abi(&self) -> AbiVersion {
        self.abi
    }

    /// Bytes of memory that it declares.
    #[must_use]
    pub fn declared(&self) -> usize {
        let pages = self.pre.module().resources_required().max_initial_memory_size.unwrap_or(0);
        usize::try_from(pages.saturating_mul(PAGE)).unwrap_or(usize::MAX)
    }

    /// Bytes of them that a machine will have touched once it has started: as many as one was seen to, or all.
    #[must_use]
    pub fn needs(&self) -> usize {
        match self.touched.load(Ordering::Relaxed) {
            UNSEEN => self.declared(),
            touched => touched,
        }
    }

    /// A machine was seen to have touched so many once it had started.
    pub fn saw(&self, touched: usize) {
        let most = |before| Some(if before == UNSEEN { touched } else { touched.max(before) });
        let _ = self.touched.fetch_update(Ordering::Relaxed, Ordering::Relaxed, most);
    }

    /// To be instantiated.
    #[must_use]
    pub fn pre(&self) -> &InstancePre<Host> {
        &self.pre
    }
}

/// Callbacks that SDKs export and no host calls, and functions of WASI that none has: lists written for Envoy name them.
const NEVER: [&str; 6] = [
    "proxy_on_request_metadata",
    "proxy_on_response_metadata",
    "proxy_on_grpc_trailing_metadata",
    "path_link",
    "path_symlink",
    "proc_raise",
];

/// Every name is one that a restriction can speak of: that of a function of some version of the ABI or of WASI, or of a
/// callback. A list may be written for filters of many versions.
fn check_capabilities(runtime: &Runtime, names: &[String]) -> Result<(), ModuleError> {
    let mut known: BTreeSet<String> = Callbacks::NAMES.iter().chain(&NEVER).map(|name| (*name).to_owned()).collect();
    for abi in AbiVersion::ALL {
        let linker = host::linker(&runtime.engine, abi).map_err(|error| ModuleError::Engine(format!("{error:#}")))?;
        let (ready, _) = mpsc::channel(1);
        let mut store = Store::new(&runtime.engine, Host::new(Arc::default(), abi, ready));
        known.extend(linker.iter(&mut store).map(|(_, name, _)| name.to_owned()));
    }
    names.iter().find(|name| !known.contains(*name)).map_or(Ok(()), |unknown| {
        let guess = pillion_config::nearest(unknown, known.iter().map(String::as_str)).map(str::to_owned);
        Err(ModuleError::UnknownCapability(unknown.clone(), Guess(guess)))
    })
}

/// Binds what the module imports and may not call to something that says so, as in Envoy.
fn restrict(
    linker: &mut Linker<Host>,
    module: &wasmtime::Module,
    capabilities: &AllowedCapabilities,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let always = |name: &str| host::EMSCRIPTEN.contains(&name) || capabilities.allows(name);
    for import in module.imports().filter(|import| !always(import.name())) {
        let ExternType::Func(kind) = import.ty() else { continue };
        let line = format!("Attempted call to restricted proxy-wasm capability: {}", import.name());
        // ENOTCAPABLE of WASI.
        let status = if import.module() == "env" { Status::InternalFailure as i32 } else { 76 };
        linker.func_new(import.module(), import.name(), kind, move |mut caller, _, results| {
            caller.data_mut().log(LogLevel::Error, line.as_bytes());
            results.iter_mut().for_each(|result| *result = Val::I32(status));
            Ok(())
        })?;
    }
    Ok(())
}

/// Every import is a function that is here, of the type it has here.
fn check_imports(linker: &Linker<Host>, module: &wasmtime::Module, abi: AbiVersion) -> Result<(), ModuleError> {
    // Types of host functions are told by a store only.
    let (ready, _) = mpsc::channel(1);
    let mut store = Store::new(module.engine(), Host::new(Arc::default(), abi, ready));
    let mut unknown = Vec::new();
    for import in module.imports() {
        let known = linker.get_by_import(&mut store, &import).map(|known| known.ty(&store));
        let (ExternType::Func(found), Some(ExternType::Func(known))) = (import.ty(), known) else {
            unknown.push(import);
            continue;
        };
        if !found.matches(&known) {
            return Err(ModuleError::ImportSignature {
                module: log::name(import.module()),
                name: log::name(import.name()),
                found: log::name(&words(found.params(), found.results())),
                wanted: words(known.params(), known.results()),
                abi: abi.as_str(),
            });
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let name = |import: &ImportType<'_>| format!("{}.{}", log::name(import.module()), log::name(import.name()));
    let mut names = unknown.iter().take(MOST_NAMED).map(name).collect::<Vec<_>>().join(", ");
    if let more @ 1.. = unknown.len().saturating_sub(MOST_NAMED) {
        names.push_str(&format!(" and {more} more"));
    }
    Err(ModuleError::UnknownImports { names, abi: abi.as_str() })
}

/// Imports that a refusal names: who builds a filter anew wants to know of all, and reads a line.
const MOST_NAMED: usize = 5;

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("abi", &self.abi).finish_non_exhaustive()
    }
}
