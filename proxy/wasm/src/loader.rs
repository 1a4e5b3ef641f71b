//! [`WasmLoader`]: from a filter's model to a factory that can serve: fetched, compiled, checked and tried.
//!
//! Runs on the control thread; everything that takes time does on a thread of its own. A filter that would fail at its
//! start fails here, and the configuration in force stays. Where another plugin has the same machine, in force or in the
//! configuration that is being loaded, it is tried beside that one, too: what starts alone and not there is served from a machine
//! of its own.

use crate::{
    artefact::{self, Compiler, Directory},
    engine::{self, Runtime},
    filter::WasmFactory,
    metrics,
    module::Module,
    plugin::{MachineSpec, Plugin},
    shared::Shared,
    vm::{Machine, state::Stage},
    worker::{Key, Place},
};
use pillion_config::model::{self, AllowedCapabilities, FilterKind, Name, Wasm, WasmSource, WasmUrl};
use pillion_core::exchange::filter::{Factory, LoadError, Loader, Loading};
use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    path::Path,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Weak},
    thread,
};
use tokio::sync::oneshot;

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
}

impl From<String> for Fault {
    fn from(words: String) -> Self {
        Self { words, away: false }
    }
}

/// Loads wasm filters.
pub struct WasmLoader {
    compiler: Compiler,
    fetch: Fetch,
    directory: RefCell<Option<Arc<Directory>>>,
    /// Modules that filters have, so that those with the same one share it. Not kept by this: a module goes with its last filter.
    modules: RefCell<HashMap<Linked, Weak<Module>>>,
    /// Plugins by what their machine is of, in the order that they were loaded, and where they are seated.
    plugins: RefCell<HashMap<Key, Vec<Seated>>>,
}

/// A plugin that was loaded, and where it is seated.
type Seated = (Weak<Plugin>, Place);

/// A module's digest, and what it is linked to.
type Linked = ([u8; 32], AllowedCapabilities);

/// What a thread makes of a module's bytes.
struct Prepared {
    module: Arc<Module>,
    place: Place,
}

impl Loader for WasmLoader {
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        match &filter.kind {
            FilterKind::Wasm(wasm) => self.load_wasm(filter, wasm, previous),
            FilterKind::Headers(_) | FilterKind::RateLimit(_) | FilterKind::Jwt(_) => Box::pin(async {
                Err(LoadError { filter: filter.name.clone(), reason: "it is no wasm filter".to_owned(), away: false })
            }),
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
        Box::pin(async move {
            if let Some(previous) = previous {
                return Ok(Arc::clone(previous));
            }
            match self.make(filter, wasm).await {
                Ok(factory) => Ok(Arc::new(factory) as Arc<dyn Factory>),
                Err(Fault { words, away }) => Err(LoadError { filter: filter.name.clone(), reason: words, away }),
            }
        })
    }

    async fn make(&self, filter: &model::Filter, wasm: &Wasm) -> Result<WasmFactory, Fault> {
        metrics::describe();
        let runtime = engine::runtime().map_err(|error| error.to_string())?.clone();
        // What is in force needs neither server nor cache.
        let in_force = match &wasm.source {
            WasmSource::Url(url) => self.compiled(&url.sha256).map(|compiled| (url.sha256, compiled)),
            WasmSource::File(..) | WasmSource::Inline(_) => None,
        };
        let (digest, bytes, compiled) = match in_force {
            Some((digest, compiled)) => (digest, Vec::new(), Some(compiled)),
            None => {
                let bytes = self.bytes(&filter.name, &wasm.source).await?;
                let digest = artefact::sha256(&bytes);
                (digest, bytes, self.compiled(&digest))
            }
        };
        let plugin = Arc::new(Plugin::of(filter, wasm));
        let spec = Arc::new(MachineSpec::of(wasm, Shared::process()));
        let linked = (digest, wasm.allowed_capabilities.clone());
        let known = self.modules.borrow().get(&linked).and_then(Weak::upgrade);
        let key = Key {
            module: digest,
            vm_id: spec.vm_id.clone(),
            configuration: spec.configuration.to_vec(),
            environment: spec.environment.clone(),
            memory: spec.memory,
            capabilities: spec.capabilities.clone(),
        };
        let beside = self.beside(&key);
        let (work, compiler) = (Arc::clone(&plugin), self.compiler.clone());
        let (directory, its_spec, its_runtime) = (self.directory(), Arc::clone(&spec), runtime.clone());
        let prepared = on_thread(move || {
            let module = match known {
                Some(module) => module,
                None => {
                    let compiled = match compiled {
                        Some(compiled) => compiled,
                        None => artefact::module(&its_runtime, &directory, &compiler, &bytes, &digest)
                            .map_err(|error| error.to_string())?,
                    };
                    let capabilities = &its_spec.capabilities;
                    Arc::new(Module::link(&its_runtime, &compiled, capabilities).map_err(|error| error.to_string())?)
                }
            };
            attempt(&its_runtime, &module, &its_spec, &work)?;
            let place = place(&its_runtime, &module, &its_spec, &beside, &work);
            Ok(Prepared { module, place })
        })
        .await?;
        let mut modules = self.modules.borrow_mut();
        modules.retain(|_, module| module.strong_count() > 0);
        modules.insert(linked, Arc::downgrade(&prepared.module));
        drop(modules);
        self.keep(&key, &plugin, prepared.place);
        Ok(WasmFactory::new(&runtime, prepared.module, plugin, spec, key, prepared.place))
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

    async fn bytes(&self, filter: &Name, source: &WasmSource) -> Result<Vec<u8>, Fault> {
        match source {
            WasmSource::File(path, _) => {
                let path = path.clone();
                Ok(on_thread(move || read(&path)).await?)
            }
            WasmSource::Inline(bytes) => Ok(bytes.to_vec()),
            WasmSource::Url(url) => {
                let (directory, sha256) = (self.directory(), url.sha256);
                if let Some(bytes) = on_thread(move || Ok(directory.fetched(&sha256))).await? {
                    metrics::fetch(filter, metrics::Fetched::Cached);
                    return Ok(bytes);
                }
                let bytes = (self.fetch)(filter, url).await?;
                let digest = artefact::sha256(&bytes);
                if digest != url.sha256 {
                    let (got, wanted) = (artefact::hex(&digest), artefact::hex(&url.sha256));
                    metrics::fetch(filter, metrics::Fetched::Failure);
                    return Err(Fault::from(format!(
                        "{}: its SHA-256 is {got}, not {wanted} as configured: it is not tried again; see which of the two is \
                         right and write that as sha256, or have the server give the other module",
                        shown(&url.url)
                    )));
                }
                metrics::fetch(filter, metrics::Fetched::Success);
                let directory = self.directory();
                let bytes = on_thread(move || {
                    directory.keep_fetched(&digest, &bytes);
                    Ok(bytes)
                })
                .await?;
                Ok(bytes)
            }
        }
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

fn read(path: &Path) -> Result<Vec<u8>, String> {
    pillion_config::read_referenced(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Starts the filter once, away from any request, and lets it go.
fn attempt(runtime: &Runtime, module: &Module, spec: &Arc<MachineSpec>, plugin: &Arc<Plugin>) -> Result<(), String> {
    let (machine, _told) =
        Machine::start(runtime, module, spec, plugin.limits.start, Stage::Trial).map_err(|error| error.to_string())?;
    machine.add_root(plugin, None).map(|_| ()).map_err(|error| error.to_string())
}

/// Whether the filter, which starts alone, starts where others are already. Who cannot be told here is told on the worker.
fn place(
    runtime: &Runtime,
    module: &Module,
    spec: &Arc<MachineSpec>,
    beside: &[Arc<Plugin>],
    plugin: &Arc<Plugin>,
) -> Place {
    if beside.is_empty() {
        return Place::Shared;
    }
    let started = Machine::start(runtime, module, spec, plugin.limits.start, Stage::Trial);
    let Ok((machine, _told)) = started else { return Place::Shared };
    let all = beside.iter().try_for_each(|other| machine.add_root(other, None).map(|_| ()));
    if all.is_err() || machine.add_root(plugin, None).is_ok() { Place::Shared } else { Place::Apart }
}

/// Runs what blocks on a thread of its own.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new()
        .name("pillion-wasm".to_owned())
        .stack_size(engine::GUEST_STACK + 1024 * 1024)
        .spawn(move || {
            // Whoever asked may have given up.
            done.send(work()).ok();
        })
        .map_err(|error| format!("no thread to load it on: {error}"))?;
    outcome.await.unwrap_or_else(|_| Err("loading it failed; the log says why".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::model::{AllowedClusters, BodyBuffer, FailPolicy, Filter, WasmLimits};
    use std::time::Duration;

    /// A filter whose module is another one for each number.
    fn filter(number: u32) -> Filter {
        let text = format!(
            r#"(module (memory (export "memory") 1) (data (i32.const 0) "{number}")
                (func (export "proxy_abi_version_0_2_1"))
                (func (export "malloc") (param i32) (result i32) (i32.const 8)))"#
        );
        let source = WasmSource::Inline(wat::parse_str(text).unwrap().into());
        let wasm = Wasm {
            source,
            vm_id: String::new(),
            root_id: String::new(),
            vm_configuration: Vec::new(),
            configuration: Vec::new(),
            environment: Vec::new(),
            host_environment: Vec::new(),
            allowed_clusters: AllowedClusters::All,
            allowed_capabilities: AllowedCapabilities::All,
            limits: WasmLimits {
                callback: Duration::from_secs(5),
                start: Duration::from_secs(5),
                memory: 1 << 20,
                calls: 1,
                call_response: 1,
                restarts: 1,
            },
            allow_on_headers_stop_iteration: false,
            node: Arc::default(),
        };
        Filter {
            name: Name("a".into()),
            route: None,
            kind: FilterKind::Wasm(Box::new(wasm)),
            fail: FailPolicy::Closed,
            body_buffer: BodyBuffer::both(1),
        }
    }

    async fn load(loader: &WasmLoader, number: u32) -> Arc<dyn Factory> {
        let filter = Arc::new(filter(number));
        loader.load(&filter, None).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[tokio::test]
    async fn a_module_goes_with_the_last_filter_that_has_it() {
        let fetch: Fetch = Rc::new(|_, _| Box::pin(async { Err("nothing is fetched here".to_owned().into()) }));
        let loader = WasmLoader::new(Compiler::Here, fetch).with_directory(Directory::memory());
        let held = || loader.modules.borrow().values().filter(|module| module.strong_count() > 0).count();
        let mut in_force = load(&loader, 0).await;
        let again = load(&loader, 0).await;
        assert_eq!(held(), 1, "filters of one module share it");
        drop(again);
        for number in 1..20 {
            // As at a reload: the new one is loaded while the old one still serves.
            in_force = load(&loader, number).await;
            assert_eq!(held(), 1, "the module of the filter before is gone");
        }
        assert!(loader.modules.borrow().len() <= 2, "nor do their keys stay");
        drop(in_force);
        assert_eq!(held(), 0);
    }
}
