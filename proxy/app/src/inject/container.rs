//! What is put into a pod: the proxy's container, the one that installs rules, their volumes. Pure.

use super::{
    pod::{INIT, PROXY, Surroundings, USER, port},
    probes,
    settings::{Capture, Identity, Image, IpFamily, Mode, Ports, Settings},
    value::{Map, Value, list, map},
    whole,
};
use crate::{application, discovery};

/// Where the image has the program.
const PROGRAM: &str = "/pillion";
/// Where certificates are mounted.
pub(super) const IDENTITY: &str = "/run/pillion/identity";
/// Where a token for the API server is mounted.
pub(super) const ACCOUNT: &str = "/run/pillion/account";
/// Where a ConfigMap is mounted.
const CONFIG: &str = "/etc/pillion";
/// Where a proxy leaves word for the one that a kubelet starts in its place.
const RECORD: &str = "/run/pillion/record";
/// The variable that holds a generated configuration.
pub(super) const CONFIG_VARIABLE: &str = "PILLION_CONFIG";
const IDENTITY_VOLUME: &str = "pillion-identity";
const ACCOUNT_VOLUME: &str = "pillion-account";
const CONFIG_VOLUME: &str = "pillion-config";
const RECORD_VOLUME: &str = "pillion-record";
/// All volumes that are ever put into a pod.
pub(super) const ALL_VOLUMES: [&str; 4] = [IDENTITY_VOLUME, ACCOUNT_VOLUME, CONFIG_VOLUME, RECORD_VOLUME];

/// The proxy. `moved` are the application's probes.
pub(super) fn proxy(
    settings: &Settings,
    around: &Surroundings,
    spec: &Value,
    configuration: Option<&str>,
    moved: &Map,
) -> Value {
    let native = settings.mode == Mode::Native;
    let mut fields = Map::default();
    fields.set("name", PROXY);
    fields.set("image", settings.image.to_string());
    fields.set("imagePullPolicy", settings.image_pull_policy.as_str());
    if native {
        fields.set("restartPolicy", "Always");
    }
    let config = match configuration {
        Some(_) => format!("env:{CONFIG_VARIABLE}"),
        None => format!("{CONFIG}/pillion.yaml"),
    };
    let arguments = ["run", "--config", &config, "--log-level", &settings.log_level];
    fields.set("command", list([PROGRAM]));
    fields.set("args", list(arguments));
    let mut env = Vec::new();
    let exact = |name: &str, value: String| map([("name", name.into()), ("value", value.into())]);
    // A kubelet puts variables in the place of $(NAME), and $ in that of $$; doubled, each is left.
    let variable = |name: &str, value: &str| exact(name, value.replace('$', "$$"));
    if let Some(configuration) = configuration {
        env.push(variable(CONFIG_VARIABLE, configuration));
    }
    if !moved.0.is_empty() {
        env.push(exact(probes::VARIABLE, probes::to_hand(moved)));
    }
    if !native {
        // A native sidecar gets its signal when the application has gone; another one looks for itself.
        env.push(variable(application::VARIABLE, &application::word_for(kind(around, spec))));
    }
    if keeps_record(settings, around, spec) {
        env.push(variable(application::RECORD_VARIABLE, &format!("{RECORD}/application")));
    }
    if settings.asks_the_api_server() {
        let from = |name: &str, path: &str| {
            map([("name", name.into()), ("valueFrom", map([("fieldRef", map([("fieldPath", path.into())]))]))])
        };
        env.push(from(discovery::NODE, "spec.nodeName"));
        env.push(from(discovery::ZONE, "metadata.labels['topology.kubernetes.io/zone']"));
    }
    if !env.is_empty() {
        fields.set("env", env);
    }
    let mut ports = vec![container_port("pillion-probes", port::PROBES)];
    if settings.capture != Capture::None {
        ports.push(container_port("pillion-in", port::INBOUND));
    }
    ports
        .extend(settings.inbound_ports.iter().map(|port| container_port(&format!("pln-{}", port.listen), port.listen)));
    fields.set("ports", ports);
    // A sidecar that is not ready has listeners, certificates or configuration missing: the application waits for it.
    let ready = |period: i128, failures: i128, path: &str| {
        map([
            ("httpGet", map([("path", path.into()), ("port", port::PROBES.into())])),
            ("periodSeconds", period.into()),
            ("timeoutSeconds", 2_i128.into()),
            ("failureThreshold", failures.into()),
        ])
    };
    fields.set("startupProbe", ready(1, 120, "/readyz"));
    fields.set("readinessProbe", ready(2, 2, "/readyz"));
    fields.set("livenessProbe", ready(10, 6, "/livez"));
    fields.set("lifecycle", lifecycle(settings.mode));
    fields.set("resources", resources(settings));
    fields.set("securityContext", security());
    let mut mounts = Vec::new();
    let mount =
        |name: &str, path: &str| map([("name", name.into()), ("mountPath", path.into()), ("readOnly", true.into())]);
    if settings.identity != Identity::None {
        mounts.push(mount(IDENTITY_VOLUME, IDENTITY));
    }
    if settings.asks_the_api_server() {
        mounts.push(mount(ACCOUNT_VOLUME, ACCOUNT));
    }
    if settings.config.is_some() {
        mounts.push(mount(CONFIG_VOLUME, CONFIG));
    }
    if keeps_record(settings, around, spec) {
        mounts.push(map([("name", RECORD_VOLUME.into()), ("mountPath", RECORD.into())]));
    }
    if !mounts.is_empty() {
        fields.set("volumeMounts", mounts);
    }
    Value::Map(fields)
}

/// What of the pod decides by what its application is known.
fn kind(around: &Surroundings, spec: &Value) -> application::Kind {
    let yes = |field: &str| spec.get(field).and_then(Value::as_bool) == Some(true);
    application::Kind {
        job: around.job,
        // Those of the whole node say nothing about the pod.
        shares_processes: yes("shareProcessNamespace") && !yes("hostPID"),
        restarts: restarts(spec),
        containers: spec.list("containers").len(),
    }
}

/// Whether a container that failed is started anew: by what the pod says, or by the container's own word, which goes before it
/// (Kubernetes 1.34, `ContainerRestartRules`).
fn restarts(spec: &Value) -> bool {
    let own = |container: &Value| {
        let policy = container.str("restartPolicy");
        policy.is_some_and(|policy| policy != "Never") || !container.list("restartPolicyRules").is_empty()
    };
    spec.str("restartPolicy") != Some("Never") || spec.list("containers").iter().any(own)
}

/// Whether the proxy may be started anew behind the end of an application that it must follow.
fn keeps_record(settings: &Settings, around: &Surroundings, spec: &Value) -> bool {
    settings.mode == Mode::Container && around.job && restarts(spec)
}

fn container_port(name: &str, port: u16) -> Value {
    map([("name", name.into()), ("containerPort", port.into()), ("protocol", "TCP".into())])
}

/// The pod's end begins with the hooks of all containers, and a native sidecar gets its signal when the others have gone. So
/// the hook tells inbound connections to leave; a container beside the others hears that by its own signal.
fn lifecycle(mode: Mode) -> Value {
    let exec = |arguments: &[&str]| {
        let words = std::iter::once(PROGRAM).chain(arguments.iter().copied());
        map([("exec", map([("command", list(words))]))])
    };
    match mode {
        Mode::Native => map([("preStop", exec(&["drain"]))]),
        Mode::Container => map([("postStart", exec(&["wait", "--timeout", "120s"]))]),
    }
}

fn resources(settings: &Settings) -> Value {
    let mut limits = Map::default();
    for (name, limit) in [("cpu", &settings.cpu_limit), ("memory", &settings.memory_limit)] {
        if let Some(limit) = limit {
            limits.set(name, limit.to_string());
        }
    }
    let requests =
        map([("cpu", settings.cpu_request.to_string().into()), ("memory", settings.memory_request.to_string().into())]);
    if limits.0.is_empty() {
        map([("requests", requests)])
    } else {
        map([("requests", requests), ("limits", limits.into())])
    }
}

/// What Pod Security *restricted* asks for, and a root file system that nobody writes.
fn security() -> Value {
    map([
        ("runAsUser", USER.into()),
        ("runAsGroup", USER.into()),
        ("runAsNonRoot", true.into()),
        ("readOnlyRootFilesystem", true.into()),
        ("allowPrivilegeEscalation", false.into()),
        ("privileged", false.into()),
        ("capabilities", map([("drop", list(["ALL"]))])),
        ("seccompProfile", map([("type", "RuntimeDefault".into())])),
    ])
}

/// The container that installs the rules. It is root with one capability, in the pod's own network namespace.
/// `guaranteed`: the pod's
/// class is so, which one container that requests less than its limit would take.
pub(super) fn init(image: &Image, settings: &Settings, spec: &Value, guaranteed: bool) -> Value {
    let numbers = |ports: &[Ports]| {
        let each = ports.iter().flat_map(|ports| ports.0..=ports.1);
        each.map(|port| port.to_string()).collect::<Vec<_>>().join(",")
    };
    let mut arguments: Vec<String> = ["redirect", "rules", "install"].map(str::to_owned).into();
    let mut option = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    option("inbound-port", port::INBOUND.to_string());
    option("outbound-port", port::OUTBOUND.to_string());
    option("uid", USER.to_string());
    option("families", if settings.ip_family == IpFamily::Dual { "both" } else { "ipv4" }.to_owned());
    let mut skipped = vec![Ports(port::PROBES, port::PROBES)];
    skipped.extend(&settings.skip_inbound_ports);
    option("exclude-inbound-ports", numbers(&skipped));
    if !settings.skip_outbound_ports.is_empty() {
        option("exclude-outbound-ports", numbers(&settings.skip_outbound_ports));
    }
    if !settings.skip_outbound_cidrs.is_empty() {
        option("exclude-outbound-cidrs", settings.skip_outbound_cidrs.join(","));
    }
    let mut fields = Map::default();
    fields.set("name", INIT);
    fields.set("image", image.to_string());
    fields.set("imagePullPolicy", settings.image_pull_policy.as_str());
    fields.set("command", list([PROGRAM]));
    fields.set("args", list(arguments.iter().map(String::as_str)));
    // A pod that as a whole has less is not taken; it holds for this one, which is alone, as well.
    let of_pod = |amounts: [(&str, &str); 2]| {
        let own = amounts.into_iter().filter(|(resource, _)| !whole::names(spec, resource));
        Map(own.map(|(resource, amount)| (resource.to_owned(), amount.into())).collect())
    };
    let limits = of_pod([("cpu", "100m"), ("memory", "64Mi")]);
    let requests = if guaranteed { limits.clone() } else { of_pod([("cpu", "10m"), ("memory", "16Mi")]) };
    if !requests.0.is_empty() {
        fields.set("resources", map([("requests", requests.into()), ("limits", limits.into())]));
    }
    let mut security = map([
        ("runAsUser", 0_u16.into()),
        ("runAsGroup", 0_u16.into()),
        ("runAsNonRoot", false.into()),
        ("readOnlyRootFilesystem", true.into()),
        ("allowPrivilegeEscalation", false.into()),
        ("privileged", false.into()),
        ("capabilities", map([("add", list(["NET_ADMIN"])), ("drop", list(["ALL"]))])),
        ("seccompProfile", map([("type", "RuntimeDefault".into())])),
    ]);
    // SELinux options of the pod hold for it as for the others.
    if let (Some(options), Some(security)) = (spec.at(&["securityContext", "seLinuxOptions"]), security.as_map_mut()) {
        security.set("seLinuxOptions", options.clone());
    }
    fields.set("securityContext", security);
    Value::Map(fields)
}

/// What is mounted into the proxy.
pub(super) fn volumes(settings: &Settings, around: &Surroundings, spec: &Value) -> Vec<Value> {
    let mut volumes = Vec::new();
    let name = ("name", Value::from(IDENTITY_VOLUME));
    match &settings.identity {
        Identity::None => {}
        Identity::Secret(secret) => {
            // 0440 would need the pod's fsGroup, which is the application's to choose.
            volumes.push(map([
                name,
                ("secret", map([("secretName", secret.as_str().into()), ("defaultMode", 0o444_u16.into())])),
            ]));
        }
        Identity::WorkloadApi(_) => {
            volumes.push(map([name, ("csi", map([("driver", "csi.spiffe.io".into()), ("readOnly", true.into())]))]));
        }
        Identity::Csi(driver) => {
            let mut csi = map([("driver", driver.as_str().into()), ("readOnly", true.into())]);
            if let (true, Some(csi)) = (driver == "spiffe.csi.cert-manager.io", csi.as_map_mut()) {
                let group = USER.to_string();
                csi.set("volumeAttributes", map([("spiffe.csi.cert-manager.io/fs-group", group.into())]));
            }
            volumes.push(map([name, ("csi", csi)]));
        }
    }
    if settings.asks_the_api_server() {
        // Whether the application's containers have a token is their affair, so the proxy has one of its own.
        let token = map([("path", "token".into()), ("expirationSeconds", 3600_u16.into())]);
        let item = map([("key", "ca.crt".into()), ("path", "ca.crt".into())]);
        let roots = map([("name", "kube-root-ca.crt".into()), ("items", Value::List(vec![item]))]);
        let sources = vec![map([("serviceAccountToken", token)]), map([("configMap", roots)])];
        volumes.push(map([
            ("name", ACCOUNT_VOLUME.into()),
            ("projected", map([("defaultMode", 0o444_u16.into()), ("sources", Value::List(sources))])),
        ]));
    }
    if let Some(config) = &settings.config {
        volumes.push(map([("name", CONFIG_VOLUME.into()), ("configMap", map([("name", config.as_str().into())]))]));
    }
    if keeps_record(settings, around, spec) {
        volumes.push(map([("name", RECORD_VOLUME.into()), ("emptyDir", map([("sizeLimit", "1Mi".into())]))]));
    }
    volumes
}

/// Where the proxy listens for what comes from outside of the pod.
pub(super) fn any_address(family: IpFamily, port: u16) -> String {
    match family {
        IpFamily::Ipv4 => format!("0.0.0.0:{port}"),
        IpFamily::Dual => format!("[::]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_is_started_anew_is_known_by_the_pods_word_or_its_own() {
        for (spec, yes) in [
            (r#"{"containers": [{}]}"#, true),
            (r#"{"restartPolicy": "OnFailure", "containers": [{}]}"#, true),
            (r#"{"restartPolicy": "Never", "containers": [{}, {"restartPolicy": "Never"}]}"#, false),
            (r#"{"restartPolicy": "Never", "containers": [{}, {"restartPolicy": "OnFailure"}]}"#, true),
            (
                r#"{"restartPolicy": "Never", "containers": [{"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}]}"#,
                true,
            ),
        ] {
            assert_eq!(restarts(&serde_json::from_str(spec).unwrap()), yes, "{spec}");
        }
    }
}
