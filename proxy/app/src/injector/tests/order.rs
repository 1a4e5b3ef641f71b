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
    let disabled = pod.to_json().replace(r#""app":"web""#, r#""app":"web","pillion.io/inject":"disabled""#);
    let deployment = format!(r#"{{"spec":{{"template":{}}}}}"#, pod.to_json());
    for (asked, kind, object, place) in [
        (Asked::Mutate, "Pod", &pod.to_json(), "spec.hostNetwork"),
        (Asked::Validate, "Deployment", &deployment, "spec.template.spec.hostNetwork"),
        // It wishes no more to have what it has.
        (Asked::Validate, "Pod", &disabled, "spec.hostNetwork"),
    ] {
        let (answer, body) = ask(asked, &review(kind, "CREATE", object));
        assert_eq!(answer.outcome, Ending::Denied, "{place}");
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
        assert!(message.starts_with(&format!("Pillion: {place}: Pillion is in this pod already")), "{message}");
    }
}

/// Its agent would know the proxy no more.
#[test]
fn an_injected_pod_that_gets_users_of_its_own_is_denied_where_a_node_agent_captures() {
    for (capture, denied) in [("node", true), ("init", false)] {
        let came =
            POD.replace(r#""labels""#, &format!(r#""annotations":{{"pillion.io/capture":"{capture}"}},"labels""#));
        let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &came));
        let mut pod = patched(&body, &came);
        pod.at_mut(&["spec"]).and_then(Value::as_map_mut).unwrap().set("hostUsers", false);
        let deployment = format!(r#"{{"spec":{{"template":{}}}}}"#, pod.to_json());
        for (asked, kind, object, place) in [
            (Asked::Mutate, "Pod", &pod.to_json(), "spec.hostUsers"),
            (Asked::Validate, "Pod", &pod.to_json(), "spec.hostUsers"),
            (Asked::Validate, "Deployment", &deployment, "spec.template.spec.hostUsers"),
        ] {
            let (answer, body) = ask(asked, &review(kind, "CREATE", object));
            assert_eq!(answer.outcome == Ending::Denied, denied, "{capture} {place}: {}", answer.body);
            let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap_or_default();
            let words = format!("Pillion: {place}: Pillion is in this pod already, with capture node");
            assert_eq!(message.starts_with(&words), denied, "{message}");
        }
    }
}

/// Behind the rules nobody is there for it yet; and once the proxy is, strict TLS lets no kubelet start it again.
#[test]
fn a_sidecar_before_the_proxy_that_nobody_could_ask_is_denied() {
    let strict = r#""pillion.io/identity":"secret:web","pillion.io/inbound-tls":"strict""#;
    let classic = format!(r#"{strict},"pillion.io/mode":"container""#);
    let probe = r#"{"tcpSocket":{"port":8090}}"#;
    let start = format!(r#""startupProbe":{probe}"#);
    let (ready, hook) = (start.replace("startup", "readiness"), format!(r#""lifecycle":{{"postStart":{probe}}}"#));
    for (annotations, at, field, told) in [
        ("", 1, &start, Some("startupProbe: this sidecar starts behind the rules")),
        ("", 1, &hook, Some("lifecycle.postStart: this sidecar starts behind the rules")),
        ("", 1, &ready, None),
        (strict, 0, &start, Some("startupProbe: this sidecar starts before the proxy, which refuses")),
        (strict, 0, &ready, None),
        (strict, 2, &start, None),
        (&classic, 0, &start, Some("startupProbe: with mode container this sidecar")),
        (&classic, 0, &ready, Some("readinessProbe: with mode container this sidecar")),
    ] {
        let own = POD.replace(r#""labels""#, &format!(r#""annotations":{{{annotations}}},"labels""#));
        let mut pod = patched(&ask(Asked::Mutate, &review("Pod", "CREATE", &own)).1, &own);
        let late = format!(r#"{{"name":"late","image":"l","restartPolicy":"Always",{field}}}"#);
        let late: Value = serde_json::from_str(&late).unwrap();
        pod.at_mut(&["spec"]).unwrap().list_at("initContainers").unwrap().insert(at, late);
        // By the pod itself, whoever looks at it.
        pod.at_mut(&["metadata", "annotations"])
            .and_then(Value::as_map_mut)
            .unwrap()
            .0
            .retain(|(key, _)| key == STATUS);
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str);
        let Some(told) = told else {
            assert_eq!(message, None, "{field} at {at}");
            continue;
        };
        assert_eq!(answer.outcome, Ending::Denied, "{told}: {}", answer.words);
        assert!(message.unwrap().starts_with(&format!("Pillion: spec.initContainers[{at}].{told}")), "{message:?}");
    }
}
