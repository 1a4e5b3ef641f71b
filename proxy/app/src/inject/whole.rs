//! Resources of a pod as a whole (`spec.resources`; beta since Kubernetes 1.34), in which the proxy needs room beside the
//! application. Pure.
//!
//! An API server refuses a pod whose containers request more than the pod does, or of which one is allowed more; and what the
//! proxy takes of a pod's limit is missing to the application. So both are raised by what the proxy's own container has.

use super::{
    pod::Problem,
    quantity::{self, Quantity},
    settings::Settings,
    value::{Map, Value, list},
};

/// The resources that a proxy has an amount of.
pub(super) const CPU: &str = "cpu";
pub(super) const MEMORY: &str = "memory";

/// Whether the pod as a whole says something about that resource.
pub(super) fn names(spec: &Value, resource: &str) -> bool {
    ["requests", "limits"].iter().any(|kind| spec.at(&["resources", kind, resource]).is_some())
}

/// Raises what the pod has as a whole by what the proxy has, and returns what was there and what is now, by `requests` and
/// `limits` and by resource.
///
/// # Errors
/// Where there is no amount.
pub(super) fn raise(spec: &mut Value, settings: &Settings) -> Result<Map, Vec<Problem>> {
    let (mut raised, mut problems) = (Map::default(), Vec::new());
    for (resource, request, limit) in
        [(CPU, &settings.cpu_request, &settings.cpu_limit), (MEMORY, &settings.memory_request, &settings.memory_limit)]
    {
        let most = limit.as_ref().unwrap_or(request);
        // Without a request of its own a pod has its containers', or its limit where they have none: but now ours has.
        let by_limit = spec.at(&["resources", "requests", resource]).is_none() && !of_a_container(spec, resource);
        for (kind, ours) in [("limits", most), ("requests", request)] {
            let Some(was) = spec.at(&["resources", kind, resource]).cloned() else { continue };
            match sum(resource, &was, ours) {
                Some(now) => put(spec, &mut raised, [kind, resource], was, now),
                None => {
                    let words = format!(
                        "{} is no quantity to which the proxy's {ours} could be added: write a number with a unit, as 500m of CPU \
                         or 256Mi of memory",
                        was.to_json()
                    );
                    problems.push(Problem::new(&["spec", "resources", kind, resource], words));
                }
            }
        }
        if let (true, Some(limit)) = (by_limit, spec.at(&["resources", "limits", resource]).cloned()) {
            put(spec, &mut raised, ["requests", resource], Value::Null, limit);
        }
    }
    if problems.is_empty() { Ok(raised) } else { Err(problems) }
}

/// Takes back what was raised, as far as it is still what it was raised to.
pub(super) fn lower(spec: &mut Value, raised: &Map) {
    for (kind, resources) in &raised.0 {
        for (resource, change) in resources.as_map().into_iter().flat_map(|map| &map.0) {
            let [was, now] = change.elements() else { continue };
            let Some(map) = spec.at_mut(&["resources", kind]).and_then(Value::as_map_mut) else { continue };
            // An API server writes the same amount in its own way.
            if map.get(resource).is_none_or(|there| there != now && amount(there) != amount(now)) {
                continue;
            }
            match was {
                Value::Null => drop(map.remove(resource)),
                was => map.set(resource, was.clone()),
            }
            if map.0.is_empty()
                && let Some(resources) = spec.at_mut(&["resources"]).and_then(Value::as_map_mut)
            {
                resources.remove(kind);
            }
        }
    }
}

/// Whether one of the containers requests some; what it is limited to counts as that where nothing else is said.
fn of_a_container(spec: &Value, resource: &str) -> bool {
    let containers = spec.list("containers").iter().chain(spec.list("initContainers"));
    let kinds = |container: &Value| {
        ["requests", "limits"].iter().any(|kind| container.at(&["resources", kind, resource]).is_some())
    };
    containers.into_iter().any(kinds)
}

fn put(spec: &mut Value, raised: &mut Map, [kind, resource]: [&str; 2], was: Value, now: Value) {
    let mut resources = spec.at_mut(&["resources"]);
    if let Some(map) = resources.as_mut().and_then(|resources| resources.map_at(kind)) {
        map.set(resource, now.clone());
    }
    let change = list([was, now]);
    let mut changes = Value::Map(std::mem::take(raised));
    if let Some(map) = changes.map_at(kind) {
        map.set(resource, change);
    }
    if let Value::Map(changes) = changes {
        *raised = changes;
    }
}

/// The amount that a field says.
pub(super) fn amount(value: &Value) -> Option<f64> {
    // A number is its own text.
    value.as_str().map_or_else(|| quantity::amount(&value.to_json()), quantity::amount)
}

/// The sum as an API server writes it: of CPU in thousandths, of memory in bytes, of which a part counts as a whole.
fn sum(resource: &str, was: &Value, ours: &Quantity) -> Option<Value> {
    let sum = amount(was)? + ours.amount();
    // What is not exact in binary is not meant to be a part of one.
    let whole = |amount: f64| (amount - 1e-6).ceil();
    if resource == CPU {
        let thousandths = whole(sum * 1000.0);
        let cores = thousandths / 1000.0;
        return Some(if cores.fract() == 0.0 { format!("{cores:.0}") } else { format!("{thousandths:.0}m") }.into());
    }
    let bytes = whole(sum);
    let units = [("Gi", 1_073_741_824.0), ("Mi", 1_048_576.0), ("Ki", 1024.0)];
    let unit = units.into_iter().find(|(_, unit)| (bytes / unit).fract() == 0.0);
    Some(unit.map_or_else(|| format!("{bytes:.0}"), |(name, unit)| format!("{:.0}{name}", bytes / unit)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        crate::inject::yaml::read(text).unwrap().remove(0).value
    }

    /// With the defaults: 10m and no limit of CPU, 16Mi of memory of at most 128Mi.
    fn raised(before: &str) -> String {
        let spec = read(before);
        let mut with = spec.clone();
        let status = raise(&mut with, &Settings::default()).unwrap();
        let mut without = with.clone();
        lower(&mut without, &status);
        assert_eq!(without, spec, "{before}");
        with.get("resources").map_or_else(String::new, Value::to_json)
    }

    #[test]
    fn a_pods_own_amounts_are_raised_by_the_proxys() {
        let settings = Settings::default();
        assert_eq!((settings.cpu_request.amount(), settings.cpu_limit.is_none()), (0.01, true));
        for (before, after) in [
            ("{containers: [{}]}", ""),
            (
                "{containers: [{}], resources: {requests: {cpu: 500m, memory: 240Mi}, limits: {cpu: 1, memory: 896Mi}}}",
                r#"{"requests":{"cpu":"510m","memory":"256Mi"},"limits":{"cpu":"1010m","memory":"1Gi"}}"#,
            ),
            (
                "{containers: [{}], resources: {requests: {cpu: 0.99, memory: 1}}}",
                r#"{"requests":{"cpu":"1","memory":"16777217"}}"#,
            ),
            // What follows from the limit alone still does.
            (
                "{containers: [{}], resources: {limits: {cpu: 90m}}}",
                r#"{"limits":{"cpu":"100m"},"requests":{"cpu":"100m"}}"#,
            ),
            // What follows from the containers does by itself.
            (
                "{containers: [{resources: {requests: {cpu: 50m}}}], resources: {limits: {cpu: 90m}}}",
                r#"{"limits":{"cpu":"100m"}}"#,
            ),
            // Others are not ours.
            ("{containers: [{}], resources: {limits: {hugepages-2Mi: 4Mi}}}", r#"{"limits":{"hugepages-2Mi":"4Mi"}}"#),
        ] {
            assert_eq!(raised(before), after, "{before}");
        }
    }

    #[test]
    fn what_is_no_amount_is_told_at_its_place() {
        let mut spec = read("{containers: [{}], resources: {requests: {cpu: much}, limits: {memory: {}}}}");
        let problems = raise(&mut spec, &Settings::default()).unwrap_err();
        let places: Vec<_> = problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(places, ["spec.resources.requests.cpu", "spec.resources.limits.memory"]);
        assert!(problems[0].message.contains("\"much\" is no quantity"), "{problems:?}");
    }

    #[test]
    fn what_somebody_changed_since_stays_and_what_a_server_wrote_anew_goes() {
        let before = read("{containers: [{}], resources: {requests: {cpu: 500m, memory: 112Mi}}}");
        let mut spec = before.clone();
        let status = raise(&mut spec, &Settings::default()).unwrap();
        let requests = spec.at_mut(&["resources", "requests"]).and_then(Value::as_map_mut).unwrap();
        requests.set("cpu", "2");
        requests.set("memory", "134217728");
        lower(&mut spec, &status);
        assert_eq!(spec.get("resources").unwrap().to_json(), r#"{"requests":{"cpu":"2","memory":"112Mi"}}"#);
    }
}
