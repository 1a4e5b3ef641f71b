//! Whether a pod is another mesh's, whose sidecar and ours would capture each other's connections. Pure.

use super::value::Value;

/// Containers of other meshes, by their usual names.
const CONTAINERS: [&str; 4] = ["istio-proxy", "linkerd-proxy", CONSUL, "kuma-sidecar"];
/// With a service's name behind it where a pod has several.
const CONSUL: &str = "consul-dataplane";

/// What a pod says at some key to be, or not to be, of a mesh.
#[derive(Debug, Clone, Copy)]
enum Words {
    /// One of these.
    Of(&'static [&'static str]),
    /// What Go reads as true (`strconv.ParseBool`).
    Truth,
    /// Whatever it is, unless this other key says false.
    AnyUnless(&'static str),
}

/// Annotations and labels by which a pod is another mesh's, be it by a sidecar or, of Istio's ambient mode, by the node.
const WISHES: [(&str, Words); 7] = [
    ("sidecar.istio.io/inject", Words::Of(&["true"])),
    ("istio.io/rev", Words::AnyUnless("sidecar.istio.io/inject")),
    ("istio.io/dataplane-mode", Words::Of(&["ambient"])),
    ("ambient.istio.io/redirection", Words::Of(&["enabled"])),
    ("linkerd.io/inject", Words::Of(&["enabled", "ingress"])),
    ("consul.hashicorp.com/connect-inject", Words::Truth),
    ("kuma.io/sidecar-injection", Words::Of(&["enabled", "true"])),
];

/// The container of another mesh that a pod has.
pub(super) fn container(spec: &Value) -> Option<&str> {
    let all = spec.list("initContainers").iter().chain(spec.list("containers"));
    all.filter_map(|container| container.str("name")).find(|name| {
        let several = name.strip_prefix(CONSUL).is_some_and(|rest| rest.starts_with('-'));
        CONTAINERS.contains(name) || several
    })
}

/// The annotation or label by which it is for another one.
pub(super) fn wish(pod: &Value) -> Option<String> {
    let said = |key| {
        let of = move |kind| pod.at(&["metadata", kind, key]).and_then(Value::as_str);
        ["annotations", "labels"].into_iter().filter_map(of)
    };
    WISHES.iter().find_map(|(key, words)| {
        let yes = |word: &&str| match words {
            Words::Of(words) => words.contains(word),
            Words::Truth => ["1", "t", "T", "TRUE", "true", "True"].contains(word),
            Words::AnyUnless(other) => !word.is_empty() && said(other).all(|word| word != "false"),
        };
        Some(format!("{key}: {}", said(key).find(yes)?))
    })
}
