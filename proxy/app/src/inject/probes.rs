//! Probes of the application, moved to the proxy: which are, to which path, and what the proxy must then do.
//!
//! A kubelet has no certificate and speaks from the node, so that a probe of a captured port would be refused, or answered
//! by the proxy instead of the application. Each such probe becomes an HTTP request to the proxy's own port, and what it was
//! is handed to the proxy in an environment variable, which carries it out where the application gets its traffic. Pure.

use super::value::{Map, Value, map};

/// The environment variable that holds the probes: a JSON object from path to the probe as it was.
pub const VARIABLE: &str = "PILLION_APP_PROBES";
/// What the paths begin with.
pub const PATH: &str = "/app-probes/";

/// The probes of a container, and the words for them in paths.
const PROBES: [(&str, &str); 3] =
    [("startupProbe", "startup"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness")];
/// The hooks of a container's life, which kubelets call just so.
const HOOKS: [(&str, &str); 2] = [("postStart", "post-start"), ("preStop", "pre-stop")];
/// Whether a path is one of a hook, whose answer a kubelet does not look at: it fails by its connection alone.
#[must_use]
pub fn is_hook(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(_, last)| HOOKS.iter().any(|(_, word)| *word == last))
}

/// Where in a container is what a path stands for; `None`: it is asked at the end, when nobody waits for the answer.
pub(super) fn field(path: &str) -> Option<&'static [&'static str]> {
    match path.rsplit_once('/')?.1 {
        "startup" => Some(&["startupProbe"]),
        "readiness" => Some(&["readinessProbe"]),
        "liveness" => Some(&["livenessProbe"]),
        "post-start" => Some(&["lifecycle", "postStart"]),
        _ => None,
    }
}

/// Whether a path is of what a container is asked until it has started.
pub(super) fn is_at_start(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(_, last)| AT_START.contains(&last))
}

/// What can be asked of another place than the pod; `exec` stays, since it runs in the container.
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];
/// A container's probe timeout where none is written, in seconds.
const TIMEOUT: i128 = 1;
/// A hook has none of its own: somewhat less than the probe port keeps a connection by itself.
const HOOK_TIMEOUT: i128 = 110;

/// Where an application is asked: where its traffic comes to, or it would be judged by what nobody reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The pod's address, which the kubelet asked the proxy at: captured connections go on to it.
    Pod,
    /// Loopback, to which the proxy's own ports lead.
    Loopback,
}

impl Place {
    /// The field that says it.
    pub const FIELD: &str = "address";
    /// What the field says of the pod's; it is left out of the other.
    pub const POD: &str = "pod";
}

/// When a container starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    /// Before the proxy, which starts only when this one has: what a kubelet asks until then nobody else can answer.
    Before,
    /// With it, or after.
    Behind,
}

/// What is asked of a container until it has started.
const AT_START: [&str; 2] = ["startup", "post-start"];

/// Moves the probes of a container, and returns what they were, by path. `place` says where the application is asked at a port;
/// `None`: by the kubelet, as before.
pub(super) fn move_away(
    container: &mut Value,
    starts: Starts,
    proxy_port: u16,
    place: &dyn Fn(u16) -> Option<Place>,
) -> Map {
    let mut moved = Map::default();
    let Some(name) = container.str("name").map(str::to_owned) else { return moved };
    let ports = named_ports(container);
    let mut take = |handler: &mut Value, kind: &str, timeout: i128| {
        if starts == Starts::Before && AT_START.contains(&kind) {
            return;
        }
        let Some(which) = HANDLERS.iter().find(|which| handler.get(which).is_some()) else { return };
        let Some(original) = handler.get(which).cloned() else { return };
        // Another host is not ours to ask.
        if original.get("host").is_some_and(|host| host.as_str() != Some("")) {
            return;
        }
        let port = match original.get("port") {
            Some(Value::Int(port)) => u16::try_from(*port).ok(),
            // A port may be written as text, or be a name of one of this container's.
            Some(Value::String(name)) => {
                let named = ports.iter().find(|(known, _)| known == name).map(|(_, port)| *port);
                named.or_else(|| name.parse().ok())
            }
            _ => None,
        };
        let Some((port, place)) = port.and_then(|port| Some((port, place(port)?))) else { return };
        let path = format!("{PATH}{name}/{kind}");
        let request = map([("path", path.as_str().into()), ("port", proxy_port.into())]);
        if let Some(handler) = handler.as_map_mut() {
            handler.replace(which, "httpGet", request);
        }
        let mut asked = Map::default();
        asked.set("port", port);
        if place == Place::Pod {
            asked.set(Place::FIELD, Place::POD);
        }
        asked.set("timeoutSeconds", timeout);
        asked.set(which, original);
        moved.set(&path, asked);
    };
    for (field, kind) in PROBES {
        if let Some(probe) = container.at_mut(&[field]) {
            let timeout = probe.get("timeoutSeconds").and_then(Value::as_int).unwrap_or(TIMEOUT);
            take(probe, kind, timeout);
        }
    }
    for (field, kind) in HOOKS {
        if let Some(hook) = container.at_mut(&["lifecycle", field]) {
            take(hook, kind, HOOK_TIMEOUT);
        }
    }
    moved
}

/// The probes that a variable of the proxy's container holds; `None` where it holds something else.
pub(super) fn handed(variable: &Value) -> Option<Map> {
    let text = variable.str("value")?.replace("$$", "$");
    match serde_json::from_str(&text).ok()? {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

/// The variable's value, in which a kubelet puts `$` in the place of `$$`.
pub(super) fn to_hand(probes: &Map) -> String {
    Value::Map(probes.clone()).to_json().replace('$', "$$")
}

/// Moves the probes of a container back to what they were.
pub(super) fn move_back(container: &mut Value, originals: &Map) {
    let Some(name) = container.str("name").map(str::to_owned) else { return };
    let places = PROBES.map(|(field, kind)| (vec![field], kind)).into_iter();
    let places = places.chain(HOOKS.map(|(field, kind)| (vec!["lifecycle", field], kind)));
    for (path, kind) in places {
        let key = format!("{PATH}{name}/{kind}");
        let Some(handler) = container.at_mut(&path) else { continue };
        // Somebody may have changed it since.
        if handler.at(&["httpGet", "path"]).and_then(Value::as_str) != Some(&key) {
            continue;
        }
        let Some(original) = originals.get(&key) else { continue };
        if let Some(which) = HANDLERS.iter().find(|which| original.get(which).is_some())
            && let (Some(handler), Some(was)) = (handler.as_map_mut(), original.get(which))
        {
            handler.replace("httpGet", which, was.clone());
        }
    }
}

/// What of a container is asked of the proxy's port: each field, and the path.
pub(super) fn left(container: &Value, proxy_port: u16) -> Vec<(Vec<&'static str>, String)> {
    let places = PROBES.iter().map(|(field, _)| vec![*field]);
    let places = places.chain(HOOKS.iter().map(|(field, _)| vec!["lifecycle", *field]));
    let asked = places.filter_map(|place| {
        let get = container.at(&place)?.get("httpGet")?;
        let path = get.str("path").filter(|path| path.starts_with(PATH))?;
        let ours = get.get("port").and_then(Value::as_int) == Some(proxy_port.into());
        ours.then(|| (place, path.to_owned()))
    });
    asked.collect()
}

fn named_ports(container: &Value) -> Vec<(String, u16)> {
    let ports = container.list("ports").iter();
    let named = ports.filter_map(|port| {
        let number = u16::try_from(port.get("containerPort")?.as_int()?).ok()?;
        Some((port.str("name")?.to_owned(), number))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        crate::inject::yaml::read(text).unwrap().remove(0).value
    }

    #[test]
    fn probes_move_to_the_proxy_and_back() {
        let container = read(
            "name: web
ports: [{name: http, containerPort: 8080}]
startupProbe: {exec: {command: [true]}}
readinessProbe: {httpGet: {path: /r, port: http, httpHeaders: [{name: Host, value: x}]}, timeoutSeconds: 3, periodSeconds: 2}
livenessProbe: {tcpSocket: {port: '9000'}, failureThreshold: 2}
lifecycle: {preStop: {httpGet: {path: /bye, port: 8080}}}",
        );
        let mut moved = container.clone();
        let originals = move_away(&mut moved, Starts::Behind, 15020, &|port| (port != 1).then_some(Place::Loopback));
        assert_eq!(
            moved.at(&["readinessProbe"]).unwrap().to_json(),
            r#"{"httpGet":{"path":"/app-probes/web/readiness","port":15020},"timeoutSeconds":3,"periodSeconds":2}"#
        );
        assert_eq!(moved.at(&["livenessProbe", "failureThreshold"]), Some(&Value::Int(2)));
        assert_eq!(moved.get("startupProbe"), container.get("startupProbe"));
        assert_eq!(
            originals.get("/app-probes/web/readiness").unwrap().to_json(),
            r#"{"port":8080,"timeoutSeconds":3,"httpGet":{"path":"/r","port":"http","httpHeaders":[{"name":"Host","value":"x"}]}}"#
        );
        assert_eq!(
            originals.get("/app-probes/web/liveness").unwrap().to_json(),
            r#"{"port":9000,"timeoutSeconds":1,"tcpSocket":{"port":"9000"}}"#
        );
        assert!(originals.get("/app-probes/web/pre-stop").is_some());
        move_back(&mut moved, &originals);
        assert_eq!(moved, container);
    }

    #[test]
    fn what_is_not_captured_or_elsewhere_stays() {
        for probe in [
            "{tcpSocket: {port: 1}}",
            "{tcpSocket: {port: 8080, host: db.example}}",
            "{httpGet: {port: nobody}}",
            "{exec: {command: [x]}}",
            "{grpc: {}}",
            "{}",
        ] {
            let container = read(&format!("name: a\nlivenessProbe: {probe}\n"));
            let mut moved = container.clone();
            let elsewhere = |port| (port != 1).then_some(Place::Loopback);
            assert_eq!(move_away(&mut moved, Starts::Behind, 15020, &elsewhere), Map::default(), "{probe}");
            assert_eq!(moved, container, "{probe}");
        }
    }
}
