//! What comes behind an injection: containers of other webhooks, and words that come too late.

use super::*;

/// Another webhook comes behind ours, and the API server asks ours again (`reinvocationPolicy: IfNeeded`).
#[test]
fn a_container_that_came_behind_the_injection_has_its_probes_moved() {
    let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    let mut pod = patched(&body, POD);
    let late: Value = serde_json::from_str(
        r#"{"name":"vault","image":"v","readinessProbe":{"httpGet":{"path":"/$(x)","port":9042}},"livenessProbe":{"exec":{"command":["x"]}}}"#,
    )
    .unwrap();
    let spec = pod.at_mut(&["spec"]).unwrap();
    spec.list_at("containers").unwrap().push(late.clone());
    let ours = &mut spec.list_at("initContainers").unwrap()[1];
    let memory = ours.at_mut(&["resources", "limits"]).and_then(Value::as_map_mut).unwrap();
    memory.set("memory", "256Mi");
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
    assert_eq!(answer.outcome, Ending::Injected);
    let amended = patched(&body, &pod.to_json());
    // Nothing but that probe and what the proxy is told of it.
    let mut expected = pod.clone();
    let spec = expected.at_mut(&["spec"]).unwrap();
    let probe = spec.list_at("containers").unwrap()[1].at_mut(&["readinessProbe"]).and_then(Value::as_map_mut).unwrap();
    probe.set(
        "httpGet",
        serde_json::from_str::<Value>(r#"{"path":"/app-probes/vault/readiness","port":15020}"#).unwrap(),
    );
    let told = spec.list_at("initContainers").unwrap()[1].list_at("env").unwrap().last_mut().unwrap();
    let before = told.str("value").unwrap().to_owned();
    let handed = r#""/app-probes/vault/readiness":{"port":9042,"address":"pod","timeoutSeconds":1,"httpGet":{"path":"/$$(x)","port":9042}}"#;
    told.as_map_mut().unwrap().set("value", format!("{},{handed}}}", before.strip_suffix('}').unwrap()));
    assert_eq!(amended.to_json(), expected.to_json());
    // And once more: nothing is left to do, and taking it out gives the late one its probe back.
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &amended.to_json()));
    assert_eq!((answer.outcome, body.at(&["response", "patch"])), (Ending::Skipped, None));
    let Ok(Taken::Out(without)) = uninject(&amended) else { panic!("{}", amended.to_json()) };
    assert_eq!(without.get("spec").unwrap().list("containers")[1], pod.get("spec").unwrap().list("containers")[1]);
    // Where its ports are not captured, or nothing was moved, nothing is.
    for annotation in [r#""pillion.io/skip-inbound-ports":"9042""#, r#""pillion.io/rewrite-probes":"false""#] {
        let own = POD.replace(r#""labels""#, &format!(r#""annotations":{{{annotation}}},"labels""#));
        let mut pod = patched(&ask(Asked::Mutate, &review("Pod", "CREATE", &own)).1, &own);
        pod.at_mut(&["spec"]).unwrap().list_at("containers").unwrap().push(late.clone());
        // By the pod itself, whoever looks at it.
        pod.at_mut(&["metadata", "annotations"])
            .and_then(Value::as_map_mut)
            .unwrap()
            .0
            .retain(|(key, _)| key == STATUS);
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        assert_eq!((answer.outcome, body.at(&["response", "patch"])), (Ending::Skipped, None), "{annotation}");
    }
}

/// What came is judged as what was there: it would be beside the proxy all the same.
#[test]
fn a_container_that_came_behind_the_injection_and_cannot_be_beside_the_proxy_is_denied() {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let injected = |annotation: &str| {
        let own = POD.replace(r#""labels""#, &format!(r#""annotations":{{{annotation}}},"labels""#));
        patched(&ask(Asked::Mutate, &review("Pod", "CREATE", &own)).1, &own)
    };
    let with = |mut pod: Value, list: &str, late: &str| {
        pod.at_mut(&["spec"]).unwrap().list_at(list).unwrap().push(read(late));
        pod
    };
    let explicit = r#""pillion.io/capture":"none","pillion.io/inbound-ports":"15080:8080""#;
    let classic = r#""pillion.io/mode":"container""#;
    let mut job = injected(classic);
    job.at_mut(&["spec"]).and_then(Value::as_map_mut).unwrap().set("restartPolicy", "Never");
    for (pod, told) in [
        (
            with(injected(""), "containers", r#"{"name":"late","securityContext":{"runAsUser":2510}}"#),
            "spec.containers[1].securityContext.runAsUser: 2510 is the proxy's user",
        ),
        (
            with(injected(""), "containers", r#"{"name":"late","ports":[{"containerPort":15006}]}"#),
            "spec.containers[1].ports[0].containerPort: 15006 is the proxy's own port",
        ),
        (
            with(injected(explicit), "containers", r#"{"name":"late","ports":[{"containerPort":15080}]}"#),
            "spec.containers[1].ports[0].containerPort: 15080 is the proxy's own port",
        ),
        (
            with(job, "initContainers", r#"{"name":"late","restartPolicy":"Always"}"#),
            "spec.initContainers[1].restartPolicy: this sidecar ends behind all containers",
        ),
    ] {
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        assert_eq!(answer.outcome, Ending::Denied, "{told}");
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
        assert!(message.starts_with(&format!("Pillion: {told}")), "{message}");
    }
    // A port that is before the application's in pods of others now, and in this one is not.
    let pod = with(injected(""), "containers", r#"{"name":"late","ports":[{"containerPort":15080}]}"#);
    let mut settings = Settings::default();
    settings.set(key("capture").unwrap(), "node").unwrap();
    settings.set(key("inbound-ports").unwrap(), "15080:8080").unwrap();
    let review = review("Pod", "CREATE", &pod.to_json());
    let told = answer(Asked::Mutate, review.as_bytes(), &settings, NodeAgent::Assumed);
    assert_eq!(told.outcome, Ending::Skipped, "{}", told.words);
}

/// The kubelet would go on to ask a proxy that does not know what, and the pod would never be ready.
#[test]
fn a_pod_whose_moved_probes_were_lost_is_denied() {
    let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    let whole = patched(&body, POD);
    let late: Value =
        serde_json::from_str(r#"{"name":"late","image":"l","readinessProbe":{"tcpSocket":{"port":9042}}}"#).unwrap();
    let changed = |late: Option<&Value>, change: &dyn Fn(&mut Vec<Value>)| {
        let mut pod = whole.clone();
        let spec = pod.at_mut(&["spec"]).unwrap();
        spec.list_at("containers").unwrap().extend(late.cloned());
        change(spec.list_at("initContainers").unwrap()[1].list_at("env").unwrap());
        pod
    };
    let drop_it = |env: &mut Vec<Value>| env.retain(|one| one.str("name") != Some("PILLION_APP_PROBES"));
    let elsewhere = |env: &mut Vec<Value>| {
        let variable = env.iter_mut().find(|one| one.str("name") == Some("PILLION_APP_PROBES"));
        let variable = variable.and_then(Value::as_map_mut).unwrap();
        variable.remove("value");
        variable.set("valueFrom", "elsewhere");
    };
    for (pod, told) in [
        (changed(None, &drop_it), "spec.containers[0].livenessProbe: the container web is asked by way of the proxy"),
        // What came must not be all that is left.
        (changed(Some(&late), &drop_it), "spec.containers[0].livenessProbe: the container web is asked by way of"),
        (changed(Some(&late), &elsewhere), "spec.containers[1].readinessProbe: late is to be asked by way of"),
    ] {
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        assert_eq!(answer.outcome, Ending::Denied, "{told}");
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
        assert!(message.starts_with(&format!("Pillion: {told}")), "{message}");
        assert!(message.contains("PILLION_APP_PROBES") && !message.contains("; "), "{message}");
    }
    let (answer, _) = ask(Asked::Mutate, &review("Pod", "CREATE", &changed(None, &elsewhere).to_json()));
    assert_eq!(answer.outcome, Ending::Skipped, "whoever put them elsewhere is believed");
}

/// It has clients for as long as its hook takes.
#[test]
fn a_container_that_came_behind_the_injection_is_waited_for_as_the_others_are() {
    let late = r#"{"name":"late","image":"l","lifecycle":{"preStop":{"sleep":{"seconds":12}}}}"#;
    let filters = r#""pillion.io/filters":"[{name: polite, headers: [{response: {set: {x-polite: '$(y)'}}}]}]""#;
    for (annotation, delay, deadline, outcome) in [
        (r#""pillion.io/log-level":"info""#, "12s", "13s", Ending::Injected),
        (filters, "12s", "13s", Ending::Injected),
        (r#""pillion.io/drain-deadline":"20s""#, "10s", "20s", Ending::Injected),
        (r#""pillion.io/drain-delay":"6s""#, "6s", "19s", Ending::Skipped),
    ] {
        let own = POD.replace(r#""labels""#, &format!(r#""annotations":{{{annotation}}},"labels""#));
        let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &own));
        let mut pod = patched(&body, &own);
        let spec = pod.at_mut(&["spec"]).unwrap();
        spec.list_at("containers").unwrap().push(serde_json::from_str(late).unwrap());
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        assert_eq!(answer.outcome, outcome, "{annotation}: {}", answer.words);
        let amended = if outcome == Ending::Injected { patched(&body, &pod.to_json()) } else { pod.clone() };
        let configuration = |pod: &Value| {
            let env = pod.get("spec").unwrap().list("initContainers")[1].list("env");
            env.iter().find(|one| one.str("name") == Some("PILLION_CONFIG")).unwrap().str("value").unwrap().to_owned()
        };
        let (was, is) = (configuration(&pod), configuration(&amended));
        assert!(is.contains(&format!("drain:\n  delay: {delay}\n  deadline: {deadline}\n")), "{annotation}: {is}");
        // Nothing but these.
        let others = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with("  delay: ") && !line.starts_with("  deadline: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(others(&was), others(&is));
        let (answer, _) = ask(Asked::Mutate, &review("Pod", "CREATE", &amended.to_json()));
        assert_eq!(answer.outcome, Ending::Skipped, "{annotation}: nothing is left to do");
    }
}

/// Written behind the injection, it takes nothing out: who wrote it is told, and what else came is judged as ever.
#[test]
fn a_wish_not_to_have_it_that_comes_too_late_is_told() {
    let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    let whole = patched(&body, POD);
    let late = r#"{"name":"late","image":"l","readinessProbe":{"httpGet":{"path":"/","port":7000}}}"#;
    for kind in ["annotations", "labels"] {
        let mut pod = whole.clone();
        pod.at_mut(&["metadata", kind]).and_then(Value::as_map_mut).unwrap().set("pillion.io/inject", "disabled");
        for (asked, outcome) in [(Asked::Mutate, Ending::Skipped), (Asked::Validate, Ending::Allowed)] {
            let (answer, body) = ask(asked, &review("Pod", "CREATE", &pod.to_json()));
            assert_eq!(answer.outcome, outcome, "{kind}");
            let [warning] = body.get("response").unwrap().list("warnings") else { panic!("{kind}: {body:?}") };
            let warning = warning.as_str().unwrap();
            assert!(
                warning.contains("pillion.io/inject is not what it was") && warning.contains("--uninject"),
                "{warning}"
            );
        }
        pod.at_mut(&["spec"]).unwrap().list_at("containers").unwrap().push(serde_json::from_str(late).unwrap());
        let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
        assert_eq!(answer.outcome, Ending::Injected, "{kind}");
        let probe = patched(&body, &pod.to_json());
        let probe =
            probe.get("spec").unwrap().list("containers")[1].at(&["readinessProbe", "httpGet", "port"]).cloned();
        assert_ne!(probe, Some(Value::Int(7000)), "{kind}: asked by way of the proxy");
    }
}

#[test]
fn a_status_that_no_injection_wrote_is_denied_with_what_helps() {
    let (_, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    for status in ["{}", "garbage"] {
        let mut pod = patched(&body, POD);
        pod.at_mut(&["metadata", "annotations"]).and_then(Value::as_map_mut).unwrap().set(STATUS, status);
        for asked in [Asked::Mutate, Asked::Validate] {
            let (answer, body) = ask(asked, &review("Pod", "CREATE", &pod.to_json()));
            assert_eq!(answer.outcome, Ending::Denied, "{status}");
            let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
            assert!(message.contains(STATUS) && message.contains("take it out by hand"), "{message}");
        }
    }
}
