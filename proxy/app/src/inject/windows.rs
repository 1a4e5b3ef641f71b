//! Whether a pod is for Windows nodes, where Pillion does not run. Pure.

use super::value::Value;

/// The labels that say what a node runs; the second one of clusters before 1.14.
const NODE_OS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// Whether the pod says of itself that it is for Windows, or may be placed on no other nodes. One that says Linux is for Linux,
/// where a kubelet does not look at options for Windows.
pub(super) fn is_for(spec: &Value) -> bool {
    let own = spec.at(&["os", "name"]).and_then(Value::as_str);
    let selected = NODE_OS.iter().find_map(|label| spec.at(&["nodeSelector", label])?.as_str());
    if let Some(system) = own.or(selected) {
        return system == "windows";
    }
    let options = |of: &Value| of.at(&["securityContext", "windowsOptions"]).is_some_and(|options| !options.is_empty());
    let mut containers = spec.list("initContainers").iter().chain(spec.list("containers"));
    options(spec) || containers.any(options) || affinity_excludes_linux(spec)
}

/// Whether each alternative of the node affinity that scheduling requires leaves Linux out. An alternative's expressions must
/// all hold, so one that excludes Linux is enough.
fn affinity_excludes_linux(spec: &Value) -> bool {
    let required = ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let alternatives = spec.at(&required).map_or(&[][..], |required| required.list("nodeSelectorTerms"));
    let excludes = |expression: &Value| {
        let linux = expression.list("values").iter().any(|value| value.as_str() == Some("linux"));
        expression.str("key").is_some_and(|key| NODE_OS.contains(&key))
            && match expression.str("operator") {
                Some("In") => !linux,
                Some("NotIn") => linux,
                _ => false,
            }
    };
    !alternatives.is_empty() && alternatives.iter().all(|term| term.list("matchExpressions").iter().any(excludes))
}
