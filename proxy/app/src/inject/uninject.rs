//! Taking an injection back. Pure.

use super::{
    pod::{INIT, PROXY, VOLUMES},
    probes,
    settings::STATUS,
    value::{Map, Value},
};

/// The pod as it was before; `None` where it was never injected.
#[must_use]
pub fn uninject(pod: &Value) -> Option<Value> {
    let mut pod = pod.clone();
    let status = pod.at(&["metadata", "annotations", STATUS]).and_then(Value::as_str).map(str::to_owned);
    let proxy = ["initContainers", "containers"].iter().find_map(|list| {
        let containers = pod.at(&["spec", list])?.elements();
        containers.iter().find(|container| container.str("name") == Some(PROXY)).cloned()
    });
    if status.is_none() && proxy.is_none() {
        return None;
    }
    let originals = proxy.as_ref().and_then(originals).unwrap_or_default();
    for list in ["containers", "initContainers"] {
        if let Some(Value::List(containers)) = pod.at_mut(&["spec", list]) {
            containers.retain(|container| !matches!(container.str("name"), Some(PROXY | INIT)));
            containers.iter_mut().for_each(|container| probes::move_back(container, &originals));
        }
    }
    if let Some(Value::List(volumes)) = pod.at_mut(&["spec", "volumes"]) {
        volumes.retain(|volume| !volume.str("name").is_some_and(|name| name.starts_with(VOLUMES)));
    }
    let status: Option<Value> = status.and_then(|text| serde_json::from_str(&text).ok());
    let shared = status.as_ref().and_then(|status| status.get("sharesProcesses")) == Some(&Value::Bool(true));
    if let Some(spec) = pod.at_mut(&["spec"]).and_then(Value::as_map_mut) {
        if shared {
            spec.remove("shareProcessNamespace");
        }
        for list in ["initContainers", "volumes"] {
            drop_empty(spec, list);
        }
    }
    if let Some(annotations) = pod.at_mut(&["metadata", "annotations"]).and_then(Value::as_map_mut) {
        annotations.remove(STATUS);
    }
    if let Some(metadata) = pod.at_mut(&["metadata"]).and_then(Value::as_map_mut) {
        drop_empty(metadata, "annotations");
    }
    if let Some(pod) = pod.as_map_mut() {
        drop_empty(pod, "metadata");
    }
    Some(pod)
}

/// What the injection left empty was not there, or meant nothing.
fn drop_empty(map: &mut Map, key: &str) {
    if map.get(key).is_some_and(Value::is_empty) {
        map.remove(key);
    }
}

fn originals(proxy: &Value) -> Option<Map> {
    let variable = proxy.list("env").iter().find(|variable| variable.str("name") == Some(probes::VARIABLE))?;
    let text = variable.str("value")?.replace("$$", "$");
    match serde_json::from_str(&text).ok()? {
        Value::Map(map) => Some(map),
        _ => None,
    }
}
