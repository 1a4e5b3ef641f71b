//! The configuration that an injected proxy runs with, from the settings of its pod. Pure.

use super::{
    container::{ACCOUNT, IDENTITY, any_address},
    pod::port,
    settings::{Capture, Discovery, Identity, InboundTls, IpFamily, Redirect, Settings, Upstream},
    value::{Map, Value, list, map},
    yaml,
};
use pillion_config::{
    SourceName,
    model::{NotHttp, SERVER_FIRST},
};
use std::{collections::BTreeSet, io, path::Path};

/// Where it says which ports a node's agent leaves alone.
const CAPTURE: &str = "capture";
const EXCLUDED: &str = "exclude_inbound_ports";

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The one to change, where it is known.
    pub(super) setting: Option<&'static str>,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn of(setting: &'static str, message: String) -> Self {
        Self { setting: Some(setting), message }
    }
}

/// What is wrong with settings for every pod that chooses nothing itself, a line each, as of the flags that they come from.
#[must_use]
pub fn faults(settings: &Settings) -> Vec<String> {
    let mut faults: Vec<Fault> =
        settings.contradictions().into_iter().map(|(name, message)| Fault::of(name, message)).collect();
    if faults.is_empty() && settings.config.is_none() {
        faults = generate(settings, None).err().unwrap_or_default();
    }
    let line = |Fault { setting, message }| setting.map_or(message.clone(), |name| format!("--{name}: {message}"));
    faults.into_iter().map(line).collect()
}

/// Writes the configuration, which `pillion check` would accept. `own` is the namespace of the pod, where it is known.
///
/// # Errors
/// What the proxy would refuse, told of the setting it comes from.
pub(super) fn generate(settings: &Settings, own: Option<&str>) -> Result<String, Vec<Fault>> {
    let mut root = Map::default();
    root.set(
        "admin",
        map([
            ("address", format!("127.0.0.1:{}", port::ADMIN).into()),
            ("probes", any_address(settings.ip_family, port::PROBES).into()),
        ]),
    );
    root.set("workers", settings.workers);
    let mut drain = Map::default();
    drain.set("delay", duration(settings.drain_delay));
    if let Some(deadline) = settings.drain_deadline {
        drain.set("deadline", duration(deadline));
    }
    root.set("drain", drain);
    match &settings.identity {
        Identity::None => {}
        Identity::Secret(_) | Identity::Csi(_) => {
            let file = |name: &str| Value::from(format!("{IDENTITY}/{name}"));
            let bundle = map([("trust_domain", settings.trust_domain.as_str().into()), ("path", file("ca.crt"))]);
            let files = map([
                ("certificate_chain", file("tls.crt")),
                ("private_key", file("tls.key")),
                ("trust_bundles", Value::List(vec![bundle])),
            ]);
            root.set("identity", map([("files", files)]));
        }
        Identity::WorkloadApi(socket) => {
            let agent = map([("address", format!("unix://{IDENTITY}/{socket}").into())]);
            root.set("identity", map([("workload_api", agent)]));
        }
    }
    if settings.asks_the_api_server() {
        let mut kubernetes = Map::default();
        kubernetes.set("service_account", ACCOUNT);
        if let Some(zone) = &settings.zone {
            kubernetes.set("zone", zone.as_str());
        }
        root.set("kubernetes", Value::Map(kubernetes));
    }
    if settings.capture == Capture::Node && !settings.skip_inbound_ports.is_empty() {
        // The agent is told by the proxy what to leave alone; rules are by the container that installs them.
        let ports: BTreeSet<u16> = settings.skip_inbound_ports.iter().flat_map(|ports| ports.0..=ports.1).collect();
        root.set(CAPTURE, map([(EXCLUDED, list(ports))]));
    }
    if settings.redirect == Redirect::Agent {
        // Nothing goes past TCP to or from a proxy that does not say of its messages which of them may.
        root.set("redirect", map([("by", "agent".into())]));
    }
    let (listeners, clusters) = match settings.capture {
        Capture::None => explicit(settings),
        Capture::Init | Capture::Node => captured(settings, own)?,
    };
    root.set("listeners", listeners);
    root.set("clusters", clusters);
    let text = yaml::emit(&Value::Map(root), 0, yaml::Lists::Indented);
    judge(&text).map(|()| text)
}

/// Listeners and clusters where rules, or the node's agent, bring the connections.
fn captured(settings: &Settings, own: Option<&str>) -> Result<(Vec<Value>, Vec<Value>), Vec<Fault>> {
    let mut inbound = Map::default();
    inbound.set("name", "inbound");
    inbound.set("address", any_address(settings.ip_family, port::INBOUND));
    inbound.set("direction", "inbound");
    inbound.set("capture", if settings.capture == Capture::Node { "agent" } else { "redirect" });
    inbound_policy(settings, &mut inbound)?;
    inbound.set("routes", to("application"));
    let mut tcp = opaque(settings, "application");
    let default = || judges(&inbound).then_some(NotHttp::Refuse);
    match settings.not_http.or_else(default) {
        Some(NotHttp::Refuse) => tcp.set("not_http", "refuse"),
        Some(NotHttp::Pass | NotHttp::PassUnfinished) => tcp.set("not_http", "pass"),
        None => {}
    }
    inbound.set("tcp", tcp);
    let mut outbound = Map::default();
    let loopback = if settings.ip_family == IpFamily::Dual { "[::]" } else { "127.0.0.1" };
    outbound.set("name", "outbound");
    outbound.set("address", format!("{loopback}:{}", port::OUTBOUND));
    outbound.set("direction", "outbound");
    outbound.set("capture", "redirect");
    let mut routes: Vec<Value> = settings.upstreams.iter().map(|upstream| by_host(upstream, settings, own)).collect();
    routes.extend(to("passthrough").elements().iter().cloned());
    outbound.set("routes", routes);
    let mut tcp = opaque(settings, "passthrough");
    // Nothing here is got round: a first word that is no usual method (`ruok`, `JDWP-Handshake`) need not wait for more.
    tcp.set("not_http", "pass");
    outbound.set("tcp", tcp);
    let original = |name: &str, address: &str| {
        map([
            ("name", name.into()),
            ("original_destination", map([("address", address.into())])),
            ("protocol", "same-as-downstream".into()),
        ])
    };
    let mut clusters = vec![original("application", "original"), original("passthrough", "original")];
    clusters.extend(settings.upstreams.iter().map(|upstream| cluster(upstream, settings)));
    let mut listeners = vec![inbound.into(), outbound.into()];
    // Of pods that were written before a node's agent captured what comes in: their clients know these ports.
    let (told, applications) = told(settings);
    listeners.extend(told);
    clusters.extend(applications);
    Ok((listeners, clusters))
}

/// The ports that a generated configuration has a node's agent leave alone; `None`: it is none of ours.
pub(super) fn excluded(text: &str) -> Option<Vec<u16>> {
    let read = yaml::read(text).ok()?;
    let ports = read.first()?.value.at(&[CAPTURE, EXCLUDED]).map(Value::elements).unwrap_or_default();
    Some(ports.iter().filter_map(|port| u16::try_from(port.as_int()?).ok()).collect())
}

/// What a generated configuration says that inbound connections must be; `None`: it is none of ours, or captures nothing inbound.
pub(super) fn inbound_tls(text: &str) -> Option<InboundTls> {
    let root = yaml::read(text).ok()?.into_iter().next()?.value;
    let inbound = root.list("listeners").iter().find(|listener| listener.str("name") == Some("inbound"))?;
    Some(match inbound.at(&["tls", "mode"]).and_then(Value::as_str) {
        Some("strict") => InboundTls::Strict,
        Some(_) => InboundTls::Permissive,
        None => InboundTls::Off,
    })
}

/// Listeners and clusters where the application and its clients are told the proxy's ports.
fn explicit(settings: &Settings) -> (Vec<Value>, Vec<Value>) {
    let (mut listeners, mut clusters) = told(settings);
    for upstream in &settings.upstreams {
        let Some(local) = upstream.local else { continue };
        let mut listener = Map::default();
        listener.set("name", format!("outbound-{local}"));
        listener.set("address", format!("127.0.0.1:{local}"));
        listener.set("direction", "outbound");
        if settings.opaque_ports.iter().any(|ports| ports.contain(upstream.port)) {
            listener.set("tcp", map([("cluster", upstream.cluster().into())]));
        } else {
            listener.set("routes", to(&upstream.cluster()));
        }
        listeners.push(listener.into());
        clusters.push(cluster(upstream, settings));
    }
    (listeners, clusters)
}

/// Those before ports of the application that its clients are told.
fn told(settings: &Settings) -> (Vec<Value>, Vec<Value>) {
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for port in &settings.inbound_ports {
        let name = format!("application-{}", port.application);
        let mut listener = Map::default();
        listener.set("name", format!("inbound-{}", port.listen));
        listener.set("address", any_address(settings.ip_family, port.listen));
        listener.set("direction", "inbound");
        // It cannot fail here: what a pod may write was judged with the whole.
        inbound_policy(settings, &mut listener).ok();
        if settings.opaque_ports.iter().any(|ports| ports.contain(port.application)) {
            listener.set("tcp", map([("cluster", name.as_str().into())]));
        } else {
            listener.set("routes", to(&name));
            if settings.not_http == Some(NotHttp::Pass) {
                listener.set("tcp", map([("cluster", name.as_str().into()), ("not_http", "pass".into())]));
            }
        }
        listeners.push(listener.into());
        clusters.push(map([
            ("name", name.as_str().into()),
            ("endpoints", list([format!("127.0.0.1:{}", port.application)])),
            ("protocol", "same-as-downstream".into()),
        ]));
    }
    (listeners, clusters)
}

fn inbound_policy(settings: &Settings, listener: &mut Map) -> Result<(), Vec<Fault>> {
    match settings.inbound_tls() {
        InboundTls::Off => {}
        InboundTls::Strict => listener.set("tls", map([("mode", "strict".into())])),
        InboundTls::Permissive => listener.set("tls", map([("mode", "permissive".into())])),
    }
    if let Some(text) = &settings.filters {
        let problem = |message: String| vec![Fault::of("filters", message)];
        let read = yaml::read(text).map_err(|fault| problem(format!("line {}: {}", fault.line, fault.message)))?;
        match read.first().map(|node| &node.value) {
            Some(Value::List(filters)) => listener.set("filters", filters.clone()),
            Some(_) | None => return Err(problem("write a list of filters, as [{name: …}]".to_owned())),
        }
    }
    Ok(())
}

/// One route, for everything.
fn to(cluster: &str) -> Value {
    let everything = map([("prefix", "/".into())]);
    // A sidecar passes on what the application set its own limits for.
    Value::List(vec![map([
        ("match", everything),
        ("cluster", cluster.into()),
        ("timeout", "none".into()),
        ("idle_timeout", "1h".into()),
    ])])
}

/// The names by which the cluster's DNS knows a service from within the pod's namespace; the bare one is another service's in
/// every other namespace.
fn by_host(upstream: &Upstream, settings: &Settings, own: Option<&str>) -> Value {
    let Upstream { service, namespace, .. } = upstream;
    let domain = &settings.cluster_domain;
    let bare = (own == Some(namespace)).then(|| service.clone());
    let full = [
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.{domain}"),
    ];
    map([
        (
            "match",
            map([("host", list(bare.into_iter().chain(full))), ("destination", format!(":{}", upstream.port).into())]),
        ),
        ("cluster", upstream.cluster().into()),
        ("timeout", "none".into()),
        ("idle_timeout", "1h".into()),
    ])
}

/// What is passed on byte by byte; the ports that are so are not looked at.
fn opaque(settings: &Settings, cluster: &str) -> Map {
    let mut tcp = Map::default();
    tcp.set("cluster", cluster);
    if !settings.opaque_ports.is_empty() {
        let ports = settings.opaque_ports.iter().flat_map(|ports| ports.0..=ports.1);
        let ports: BTreeSet<u16> = SERVER_FIRST.into_iter().chain(ports).collect();
        tcp.set("server_first", list(ports));
    }
    tcp
}

/// Whether a listener has filters, which what is no HTTP would get round.
fn judges(listener: &Map) -> bool {
    listener.get("filters").is_some_and(|filters| !filters.elements().is_empty())
}

fn cluster(upstream: &Upstream, settings: &Settings) -> Value {
    let Upstream { service, namespace, port, .. } = upstream;
    let mut fields = Map::default();
    fields.set("name", upstream.cluster());
    match settings.discovery {
        Discovery::Dns => {
            fields.set("endpoints", list([format!("{service}.{namespace}.svc.{}:{port}", settings.cluster_domain)]));
        }
        Discovery::EndpointSlices => fields.set("service", format!("{service}.{namespace}:{port}")),
    }
    fields.set("protocol", "same-as-downstream");
    if settings.identity != Identity::None {
        let anybody = || format!("spiffe://{}/ns/{namespace}/*", settings.trust_domain);
        let id = upstream.identity.clone().unwrap_or_else(anybody);
        fields.set("tls", map([("mode", "mutual".into()), ("spiffe_ids", list([id]))]));
    }
    fields.into()
}

impl Upstream {
    fn cluster(&self) -> String {
        format!("{}.{}:{}", self.service, self.namespace, self.port)
    }
}

pub(super) fn duration(time: std::time::Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

/// Reads the text as the proxy will.
fn judge(text: &str) -> Result<(), Vec<Fault>> {
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let errors = match pillion_config::parse(&SourceName::new("generated"), text, &none) {
        Ok(_) => return Ok(()),
        Err(errors) => errors,
    };
    let faults = errors.iter().map(|error| Fault {
        setting: [("filters", "filters"), ("spiffe_ids", "upstreams"), (EXCLUDED, "skip-inbound-ports")]
            .iter()
            .find(|(field, _)| error.path.contains(field))
            .map(|(_, setting)| *setting),
        message: format!("the proxy would refuse this: {}: {}", error.path, error.message),
    });
    Err(faults.collect())
}
