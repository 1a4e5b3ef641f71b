//! The class of a pod's quality of service, by which a node that runs out of memory chooses whom to kill. Pure.

use super::{
    settings::PREFIX,
    value::Value,
    whole::{CPU, MEMORY, amount},
};

/// Whether the class is *Guaranteed* (`ComputePodQOS`): all that is requested is the limit, of everything that asks for anything.
pub(super) fn guaranteed(spec: &Value) -> bool {
    let whole =
        ["requests", "limits"].iter().any(|kind| spec.at(&["resources", kind]).is_some_and(|of| !of.is_empty()));
    if whole {
        return equal(spec);
    }
    spec.list("containers").iter().chain(spec.list("initContainers")).all(equal)
}

/// Whether there are limits, and requests that are the same or follow from them.
fn equal(holder: &Value) -> bool {
    [CPU, MEMORY].into_iter().all(|resource| {
        let of = |kind: &str| holder.at(&["resources", kind, resource]);
        let Some(limit) = of("limits").and_then(amount).filter(|limit| *limit > 0.0) else { return false };
        // What is not exact in binary is the same all the same.
        let same = |request: f64| (request - limit).abs() <= limit * 1e-9;
        of("requests").is_none_or(|request| amount(request).is_some_and(same))
    })
}

/// What is to be said where the proxy takes a pod's class.
pub(super) fn lost(before: &Value, after: &Value) -> Option<String> {
    (guaranteed(before) && !guaranteed(after)).then(|| {
        let all = ["cpu-request", "cpu-limit", "memory-request", "memory-limit"].map(|name| format!("{PREFIX}{name}"));
        let [cpu_request, cpu_limit, memory_request, memory_limit] = all;
        format!(
            "its QoS class was Guaranteed and is Burstable with the proxy's container: to keep it write {cpu_request} as \
             {cpu_limit}, and {memory_request} as {memory_limit}"
        )
    })
}
