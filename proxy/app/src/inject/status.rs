//! What an injection put into a pod, as the pod's annotation `pillion.io/status` says it: nothing else is taken out again. Pure.

use super::{
    pod::{INIT, PROXY},
    settings::{Capture, Mode, STATUS, Settings},
    value::{Value, list, map},
};

/// The annotation's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// Who did it.
    pub version: Option<String>,
    /// Where the proxy is.
    mode: Mode,
    /// Whether there is a container that installs rules.
    rules: bool,
    /// `shareProcessNamespace` was set.
    pub shares_processes: bool,
    /// What was added to `imagePullSecrets`.
    pub pull_secrets: Vec<String>,
}

const MODES: [(&str, Mode); 2] = [("native", Mode::Native), ("container", Mode::Container)];
const CAPTURES: [(&str, Capture); 3] = [("init", Capture::Init), ("node", Capture::Node), ("none", Capture::None)];

impl Status {
    /// The annotation's text for a pod that is injected with these settings.
    pub(super) fn written(settings: &Settings, shares_processes: bool, pull_secrets: Vec<String>) -> Value {
        let mode = MODES.iter().find(|(_, mode)| *mode == settings.mode).map_or("", |(word, _)| word);
        let capture = CAPTURES.iter().find(|(_, capture)| *capture == settings.capture).map_or("", |(word, _)| word);
        let mut status =
            map([("version", env!("CARGO_PKG_VERSION").into()), ("mode", mode.into()), ("capture", capture.into())]);
        if let (true, Some(status)) = (shares_processes, status.as_map_mut()) {
            status.set("sharesProcesses", true);
        }
        if let (false, Some(status)) = (pull_secrets.is_empty(), status.as_map_mut()) {
            status.set("pullSecrets", list(pull_secrets.iter().map(String::as_str)));
        }
        status.to_json().into()
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
                rules: capture == Capture::Init,
                shares_processes: status.get("sharesProcesses") == Some(&Value::Bool(true)),
                pull_secrets: status
                    .list("pullSecrets")
                    .iter()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
            })
        };
        Some(read().ok_or_else(|| {
            "it says neither mode nor capture, so that nobody knows what was put in: take it out by hand, and this \
             annotation with it"
                .to_owned()
        }))
    }

    /// Whether the injection put a container of that name into that list of the pod's.
    pub(super) fn put(&self, list: &str, container: &str) -> bool {
        let proxy = if self.mode == Mode::Native { "initContainers" } else { "containers" };
        (container == PROXY && list == proxy) || (self.rules && container == INIT && list == "initContainers")
    }
}
