//! Filters of Pillion's own.

use super::{Factory, LoadError, Loader, Loading};
use pillion_config::model::{self, FilterKind};
use std::sync::Arc;

/// Loads Pillion's own filters; `other` loads the rest, wasm modules.
pub struct Native<'a> {
    /// Who loads what is not native; `None`: nobody can, and such a filter is refused.
    pub other: Option<&'a dyn Loader>,
}

impl Loader for Native<'_> {
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        match (&filter.kind, self.other) {
            (FilterKind::Wasm(_), Some(other)) => other.load(filter, previous),
            (FilterKind::Wasm(_), None) => Box::pin(async {
                let reason = "this build runs no wasm filters".to_owned();
                Err(LoadError { filter: filter.name.clone(), reason })
            }),
            (FilterKind::Headers(_) | FilterKind::RateLimit(_), _) => Box::pin(async {
                let reason = "not built yet".to_owned();
                Err(LoadError { filter: filter.name.clone(), reason })
            }),
        }
    }
}
