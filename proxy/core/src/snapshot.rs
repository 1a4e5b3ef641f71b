//! A configuration compiled for use: immutable, swapped whole, read once per request.
//!
//! Beside the path. What a new configuration did not change is taken over from the one before by content: the
//! states of clusters (circuit counters, resolved names, statistics) and of listeners (permits, statistics).
//! It binds nothing and resolves nothing.

use crate::{
    downstream::{
        Connection,
        admit::{Admission, SourceTable, Sources},
        limit::Limit,
    },
    exchange::{
        filter::FilterSet,
        head::{change::CompiledChanges, forwarding::ForwardingRules},
        judge,
        route::RouteTable,
    },
    identity::{Secrets, TlsServer, Updated},
    telemetry::{
        ListenerTelemetry,
        access_log::{AccessLogHandle, Logger},
        metrics::ListenerMetrics,
    },
    tunnel::Policy,
    upstream::ClusterState,
};
use bytes::Bytes;
use pillion_config::{
    model::{Action, Authorization, Config, Direction, HeaderChange, Listener, ListenerTlsMode, Name, Rewrite, Route},
    template::{Template, Variable},
};
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
    /// In the order of [`Config::filters`].
    pub filters: FilterSet,
    /// Where records go, if anywhere.
    pub access_log: Option<Arc<AccessLogHandle>>,
}

/// A compiled listener.
#[derive(Debug)]
pub struct ListenerSnapshot {
    /// What it was compiled from.
    pub model: Arc<Listener>,
    /// Finds a route.
    pub routes: RouteTable,
    /// What its routes change, in the order of the model's routes.
    pub compiled: Box<[CompiledRoute]>,
    /// Its rules; `None`: everybody may.
    pub admit: Option<Box<Admission>>,
    /// Whether its routes or rules look at fields in which a client can claim to be another.
    pub looks_at_claims: bool,
    /// Whom it is asked of by address alone; `None`: nobody is.
    pub sources: Option<Box<Sources>>,
    /// Its TLS; `None`: it speaks in the clear.
    pub tls: Option<Arc<TlsServer>>,
    /// Where opaque connections go, if anywhere.
    pub opaque: Option<Policy>,
    /// What upstreams are told of clients.
    pub forwarding: ForwardingRules,
    /// Where what happens is told; its metrics live as long as a listener of that name.
    pub telemetry: Arc<ListenerTelemetry>,
    /// Its connections over all workers.
    pub connections: Arc<Limit>,
}

impl ListenerSnapshot {
    /// How this connection speaks TLS; `None`: it does without, as all of the listener or as an exception.
    #[must_use]
    pub fn tls_of(&self, connection: &Connection) -> Option<&TlsServer> {
        let tls = self.tls.as_deref()?;
        (tls.model().mode_at(connection.facts.port()) != ListenerTlsMode::Off).then_some(tls)
    }
}

/// The changes a route makes, compiled.
#[derive(Debug)]
pub struct CompiledRoute {
    /// To requests.
    pub request_changes: CompiledChanges,
    /// Whether requests go on otherwise than they came, by these or by a rewrite.
    pub changes_requests: bool,
    /// To responses.
    pub response_changes: CompiledChanges,
    /// Whether the changes to responses speak of the request, which must then be kept for them.
    pub response_speaks_of_request: bool,
    /// Whether they speak of the client, whom the request's head may tell.
    pub response_speaks_of_client: bool,
    /// Its rules; `None`: whoever the listener lets may.
    pub admit: Option<Box<Admission>>,
    /// The body of its own answer, if it gives one.
    pub direct: Option<Bytes>,
}

impl CompiledRoute {
    fn compile(listener: &Name, route: &Route) -> Self {
        let variables = || {
            let templates = route.response_headers.iter().filter_map(|change| match change {
                HeaderChange::Set(_, template) | HeaderChange::Append(_, template) => Some(template),
                HeaderChange::Remove(_) => None,
            });
            templates.flat_map(Template::variables)
        };
        Self {
            request_changes: CompiledChanges::compile(&route.request_headers),
            changes_requests: !route.request_headers.is_empty() || route.rewrite != Rewrite::KEEP,
            response_changes: CompiledChanges::compile(&route.response_headers),
            response_speaks_of_request: variables().any(|variable| matches!(variable, Variable::RequestHeader(..))),
            response_speaks_of_client: variables().any(|variable| {
                matches!(variable, Variable::DownstreamRemoteAddress | Variable::DownstreamRemoteAddressWithoutPort)
            }),
            admit: route.authorization.as_deref().map(|rules| Admission::compile(listener, Some(&route.name), rules)),
            direct: match &route.action {
                Action::Respond(direct) => Some(Bytes::copy_from_slice(&direct.body)),
                Action::Forward(_) | Action::Redirect(_) => None,
            },
        }
    }
}

impl Snapshot {
    /// Compiles `config`, whose filters are `filters`, taking over from `previous` what did not change.
    ///
    /// # Panics
    ///
    /// When `filters` are those of another configuration.
    #[must_use]
    pub fn compile(
        config: Arc<Config>,
        previous: Option<&Self>,
        access_log: Option<Arc<AccessLogHandle>>,
        filters: FilterSet,
    ) -> Self {
        assert_eq!(filters.loaded().len(), config.filters.len(), "a factory for each filter");
        let log = access_log.as_deref().map(AccessLogHandle::logger);
        let same_log = previous.is_some_and(|previous| match (&previous.access_log, &access_log) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        });
        Self {
            listeners: listeners(&config, previous, log.as_ref(), same_log),
            clusters: clusters(&config, previous),
            filters,
            config,
            access_log,
        }
    }
}

/// How far TLS is after an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsState {
    /// Listeners and clusters that lack what they are to present or to believe.
    pub missing: Vec<Name>,
    /// Whether a listener or cluster trusts others than before, or we are somebody else.
    pub retrusted: bool,
    /// Those that rustls refused to make, with its words; they keep what they had.
    pub refused: Vec<(Name, String)>,
}

impl Snapshot {
    /// Takes certificates, keys and roots into use: handshakes that begin from now on see them. Where nothing changed
    /// nothing is made anew. Called on the control thread.
    #[must_use]
    pub fn update_tls(&self, secrets: &Secrets) -> TlsState {
        let mut state = TlsState::default();
        let listeners = self
            .listeners
            .iter()
            .filter_map(|listener| Some((&listener.model.name, listener.tls.as_ref()?.update(secrets))));
        let clusters =
            self.clusters.iter().filter_map(|cluster| Some((&cluster.model().name, cluster.tls()?.update(secrets))));
        for (name, updated) in listeners.chain(clusters) {
            match updated {
                Ok(Updated::Same | Updated::Renewed) => {}
                Ok(Updated::Retrusted) => state.retrusted = true,
                Ok(Updated::Missing) => state.missing.push(name.clone()),
                Err(error) => state.refused.push((name.clone(), error.to_string())),
            }
        }
        state
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
        .map(|model| take_over(model).cloned().unwrap_or_else(|| ClusterState::new(Arc::clone(model))))
        .collect()
}

fn name_of(cluster: &pillion_config::model::Cluster) -> &Name {
    &cluster.name
}

/// What decides whether a client may: its listener's rules, and those of its routes.
fn rules(listener: &Listener) -> impl Iterator<Item = Option<&Authorization>> {
    let routes = listener.routes.iter().map(|route| route.authorization.as_deref());
    std::iter::once(listener.authorization.as_ref()).chain(routes)
}

fn listeners(
    config: &Config,
    previous: Option<&Snapshot>,
    log: Option<&Logger>,
    same_log: bool,
) -> Vec<Arc<ListenerSnapshot>> {
    let known: HashMap<&Name, &Arc<ListenerSnapshot>> = previous
        .into_iter()
        .flat_map(|snapshot| &snapshot.listeners)
        .map(|listener| (&listener.model.name, listener))
        .collect();
    // Routes name clusters by index, so a listener is the same only while the clusters' order is.
    let same_clusters = previous.is_some_and(|snapshot| {
        snapshot.config.clusters.iter().map(|cluster| &cluster.name).eq(config.clusters.iter().map(|c| &c.name))
    });
    let same_sources = previous.is_some_and(|snapshot| snapshot.config.source_filter == config.source_filter);
    // Compiled once, however many listeners ask it.
    let mut table = None;
    let mut compile = |model: &Arc<Listener>| {
        let before = known.get(&model.name);
        let same = same_log && same_clusters && same_sources;
        if let Some(before) = before.filter(|before| same && before.model == *model) {
            return Arc::clone(before);
        }
        let same_rules = before.is_some_and(|before| rules(&before.model).eq(rules(model)));
        let connections = match before {
            Some(before) => {
                before.connections.resize(model.connections);
                Arc::clone(&before.connections)
            }
            None => Limit::new(model.connections),
        };
        Arc::new(ListenerSnapshot {
            routes: RouteTable::compile(&model.routes),
            compiled: model.routes.iter().map(|route| CompiledRoute::compile(&model.name, route)).collect(),
            admit: model.authorization.as_ref().map(|rules| Admission::compile(&model.name, None, rules)),
            looks_at_claims: judge::looks_at_claims(model),
            sources: match (&config.source_filter, model.direction) {
                // What comes from the application beside it has come over no edge.
                (Some(filter), Direction::Inbound) => {
                    let table = table.get_or_insert_with(|| SourceTable::compile(filter));
                    Some(Sources::new(&model.name, filter, table))
                }
                (Some(_), Direction::Outbound) | (None, _) => None,
            },
            tls: model.tls.as_ref().map(|tls| match before.and_then(|before| before.tls.as_ref()) {
                // With it the key of its tickets.
                Some(before) if before.model() == tls && same_rules => Arc::clone(before),
                Some(_) | None => Arc::new(TlsServer::new(tls)),
            }),
            opaque: model.protocol.tcp().map(Policy::compile),
            forwarding: ForwardingRules::compile(&model.http.forwarding),
            telemetry: Arc::new(ListenerTelemetry {
                name: model.name.clone(),
                metrics: before.map_or_else(
                    || Arc::new(ListenerMetrics::register(&model.name)),
                    |before| Arc::clone(&before.telemetry.metrics),
                ),
                log: log.cloned(),
            }),
            connections,
            model: Arc::clone(model),
        })
    };
    config.listeners.iter().map(&mut compile).collect()
}
