//! What came into a pod behind the injection: another webhook added a container, and the API server asks again
//! (`reinvocationPolicy: IfNeeded`), or a manifest that was injected got one more. It is judged as the others were. Pure.

use super::{
    container::CONFIG_VARIABLE,
    grace,
    handed::{self, Handed},
    obstacles,
    pod::{self, Problem, Surroundings, port},
    probes,
    settings::{Mode, Settings},
    status::Status,
    value::{Map, Value, map},
    yaml,
};

/// The pod with the probes of what came moved to the proxy, and its drain as long as the goodbyes of what came; `None` where
/// nothing is left to do. Of ours nothing but these is changed, since others may have changed the rest.
///
/// # Errors
/// What of the pod cannot be beside the proxy.
pub(super) fn amend(pod: &Value, around: &Surroundings, defaults: &Settings) -> Result<Option<Value>, Vec<Problem>> {
    let read = || Some((Status::of(pod)?.ok()?, pod::settings_of(pod, defaults).ok()?, pod.get("spec")?));
    let Some((status, settings, spec)) = read() else { return Ok(None) };
    let settings = status.over(settings, pod);
    let mut problems =
        obstacles::collisions(spec, &own_ports(pod, &status, &settings), &|list, name| status.put(list, name));
    if around.job && settings.mode == Mode::Container {
        problems.extend(obstacles::unending(spec));
    }
    problems.extend(obstacles::unasked(spec, &settings));
    let mut with = pod.clone();
    let came = pod::move_probes(&mut with, &settings);
    let told = Handed::of(pod, &status);
    problems.extend(lost(&with, &status, &told, &came));
    if !problems.is_empty() {
        return Err(problems);
    }
    let env = handed::proxy(pod, &status).and_then(|(list, at)| {
        let Some(Value::List(containers)) = with.at_mut(&["spec", list]) else { return None };
        containers.get_mut(at)?.list_at("env")
    });
    let Some(env) = env else { return Ok(None) };
    let longer = lengthen_drain(pod, env).is_some();
    if came.0.is_empty() {
        return Ok(longer.then_some(with));
    }
    let mut all = told.into_probes();
    came.0.into_iter().for_each(|(path, probe)| all.set(&path, probe));
    let value = probes::to_hand(&all);
    match env.iter_mut().find(|one| one.str("name") == Some(probes::VARIABLE)).and_then(Value::as_map_mut) {
        Some(variable) => variable.set("value", value),
        None => env.push(map([("name", probes::VARIABLE.into()), ("value", value.into())])),
    }
    Ok(Some(with))
}

/// The ports of the proxy that is there: which are before the application's, others may have chosen than who looks at it now.
fn own_ports(pod: &Value, status: &Status, settings: &Settings) -> Vec<u16> {
    let mut own = obstacles::own_ports(&Settings { inbound_ports: Vec::new(), ..settings.clone() });
    let proxy = handed::proxy(pod, status).and_then(|(list, at)| pod.at(&["spec", list])?.elements().get(at));
    let ports = proxy.map_or(&[][..], |proxy| proxy.list("ports")).iter();
    own.extend(ports.filter_map(|port| u16::try_from(port.get("containerPort")?.as_int()?).ok()));
    own
}

/// Probes that the proxy would be asked and knows nothing of, as where another webhook wrote its container anew: the pod would
/// never be ready.
fn lost(with: &Value, status: &Status, told: &Handed, came: &Map) -> Vec<Problem> {
    let mut problems = Vec::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in with.at(&["spec", list]).map_or(&[][..], Value::elements).iter().enumerate() {
            let name = container.str("name").unwrap_or_default();
            for (field, path) in probes::left(container, port::PROBES) {
                let known = match told {
                    Handed::Probes(probes) => probes.get(&path).is_some() || came.get(&path).is_some(),
                    // What came can stand in a variable that is not there yet.
                    Handed::Nothing => came.get(&path).is_some(),
                    // Whoever wrote it will know those that it holds, but nobody adds to it.
                    Handed::Otherwise => came.get(&path).is_none(),
                    Handed::NoProxy => false,
                };
                if known || status.put(list, name) {
                    continue;
                }
                let words = if came.get(&path).is_some() {
                    format!("{name} is to be asked by way of the proxy, which cannot be told: {}", told.why())
                } else {
                    format!(
                        "the container {name} is asked by way of the proxy ({path}), and nobody knows what this was: {}: \
                         whoever changes the proxy's container must leave that, or write the probe as it was",
                        told.why()
                    )
                };
                let index = index.to_string();
                let place = ["spec", list, &index].into_iter().chain(field).collect::<Vec<_>>();
                problems.push(Problem::new(&place, words));
            }
        }
    }
    problems
}

/// Lets new connections in for as long as what came says goodbye, where the configuration is still as we write it.
fn lengthen_drain(pod: &Value, env: &mut [Value]) -> Option<()> {
    let variable = env.iter_mut().find(|one| one.str("name") == Some(CONFIG_VARIABLE))?;
    let text = variable.str("value")?.replace("$$", "$");
    let mut root = yaml::read(&text).ok()?.pop()?.value;
    let write = |root: &Value| yaml::emit(root, 0, yaml::Lists::Indented);
    if write(&root) != text {
        return None;
    }
    grace::lengthen(pod, root.at_mut(&["drain"])?.as_map_mut()?)?;
    variable.as_map_mut()?.set("value", write(&root).replace('$', "$$"));
    Some(())
}
