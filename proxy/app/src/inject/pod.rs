//! The decision: what becomes of a pod. Pure; shared by the command line and the webhook.

use super::{
    configuration, container, probes,
    settings::{self, Capture, INJECT, Mode, PREFIX, STATUS, Settings},
    value::{Map, Value},
};
use std::time::Duration;

/// The proxy's container.
pub const PROXY: &str = "pillion-proxy";
/// The container that installs the rules.
pub const INIT: &str = "pillion-init";
/// What our volumes' names begin with.
pub(super) const VOLUMES: &str = "pillion-";
/// The proxy's user and group: nobody else's, since rules tell its connections from the application's by it.
pub const USER: u16 = 2510;
/// The pod's grace period where none is written, in seconds.
const GRACE: i128 = 30;
/// How long before its end what is still open is cut, so that it can be recorded; a quarter of short ones.
const RECORDING: Duration = Duration::from_secs(5);

/// The proxy's own ports in a pod.
#[expect(missing_docs, reason = "named for what they are")]
pub mod port {
    pub const ADMIN: u16 = 15000;
    pub const OUTBOUND: u16 = 15001;
    pub const INBOUND: u16 = 15006;
    /// Readiness, metrics, and the application's probes.
    pub const PROBES: u16 = 15020;
}

/// What surrounds a pod.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `pillion.io/inject` of its namespace.
    pub namespace_wish: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// It is a Job's, or a CronJob's: it must come to an end.
    pub job: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The pod with the proxy.
    Injected(Box<Value>),
    /// As it was, and why.
    Refused(Refusal),
}

/// Why a pod is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its own wish.
    #[error("pillion.io/inject is disabled")]
    Disabled,
    /// Its namespace's.
    #[error("pillion.io/inject is disabled on its namespace")]
    NamespaceDisabled,
    /// It was injected before.
    #[error("it already has Pillion{0}; `pillion inject --uninject` takes it out")]
    Already(String),
    /// It shares the node's network.
    #[error("hostNetwork: rules in it would capture the whole node's connections")]
    HostNetwork,
    /// Another operating system.
    #[error("it is for Windows nodes, and Pillion runs on Linux")]
    Windows,
    /// The sidecar of another mesh.
    #[error("it has the sidecar of another mesh, {0}: two would capture each other's connections")]
    OtherMesh(String),
    /// A copy of a static pod, which the API server cannot change.
    #[error("it mirrors a static pod of a node")]
    Mirror,
}

/// Something that its author must change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, from the pod on.
    pub path: Vec<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    pub(super) fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|step| (*step).to_owned()).collect(), message: message.into() }
    }
}

/// Containers of other meshes, by their usual names.
const OTHERS: [&str; 4] = ["istio-proxy", "linkerd-proxy", "consul-dataplane", "kuma-sidecar"];

/// Decides about a pod: an object with `metadata` and `spec`, be it a Pod or a template of one.
///
/// # Errors
/// Everything its author must change.
pub fn inject(pod: &Value, around: &Surroundings, defaults: &Settings) -> Result<Outcome, Vec<Problem>> {
    let wish = wish(pod)?;
    if wish == Some(false) {
        return Ok(Outcome::Refused(Refusal::Disabled));
    }
    if wish.is_none() && around.namespace_wish.as_deref() == Some("disabled") {
        return Ok(Outcome::Refused(Refusal::NamespaceDisabled));
    }
    let Some(spec) = pod.get("spec").filter(|spec| !spec.list("containers").is_empty()) else {
        return Err(vec![Problem::new(&["spec", "containers"], "a pod needs at least one container")]);
    };
    if let Some(refusal) = refusal(pod, spec) {
        return Ok(Outcome::Refused(refusal));
    }
    let mut settings = settings_of(pod, defaults)?;
    let mut problems = collisions(spec, &settings);
    problems.extend(fit_grace_period(pod, &mut settings));
    let shows_all = spec.get("hostPID").and_then(Value::as_bool) == Some(true);
    if shows_all && around.job && settings.mode == Mode::Container {
        let words = "a Job with mode container is seen to end by the pod's processes, among which hostPID puts those of the \
                     whole node: use mode native, or remove hostPID";
        problems.push(Problem::new(&["spec", "hostPID"], words));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    assemble(pod.clone(), around, settings).map(|pod| Outcome::Injected(Box::new(pod)))
}

/// What a pod, or a namespace, says about being injected.
///
/// # Errors
/// Where it says neither.
pub(super) fn wish(pod: &Value) -> Result<Option<bool>, Vec<Problem>> {
    for kind in ["annotations", "labels"] {
        match pod.at(&["metadata", kind, INJECT]) {
            None => {}
            Some(Value::String(text)) if text == "enabled" => return Ok(Some(true)),
            Some(Value::String(text)) if text == "disabled" => return Ok(Some(false)),
            Some(other) => {
                let words = format!("{}: write enabled or disabled", other.to_json());
                return Err(vec![Problem::new(&["metadata", kind, INJECT], words)]);
            }
        }
    }
    Ok(None)
}

fn refusal(pod: &Value, spec: &Value) -> Option<Refusal> {
    let containers = || spec.list("initContainers").iter().chain(spec.list("containers"));
    let named = |name: &str| containers().any(|container| container.str("name") == Some(name));
    if pod.at(&["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return Some(Refusal::Mirror);
    }
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Some(Refusal::HostNetwork);
    }
    if for_windows(spec) {
        return Some(Refusal::Windows);
    }
    // The annotation alone, in a manifest copied from a pod whose containers were taken out, injected nothing.
    if named(PROXY) || named(INIT) {
        let status = pod.at(&["metadata", "annotations", STATUS]).and_then(Value::as_str);
        let version = status.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let version = version.and_then(|status| status.str("version").map(|version| format!(" {version}")));
        return Some(Refusal::Already(version.unwrap_or_default()));
    }
    OTHERS.iter().find(|name| named(name)).map(|name| Refusal::OtherMesh((*name).to_owned()))
}

/// The labels that say what a node runs; the second one of clusters before 1.14.
const NODE_OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// Whether the pod says of itself that it is for Windows, or may be placed on no other nodes.
fn for_windows(spec: &Value) -> bool {
    let is_windows = |value: Option<&Value>| value.and_then(Value::as_str) == Some("windows");
    is_windows(spec.at(&["os", "name"]))
        || NODE_OS.iter().any(|label| is_windows(spec.at(&["nodeSelector", label])))
        || spec.at(&["securityContext", "windowsOptions"]).is_some()
        || affinity_excludes_linux(spec)
}

/// Whether each alternative of the node affinity that scheduling requires leaves Linux out. An alternative's expressions must
/// all hold, so one that excludes Linux is enough.
fn affinity_excludes_linux(spec: &Value) -> bool {
    let required = ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let alternatives = spec.at(&required).map_or(&[][..], |required| required.list("nodeSelectorTerms"));
    let excludes = |expression: &Value| {
        let linux = expression.list("values").iter().any(|value| value.as_str() == Some("linux"));
        expression.str("key").is_some_and(|key| NODE_OS.contains(&key))
            && match expression.str("operator") {
                Some("In") => !linux,
                Some("NotIn") => linux,
                _ => false,
            }
    };
    !alternatives.is_empty() && alternatives.iter().all(|term| term.list("matchExpressions").iter().any(excludes))
}

/// The settings of a pod: its annotations over the defaults. Every mistake is told.
///
/// # Errors
/// What is wrong with the annotations.
pub fn settings_of(pod: &Value, defaults: &Settings) -> Result<Settings, Vec<Problem>> {
    let mut settings = defaults.clone();
    let mut problems = Vec::new();
    let annotations = pod.at(&["metadata", "annotations"]).and_then(Value::as_map);
    for (full, value) in annotations.into_iter().flat_map(|map| &map.0) {
        let Some(name) = full.strip_prefix(PREFIX).filter(|_| full != INJECT && full != STATUS) else { continue };
        let mut problem = |message: String| problems.push(Problem::new(&["metadata", "annotations", full], message));
        match (settings::key(name), value.as_str()) {
            (Some(key), Some(text)) => {
                if let Err(words) = settings.set(key, text) {
                    problem(words);
                }
            }
            (Some(_), None) => problem("an annotation is text: put it in quotes".to_owned()),
            (None, _) => {
                let known = settings::KEYS.iter().map(|key| key.name);
                let guess = pillion_config::nearest(name, known.clone());
                let guess = guess.map_or(String::new(), |guess| format!(" did you mean {PREFIX}{guess}?"));
                let known: Vec<&str> = known.collect();
                problem(format!("there is no such annotation:{guess} known are {}", known.join(", ")));
            }
        }
    }
    if problems.is_empty() {
        let written = |name: &str| annotations.is_some_and(|map| map.get(&format!("{PREFIX}{name}")).is_some());
        // Who brings a configuration for one pod need not take back what the defaults would have put into a generated one.
        let overruled =
            if written("config") && settings.config.is_some() { settings.of_generated() } else { Vec::new() };
        let overruled = |name: &str| overruled.contains(&name) && !written(name);
        let contradictions = settings.contradictions().into_iter().filter(|(name, _)| !overruled(name));
        problems.extend(contradictions.map(|(name, words)| {
            let full = format!("{PREFIX}{name}");
            // What contradicts may be the defaults' part.
            if written(name) {
                Problem::new(&["metadata", "annotations", &full], words)
            } else {
                Problem::new(&["metadata", "annotations"], format!("{name}: {words}"))
            }
        }));
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// What of the pod's own stands in the way.
fn collisions(spec: &Value, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut own = vec![port::ADMIN, port::PROBES];
    if settings.capture == Capture::None {
        own.extend(settings.inbound_ports.iter().map(|port| port.listen));
        own.extend(settings.upstreams.iter().filter_map(|upstream| upstream.local));
    } else {
        own.extend([port::OUTBOUND, port::INBOUND]);
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            let index = index.to_string();
            for (at, entry) in container.list("ports").iter().enumerate() {
                let Some(port) = entry.get("containerPort").and_then(Value::as_int) else { continue };
                let tcp = entry.str("protocol").is_none_or(|protocol| protocol == "TCP");
                if tcp && own.iter().any(|own| i128::from(*own) == port) {
                    let path = ["spec", list, &index, "ports", &at.to_string(), "containerPort"];
                    problems.push(Problem::new(&path, format!("{port} is the proxy's own port: choose another one")));
                }
            }
            if runs_as_proxy(container) {
                let path = ["spec", list, &index, "securityContext", "runAsUser"];
                problems.push(Problem::new(
                    &path,
                    format!("{USER} is the proxy's user, whose connections are not captured"),
                ));
            }
        }
    }
    if runs_as_proxy(spec) {
        let words = format!("{USER} is the proxy's user, whose connections are not captured");
        problems.push(Problem::new(&["spec", "securityContext", "runAsUser"], words));
    }
    for (index, volume) in spec.list("volumes").iter().enumerate() {
        if volume.str("name").is_some_and(|name| name.starts_with(VOLUMES)) {
            let path = ["spec", "volumes", &index.to_string(), "name"];
            problems.push(Problem::new(&path, format!("names that begin with {VOLUMES} are the proxy's")));
        }
    }
    problems
}

fn runs_as_proxy(of: &Value) -> bool {
    of.at(&["securityContext", "runAsUser"]).and_then(Value::as_int) == Some(USER.into())
}

/// Makes the phases of the drain end before the kubelet kills: of what is not the pod's own a delay takes at most half of its
/// grace period, and what is open is cut early enough to be recorded.
fn fit_grace_period(pod: &Value, settings: &mut Settings) -> Option<Problem> {
    let grace = pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_int).unwrap_or(GRACE);
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0).min(86_400));
    let [delay, deadline] = ["drain-delay", "drain-deadline"].map(|name| format!("{PREFIX}{name}"));
    let own = |name: &str| pod.at(&["metadata", "annotations", name]).is_some();
    let beyond = |name: &str, what: &str| {
        let words = format!(
            "the kubelet kills the pod {} s after it was told to end, before {what} is over: raise \
             spec.terminationGracePeriodSeconds, or shorten it",
            grace.as_secs()
        );
        Some(Problem::new(&["metadata", "annotations", name], words))
    };
    if !own(&delay) {
        settings.drain_delay = settings.drain_delay.min(grace / 2);
    } else if settings.drain_delay >= grace && !settings.drain_delay.is_zero() {
        return beyond(&delay, "this delay");
    }
    let left = grace.saturating_sub(RECORDING.min(grace / 4)).saturating_sub(settings.drain_delay);
    match settings.drain_deadline {
        Some(most) if own(&deadline) && settings.drain_delay.saturating_add(most) > grace => {
            return beyond(&deadline, "what begins behind drain-delay");
        }
        Some(_) if own(&deadline) => {}
        most => settings.drain_deadline = Some(most.map_or(left, |most| most.min(left))),
    }
    None
}

/// Puts everything in.
fn assemble(mut pod: Value, around: &Surroundings, settings: Settings) -> Result<Value, Vec<Problem>> {
    let malformed = |path: &[&str]| vec![Problem::new(path, "it is not what it must be in a pod")];
    let moved = move_probes(&mut pod, &settings);
    let configuration = match &settings.config {
        Some(_) => None,
        None => Some(configuration::generate(&settings, around.namespace.as_deref())?),
    };
    let spec = pod.at_mut(&["spec"]).ok_or_else(|| malformed(&["spec"]))?;
    let proxy = container::proxy(&settings, around, spec, configuration.as_deref(), &moved);
    let init = (settings.capture == Capture::Init).then(|| container::init(&settings, spec));
    let volumes = container::volumes(&settings);
    let shared = spec.get("shareProcessNamespace").and_then(Value::as_bool) == Some(true);
    let shares = settings.mode == Mode::Container && around.job && !shared;
    if !volumes.is_empty() {
        spec.list_at("volumes").ok_or_else(|| malformed(&["spec", "volumes"]))?.extend(volumes);
    }
    match settings.mode {
        Mode::Native => {
            // Before the application's own: what they call goes through the proxy as well.
            let ours: Vec<Value> = init.into_iter().chain([proxy]).collect();
            let containers = spec.list_at("initContainers").ok_or_else(|| malformed(&["spec", "initContainers"]))?;
            containers.splice(0..0, ours);
        }
        Mode::Container => {
            // First, since kubelets start containers in this order and wait for each one's postStart; the rules last, since
            // before the proxy runs the application's own init containers would find nobody behind them.
            let containers = spec.list_at("containers").ok_or_else(|| malformed(&["spec", "containers"]))?;
            containers.insert(0, proxy);
            if let Some(init) = init {
                let containers =
                    spec.list_at("initContainers").ok_or_else(|| malformed(&["spec", "initContainers"]))?;
                containers.push(init);
            }
            if shares && let Some(spec) = spec.as_map_mut() {
                // The proxy sees by the processes that the application has gone.
                spec.set("shareProcessNamespace", true);
            }
        }
    }
    let metadata = pod.map_at("metadata").ok_or_else(|| malformed(&["metadata"]))?;
    let mut holder = Value::Map(std::mem::take(metadata));
    let annotations = holder.map_at("annotations").ok_or_else(|| malformed(&["metadata", "annotations"]))?;
    annotations.set(STATUS, container::status(&settings, shares));
    if let (Value::Map(filled), Some(metadata)) = (holder, pod.map_at("metadata")) {
        *metadata = filled;
    }
    Ok(pod)
}

fn move_probes(pod: &mut Value, settings: &Settings) -> Map {
    let mut moved = Map::default();
    if !settings.rewrite_probes || settings.capture == Capture::None {
        return moved;
    }
    let captured = |port| !settings.skip_inbound_ports.iter().any(|ports| ports.contain(port));
    // Beside the others, the proxy starts when all init containers have, and would answer no probe of theirs before.
    let lists: &[&str] =
        if settings.mode == Mode::Native { &["containers", "initContainers"] } else { &["containers"] };
    for list in lists {
        let Some(Value::List(containers)) = pod.at_mut(&["spec", list]) else { continue };
        for container in containers {
            moved.0.extend(probes::move_away(container, port::PROBES, &captured).0);
        }
    }
    moved
}
