//! A filter is tried before it serves: started once, away from any request, and let go; beside those that it would share a machine with, too.
//!
//! What serves meanwhile pays nothing for it ([`starts`]): a trial that finds no memory waits for a while and is refused, one that nobody
//! wants any more ends, and so does one where memory is short.

use super::Fault;
use crate::{
    census::starts::{self, Ending, Promise, Trial},
    engine::Runtime,
    module::Module,
    plugin::{MachineSpec, Plugin},
    vm::{Machine, StartError, Starts, Took},
    worker::Place,
};
use pillion_config::model::Part;
use std::{rc::Rc, sync::Arc};
use tokio::time::{Instant, sleep};

/// A filter that is tried.
#[derive(Clone)]
pub(super) struct Tried {
    pub(super) module: Arc<Module>,
    pub(super) spec: Arc<MachineSpec>,
    pub(super) plugin: Arc<Plugin>,
}

/// Somebody wants a trial's outcome, until this is dropped.
pub(super) struct Wanted(Arc<Trial>);

impl Wanted {
    /// A trial, and that it is wanted.
    pub(super) fn trial() -> (Arc<Trial>, Self) {
        let trial = Trial::new();
        (Arc::clone(&trial), Self(trial))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.end(Ending::Unwanted);
    }
}

impl Tried {
    /// Starts the filter alone; what that took of memory.
    pub(super) fn attempt(&self, runtime: &Runtime, trial: Arc<Trial>) -> Result<Took, Fault> {
        let started = self.start(runtime, Arc::clone(&trial));
        let took = started.and_then(|machine| machine.add_root(&self.plugin, None).map(|_| machine.took()));
        if let Ok(took) = &took {
            self.module.saw(took.declared);
        }
        took.map_err(|error| {
            let why = match trial.ending() {
                Some(Ending::Pressure) => PRESSED,
                Some(Ending::Unwanted) | None if error.is_short_of_memory() => SHORT,
                Some(Ending::Unwanted) | None => "",
            };
            let part = if error.is_of_the_configuration() { Part::Configuration } else { Part::Definition };
            Fault { part, ..Fault::from(format!("{error}{why}")) }
        })
    }

    /// Whether the filter, which starts alone and `took` so much, starts where others are already, and what it takes there. Who cannot be
    /// told here is told on the worker.
    pub(super) fn place(
        &self,
        runtime: &Runtime,
        trial: Arc<Trial>,
        beside: &[Arc<Plugin>],
        took: Took,
    ) -> (Place, Took) {
        let unknown = (Place::Shared, Took { declared: 0, ..took });
        let Ok(machine) = self.start(runtime, trial) else { return unknown };
        if beside.iter().any(|other| machine.add_root(other, None).is_err()) {
            return unknown;
        }
        let before = machine.took().grown;
        match machine.add_root(&self.plugin, None) {
            Ok(_) => (Place::Shared, Took { declared: 0, grown: machine.took().grown.saturating_sub(before) }),
            Err(error) if error.is_short_of_memory() => unknown,
            Err(_) => (Place::Apart, took),
        }
    }

    fn start(&self, runtime: &Runtime, trial: Arc<Trial>) -> Result<Rc<Machine>, StartError> {
        let limit = self.plugin.limits.start;
        Machine::start(runtime, &self.module, &self.spec, limit, &Starts::OnTrial(trial))
            .map(|(machine, _told)| machine)
    }
}

/// Has room kept for what a plugin will take on each worker, which is as much as it took when it was tried. Waits for it as long as a
/// trial does.
pub(super) async fn promised(took: Took) -> Result<Option<Promise>, String> {
    let each = took.declared + took.grown;
    let until = Instant::now() + starts::PATIENCE;
    loop {
        match Promise::of(each) {
            Ok(promise) => return Ok(promise),
            Err(none) if Instant::now() >= until => return Err(none.to_string()),
            Err(_) => sleep(starts::ASKS).await,
        }
    }
}

/// Said of a filter that finds no memory to be tried with.
const SHORT: &str = "; the container's memory is short: before a filter serves it is tried in a machine of its own, beside those that serve; \
                     raise the container's limit, or have the filter take less at its start";

/// Said of a filter that took what others needed.
const PRESSED: &str = "; it was ended while it was tried, since the container's memory became short: before a filter serves it is tried in a \
                       machine of its own, beside those that serve; raise the container's limit, have the filter take less at its start, \
                       or read the configuration again when less is used";
