//! Metadata: what a stream's filters are told of what is configured, and what a filter tells those behind it.
//!
//! Beside the path: what is configured is looked up when a filter asks, and nothing is held for it.

use super::{shared::Shared, stream::Stream};
use crate::upstream::ClusterState;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pillion_config::model::Metadata;
use serde_json::Value;
use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};

/// The namespace in which filters of tokens tell of claims, as Envoy's.
pub(super) const TOKENS: &str = "envoy.filters.http.jwt_authn";

/// What filters tell those behind them.
#[derive(Default)]
pub(super) struct Tellings {
    told: Vec<Told>,
    /// As it was read for the filter that asked last. Of all streams of a worker one keeps that ([`LastRead`]): a filter asks for one claim
    /// after the other, and values take ten times what they are read from.
    read: Option<Rc<Metadata>>,
}

struct Told {
    namespace: &'static str,
    key: Arc<str>,
    /// The payload of a token that was judged, as it stands there (RFC 7519 §3): few ask for its claims.
    payload: Rc<str>,
}

/// The stream of a worker that keeps what it was told as it was read.
#[derive(Default)]
pub(crate) struct LastRead(RefCell<Weak<Shared>>);

impl Tellings {
    fn read(&self) -> Metadata {
        let mut all = Metadata::new();
        for told in &self.told {
            let (key, values) = (told.key.to_string(), Value::Object(told.read()));
            match all.get_mut(told.namespace) {
                Some(Value::Object(keys)) => drop(keys.insert(key, values)),
                _ => drop(all.insert(told.namespace.to_owned(), Metadata::from_iter([(key, values)]).into())),
            }
        }
        all
    }

    /// What was read is read anew for whoever asks next.
    pub(super) fn forget_read(&mut self) {
        self.read = None;
    }
}

impl Told {
    fn read(&self) -> Metadata {
        // Whoever judged it has read it in the same way.
        let claims = URL_SAFE_NO_PAD.decode(&*self.payload).unwrap_or_default();
        serde_json::from_slice(&claims).unwrap_or_default()
    }
}

impl LastRead {
    /// Of this stream it is now; another forgets.
    fn is_of(&self, stream: &Rc<Shared>) {
        let before = self.0.replace(Rc::downgrade(stream));
        if let Some(before) = before.upgrade().filter(|before| !Rc::ptr_eq(before, stream)) {
            before.metadata.borrow_mut().forget_read();
        }
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

    /// All that filters before this one told, by namespace and key.
    #[must_use]
    pub fn told(&self) -> Rc<Metadata> {
        let mut tellings = self.shared.metadata.borrow_mut();
        if let Some(read) = &tellings.read {
            return Rc::clone(read);
        }
        let read = Rc::new(tellings.read());
        if !tellings.told.is_empty() {
            self.shared.held.worker().last_read.is_of(&self.shared);
            tellings.read = Some(Rc::clone(&read));
        }
        read
    }

    /// Tells filters behind this one the claims of a token, in place of what was told under this namespace and key before.
    pub(super) fn tell(&self, namespace: &'static str, key: &Arc<str>, payload: Rc<str>) {
        let mut tellings = self.shared.metadata.borrow_mut();
        tellings.forget_read();
        tellings.told.retain(|told| told.namespace != namespace || told.key != *key);
        tellings.told.push(Told { namespace, key: Arc::clone(key), payload });
    }
}

impl Shared {
    /// All that filters told, by namespace and key; read anew.
    pub(crate) fn told_by_filters(&self) -> Metadata {
        self.metadata.borrow().read()
    }
}
