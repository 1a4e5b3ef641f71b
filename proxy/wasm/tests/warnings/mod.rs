//! What is logged as a warning or an error while something runs.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps warnings and errors by targets that begin so: each is its message, then its fields as `name=value`.
struct Warnings(&'static str, Mutex<Vec<String>>);

impl Subscriber for Warnings {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with(self.0) && *of.level() <= Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Words(String);
        impl Visit for Words {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                match field.name() {
                    "message" => self.0.insert_str(0, &format!("{value:?}")),
                    name => self.0.push_str(&format!(" {name}={value:?}")),
                }
            }
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        self.1.lock().unwrap().push(words.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// What `f` gives, and the warnings and errors of the crate that it logs on this thread.
pub(crate) fn warned<R>(f: impl FnOnce() -> R) -> (R, Vec<String>) {
    warned_by("pillion_wasm", f)
}

/// The same by targets that begin with `target`.
pub(crate) fn warned_by<R>(target: &'static str, f: impl FnOnce() -> R) -> (R, Vec<String>) {
    let warnings = Arc::new(Warnings(target, Mutex::default()));
    let dispatch = tracing::Dispatch::from(Arc::clone(&warnings) as Arc<dyn Subscriber + Send + Sync>);
    let result = tracing::dispatcher::with_default(&dispatch, f);
    let said = std::mem::take(&mut *warnings.1.lock().unwrap());
    (result, said)
}
