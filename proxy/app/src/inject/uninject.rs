//! Taking an injection back. Pure.

use super::{
    container::ALL_VOLUMES,
    handed::Handed,
    pod::{INIT, PROXY, PULL_SECRETS, Problem, port},
    probes,
    settings::STATUS,
    status::Status,
    value::{Map, Value},
    whole,
};

/// What there is to take out of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// The pod as it was before.
    Out(Box<Value>),
    /// Nothing: it was never injected.
    Nothing,
    /// Nothing, though a container has a name of ours: nothing says that we put it there.
    NotOurs(String),
}

/// Takes out what the pod's status says was put in, and nothing else.
///
/// # Errors
/// Where nobody knows what that is, or nothing would be left.
pub fn uninject(pod: &Value) -> Result<Taken, Problem> {
    let named = |name: &str| {
        let lists = ["initContainers", "containers"].into_iter();
        let mut all = lists.filter_map(|list| pod.at(&["spec", list])).flat_map(Value::elements);
        all.any(|container| container.str("name") == Some(name))
    };
    let Some(status) = Status::of(pod) else {
        let stranger = [PROXY, INIT].into_iter().find(|name| named(name));
        return Ok(stranger.map_or(Taken::Nothing, |name| Taken::NotOurs(name.to_owned())));
    };
    let status = status.map_err(|words| Problem::new(&["metadata", "annotations", STATUS], words))?;
    let told = Handed::of(pod, &status);
    let why = told.why();
    let originals = told.into_probes();
    if let Some(problem) = unknown(pod, &status, &originals, &why) {
        return Err(problem);
    }
    let mut pod = pod.clone();
    for list in ["containers", "initContainers"] {
        if let Some(Value::List(containers)) = pod.at_mut(&["spec", list]) {
            containers.retain(|container| !container.str("name").is_some_and(|name| status.put(list, name)));
            if list == "containers" && containers.is_empty() {
                return Err(Problem::new(&["spec", list], "nothing but the proxy is in it: delete the pod instead"));
            }
            containers.iter_mut().for_each(|container| probes::move_back(container, &originals));
        }
    }
    if let Some(Value::List(volumes)) = pod.at_mut(&["spec", "volumes"]) {
        volumes.retain(|volume| !volume.str("name").is_some_and(|name| ALL_VOLUMES.contains(&name)));
    }
    if let Some(Value::List(secrets)) = pod.at_mut(&["spec", PULL_SECRETS]) {
        secrets.retain(|secret| !status.pull_secrets.iter().any(|ours| secret.str("name") == Some(ours)));
    }
    if let Some(spec) = pod.at_mut(&["spec"]) {
        whole::lower(spec, &status.raised);
    }
    if let Some(spec) = pod.at_mut(&["spec"]).and_then(Value::as_map_mut) {
        if status.shares_processes {
            spec.remove("shareProcessNamespace");
        }
        for list in ["initContainers", "volumes", PULL_SECRETS] {
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
    Ok(Taken::Out(Box::new(pod)))
}

/// A probe that would be asked of the proxy, which is gone then, and of which nobody knows what it was.
fn unknown(pod: &Value, status: &Status, originals: &Map, why: &str) -> Option<Problem> {
    for list in ["containers", "initContainers"] {
        for (index, container) in pod.at(&["spec", list]).map_or(&[][..], Value::elements).iter().enumerate() {
            let name = container.str("name").unwrap_or_default();
            if status.put(list, name) {
                continue;
            }
            let mut container = container.clone();
            probes::move_back(&mut container, originals);
            let Some((field, path)) = probes::left(&container, port::PROBES).into_iter().next() else { continue };
            let words = format!(
                "the container {name} is asked by way of the proxy ({path}), and nobody knows what this was: {why}: write it \
                 as it was, and take Pillion out then"
            );
            let index = index.to_string();
            let place = ["spec", list, &index].into_iter().chain(field).collect::<Vec<_>>();
            return Some(Problem::new(&place, words));
        }
    }
    None
}

/// What the injection left empty was not there, or meant nothing.
fn drop_empty(map: &mut Map, key: &str) {
    if map.get(key).is_some_and(Value::is_empty) {
        map.remove(key);
    }
}
