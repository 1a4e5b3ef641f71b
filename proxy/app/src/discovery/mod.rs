//! The endpoints of services of Kubernetes, followed on the control thread.
//!
//! Beside the path: a request never waits for the API server. One task for each service follows its EndpointSlices and keeps
//! what is known; the control loop is told that something changed and gives the addresses to the clusters. While the API
//! server is away, what was known last stays.
//!
//! ```text
//!  API server ──list, watch──► follow ──► slices ──news──► control loop ──addresses──► clusters
//! ```

mod follow;
mod lines;
mod schedule;
mod service;
mod slices;
mod wire;

pub use follow::{News, Update};
pub use service::Service;

use crate::kube::{Access, AccessError};
use follow::{Common, Follower, Known};
use pillion_config::model::{Config, EndpointAddress, Family, Kubernetes, NodeName, ServicePort, Zone};
use pillion_core::{
    telemetry::metrics::DiscoveryMetrics,
    upstream::{MAX_DISCOVERED, Random},
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env,
    future::pending,
    net::SocketAddr,
    rc::Rc,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, spawn_local},
};

/// News that wait to be heard; beyond it who tells them waits.
const NEWS: usize = 16;
/// Lists at once.
const LISTS: usize = 8;

/// Variables that name the node and the zone, where the configuration does not: only the API server knows where a pod is made
/// to run, so an injected one is told by the kubelet.
pub const NODE: &str = "PILLION_NODE";
/// See [`NODE`]. Kubernetes copies a node's zone to the labels of its pods since 1.35; before, this is empty.
pub const ZONE: &str = "PILLION_ZONE";

/// Where we are, for hints.
#[derive(Debug, Default)]
struct Here {
    zone: Option<Zone>,
    node: Option<NodeName>,
}

/// The services that are wanted, and what is known of them.
#[derive(Default)]
pub struct Services {
    /// `None` while none is wanted.
    running: Option<Running>,
}

struct Running {
    settings: Kubernetes,
    common: Rc<Common>,
    followed: BTreeMap<Service, Followed>,
    news: mpsc::Receiver<Update>,
    metrics: Rc<DiscoveryMetrics>,
    seed: u64,
}

struct Followed {
    known: Rc<RefCell<Known>>,
    _task: Task,
}

/// Ends with whoever holds it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Here {
    /// What the configuration says, else what the environment does.
    fn of(settings: &Kubernetes, variable: impl Fn(&str) -> Option<String>) -> Self {
        let told = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            zone: settings.zone.clone().or_else(|| told(ZONE).map(|name| Zone(name.into()))),
            node: settings.node.clone().or_else(|| told(NODE).map(|name| NodeName(name.into()))),
        }
    }
}

impl Services {
    /// From now on exactly these are wanted. What is known about one that was wanted before stays. Within a `LocalSet`.
    ///
    /// # Errors
    /// When some are wanted and the API server cannot be spoken to; nothing has changed then.
    pub fn want(&mut self, settings: &Kubernetes, wanted: &BTreeSet<Service>) -> Result<(), AccessError> {
        if wanted.is_empty() {
            self.running = None;
            return Ok(());
        }
        let same = self.running.as_ref().is_some_and(|running| running.settings == *settings);
        if !same {
            let access = Access::of(settings)?;
            let (say, news) = mpsc::channel(NEWS);
            let before = self.running.take();
            let metrics = before.as_ref().map(|before| Rc::clone(&before.metrics)).unwrap_or_default();
            let common = Common {
                access,
                here: Here::of(settings, |name| env::var(name).ok()),
                lists: Semaphore::new(LISTS),
                metrics: Rc::clone(&metrics),
                news: say,
            };
            let mut running = Running {
                settings: settings.clone(),
                common: Rc::new(common),
                followed: BTreeMap::new(),
                news,
                metrics,
                seed: before.as_ref().map_or_else(|| Random::from_system().next(), |before| before.seed),
            };
            for (service, followed) in before.map(|before| before.followed).unwrap_or_default() {
                running.follow(service, followed.known);
            }
            self.running = Some(running);
        }
        if let Some(running) = &mut self.running {
            running.followed.retain(|service, _| wanted.contains(service));
            for service in wanted {
                if !running.followed.contains_key(service) {
                    running.follow(service.clone(), Rc::default());
                }
            }
        }
        Ok(())
    }

    /// Whether all of each wanted service was heard at least once.
    #[must_use]
    pub fn settled(&self) -> bool {
        let mut followed = self.running.iter().flat_map(|running| running.followed.values());
        followed.all(|followed| followed.known.borrow().listed)
    }

    /// Waits for news. Never ready when no service is wanted. Cancel-safe.
    pub async fn next(&mut self) -> Update {
        match &mut self.running {
            Some(running) => match running.news.recv().await {
                Some(update) => update,
                None => unreachable!("we hold a sender ourselves"),
            },
            None => pending().await,
        }
    }

    /// The addresses of a cluster that is a service; `None`: it is none, or nothing was heard of it yet.
    #[must_use]
    pub fn addresses(&self, endpoint: &EndpointAddress) -> Option<Vec<SocketAddr>> {
        let EndpointAddress::Service(wanted) = endpoint else { return None };
        let running = self.running.as_ref()?;
        let known = running.followed.get(&Service::of(wanted))?.known.borrow();
        known.listed.then(|| known.addresses(&wanted.port, running.settings.prefer, running.seed))
    }

    /// What a cluster asks for that its service has not: words for an operator.
    #[must_use]
    pub fn lacks(&self, endpoint: &EndpointAddress) -> Option<String> {
        let EndpointAddress::Service(wanted) = endpoint else { return None };
        let ServicePort::Number(number) = wanted.port else { return None };
        let known = self.running.as_ref()?.followed.get(&Service::of(wanted))?.known.borrow();
        if !known.listed || known.ports.contains_key(&number) {
            return None;
        }
        let has: Vec<_> = known.ports.iter().map(|(number, name)| format!("{number} ({name:?})")).collect();
        Some(format!("the service has no TCP port {number}; it has {}", has.join(", ")))
    }

    /// The series, where something is followed.
    #[must_use]
    pub fn metrics(&self) -> Option<&DiscoveryMetrics> {
        self.running.as_ref().map(|running| &*running.metrics)
    }
}

impl Running {
    fn follow(&mut self, service: Service, known: Rc<RefCell<Known>>) {
        let follower = Follower {
            service: service.clone(),
            common: Rc::clone(&self.common),
            known: Rc::clone(&known),
            random: Random::from_system(),
            failures: 0,
            last_words: String::new(),
            untold: false,
        };
        let task = Task(spawn_local(follower.follow()));
        self.followed.insert(service, Followed { known, _task: task });
    }
}

impl Known {
    fn addresses(&self, port: &ServicePort, prefer: Family, seed: u64) -> Vec<SocketAddr> {
        let name = match port {
            ServicePort::Name(name) => Some(&**name),
            ServicePort::Number(number) => self.ports.get(number).map(|name| &**name),
        };
        name.map_or_else(Vec::new, |name| self.slices.addresses(name, prefer, MAX_DISCOVERED, seed))
    }
}

/// The services among a configuration's endpoints, each once.
#[must_use]
pub fn services(config: &Config) -> BTreeSet<Service> {
    let endpoints = config.clusters.iter().flat_map(|cluster| &cluster.endpoints);
    let services = endpoints.filter_map(|endpoint| match &endpoint.address {
        EndpointAddress::Service(service) => Some(Service::of(service)),
        EndpointAddress::Ip(_) | EndpointAddress::Name(..) => None,
    });
    services.collect()
}
