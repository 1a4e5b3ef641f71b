//! [`WasmLoader`]: from a filter's model to a factory that can serve: fetched, compiled, checked and tried.
//!
//! Runs on the control thread; everything that takes time does on a thread of its own, filter beside filter as [`turns`] says. A filter that would fail at its
//! start fails here, and the configuration in force stays. Where another plugin has the same machine, in force or in the
//! configuration that is being loaded, it is tried beside that one, too: what starts alone and not there is served from a machine
//! of its own.

mod names;
mod source;
mod trial;
mod turns;

use crate::{
    artefact::{self, Compiler, Directory},
    engine,
    filter::WasmFactory,
    metrics,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Shared,
    worker::{Key, Place},
};
use names::{Names, Unknown};
use pillion_config::model::{self, AllowedCapabilities, FilterKind, Name, Part, Wasm, WasmUrl};
use pillion_core::exchange::filter::{Factory, LoadError, Loader, Loading};
use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Weak},
};
use trial::{Tried, Wanted};
use turns::{Turn, Turns};

/// Bytes of a module, wherever it comes from.
pub const MOST_MODULE: u64 = pillion_config::MAX_REFERENCED;

/// Plugins that one is tried beside: a guest that cannot be configured twice shows with the first, and each is a start's time.
const MOST_BESIDE: usize = 8;

/// A module's bytes on their way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>, Fault>>>>;

/// How a filter's module is fetched from a URL: at most [`MOST_MODULE`] bytes, each attempt within the URL's timeout.
pub type Fetch = Rc<dyn Fn(&Name, &WasmUrl) -> Fetching>;

/// Why a filter cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, and what would be right.
    pub words: String,
    /// Its module could not be had where it is fetched from; nothing else is known to be wrong.
    pub away: bool,
    /// What of the filter it is about.
    pub part: Part,
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self { words, away: false, part: Part::Definition }
    }
}

/// Loads wasm filters.
pub struct WasmLoader {
    compiler: Compiler,
    fetch: Fetch,
    directory: RefCell<Option<Arc<Directory>>>,
    /// Modules that filters have, so that those with the same one share it. Not kept by this: a module goes with its last filter.
    modules: RefCell<HashMap<Linked, Weak<Module>>>,
    turns: Turns,
    names: Names,
    /// Plugins by what their machine is of, in the order that they were loaded, and where they are seated.
    plugins: RefCell<HashMap<Key, Vec<Seated>>>,
}

/// A plugin that was loaded, and where it is seated.
type Seated = (Weak<Plugin>, Place);

/// A module's digest, and what it is linked to.
type Linked = ([u8; 32], AllowedCapabilities);

impl Loader for WasmLoader {
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        match &filter.kind {
            FilterKind::Wasm(wasm) => self.load_wasm(filter, wasm, previous),
            FilterKind::Headers(_) | FilterKind::RateLimit(_) | FilterKind::Jwt(_) => {
                Box::pin(async { Err(LoadError::of(filter, Part::Definition, "it is no wasm filter".to_owned())) })
            }
        }
    }
}

impl WasmLoader {
    /// A loader that compiles this way and fetches that way.
    #[must_use]
    pub fn new(compiler: Compiler, fetch: Fetch) -> Self {
        Self {
            compiler,
            fetch,
            directory: RefCell::default(),
            modules: RefCell::default(),
            turns: Turns::default(),
            names: Names::default(),
            plugins: RefCell::default(),
        }
    }

    /// A loader that keeps artefacts in `directory`.
    #[must_use]
    pub fn with_directory(self, directory: Directory) -> Self {
        self.directory.replace(Some(Arc::new(directory)));
        self
    }

    /// The factory of a wasm filter; that of the configuration in force where its model is the same.
    fn load_wasm<'a>(
        &'a self,
        filter: &'a Arc<model::Filter>,
        wasm: &'a Wasm,
        previous: Option<&'a Arc<dyn Factory>>,
    ) -> Loading<'a> {
        if let Some(previous) = previous {
            return Box::pin(async { Ok(Arc::clone(previous)) });
        }
        // Before any of the configuration's is polled: until then nobody knows what it names.
        let unknown = self.names.begin();
        let mut turn = self.turns.next();
        Box::pin(async move {
            let made = self.make(filter, wasm, unknown, &mut turn).await;
            // Whoever is behind this one is behind those before it, too.
            turn.comes().await;
            match made {
                Ok(factory) => Ok(Arc::new(factory) as Arc<dyn Factory>),
                Err(Fault { words, away, part }) => Err(LoadError { away, ..LoadError::of(filter, part, words) }),
            }
        })
    }

    async fn make(
        &self,
        filter: &model::Filter,
        wasm: &Wasm,
        unknown: Unknown,
        turn: &mut Turn,
    ) -> Result<WasmFactory, Fault> {
        metrics::describe();
        let runtime = engine::runtime().map_err(|error| error.to_string())?;
        let (digest, module) = self.module(runtime, &filter.name, wasm, unknown).await?;
        let plugin = Arc::new(Plugin::of(filter, wasm));
        let spec = Arc::new(MachineSpec::of(wasm, Shared::process()));
        let tried = Tried { module: Arc::clone(&module), spec: Arc::clone(&spec), plugin: Arc::clone(&plugin) };
        // As in Envoy they start in the configuration's order, on trial as well: what one finds there (a queue, a value) those before it made.
        turn.comes().await;
        let (trial, _wanted) = Wanted::trial();
        let alone = tried.clone();
        let took = self.turns.here(move || alone.attempt(runtime, trial)).await?;
        let key = Key {
            module: digest,
            vm_id: spec.vm_id.clone(),
            configuration: spec.configuration.to_vec(),
            environment: spec.environment.clone(),
            memory: spec.memory,
            capabilities: spec.capabilities.clone(),
            node: Arc::clone(&spec.node),
        };
        let beside = self.beside(&key);
        let (place, takes) = if beside.is_empty() {
            (Place::Shared, took)
        } else {
            let (trial, _wanted) = Wanted::trial();
            let them = beside.clone();
            self.turns.here(move || Ok(tried.place(runtime, trial, &them, took))).await?
        };
        let promise = trial::promised(takes).await?;
        self.keep(&key, &plugin, place);
        // A route's own is of the same file, and there may be hundreds.
        if filter.route.is_none() {
            tracing::info!(filter = %filter.name, sha256 = artefact::hex(&digest), "wasm filter loaded");
        }
        Ok(WasmFactory::new(runtime, module, plugin, spec, key, place, promise))
    }

    /// A module that some filter has, compiled.
    fn compiled(&self, digest: &[u8; 32]) -> Option<wasmtime::Module> {
        let modules = self.modules.borrow();
        let module = modules.iter().filter(|((known, _), _)| known == digest).find_map(|(_, module)| module.upgrade());
        module.map(|module| module.pre().module().clone())
    }

    /// Whom the next plugin of this machine finds there on a worker, in their order.
    fn beside(&self, key: &Key) -> Vec<Arc<Plugin>> {
        let plugins = self.plugins.borrow();
        let all = plugins.get(key).into_iter().flatten();
        let mut beside = Vec::new();
        for (plugin, place) in all.filter_map(|(plugin, place)| Some((plugin.upgrade()?, *place))) {
            if place == Place::Apart {
                beside.clear();
            }
            beside.push(plugin);
        }
        beside.drain(..beside.len().saturating_sub(MOST_BESIDE));
        beside
    }

    fn keep(&self, key: &Key, plugin: &Arc<Plugin>, place: Place) {
        let mut plugins = self.plugins.borrow_mut();
        plugins.retain(|_, plugins| {
            plugins.retain(|(plugin, _)| plugin.strong_count() > 0);
            !plugins.is_empty()
        });
        plugins.entry(key.clone()).or_default().push((Arc::downgrade(plugin), place));
    }

    fn directory(&self) -> Arc<Directory> {
        let mut directory = self.directory.borrow_mut();
        Arc::clone(directory.get_or_insert_with(|| Arc::new(Directory::open(&artefact::candidates()))))
    }
}

/// A URL without what may be secret in it: user, password and query.
#[must_use]
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests;
