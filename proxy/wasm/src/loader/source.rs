//! From a filter's source to its module: found with another filter, in the cache, or read, fetched and compiled.
//!
//! Bytes of a module are held by nobody who waits: the control thread's memory does not grow with the number of filters.

use super::{
    Fault, WasmLoader,
    names::{Named, Unknown},
    shown,
};
use crate::{
    artefact::{self, sha256},
    engine::Runtime,
    metrics,
    module::{Module, ModuleError},
};
use pillion_config::{
    COMPONENT, is_component,
    model::{Name, Part, Wasm, WasmSource, WasmUrl},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

/// Where a module's bytes are when it is compiled.
enum Bytes {
    File(PathBuf),
    Inline(Arc<[u8]>),
    /// In the cache.
    Kept,
    /// There is no room for them in the cache.
    Held(Vec<u8>),
}

/// What became of a module that was to be compiled.
enum Compiled {
    Module(wasmtime::Module),
    /// Its source is another one by now, of this digest; or it is to be had anew.
    Another([u8; 32]),
}

impl WasmLoader {
    /// A filter's module, linked, and its digest.
    pub(super) async fn module(
        &self,
        runtime: &'static Runtime,
        filter: &Name,
        wasm: &Wasm,
        unknown: Unknown,
    ) -> Result<([u8; 32], Arc<Module>), Fault> {
        let mut digest = self.digest(&wasm.source).await?;
        let mut naming = self.names.name(digest);
        drop(unknown);
        loop {
            // Who wants the same module finds it when this one has it.
            let _alone = self.turns.alone(digest).await;
            let linked = (digest, wasm.allowed_capabilities.clone());
            let known = self.modules.borrow().get(&linked).and_then(Weak::upgrade);
            if let Some(module) = known {
                return Ok((digest, module));
            }
            // What is in force needs neither server nor cache.
            let compiled = match self.compiled(&digest) {
                Some(compiled) => compiled,
                None => match self.compile(runtime, filter, &wasm.source, digest, naming.module()).await? {
                    Compiled::Module(compiled) => compiled,
                    Compiled::Another(now) => {
                        digest = now;
                        naming = self.names.name(digest);
                        continue;
                    }
                },
            };
            let capabilities = wasm.allowed_capabilities.clone();
            let link = move || {
                Module::link(runtime, &compiled, &capabilities).map_err(|error| {
                    let part = match error {
                        ModuleError::UnknownCapability(..) => Part::Capabilities,
                        _ => Part::Definition,
                    };
                    Fault { part, ..Fault::from(error.to_string()) }
                })
            };
            let module = Arc::new(self.turns.here(link).await?);
            let mut modules = self.modules.borrow_mut();
            modules.retain(|_, module| module.strong_count() > 0);
            modules.insert(linked, Arc::downgrade(&module));
            return Ok((digest, module));
        }
    }

    async fn digest(&self, source: &WasmSource) -> Result<[u8; 32], Fault> {
        Ok(match source {
            WasmSource::File(path, _) => {
                let path = path.clone();
                self.turns.here(move || Ok(sha256(&read(&path)?))).await?
            }
            WasmSource::Inline(bytes) => {
                let bytes = Arc::clone(bytes);
                self.turns.here(move || Ok(sha256(&bytes))).await?
            }
            WasmSource::Url(url) => url.sha256,
        })
    }

    /// The module of this digest, out of the cache or compiled now.
    async fn compile(
        &self,
        runtime: &'static Runtime,
        filter: &Name,
        source: &WasmSource,
        digest: [u8; 32],
        named: Arc<Named>,
    ) -> Result<Compiled, Fault> {
        let directory = self.directory();
        let kept = self
            .turns
            .here(move || {
                let kept = artefact::kept(runtime, &directory, &digest);
                // Who finds the artefact may need the module again, for the next version of the engine.
                directory.use_fetched(&digest);
                Ok(kept)
            })
            .await?;
        if let Some(module) = kept {
            if let WasmSource::Url(_) = source {
                metrics::fetch(filter, metrics::Fetched::Cached);
            }
            return Ok(Compiled::Module(module));
        }
        let bytes = match source {
            WasmSource::File(path, _) => Bytes::File(path.clone()),
            WasmSource::Inline(bytes) => Bytes::Inline(Arc::clone(bytes)),
            WasmSource::Url(url) => self.fetched(filter, url).await?,
        };
        let (directory, compiler) = (self.directory(), self.compiler.clone());
        let compiled = self.turns.child(move || {
            let bytes = match bytes {
                Bytes::File(path) => read(&path)?,
                Bytes::Inline(bytes) => bytes.to_vec(),
                Bytes::Held(bytes) => bytes,
                Bytes::Kept => match directory.fetched(&digest) {
                    Some(bytes) => bytes,
                    // Somebody emptied the cache meanwhile.
                    None => return Ok(Compiled::Another(digest)),
                },
            };
            if is_component(&bytes) {
                return Err(Fault::from(format!("it is {COMPONENT}")));
            }
            let now = sha256(&bytes);
            if now != digest {
                return Ok(Compiled::Another(now));
            }
            let compiled = artefact::module(runtime, &directory, &compiler, &bytes, &digest, &|| named.wanted());
            compiled.map(Compiled::Module).map_err(|error| Fault::from(error.to_string()))
        });
        compiled.await
    }

    /// Has a module in the cache, where it can be kept there.
    async fn fetched(&self, filter: &Name, url: &WasmUrl) -> Result<Bytes, Fault> {
        let (directory, wanted) = (self.directory(), url.sha256);
        if self.turns.here(move || Ok(directory.fetched(&wanted).is_some())).await? {
            metrics::fetch(filter, metrics::Fetched::Cached);
            return Ok(Bytes::Kept);
        }
        let bytes = (self.fetch)(filter, url).await?;
        let directory = self.directory();
        let kept = self.turns.here(move || {
            let digest = sha256(&bytes);
            if digest != wanted {
                return Ok(Err(digest));
            }
            directory.keep_fetched(&digest, &bytes);
            Ok(Ok(if directory.fetched(&digest).is_some() { Bytes::Kept } else { Bytes::Held(bytes) }))
        });
        match kept.await? {
            Ok(bytes) => {
                metrics::fetch(filter, metrics::Fetched::Success);
                Ok(bytes)
            }
            Err(digest) => {
                let (got, wanted) = (artefact::hex(&digest), artefact::hex(&wanted));
                metrics::fetch(filter, metrics::Fetched::Failure);
                Err(Fault::from(format!(
                    "{}: its SHA-256 is {got}, not {wanted} as configured: it is not tried again; see which of the two is \
                     right and write that as sha256, or have the server give the other module",
                    shown(&url.url)
                )))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    pillion_config::read_referenced(path).map_err(|error| format!("{}: {error}", path.display()))
}
