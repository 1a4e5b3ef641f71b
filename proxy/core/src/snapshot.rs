//! A configuration compiled for use: immutable, swapped whole, read once per request.
//!
//! Beside the path. What a new configuration did not change is taken over from the one before by content: the
//! states of clusters (circuit counters, resolved names, statistics) and of listeners (permits, statistics).
//! It binds nothing and resolves nothing.

use crate::{
    downstream::limit::Limit,
    exchange::route::Routes,
    telemetry::{AccessLog, ListenerMetrics},
    upstream::ClusterState,
};
use pillion_config::model::{Config, Listener, Name};
use std::{collections::HashMap, sync::Arc};

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// What it was compiled from.
    pub config: Arc<Config>,
    /// In the order of [`Config::listeners`].
    pub listeners: Vec<Arc<ListenerSnapshot>>,
    /// In the order of [`Config::clusters`].
    pub clusters: Vec<Arc<ClusterState>>,
    /// Where records go, if anywhere.
    pub access_log: Option<Arc<AccessLog>>,
}

/// A compiled listener.
#[derive(Debug)]
pub struct ListenerSnapshot {
    /// What it was compiled from.
    pub model: Arc<Listener>,
    /// Its routes.
    pub routes: Routes,
    /// Its metrics; live as long as a listener of that name.
    pub metrics: Arc<ListenerMetrics>,
    /// Its connections over all workers.
    pub connections: Arc<Limit>,
}

impl Snapshot {
    /// Compiles `config`, taking over from `previous` what did not change.
    #[must_use]
    pub fn compile(config: Arc<Config>, previous: Option<&Self>, access_log: Option<Arc<AccessLog>>) -> Self {
        Self {
            listeners: listeners(&config, previous),
            clusters: clusters(&config, previous),
            config,
            access_log,
        }
    }
}

fn clusters(config: &Config, previous: Option<&Snapshot>) -> Vec<Arc<ClusterState>> {
    let known: HashMap<&Name, &Arc<ClusterState>> = previous
        .into_iter()
        .flat_map(|snapshot| &snapshot.clusters)
        .map(|state| (&state.model().name, state))
        .collect();
    let take_over = |model: &Arc<_>| known.get(&name_of(model)).filter(|state| state.model() == model).copied();
    config
        .clusters
        .iter()
        .map(|model| take_over(model).cloned().unwrap_or_else(|| Arc::new(ClusterState::new(Arc::clone(model)))))
        .collect()
}

fn name_of(cluster: &pillion_config::model::Cluster) -> &Name {
    &cluster.name
}

fn listeners(config: &Config, previous: Option<&Snapshot>) -> Vec<Arc<ListenerSnapshot>> {
    let known: HashMap<&Name, &Arc<ListenerSnapshot>> = previous
        .into_iter()
        .flat_map(|snapshot| &snapshot.listeners)
        .map(|listener| (&listener.model.name, listener))
        .collect();
    // Routes name clusters by index, so a listener is the same only while the clusters' order is.
    let same_clusters = previous.is_some_and(|snapshot| {
        snapshot.config.clusters.iter().map(|cluster| &cluster.name).eq(config.clusters.iter().map(|c| &c.name))
    });
    let compile = |model: &Arc<Listener>| {
        let before = known.get(&model.name);
        if let Some(before) = before.filter(|before| same_clusters && before.model == *model) {
            return Arc::clone(before);
        }
        let connections = match before {
            Some(before) => {
                before.connections.resize(model.connections);
                Arc::clone(&before.connections)
            }
            None => Limit::new(model.connections),
        };
        Arc::new(ListenerSnapshot {
            routes: Routes::compile(&model.routes),
            metrics: before
                .map_or_else(|| ListenerMetrics::register(model.name.as_str()), |before| Arc::clone(&before.metrics)),
            connections,
            model: Arc::clone(model),
        })
    };
    config.listeners.iter().map(compile).collect()
}
