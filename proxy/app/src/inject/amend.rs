//! Probes that came into a pod behind the injection: another webhook added a container, and the API server asks again
//! (`reinvocationPolicy: IfNeeded`), or a manifest that was injected got one more. Pure.

use super::{
    pod::{self, PROXY},
    probes,
    settings::Settings,
    status::Status,
    value::{Map, Value, map},
};

/// The pod with those probes moved to the proxy; `None` where there are none. Of ours nothing but the variable that holds the
/// probes is changed, since others may have changed the rest.
pub(super) fn amend(pod: &Value, defaults: &Settings) -> Option<Value> {
    let status = Status::of(pod)?.ok()?;
    let settings = status.over(pod::settings_of(pod, defaults).ok()?, pod);
    let mut with = pod.clone();
    let came = pod::move_probes(&mut with, &settings);
    if came.0.is_empty() {
        return None;
    }
    let mut lists = ["initContainers", "containers"].into_iter();
    let (list, at) = lists.find_map(|list| {
        let ours = |container: &Value| container.str("name") == Some(PROXY) && status.put(list, PROXY);
        Some((list, pod.at(&["spec", list])?.elements().iter().position(ours)?))
    })?;
    let Some(Value::List(containers)) = with.at_mut(&["spec", list]) else { return None };
    let env = containers.get_mut(at)?.list_at("env")?;
    let there = env.iter_mut().find(|variable| variable.str("name") == Some(probes::VARIABLE));
    let mut all = match &there {
        Some(variable) => probes::handed(variable)?,
        None => Map::default(),
    };
    came.0.into_iter().for_each(|(path, probe)| all.set(&path, probe));
    let value = probes::to_hand(&all);
    match there {
        Some(variable) => variable.as_map_mut()?.set("value", value),
        None => env.push(map([("name", probes::VARIABLE.into()), ("value", value.into())])),
    }
    Some(with)
}
