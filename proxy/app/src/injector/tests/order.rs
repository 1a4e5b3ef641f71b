//! What others did to a pod between two looks at it.

use super::*;

fn injected() -> Value {
    let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    patched(&body, POD)
}

/// The proxy starts when it has started.
#[test]
fn a_sidecar_that_came_before_the_proxy_is_asked_by_the_kubelet_until_it_has_started() {
    let mut pod = injected();
    let first = r#"{"name":"first","image":"l","restartPolicy":"Always","ports":[{"containerPort":8090}],"startupProbe":{"httpGet":{"path":"/","port":8090}},"livenessProbe":{"httpGet":{"path":"/","port":8090}},"lifecycle":{"postStart":{"httpGet":{"path":"/started","port":8090}}}}"#;
    let came: Value = serde_json::from_str(first).unwrap();
    pod.at_mut(&["spec"]).unwrap().list_at("initContainers").unwrap().insert(0, came.clone());
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
    assert_eq!(answer.outcome, Ending::Injected, "{}", answer.words);
    let amended = patched(&body, &pod.to_json());
    let is = &amended.get("spec").unwrap().list("initContainers")[0];
    assert_eq!(is.str("name"), Some("first"));
    assert_eq!((is.get("startupProbe"), is.get("lifecycle")), (came.get("startupProbe"), came.get("lifecycle")));
    let asked = is.at(&["livenessProbe", "httpGet", "path"]).and_then(Value::as_str);
    assert_eq!(asked, Some("/app-probes/first/liveness"));
}

/// Its rules would be the node's.
#[test]
fn an_injected_pod_that_gets_the_nodes_network_is_denied() {
    let mut pod = injected();
    pod.at_mut(&["spec"]).and_then(Value::as_map_mut).unwrap().set("hostNetwork", true);
    let deployment = format!(r#"{{"spec":{{"template":{}}}}}"#, pod.to_json());
    for (asked, kind, object, place) in [
        (Asked::Mutate, "Pod", &pod.to_json(), "spec.hostNetwork"),
        (Asked::Validate, "Deployment", &deployment, "spec.template.spec.hostNetwork"),
    ] {
        let (answer, body) = ask(asked, &review(kind, "CREATE", object));
        assert_eq!(answer.outcome, Ending::Denied, "{place}");
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
        assert!(message.starts_with(&format!("Pillion: {place}: Pillion is in this pod already")), "{message}");
    }
}
