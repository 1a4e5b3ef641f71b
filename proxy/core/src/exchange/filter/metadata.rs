//! Metadata: what a stream's filters are told of what is configured, and what a filter tells those behind it.
//!
//! Beside the path: what is configured is looked up when a filter asks, and nothing is held for it.

use super::{shared::Shared, stream::Stream};
use crate::upstream::ClusterState;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pillion_config::model::Metadata;
use serde_json::Value;
use std::{rc::Rc, sync::Arc};

/// The namespace in which filters of tokens tell of claims, as Envoy's.
pub(super) const TOKENS: &str = "envoy.filters.http.jwt_authn";

/// What a filter tells those behind it.
pub(super) struct Told {
    namespace: &'static str,
    key: Arc<str>,
    /// The payload of a token that was judged, as it stands there (RFC 7519 §3): its claims would take ten times as much, and few ask.
    payload: Rc<str>,
}

impl Told {
    fn read(&self) -> Metadata {
        // Whoever judged it has read it in the same way.
        let claims = URL_SAFE_NO_PAD.decode(&*self.payload).unwrap_or_default();
        serde_json::from_slice(&claims).unwrap_or_default()
    }
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
    pub fn told(&self, namespace: &str, key: &str) -> Option<Metadata> {
        let told = self.shared.metadata.borrow();
        told.iter().find(|told| told.namespace == namespace && *told.key == *key).map(Told::read)
    }

    /// All that filters told, by namespace and key; made anew for whoever asks.
    #[must_use]
    pub fn all_told(&self) -> Metadata {
        let mut all = Metadata::new();
        for told in &*self.shared.metadata.borrow() {
            let (key, values) = (told.key.to_string(), Value::Object(told.read()));
            match all.get_mut(told.namespace) {
                Some(Value::Object(keys)) => drop(keys.insert(key, values)),
                _ => drop(all.insert(told.namespace.to_owned(), Metadata::from_iter([(key, values)]).into())),
            }
        }
        all
    }

    /// Tells filters behind this one the claims of a token, in place of what was told under this namespace and key before.
    pub(super) fn tell(&self, namespace: &'static str, key: &Arc<str>, payload: Rc<str>) {
        let mut told = self.shared.metadata.borrow_mut();
        told.retain(|told| told.namespace != namespace || told.key != *key);
        told.push(Told { namespace, key: Arc::clone(key), payload });
    }
}

impl Shared {
    /// What a filter told under a namespace, and keys within it.
    pub(crate) fn told_under(&self, namespace: &str, keys: &[Box<str>]) -> Option<Value> {
        let told = self.metadata.borrow();
        let mut told = told.iter().filter(|told| told.namespace == namespace);
        let Some((key, within)) = keys.split_first() else {
            let all: Metadata = told.map(|told| (told.key.to_string(), told.read().into())).collect();
            return (!all.is_empty()).then_some(all.into());
        };
        let claims = Value::from(told.find(|told| *told.key == **key)?.read());
        within.iter().try_fold(claims, |value, key| match value {
            Value::Object(mut fields) => fields.remove(&**key),
            _ => None,
        })
    }
}
