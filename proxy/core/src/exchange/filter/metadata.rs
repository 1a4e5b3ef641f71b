//! Metadata: what a stream's filters are told of what is configured, and what a filter tells those behind it.
//!
//! Beside the path: what is configured is looked up when a filter asks, and nothing is held for it.

use super::stream::Stream;
use crate::upstream::ClusterState;
use pillion_config::model::Metadata;
use serde_json::Value;
use std::{rc::Rc, sync::Arc};

/// The namespace in which filters of tokens tell of claims, as Envoy's.
pub(super) const TOKENS: &str = "envoy.filters.http.jwt_authn";

/// What a filter tells those behind it.
pub(super) struct Told {
    namespace: &'static str,
    key: Arc<str>,
    values: Rc<Metadata>,
}

impl Stream {
    /// What is written of its cluster: the one that was chosen, and before that the one that the route would choose.
    #[must_use]
    pub fn cluster_metadata(&self) -> Option<Arc<Metadata>> {
        self.cluster_state()?.model().metadata.clone()
    }

    /// What is written of the endpoint that was chosen.
    #[must_use]
    pub fn endpoint_metadata(&self) -> Option<Arc<Metadata>> {
        self.cluster_state()?.metadata_at(self.shared.meter.upstream().get()?)
    }

    fn cluster_state(&self) -> Option<&Arc<ClusterState>> {
        let view = &self.shared.view;
        let index = view.cluster_named(self.facts().cluster?.as_str())?;
        view.snapshot.clusters.get(index.0)
    }

    /// What a filter before this one told under this namespace and key.
    #[must_use]
    pub fn told(&self, namespace: &str, key: &str) -> Option<Rc<Metadata>> {
        let told = self.shared.metadata.borrow();
        told.iter().find(|told| told.namespace == namespace && *told.key == *key).map(|told| Rc::clone(&told.values))
    }

    /// All that filters told, by namespace and key; made anew for whoever asks.
    #[must_use]
    pub fn all_told(&self) -> Metadata {
        let mut all = Metadata::new();
        for Told { namespace, key, values } in &*self.shared.metadata.borrow() {
            let values = Value::Object((**values).clone());
            match all.get_mut(*namespace) {
                Some(Value::Object(keys)) => drop(keys.insert(key.to_string(), values)),
                _ => drop(all.insert((*namespace).to_owned(), Metadata::from_iter([(key.to_string(), values)]).into())),
            }
        }
        all
    }

    /// Tells filters behind this one something, in place of what was told under this namespace and key before.
    pub(super) fn tell(&self, namespace: &'static str, key: &Arc<str>, values: &Rc<Metadata>) {
        let mut told = self.shared.metadata.borrow_mut();
        told.retain(|told| told.namespace != namespace || told.key != *key);
        told.push(Told { namespace, key: Arc::clone(key), values: Rc::clone(values) });
    }
}
