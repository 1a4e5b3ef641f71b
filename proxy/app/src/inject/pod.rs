//! The decision: what becomes of a pod. Pure; shared by the command line and the webhook.

use super::{
    amend,
    configuration::{self, Fault},
    container, grace, meshes,
    obstacles::{collisions, own_ports, unasked, unending, volumes_taken},
    probes::{self, Place, Starts},
    qos,
    settings::{self, Capture, INJECT, Mode, PREFIX, STATUS, Settings},
    status::Status,
    value::{Map, Value, map},
    whole, windows,
};

/// The proxy's container.
pub const PROXY: &str = "pillion-proxy";
/// The container that installs the rules.
pub const INIT: &str = "pillion-init";
/// What the names of our volumes begin with, of which a pod that is to be injected has none.
pub(super) const VOLUMES: &str = "pillion-";
/// Where a pod names the Secrets by which its images are pulled.
pub(super) const PULL_SECRETS: &str = "imagePullSecrets";
/// The proxy's user and group: nobody else's, since rules tell its connections from the application's by it.
pub const USER: u16 = 2510;
/// The proxy's own ports in a pod.
#[expect(missing_docs, reason = "named for what they are")]
pub mod port {
    pub const ADMIN: u16 = 15000;
    pub const OUTBOUND: u16 = 15001;
    pub const INBOUND: u16 = 15006;
    /// Readiness, metrics, and the application's probes.
    pub const PROBES: u16 = 15020;
    /// Reserved on loopback where rules capture, for the proof that they do (`capture.probe_port`).
    pub const PROOF: u16 = 15099;
    /// The same for what comes in, where a node's agent captures (`capture.inbound_probe_port`).
    pub const INBOUND_PROOF: u16 = 15098;
}

/// What surrounds a pod.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `pillion.io/inject` of its namespace.
    pub namespace_wish: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// It must come to an end: it is a Job's, or a CronJob's. Of a pod that says so itself, by its `restartPolicy`, [`inject`] knows.
    pub job: bool,
    /// Whether somebody captures on its node.
    pub node_agent: NodeAgent,
}

/// Whether the nodes have an agent that captures for their pods, both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeAgent {
    /// Whoever chooses it sees to it.
    #[default]
    Assumed,
    /// They have none.
    Absent,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The pod with the proxy, and what its author should know.
    Injected(Box<Value>, Vec<String>),
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
    #[error("it already has Pillion{version}; `pillion inject --uninject` takes it out{}", and_stale(.changed))]
    Already {
        /// By whom, behind a space.
        version: String,
        /// Annotations that changed since, and do nothing.
        changed: Vec<String>,
    },
    /// It shares the node's network.
    #[error("hostNetwork: rules in it would capture the whole node's connections")]
    HostNetwork,
    /// Another operating system.
    #[error("it is for Windows nodes, and Pillion runs on Linux")]
    Windows,
    /// The sidecar of another mesh.
    #[error("it has the sidecar of another mesh, {0}: two would capture each other's connections")]
    OtherMesh(String),
    /// It asks another mesh to capture, or is captured by it.
    #[error("it is for another mesh, by {0}: two would capture each other's connections")]
    ForOtherMesh(String),
    /// A copy of a static pod, which the API server cannot change.
    #[error("it mirrors a static pod of a node")]
    Mirror,
}

impl Refusal {
    /// Whether it was injected before, and annotations say something else since.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Already { changed, .. } if !changed.is_empty())
    }
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

/// What to do about a pod that nobody would capture.
pub const NO_NODE_AGENT: &str = "the nodes of this cluster have no agent that captures both ways, and a proxy that waits for one is never \
                                 ready: choose init or none; or set nodeAgent.enabled, nodeAgent.captureOutbound and \
                                 nodeAgent.captureInbound of the chart, or nodeAgent.elsewhere if another agent captures";

/// Decides about a pod: an object with `metadata` and `spec`, be it a Pod or a template of one.
///
/// # Errors
/// Everything its author must change.
pub fn inject(pod: &Value, around: &Surroundings, defaults: &Settings) -> Result<Outcome, Vec<Problem>> {
    // Who says neither yes nor no is told everything else at once.
    let (wish, mut problems) = wish(pod).map_or_else(|problems| (None, problems), |wish| (wish, Vec::new()));
    let unless = |problems: Vec<Problem>, refusal| {
        if problems.is_empty() { Ok(Outcome::Refused(refusal)) } else { Err(problems) }
    };
    if let Some(problem) = on_the_nodes_network(pod).or_else(|| of_other_users(pod)) {
        problems.push(problem);
        return Err(problems);
    }
    // A wish that comes later takes nothing out.
    let ours = pod.get("spec").is_some_and(|spec| matches!(refusal(pod, spec), Some(Refusal::Already { .. })));
    if let (true, Some(Err(words))) = (ours, Status::of(pod)) {
        problems.push(Problem::new(&["metadata", "annotations", STATUS], words));
        return Err(problems);
    }
    if wish == Some(false) && !ours {
        return unless(problems, Refusal::Disabled);
    }
    if !ours && wish.is_none() && around.namespace_wish.as_deref() == Some("disabled") {
        return unless(problems, Refusal::NamespaceDisabled);
    }
    let Some(spec) = pod.get("spec").filter(|spec| !spec.list("containers").is_empty()) else {
        problems.push(Problem::new(&["spec", "containers"], "a pod needs at least one container"));
        return Err(problems);
    };
    let around = &Surroundings { job: around.job || ends(spec), ..around.clone() };
    if let Some(refusal) = refusal(pod, spec) {
        if let Refusal::Already { changed, .. } = &refusal
            && problems.is_empty()
            && let Some(with) = amend::amend(pod, around, defaults)?
        {
            return Ok(Outcome::Injected(Box::new(with), stale(changed).into_iter().collect()));
        }
        return unless(problems, refusal);
    }
    let (mut settings, mistakes) = read_settings(pod, defaults);
    let readable = mistakes.is_empty();
    problems.extend(mistakes);
    problems.extend(collisions(spec, &own_ports(&settings), &|_, _| false));
    problems.extend(volumes_taken(spec));
    let mut notes = Vec::new();
    if readable {
        problems.extend(grace::fit(pod, &mut settings, &mut notes));
        problems.extend(idle_init_image(pod, &settings));
        problems.extend(unasked(spec, &settings));
    }
    if around.job && settings.mode == Mode::Container {
        problems.extend(unending(spec));
    }
    if settings.capture == Capture::Node && around.node_agent == NodeAgent::Absent {
        problems.push(of_setting(pod, Fault::of("capture", NO_NODE_AGENT.to_owned())));
    }
    if settings.capture == Capture::Node && spec.get("hostUsers").and_then(Value::as_bool) == Some(false) {
        let words = "with capture node the agent knows the proxy by its user, who is another one on the node where the pod has users \
                     of its own, and would give it nothing: choose capture init or none, or remove hostUsers";
        problems.push(Problem::new(&["spec", "hostUsers"], words));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let redirects = settings.redirect == settings::Redirect::Agent;
    let with = assemble(pod.clone(), around, settings)?;
    if redirects && spec.get("hostUsers").and_then(Value::as_bool) == Some(false) {
        let words = "redirect agent does nothing for this pod: the agent knows the proxy by its user, who is another one on the node \
                     where the pod has users of its own (hostUsers: false)";
        notes.push(words.to_owned());
    }
    notes.extend(with.get("spec").and_then(|after| qos::lost(spec, after)));
    Ok(Outcome::Injected(Box::new(with), notes))
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

/// Whether a pod comes to an end when its containers have: one without a Job, as a Helm test, a step of a workflow, a build's.
/// Those of Deployments and the like always say Always; a container's own word goes before the pod's (Kubernetes 1.34).
fn ends(spec: &Value) -> bool {
    let always = |container: &Value| container.str("restartPolicy") == Some("Always");
    matches!(spec.str("restartPolicy"), Some("Never" | "OnFailure")) && !spec.list("containers").iter().any(always)
}

fn refusal(pod: &Value, spec: &Value) -> Option<Refusal> {
    if pod.at(&["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return Some(Refusal::Mirror);
    }
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Some(Refusal::HostNetwork);
    }
    if windows::is_for(spec) {
        return Some(Refusal::Windows);
    }
    if has_ours(pod, spec) {
        let status = Status::of(pod).and_then(Result::ok);
        let mut changed = status.as_ref().map(|status| status.changed(pod)).unwrap_or_default();
        if wish(pod) == Ok(Some(false)) {
            changed.push(INJECT.to_owned());
        }
        let version =
            status.and_then(|status| status.version).map_or_else(String::new, |version| format!(" {version}"));
        return Some(Refusal::Already { version, changed });
    }
    if let Some(name) = meshes::container(spec) {
        return Some(Refusal::OtherMesh(name.to_owned()));
    }
    meshes::wish(pod).map(Refusal::ForOtherMesh)
}

/// What is said of annotations that changed behind the injection; `None` where none did.
fn stale(changed: &[String]) -> Option<String> {
    let names = changed.join(", ");
    let words = "is not what it was when it was injected, and does nothing: take Pillion out with --uninject, then inject it again";
    (!changed.is_empty()).then(|| format!("{names} {words}"))
}

/// The same behind other words.
fn and_stale(changed: &[String]) -> String {
    stale(changed).map_or_else(String::new, |words| format!("; {words}"))
}

/// Who has Pillion is not kept from capturing by a wish; a mirror's static pod runs already.
fn on_the_nodes_network(pod: &Value) -> Option<Problem> {
    let spec = pod.get("spec")?;
    if refusal(pod, spec) != Some(Refusal::HostNetwork) || !has_ours(pod, spec) {
        return None;
    }
    let words = "Pillion is in this pod already, and would capture the whole node's connections: remove hostNetwork, or take \
                 Pillion out with `pillion inject --uninject`";
    Some(Problem::new(&["spec", "hostNetwork"], words))
}

/// The same of a pod whose proxy no agent knows any more.
fn of_other_users(pod: &Value) -> Option<Problem> {
    let spec = pod.get("spec")?;
    let by_node = || Status::of(pod).and_then(Result::ok).is_some_and(|status| status.is_by_node());
    let own = spec.get("hostUsers").and_then(Value::as_bool) == Some(false);
    if !own || !matches!(refusal(pod, spec), Some(Refusal::Already { .. })) || !by_node() {
        return None;
    }
    let words = "Pillion is in this pod already, with capture node: the agent knows the proxy by its user, who is another one on the \
                 node where the pod has users of its own, and would give it nothing: remove hostUsers, or take Pillion out with \
                 `pillion inject --uninject`";
    Some(Problem::new(&["spec", "hostUsers"], words))
}

/// Whether an injection put anything in. The annotation alone, in a manifest copied from a pod whose containers were taken out, injected
/// nothing; and a container alone that happens to have such a name is not ours.
fn has_ours(pod: &Value, spec: &Value) -> bool {
    let mut containers = spec.list("initContainers").iter().chain(spec.list("containers"));
    pod.at(&["metadata", "annotations", STATUS]).is_some()
        && containers.any(|container| matches!(container.str("name"), Some(PROXY | INIT)))
}

/// The settings of a pod: its annotations over the defaults. Every mistake is told.
///
/// # Errors
/// What is wrong with the annotations.
pub fn settings_of(pod: &Value, defaults: &Settings) -> Result<Settings, Vec<Problem>> {
    let (settings, problems) = read_settings(pod, defaults);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// What is wrong with a setting, at the pod's annotation; it may be the defaults' as well.
fn of_setting(pod: &Value, Fault { setting, message }: Fault) -> Problem {
    let Some(name) = setting else { return Problem::new(&["metadata", "annotations"], message) };
    let full = format!("{PREFIX}{name}");
    if pod.at(&["metadata", "annotations", &full]).is_some() {
        Problem::new(&["metadata", "annotations", &full], message)
    } else {
        Problem::new(&["metadata", "annotations"], format!("{name}: {message}"))
    }
}

/// The settings as far as they can be read, and what is wrong with the others.
fn read_settings(pod: &Value, defaults: &Settings) -> (Settings, Vec<Problem>) {
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
        problems.extend(contradictions.map(|(name, mut words)| {
            if !written(name) && is_taken_back_by_nothing(name) {
                words.push_str(&format!("; {PREFIX}{name}: \"\" takes it back for this pod"));
            }
            of_setting(pod, Fault::of(name, words))
        }));
    }
    (settings, problems)
}

/// What a pod says of a container that it does not get; for all pods it may be said, of which others get one.
fn idle_init_image(pod: &Value, settings: &Settings) -> Option<Problem> {
    let full = format!("{PREFIX}init-image");
    let capture = match settings.capture {
        Capture::Init => return None,
        Capture::Node => "node",
        Capture::None => "none",
    };
    pod.at(&["metadata", "annotations", &full]).filter(|_| settings.init_image.is_some())?;
    let words = format!("with capture {capture} no container installs rules: take it out, or choose capture init");
    Some(Problem::new(&["metadata", "annotations", &full], words))
}

/// Whether an empty annotation takes back what was chosen for all pods.
fn is_taken_back_by_nothing(name: &str) -> bool {
    settings::key(name).is_some_and(|key| Settings::default().set(key, "").is_ok())
}

/// Puts everything in.
fn assemble(mut pod: Value, around: &Surroundings, settings: Settings) -> Result<Value, Vec<Problem>> {
    let malformed = |path: &[&str]| vec![Problem::new(path, "it is not what it must be in a pod")];
    let moved = move_probes(&mut pod, &settings);
    let configuration = match &settings.config {
        Some(_) => None,
        None => Some(
            configuration::generate(&settings, around.namespace.as_deref())
                .map_err(|faults| faults.into_iter().map(|fault| of_setting(&pod, fault)).collect::<Vec<_>>())?,
        ),
    };
    let spec = pod.at_mut(&["spec"]).ok_or_else(|| malformed(&["spec"]))?;
    let guaranteed = qos::guaranteed(spec);
    let raised = whole::raise(spec, &settings)?;
    let proxy = container::proxy(&settings, around, spec, configuration.as_deref(), &moved);
    let init = if settings.capture == Capture::Init {
        let image = settings.init_image();
        let image =
            image.map_err(|words| vec![Problem::new(&["metadata", "annotations"], format!("image: {words}"))])?;
        Some(container::init(&image, &settings, spec, guaranteed))
    } else {
        None
    };
    let volumes = container::volumes(&settings, around, spec);
    let secrets = add_pull_secrets(spec, &settings).ok_or_else(|| malformed(&["spec", "imagePullSecrets"]))?;
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
    let wishes = Status::wishes(&pod);
    let metadata = pod.map_at("metadata").ok_or_else(|| malformed(&["metadata"]))?;
    let mut holder = Value::Map(std::mem::take(metadata));
    let annotations = holder.map_at("annotations").ok_or_else(|| malformed(&["metadata", "annotations"]))?;
    annotations.set(STATUS, Status::written(&settings, shares, &secrets, raised, wishes));
    if let (Value::Map(filled), Some(metadata)) = (holder, pod.map_at("metadata")) {
        *metadata = filled;
    }
    Ok(pod)
}

/// Adds what the pod does not name itself; which those are.
fn add_pull_secrets(spec: &mut Value, settings: &Settings) -> Option<Vec<String>> {
    let there = |spec: &Value, name: &str| spec.list(PULL_SECRETS).iter().any(|own| own.str("name") == Some(name));
    let mut added: Vec<String> = Vec::new();
    for name in &settings.image_pull_secrets {
        if !there(spec, name) {
            spec.list_at(PULL_SECRETS)?.push(map([("name", name.as_str().into())]));
            added.push(name.clone());
        }
    }
    Some(added)
}

/// Moves what is asked of captured ports to the proxy, and returns what it was; what is there already stays.
pub(super) fn move_probes(pod: &mut Value, settings: &Settings) -> Map {
    let mut moved = Map::default();
    if !settings.rewrite_probes || settings.capture == Capture::None {
        return moved;
    }
    // What clients reach by a port of the proxy's may listen on loopback alone.
    let led = |port| settings.inbound_ports.iter().any(|led| led.application == port);
    let place = |port| match port {
        port::PROBES => None,
        port if led(port) => Some(Place::Loopback),
        port => (!settings.skips_inbound(port)).then_some(Place::Pod),
    };
    // Beside the others, the proxy starts when all init containers have, and would answer no probe of theirs before.
    let lists: &[&str] =
        if settings.mode == Mode::Native { &["containers", "initContainers"] } else { &["containers"] };
    for list in lists {
        let Some(Value::List(containers)) = pod.at_mut(&["spec", list]) else { continue };
        // Others may have put a sidecar of theirs before the proxy that is there.
        let proxy = containers.iter().position(|container| container.str("name") == Some(PROXY)).unwrap_or_default();
        let before = if *list == "initContainers" { proxy } else { 0 };
        for (index, container) in containers.iter_mut().enumerate() {
            let starts = if index < before { Starts::Before } else { Starts::Behind };
            moved.0.extend(probes::move_away(container, starts, port::PROBES, &place).0);
        }
    }
    moved
}
