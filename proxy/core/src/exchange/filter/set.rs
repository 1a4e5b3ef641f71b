//! [`FilterSet`]: the factories of a configuration, loaded before it is compiled.

use super::{Factory, LoadError, Loader};
use crate::snapshot::Snapshot;
use futures_util::future::join_all;
use pillion_config::model::{Config, Filter};
use std::{fmt, sync::Arc};

/// The factories of a configuration's filters, in the order of [`Config::filters`].
#[derive(Clone, Default)]
pub struct FilterSet(Vec<Loaded>);

/// A filter's factory.
#[derive(Clone)]
pub struct Loaded {
    /// What it was made from.
    pub model: Arc<Filter>,
    /// The factory.
    pub factory: Arc<dyn Factory>,
}

impl FilterSet {
    /// No filter.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Loads the filters of `config`, all at the same time. A factory of `in_force` is offered to the loader where its model is equal.
    ///
    /// # Errors
    ///
    /// Why each filter that cannot be loaded cannot.
    pub async fn load(
        config: &Config,
        in_force: Option<&Snapshot>,
        loader: &dyn Loader,
    ) -> Result<Self, Vec<LoadError>> {
        let loading = config.filters.iter().map(|model| {
            let before = in_force.and_then(|snapshot| snapshot.filters.0.iter().find(|known| known.model == *model));
            loader.load(model, before.map(|before| &before.factory))
        });
        let loaded = join_all(loading).await;
        let mut set = Vec::with_capacity(config.filters.len());
        let mut errors = Vec::new();
        for (model, loaded) in config.filters.iter().zip(loaded) {
            match loaded {
                Ok(factory) => set.push(Loaded { model: Arc::clone(model), factory }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(set)) } else { Err(errors) }
    }

    /// What each filter lacks though it is in use, a line each.
    pub fn lacks(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter_map(|Loaded { model, factory }| Some(format!("filter {}: {}", model.name, factory.lacks()?)))
    }

    /// In the order of [`Config::filters`].
    #[must_use]
    pub fn loaded(&self) -> &[Loaded] {
        &self.0
    }
}

impl fmt::Debug for FilterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|loaded| &loaded.factory)).finish()
    }
}
