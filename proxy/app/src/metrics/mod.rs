//! Metrics kept in memory and rendered for Prometheus.
//!
//! The `metrics` facade hands out handles; behind each stands one atomic cell, or a row of them for a histogram with
//! fixed bounds. So memory depends on the number of series alone: not on requests, not on scrapes. The registry's
//! locks are taken when a series is registered and, for a moment, when a scrape begins a family; never by an increment.
//!
//! ```text
//!  worker ─► handle ─► atomic cell ◄─ Scrape ◄─ GET /metrics      pieces of at most 64 KiB, the control thread
//!  reload ─► Recorder::retain ─► series of what is no longer configured go                     yields between them
//!         └► Recorder::rename ─► those of wasm filters have the labels of `metrics.tags`
//! ```

mod cells;
mod process;
mod registry;
mod render;

#[cfg(test)]
mod tests;

pub use render::{CONTENT_TYPE, PIECE_BYTES, Scrape};

use self::registry::{Kind, Registry};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, SharedString, Unit};
use pillion_wasm::shared::{Renamed, WHOLE_NUMBERS};
use std::sync::Arc;

/// The process's metrics. Clones are the same; shared by all threads, since each registers series of its own.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Registry>);

/// Another recorder was installed in this process before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metrics are already recorded elsewhere in this process")]
pub struct AlreadyInstalled;

/// What was built, for `pillion_build_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Build {
    /// The version released.
    pub version: &'static str,
    /// The commit it was built from.
    pub commit: &'static str,
}

impl Build {
    /// This one.
    pub const THIS: Self = Self {
        version: env!("CARGO_PKG_VERSION"),
        commit: match option_env!("PILLION_COMMIT") {
            Some(commit) => commit,
            None => "unknown",
        },
    };
}

impl Recorder {
    /// Makes a recorder, installs it for the process, describes the data path's families and says what was built.
    ///
    /// # Errors
    /// When the process has a recorder already.
    pub fn install(build: Build) -> Result<Self, AlreadyInstalled> {
        let recorder = Self::default();
        metrics::set_global_recorder(recorder.clone()).map_err(|_| AlreadyInstalled)?;
        pillion_core::telemetry::metrics::describe();
        recorder.say(build);
        Ok(recorder)
    }

    /// Begins a scrape: see [`Scrape`].
    #[must_use]
    pub fn scrape(&self) -> Scrape {
        Scrape::new(&self.0)
    }

    /// Forgets the proxy's own series that carry the label with a value that `keep` denies. Handles to them go on counting into
    /// nothing; registering one of them again begins at zero. Call it when a reload removed clusters or listeners,
    /// so that memory does not grow over reloads.
    pub fn retain(&self, label: &str, keep: impl Fn(&str) -> bool) {
        self.0.retain(label, keep);
    }

    /// Gives series other names and labels, by which they are scraped from now on with what they have counted.
    pub fn rename(&self, renamed: &[Renamed]) {
        self.0.rename(renamed);
    }

    fn say(&self, build: Build) {
        use metrics::Recorder as _;
        let name = KeyName::from_const_str("pillion_build_info");
        self.describe_gauge(name.clone(), None, "What was built; always 1.".into());
        let labels =
            vec![Label::from_static_parts("version", build.version), Label::from_static_parts("commit", build.commit)];
        let metadata = Metadata::new("pillion", Level::INFO, None);
        self.register_gauge(&Key::from_parts(name, labels), &metadata).set(1.0);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Kind::Counter, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Kind::Gauge, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Kind::Histogram, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.counter(key).map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.gauge(key).map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if metadata.target() == WHOLE_NUMBERS {
            return self.0.whole_histogram(key).map_or_else(Histogram::noop, Histogram::from_arc);
        }
        self.0.histogram(key).map_or_else(Histogram::noop, Histogram::from_arc)
    }
}
