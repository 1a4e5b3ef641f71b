//! The filters of a configuration: loaded by core where they are its own, by the wasm host otherwise.
//!
//! Wasm modules are compiled by a short-lived child, which is this binary with one secret word; here that word is known.

mod fetch;
mod get;

use crate::assembly::{NotLoaded, Patience, Rejected};
use fetch::{Awaited, Terms};
use pillion_config::model::{Config, Filter, FilterKind, Name, WasmSource};
use pillion_core::{
    exchange::filter::{FilterSet, Native},
    snapshot::Snapshot,
};
use pillion_wasm::{Compiler, WasmLoader};
use std::{cell::RefCell, ffi::OsString, rc::Rc, sync::Arc};
use tokio::time::Instant;

/// What the child is called with. Not for people: it reads a module and writes code.
const COMPILE: &str = "__compile-wasm";

/// Whether this process is the child that compiles.
#[must_use]
pub fn asked_to_compile(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.skip(1).eq([OsString::from(COMPILE)])
}

/// Loads the filters of configurations. Nothing of the engine is there before the first wasm filter.
pub struct Filters {
    wasm: WasmLoader,
    /// Those of the configuration being loaded.
    terms: Rc<RefCell<Option<Terms>>>,
    awaited: Awaited,
}

impl Default for Filters {
    fn default() -> Self {
        let (terms, awaited) = (Rc::default(), Awaited::default());
        let fetch = fetch::fetch(&terms, &awaited);
        Self { wasm: WasmLoader::new(Compiler::myself([OsString::from(COMPILE)]), fetch), terms, awaited }
    }
}

impl Filters {
    /// The modules that could not be fetched yet, a line each.
    #[must_use]
    pub fn awaited(&self) -> Vec<String> {
        self.awaited.lines()
    }
}

/// Loads the filters of a configuration.
///
/// # Errors
///
/// What is wrong with each that cannot be loaded, a line each.
pub async fn load(
    config: Arc<Config>,
    in_force: Option<Arc<Snapshot>>,
    filters: Rc<Filters>,
    patience: Patience,
) -> Result<FilterSet, NotLoaded> {
    filters.terms.replace(Some(Terms { dns: config.dns.clone(), patience, began: Instant::now() }));
    let native = Native { other: Some(&filters.wasm) };
    FilterSet::load(&config, in_force.as_deref(), &native).await.map_err(|errors| NotLoaded {
        away: errors.iter().all(|error| error.away),
        rejected: Rejected(errors.iter().map(|error| format!("{error}\n")).collect()),
    })
}

/// What became of a configuration's filters when they were tried.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many were loaded: compiled, linked and started once.
    pub loaded: usize,
    /// Those whose module would have to be fetched.
    pub unchecked: Vec<Name>,
}

/// Loads a configuration's filters as `run` would, and lets them go. Nothing is fetched: what can be had on this machine
/// is checked.
///
/// # Errors
///
/// What is wrong with each that cannot be loaded, a line each.
pub fn check(config: &Config) -> Result<Checked, Rejected> {
    let fetched =
        |filter: &Filter| matches!(&filter.kind, FilterKind::Wasm(wasm) if matches!(wasm.source, WasmSource::Url(_)));
    let (away, here): (Vec<_>, Vec<_>) = config.filters.iter().cloned().partition(|filter| fetched(filter));
    let checked = Checked { loaded: here.len(), unchecked: away.iter().map(|filter| filter.name.clone()).collect() };
    if here.is_empty() {
        return Ok(checked);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Rejected(format!("no runtime to load filters on: {error}\n")))?;
    let config = Arc::new(Config { filters: here, ..config.clone() });
    let loading = load(config, None, Rc::default(), Patience::Start);
    tokio::task::LocalSet::new().block_on(&runtime, loading).map_err(|error| error.rejected)?;
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_child_compiles() {
        let asked = |words: &[&str]| asked_to_compile(words.iter().map(OsString::from));
        assert!(asked(&["pillion", COMPILE]));
        assert!(!asked(&["pillion", "run", COMPILE]));
        assert!(!asked(&["pillion", COMPILE, "x"]));
        assert!(!asked(&["pillion"]));
    }
}
