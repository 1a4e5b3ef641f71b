//! What of a pod stands in the proxy's way: ports, names and users that are its own, and what could not start, be asked or end beside it.
//! Pure.

use super::{
    pod::{INIT, PROXY, Problem, USER, VOLUMES, port},
    probes::{self, Place, Starts},
    settings::{Capture, InboundTls, Mode, STATUS, Settings},
    value::Value,
};

/// What keeps a pod from being seen to end, by a proxy that must see it.
pub(super) fn unending(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if spec.get("hostPID").and_then(Value::as_bool) == Some(true) {
        let words = "with mode container the pod's end is seen by its processes, among which hostPID puts those of the \
                     whole node: use mode native, or remove hostPID";
        problems.push(Problem::new(&["spec", "hostPID"], words));
    }
    for (index, container) in spec.list("initContainers").iter().enumerate() {
        if container.str("restartPolicy") == Some("Always") {
            let words = "this sidecar ends behind all containers, of which the proxy would be one that waits for it: use mode \
                         native, which a cluster that has such sidecars knows";
            problems.push(Problem::new(&["spec", "initContainers", &index.to_string(), "restartPolicy"], words));
        }
    }
    problems
}

/// The ports on which the proxy listens, and no container can.
pub(super) fn own_ports(settings: &Settings) -> Vec<u16> {
    let mut own = vec![port::ADMIN, port::PROBES];
    own.extend(settings.inbound_ports.iter().map(|port| port.listen));
    if settings.capture == Capture::None {
        own.extend(settings.upstreams.iter().filter_map(|upstream| upstream.local));
    } else {
        own.extend([port::OUTBOUND, port::INBOUND, port::PROOF]);
    }
    if settings.capture == Capture::Node {
        own.push(port::INBOUND_PROOF);
    }
    own
}

/// What of the pod's containers stands in the way; `ours` says which, by its list and name, an injection put in.
pub(super) fn collisions(spec: &Value, own: &[u16], ours: &dyn Fn(&str, &str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in spec.list(list).iter().enumerate() {
            if container.str("name").is_some_and(|name| ours(list, name)) {
                continue;
            }
            let index = index.to_string();
            for (at, entry) in container.list("ports").iter().enumerate() {
                let Some(port) = entry.get("containerPort").and_then(Value::as_int) else { continue };
                let tcp = entry.str("protocol").is_none_or(|protocol| protocol == "TCP");
                if tcp && own.iter().any(|own| i128::from(*own) == port) {
                    let path = ["spec", list, &index, "ports", &at.to_string(), "containerPort"];
                    problems.push(Problem::new(&path, format!("{port} is the proxy's own port: choose another one")));
                }
            }
            if let Some(name @ (PROXY | INIT)) = container.str("name") {
                let words = format!(
                    "{name} is a name of ours, and no annotation {STATUS} says that Pillion put this container in: choose \
                     another name, or remove it if it is left of an injection"
                );
                problems.push(Problem::new(&["spec", list, &index, "name"], words));
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
    problems
}

pub(super) fn volumes_taken(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
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

/// Probes of sidecars that start before the proxy and that nobody would answer: it carries out none before it has started, and
/// refuses a kubelet, who has no certificate, as soon as it is there.
pub(super) fn unasked(spec: &Value, settings: &Settings) -> Vec<Problem> {
    if settings.capture == Capture::None || settings.config.is_some() || !settings.rewrite_probes {
        return Vec::new();
    }
    let strict = settings.inbound_tls() == InboundTls::Strict;
    let native = settings.mode == Mode::Native;
    let containers = spec.list("initContainers");
    let at = |name: &str| containers.iter().position(|container| container.str("name") == Some(name));
    // Ours come first, unless others put theirs before them since.
    let proxy = if native { at(PROXY).unwrap_or_default() } else { containers.len() };
    let rules = at(INIT).unwrap_or(proxy);
    let mut problems = Vec::new();
    for (index, container) in containers.iter().enumerate().take(proxy) {
        let led = native && index > rules;
        if container.str("restartPolicy") != Some("Always") || !(strict || led) {
            continue;
        }
        let moved = |port| (port != port::PROBES && !settings.skips_inbound(port)).then_some(Place::Pod);
        let asked = probes::move_away(&mut container.clone(), Starts::Behind, port::PROBES, &moved);
        for (path, probe) in asked.0 {
            let (Some(field), Some(port)) = (probes::field(&path), probe.get("port").and_then(Value::as_int)) else {
                continue;
            };
            // What is asked of it later is the proxy's to carry out.
            if native && !probes::is_at_start(&path) {
                continue;
            }
            let words = match (native, led) {
                (true, true) => format!(
                    "this sidecar starts behind the rules, which lead port {port} to a proxy that starts only when this one has: \
                     put it before {INIT} or behind {PROXY}, or leave the port alone with skip-inbound-ports: \"{port}\""
                ),
                (true, false) => format!(
                    "this sidecar starts before the proxy, which refuses a kubelet on port {port} as soon as it is there \
                     (inbound-tls strict), so that it could not start again: put it behind {PROXY}, or leave the port alone with \
                     skip-inbound-ports: \"{port}\""
                ),
                (false, _) => format!(
                    "with mode container this sidecar starts before the proxy, which refuses a kubelet on port {port} as soon as it is there \
                     (inbound-tls strict): use mode native, or leave the port alone with skip-inbound-ports: \"{port}\""
                ),
            };
            let index = index.to_string();
            let place: Vec<&str> =
                ["spec", "initContainers", &index].into_iter().chain(field.iter().copied()).collect();
            problems.push(Problem::new(&place, words));
        }
    }
    problems
}
