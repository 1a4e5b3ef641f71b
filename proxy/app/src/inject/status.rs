//! What an injection put into a pod, as the pod's annotation `pillion.io/status` says it: nothing else is taken out again. Pure.

use super::{
    configuration,
    container::CONFIG_VARIABLE,
    pod::{INIT, PROXY},
    settings::{Capture, INJECT, Mode, PREFIX, Ports, STATUS, Settings},
    value::{Map, Value, list, map},
};
use crate::rules;

/// The annotation's content.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    /// Who did it.
    pub version: Option<String>,
    /// Where the proxy is.
    mode: Mode,
    /// What leads connections to it; by [`Capture::Init`] there is a container that installs rules.
    capture: Capture,
    /// Probes were left as they were.
    leaves_probes: bool,
    /// `shareProcessNamespace` was set.
    pub shares_processes: bool,
    /// What was added to `imagePullSecrets`.
    pub pull_secrets: Vec<String>,
    /// The pod's annotations that chose settings, and a digest of each's value.
    wishes: Map,
    /// What of the resources of the pod as a whole was raised ([`super::whole::raise`]).
    pub raised: Map,
}

/// The option of the container that installs rules, which ports these leave out.
const SKIPPED: &str = "--exclude-inbound-ports";
const MODES: [(&str, Mode); 2] = [("native", Mode::Native), ("container", Mode::Container)];
const CAPTURES: [(&str, Capture); 3] = [("init", Capture::Init), ("node", Capture::Node), ("none", Capture::None)];

impl Status {
    /// The annotation's text for a pod that is injected with these settings.
    pub(super) fn written(
        settings: &Settings,
        shares_processes: bool,
        pull_secrets: &[String],
        raised: Map,
        wishes: Map,
    ) -> Value {
        let mode = MODES.iter().find(|(_, mode)| *mode == settings.mode).map_or("", |(word, _)| word);
        let capture = CAPTURES.iter().find(|(_, capture)| *capture == settings.capture).map_or("", |(word, _)| word);
        let mut status =
            map([("version", env!("CARGO_PKG_VERSION").into()), ("mode", mode.into()), ("capture", capture.into())]);
        if let (false, Some(status)) = (settings.rewrite_probes, status.as_map_mut()) {
            status.set("leavesProbes", true);
        }
        if let (true, Some(status)) = (shares_processes, status.as_map_mut()) {
            status.set("sharesProcesses", true);
        }
        if let (false, Some(status)) = (pull_secrets.is_empty(), status.as_map_mut()) {
            status.set("pullSecrets", list(pull_secrets.iter().map(String::as_str)));
        }
        if let (false, Some(status)) = (raised.0.is_empty(), status.as_map_mut()) {
            status.set("raised", raised);
        }
        if let (false, Some(status)) = (wishes.0.is_empty(), status.as_map_mut()) {
            status.set("settings", wishes);
        }
        status.to_json().into()
    }

    /// Whether a node agent leads connections to the proxy.
    pub(super) fn is_by_node(&self) -> bool {
        self.capture == Capture::Node
    }

    /// What a pod's annotation says; `None` where there is none.
    ///
    /// # Errors
    /// Where no injection wrote it.
    pub(super) fn of(pod: &Value) -> Option<Result<Self, String>> {
        let written = pod.at(&["metadata", "annotations", STATUS])?;
        let read = || {
            let status: Value = serde_json::from_str(written.as_str()?).ok()?;
            let mode = MODES.iter().find(|(word, _)| status.str("mode") == Some(word))?.1;
            let capture = CAPTURES.iter().find(|(word, _)| status.str("capture") == Some(word))?.1;
            Some(Self {
                version: status.str("version").map(str::to_owned),
                mode,
                capture,
                leaves_probes: status.get("leavesProbes") == Some(&Value::Bool(true)),
                shares_processes: status.get("sharesProcesses") == Some(&Value::Bool(true)),
                pull_secrets: status
                    .list("pullSecrets")
                    .iter()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
                wishes: status.get("settings").and_then(Value::as_map).cloned().unwrap_or_default(),
                raised: status.get("raised").and_then(Value::as_map).cloned().unwrap_or_default(),
            })
        };
        Some(read().ok_or_else(|| {
            "it says neither mode nor capture, so that nobody knows what was put in: take it out by hand, and this \
             annotation with it"
                .to_owned()
        }))
    }

    /// The annotations of a pod that choose settings, by name, and a digest of what each says.
    pub(super) fn wishes(pod: &Value) -> Map {
        let annotations = pod.at(&["metadata", "annotations"]).and_then(Value::as_map);
        let mut wishes = Map::default();
        for (full, value) in annotations.into_iter().flat_map(|map| &map.0) {
            if let Some(name) = full.strip_prefix(PREFIX).filter(|_| full != INJECT && full != STATUS) {
                wishes.set(name, rules::digest([value.to_json()].into_iter()));
            }
        }
        wishes
    }

    /// The annotations that say something else than they did when it was injected, or did not or do not say anything.
    pub(super) fn changed(&self, pod: &Value) -> Vec<String> {
        let now = Self::wishes(pod);
        let said =
            |map: &Map, name: &str| map.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let names = now.0.iter().chain(self.wishes.0.iter().filter(|(name, _)| said(&now, name).is_none()));
        names
            .filter(|(name, _)| said(&now, name) != said(&self.wishes, name))
            .map(|(name, _)| format!("{PREFIX}{name}"))
            .collect()
    }

    /// What was chosen for the injection, as far as the pod still says it: the settings are those of whoever looks at it now.
    pub(super) fn over(&self, mut settings: Settings, pod: &Value) -> Settings {
        (settings.mode, settings.capture) = (self.mode, self.capture);
        settings.rewrite_probes &= !self.leaves_probes;
        settings.inbound_tls =
            self.configuration(pod).and_then(|text| configuration::inbound_tls(&text)).or(settings.inbound_tls);
        let init = pod.get("spec").map(|spec| spec.list("initContainers")).unwrap_or_default();
        let init = init.iter().find(|container| container.str("name") == Some(INIT)).map(|init| init.list("args"));
        let option = init.and_then(|words| words.iter().skip_while(|word| word.as_str() != Some(SKIPPED)).nth(1));
        let by_rules = || Some(option?.as_str()?.split(',').filter_map(|port| port.parse().ok()).collect());
        let skipped: Option<Vec<u16>> = match self.capture {
            Capture::Init => by_rules(),
            Capture::Node => self.configuration(pod).and_then(|text| configuration::excluded(&text)),
            Capture::None => None,
        };
        if let Some(ports) = skipped {
            settings.skip_inbound_ports = ports.into_iter().map(|port| Ports(port, port)).collect();
        }
        settings
    }

    /// The configuration that was generated for the proxy.
    fn configuration(&self, pod: &Value) -> Option<String> {
        let list = if self.mode == Mode::Native { "initContainers" } else { "containers" };
        let proxy = pod.at(&["spec", list])?.elements().iter().find(|one| one.str("name") == Some(PROXY))?;
        let variable = proxy.list("env").iter().find(|variable| variable.str("name") == Some(CONFIG_VARIABLE))?;
        Some(variable.str("value")?.replace("$$", "$"))
    }

    /// Whether the injection put a container of that name into that list of the pod's.
    pub(super) fn put(&self, list: &str, container: &str) -> bool {
        let proxy = if self.mode == Mode::Native { "initContainers" } else { "containers" };
        (container == PROXY && list == proxy)
            || (self.capture == Capture::Init && container == INIT && list == "initContainers")
    }
}
