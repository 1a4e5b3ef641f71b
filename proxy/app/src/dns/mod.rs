//! Host names of endpoints, resolved and kept fresh on the control thread.
//!
//! Beside the path: a request never waits for a look-up. The last good answer is kept whatever happens later; names
//! are asked again when their TTL ends, within the configured bounds, and after a failure with growing pauses. The
//! resolver is built with the first name that `/etc/hosts` does not know, and never otherwise; it is built anew when
//! `/etc/resolv.conf` is another file than it was, which is looked at when a question failed and when somebody asks for it.

mod files;
mod hosts;
mod schedule;

pub use hosts::known;
pub use schedule::{after_answer, after_failure};

use files::{Stamp, System};
use futures_util::{
    StreamExt,
    future::{LocalBoxFuture, ready},
    stream::FuturesUnordered,
};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RecordType,
    system_conf::parse_resolv_conf,
};
use pillion_config::model::Dns;
use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The names in use, and what is known about them.
pub struct Names {
    settings: Dns,
    hosts: HashMap<Arc<str>, Host>,
    running: FuturesUnordered<LookUp>,
    resolver: Option<TokioResolver>,
    system: System,
    hosts_file: PathBuf,
    /// The file of hosts when it was last asked for.
    hosts_seen: Option<Stamp>,
}

/// A name being looked up.
type LookUp = LocalBoxFuture<'static, (Arc<str>, Result<Answer, Failure>)>;

/// What happened to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The name.
    pub host: Arc<str>,
    /// How it went.
    pub outcome: Outcome,
}

/// How a look-up ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its addresses differ from before.
    Changed,
    /// Its addresses are as before.
    Same,
    /// No answer; the last good one, if any, stays.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The servers say that there is no such name or no address of it (RFC 2308).
    #[error("there is no such name")]
    NotFound,
    /// No server answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// Its name in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Timeout(_) => "timeout",
            Self::Failed(_) => "failed",
        }
    }
}

/// A good answer.
struct Answer {
    addresses: Vec<IpAddr>,
    /// How long it may be believed.
    ttl: Duration,
}

#[derive(Default)]
struct Host {
    /// Sorted, without doubles; empty until the first answer.
    addresses: Vec<IpAddr>,
    /// When it is asked again; `None` while it is being asked.
    due: Option<Instant>,
    /// Failures since the last answer.
    failures: u32,
}

/// Look-ups at once: enough for a start with hundreds of names within a second, few enough for a server's limits.
const AT_ONCE: usize = 16;

impl Names {
    /// No names yet.
    #[must_use]
    pub fn new(settings: Dns) -> Self {
        Self {
            settings,
            hosts: HashMap::new(),
            running: FuturesUnordered::new(),
            resolver: None,
            system: System::default(),
            hosts_file: PathBuf::from("/etc/hosts"),
            hosts_seen: None,
        }
    }

    /// From now on exactly these names are wanted, under these settings. What is known about a name that was wanted
    /// before stays.
    pub fn want(&mut self, settings: &Dns, wanted: impl IntoIterator<Item = Arc<str>>) {
        if self.settings.servers != settings.servers {
            self.resolver = None;
        }
        self.settings = settings.clone();
        self.look_again();
        let mut before = std::mem::take(&mut self.hosts);
        for host in wanted {
            let known = before.remove(&host);
            let fresh = || Host { due: Some(Instant::now()), ..Host::default() };
            self.hosts.entry(host).or_insert_with(|| known.unwrap_or_else(fresh));
        }
        if self.hosts.is_empty() {
            self.resolver = None;
            self.running = FuturesUnordered::new();
        }
        self.answer_at_once();
    }

    /// Somebody asks for it: where the system's files are not what they were, every name is looked up anew.
    pub fn look_again(&mut self) {
        let hosts = Stamp::of(&self.hosts_file);
        let other_hosts = std::mem::replace(&mut self.hosts_seen, hosts) != hosts;
        if self.forget_resolver() || other_hosts {
            let now = Instant::now();
            self.hosts.values_mut().filter(|host| host.due.is_some()).for_each(|host| host.due = Some(now));
        }
    }

    /// Forgets whom to ask, where the system says something else by now; whether it did.
    fn forget_resolver(&mut self) -> bool {
        if self.resolver.is_none() || !self.system.has_changed() {
            return false;
        }
        tracing::info!("{} is another than it was: read again", self.system.file.display());
        self.resolver = None;
        true
    }

    /// Whether each wanted name has been tried at least once.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.hosts.values().all(|host| !host.addresses.is_empty() || host.failures > 0)
    }

    /// The last good addresses of a name, sorted; empty when there never was an answer.
    #[must_use]
    pub fn addresses(&self, host: &str) -> &[IpAddr] {
        self.hosts.get(host).map_or(&[], |host| &host.addresses)
    }

    /// Looks up what is due and returns what happened to the next name. Never ready when no name is wanted.
    /// Cancel-safe: look-ups go on with the next call.
    pub async fn next(&mut self) -> Update {
        loop {
            let due = self.start_due();
            let next = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((host, outcome)) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(update) = self.enter(host, outcome) {
                        return update;
                    }
                }
                () = next => {}
            }
        }
    }

    /// Names that need no server are answered before anybody waits.
    fn answer_at_once(&mut self) {
        if self.hosts.values().all(|host| !host.addresses.is_empty()) {
            return;
        }
        let text = std::fs::read_to_string(&self.hosts_file).unwrap_or_default();
        let again = Instant::now() + self.settings.max_refresh;
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| host.addresses.is_empty()) {
            if let Some(addresses) = known(name, &text) {
                host.learn(addresses);
                host.due = Some(again);
            }
        }
    }

    /// Starts what is due and returns when the next one will be; `None` while that cannot matter.
    fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut room = AT_ONCE.saturating_sub(self.running.len());
        let mut next: Option<Instant> = None;
        let mut start = Vec::new();
        for (name, host) in &mut self.hosts {
            match host.due {
                Some(at) if at > now => next = Some(next.map_or(at, |next| next.min(at))),
                Some(_) if room > 0 => {
                    room -= 1;
                    host.due = None;
                    start.push(Arc::clone(name));
                }
                // Whichever look-up ends next makes room.
                Some(_) | None => {}
            }
        }
        if !start.is_empty() {
            // The file is small and may change at any time (a pod's is written when it starts).
            let text = std::fs::read_to_string(&self.hosts_file).unwrap_or_default();
            for name in start {
                let look_up = self.look_up(&name, &text);
                self.running.push(Box::pin(async move { (name, look_up.await) }));
            }
        }
        next
    }

    fn look_up(&mut self, name: &Arc<str>, hosts: &str) -> LocalBoxFuture<'static, Result<Answer, Failure>> {
        if let Some(addresses) = known(name, hosts) {
            return Box::pin(ready(Ok(Answer { addresses, ttl: self.settings.max_refresh })));
        }
        match self.resolver() {
            Ok(resolver) => {
                let known = self.addresses(name).to_vec();
                Box::pin(ask(resolver, Arc::clone(name), known, self.settings.timeout))
            }
            Err(failure) => Box::pin(ready(Err(failure))),
        }
    }

    fn resolver(&mut self) -> Result<TokioResolver, Failure> {
        if let Some(resolver) = &self.resolver {
            return Ok(resolver.clone());
        }
        let resolver = build(&self.settings, &mut self.system).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(self.resolver.insert(resolver).clone())
    }

    fn enter(&mut self, name: Arc<str>, outcome: Result<Answer, Failure>) -> Option<Update> {
        // Whoever was asked may be nobody any more. Others that failed need not wait either.
        let anew = outcome.is_err() && self.hosts.contains_key(&name) && self.forget_resolver();
        if anew {
            let now = Instant::now();
            for host in self.hosts.values_mut().filter(|host| host.failures > 0 || host.due.is_none()) {
                host.failures = 0;
                host.due = host.due.map(|_| now);
            }
        }
        // A name may be forgotten while it is looked up.
        let host = self.hosts.get_mut(&name)?;
        let (pause, outcome) = match outcome {
            Ok(answer) => {
                host.failures = 0;
                let changed = host.learn(answer.addresses);
                let outcome = if changed { Outcome::Changed } else { Outcome::Same };
                (after_answer(answer.ttl, &self.settings), outcome)
            }
            Err(failure) => {
                host.failures = host.failures.saturating_add(1);
                let pause = if anew { Duration::ZERO } else { after_failure(host.failures, &self.settings) };
                (pause, Outcome::Failed(failure))
            }
        };
        host.due = Some(Instant::now() + pause);
        Some(Update { host: name, outcome })
    }
}

impl Host {
    fn learn(&mut self, mut addresses: Vec<IpAddr>) -> bool {
        addresses.sort_unstable();
        addresses.dedup();
        let changed = self.addresses != addresses;
        self.addresses = addresses;
        changed
    }
}

/// Both families are asked for at once. Where a server has nothing good to say of one of them the resolver answers with the
/// other alone; a family that was `known` and is missing is asked for once more, and kept unless the answer is that it is gone.
async fn ask(resolver: TokioResolver, name: Arc<str>, known: Vec<IpAddr>, limit: Duration) -> Result<Answer, Failure> {
    let found = match timeout(limit, resolver.lookup_ip(&*name)).await {
        Ok(outcome) => outcome.map_err(|error| failure(&error))?,
        Err(_) => return Err(Failure::Timeout(limit)),
    };
    let ttl = found.valid_until().saturating_duration_since(std::time::Instant::now());
    let mut addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() {
        return Err(Failure::NotFound);
    }
    for (record, of_family) in
        [(RecordType::A, IpAddr::is_ipv4 as fn(&IpAddr) -> bool), (RecordType::AAAA, IpAddr::is_ipv6)]
    {
        if addresses.iter().any(of_family) || !known.iter().any(of_family) {
            continue;
        }
        // The name that was found, whichever the search list made of ours.
        let mut full = found.query().name().clone();
        full.set_fqdn(true);
        match timeout(limit, resolver.lookup(full, record)).await {
            Ok(Ok(again)) => addresses.extend(again.answers().iter().filter_map(|record| record.data.ip_addr())),
            Ok(Err(error)) if failure(&error) == Failure::NotFound => {}
            Ok(Err(_)) | Err(_) => addresses.extend(known.iter().copied().filter(of_family)),
        }
    }
    Ok(Answer { addresses, ttl })
}

fn failure(error: &NetError) -> Failure {
    if error.is_nx_domain() || error.is_no_records_found() {
        Failure::NotFound
    } else {
        Failure::Failed(error.to_string())
    }
}

/// The system's search list and options, with our servers where some are configured.
fn build(settings: &Dns, system: &mut System) -> Result<TokioResolver, NetError> {
    let (config, mut options) = match system.read().map_err(NetError::from).and_then(parse_resolv_conf) {
        Ok(system) => system,
        Err(error) if settings.servers.is_empty() => return Err(error),
        Err(_) => (ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default()),
    };
    let config = match settings.servers.as_slice() {
        [] => system.at_its_port(config),
        servers => {
            let (domain, search, _) = config.into_parts();
            let servers = servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            });
            ResolverConfig::from_parts(domain, search, servers.collect())
        }
    };
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We keep answers ourselves: a second cache would only make them staler.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(settings.timeout);
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    *builder.options_mut() = options;
    builder.build()
}

#[cfg(test)]
mod tests;
