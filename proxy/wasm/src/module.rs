//! A compiled module, checked: which ABI it speaks, whether all it imports is here.

use crate::{
    abi::{
        AbiVersion,
        callback::{exports_function, words},
    },
    engine::Runtime,
    host,
    vm::state::Host,
};
use std::sync::Arc;
use tokio::sync::mpsc;
use wasmtime::{ExternType, InstancePre, Linker, Store};

/// A compiled module, linked to the host functions of its ABI. Shared by all workers: immutable.
#[derive(Clone)]
pub struct Module {
    pre: InstancePre<Host>,
    abi: AbiVersion,
}

/// Why a module is none that can run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// It exports no marker.
    #[error(
        "it exports no proxy_abi_version_0_2_1, proxy_abi_version_0_2_0 or proxy_abi_version_0_1_0: is it a proxy-wasm \
         filter, built as a library (Rust: crate-type cdylib)?"
    )]
    NoAbi,
    /// It exports no allocator.
    #[error("it exports neither malloc nor proxy_on_memory_allocate: the host has no way to hand it bytes")]
    NoAllocator,
    /// Nothing of that name is here.
    #[error("it imports {module}.{name}, which is no function of proxy-wasm ABI {abi} nor of the part of WASI offered")]
    UnknownImport {
        /// The import's module.
        module: String,
        /// Its name.
        name: String,
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
    /// wasmtime does not take it.
    #[error("{0}")]
    Engine(String),
}

impl Module {
    /// Checks and links a compiled module.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, by name.
    pub fn link(runtime: &Runtime, module: &wasmtime::Module) -> Result<Self, ModuleError> {
        let abi = AbiVersion::ALL
            .into_iter()
            .find(|version| exports_function(module, version.marker()))
            .ok_or(ModuleError::NoAbi)?;
        if !["malloc", "proxy_on_memory_allocate"].into_iter().any(|name| exports_function(module, name)) {
            return Err(ModuleError::NoAllocator);
        }
        let engine = |error: wasmtime::Error| ModuleError::Engine(format!("{error:#}"));
        let linker = host::linker(&runtime.engine, abi).map_err(engine)?;
        check_imports(&linker, module, abi)?;
        let pre = linker.instantiate_pre(module).map_err(engine)?;
        Ok(Self { pre, abi })
    }

    /// The ABI it speaks.
    #[must_use]
    pub fn abi(&self) -> AbiVersion {
        self.abi
    }

    /// To be instantiated.
    #[must_use]
    pub fn pre(&self) -> &InstancePre<Host> {
        &self.pre
    }
}

/// Every import is a function that is here, of the type it has here.
fn check_imports(linker: &Linker<Host>, module: &wasmtime::Module, abi: AbiVersion) -> Result<(), ModuleError> {
    // Types of host functions are told by a store only.
    let (ready, _) = mpsc::channel(1);
    let mut store = Store::new(module.engine(), Host::new(Arc::default(), abi, ready));
    for import in module.imports() {
        let unknown = || ModuleError::UnknownImport {
            module: import.module().to_owned(),
            name: import.name().to_owned(),
            abi: abi.as_str(),
        };
        let ExternType::Func(found) = import.ty() else { return Err(unknown()) };
        let known = linker.get_by_import(&mut store, &import).ok_or_else(unknown)?;
        let ExternType::Func(known) = known.ty(&store) else { return Err(unknown()) };
        if !found.matches(&known) {
            return Err(ModuleError::ImportSignature {
                module: import.module().to_owned(),
                name: import.name().to_owned(),
                found: words(found.params(), found.results()),
                wanted: words(known.params(), known.results()),
                abi: abi.as_str(),
            });
        }
    }
    Ok(())
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("abi", &self.abi).finish_non_exhaustive()
    }
}
