//! Reviews as API servers of several versions send them, and everything that is none.

mod order;

use super::review::{Answer, Asked, Ending, answer};
use crate::inject::{
    Taken,
    diff::{Action, Operation, apply},
    pod::NodeAgent,
    settings::{STATUS, Settings, key},
    uninject,
    value::Value,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fs, path::Path};

fn review(kind: &str, operation: &str, object: &str) -> String {
    let group = if kind == "Pod" { "" } else { "apps" };
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","kind":{{"group":"{group}","version":"v1","kind":"{kind}"}},"resource":{{"group":"{group}","version":"v1","resource":"x"}},"requestKind":{{"group":"{group}","version":"v1","kind":"{kind}"}},"name":"","namespace":"shop","operation":"{operation}","userInfo":{{"username":"system:serviceaccount:kube-system:replicaset-controller"}},"object":{object},"oldObject":null,"dryRun":true,"options":{{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}}}}"#
    )
}

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"web-7d9c-","creationTimestamp":null,"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"web:1","ports":[{"containerPort":8080,"protocol":"TCP"}],"livenessProbe":{"httpGet":{"path":"/","port":8080,"scheme":"HTTP"},"timeoutSeconds":1},"resources":{}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30}}"#;

fn ask(asked: Asked, text: &str) -> (Answer, Value) {
    let answer = answer(asked, text.as_bytes(), &Settings::default(), NodeAgent::Assumed);
    let body = serde_json::from_str::<Value>(&answer.body).unwrap_or_default();
    (answer, body)
}

/// The patch of an answer, carried out.
fn patched(body: &Value, object: &str) -> Value {
    let patch = STANDARD.decode(body.at(&["response", "patch"]).and_then(Value::as_str).unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let operations: Vec<Operation> = patch
        .elements()
        .iter()
        .map(|operation| Operation {
            path: operation.str("path").unwrap().to_owned(),
            action: match operation.str("op") {
                Some("add") => Action::Add(operation.as_map().unwrap().get("value").unwrap().clone()),
                Some("replace") => Action::Replace(operation.as_map().unwrap().get("value").unwrap().clone()),
                _ => Action::Remove,
            },
        })
        .collect();
    let mut value = serde_json::from_str(object).unwrap();
    apply(&mut value, &operations).unwrap();
    value
}

#[test]
fn a_pod_gets_a_patch() {
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", POD));
    assert_eq!((answer.status, answer.outcome), (200, Ending::Injected));
    assert_eq!(body.at(&["response", "uid"]).and_then(Value::as_str), Some("705ab4f5-6393-11e8-b7cc-42010a800002"));
    assert_eq!(body.at(&["response", "patchType"]).and_then(Value::as_str), Some("JSONPatch"));
    let pod = patched(&body, POD);
    assert_eq!(pod.get("spec").unwrap().list("initContainers")[1].str("name"), Some("pillion-proxy"));
    let probe = pod.get("spec").unwrap().list("containers")[0].at(&["livenessProbe", "httpGet", "path"]);
    assert_eq!(probe.and_then(Value::as_str), Some("/app-probes/web/liveness"));
    // The same pod again, as a reinvocation sends it.
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod.to_json()));
    assert_eq!((answer.outcome, body.at(&["response", "patch"])), (Ending::Skipped, None));
}

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

#[test]
fn what_cannot_be_injected_is_allowed_with_a_warning() {
    let host = POD.replace(r#""spec":{"#, r#""spec":{"hostNetwork":true,"#);
    let (answer, body) = ask(Asked::Mutate, &review("Pod", "CREATE", &host));
    assert_eq!(answer.outcome, Ending::Skipped);
    assert_eq!(body.at(&["response", "allowed"]), Some(&Value::Bool(true)));
    assert!(body.get("response").unwrap().list("warnings")[0].as_str().unwrap().contains("hostNetwork"));
}

#[test]
fn what_was_chosen_and_is_not_kept_is_told_to_who_applies_it() {
    let mut settings = Settings::default();
    settings.set(key("drain-delay").unwrap(), "40s").unwrap();
    let deployment = format!(r#"{{"spec":{{"template":{POD}}}}}"#);
    for (asked, kind, object) in [(Asked::Mutate, "Pod", POD), (Asked::Validate, "Deployment", &*deployment)] {
        let review = review(kind, "CREATE", object);
        let told = answer(asked, review.as_bytes(), &settings, NodeAgent::Assumed);
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body.at(&["response", "allowed"]), Some(&Value::Bool(true)));
        let [warning] = body.get("response").unwrap().list("warnings") else { panic!("{}", told.body) };
        assert!(warning.as_str().unwrap().starts_with("Pillion: drain-delay is 15s and not 40s"), "{}", told.body);
        assert_eq!(ask(asked, &review).1.at(&["response", "warnings"]), None);
    }
}

/// Its connections would go past its proxy, and nobody would know.
#[test]
fn a_pod_that_no_node_agent_would_capture_is_denied_with_the_remedy() {
    let wants = POD.replace(r#""labels""#, r#""annotations":{"pillion.io/capture":"node"},"labels""#);
    let deployment = format!(r#"{{"spec":{{"template":{wants}}}}}"#);
    for (asked, kind, object) in [(Asked::Mutate, "Pod", &wants), (Asked::Validate, "Deployment", &deployment)] {
        let review = review(kind, "CREATE", object);
        let told = answer(asked, review.as_bytes(), &Settings::default(), NodeAgent::Absent);
        assert_eq!(told.outcome, Ending::Denied);
        for words in
            ["annotations[\\\"pillion.io/capture\\\"]: the nodes", "nodeAgent.captureOutbound", "choose init or none"]
        {
            assert!(told.body.contains(words), "{words}: {}", told.body);
        }
        assert_ne!(ask(asked, &review).0.outcome, Ending::Denied, "an agent that nobody denies is believed in");
        let quiet = review.replace("capture\":\"node", "capture\":\"init");
        let told = answer(asked, quiet.as_bytes(), &Settings::default(), NodeAgent::Absent);
        assert_ne!(told.outcome, Ending::Denied);
    }
}

#[test]
fn mistakes_are_denied_at_their_path() {
    let wrong = POD.replace(r#""labels""#, r#""annotations":{"pillion.io/mode":"x"},"labels""#);
    for (kind, object, path) in [
        ("Pod", wrong.clone(), "metadata.annotations"),
        ("Deployment", format!(r#"{{"spec":{{"template":{wrong}}}}}"#), "spec.template.metadata.annotations"),
    ] {
        let (answer, body) = ask(Asked::Validate, &review(kind, "UPDATE", &object));
        assert_eq!(answer.outcome, Ending::Denied);
        assert_eq!(body.at(&["response", "allowed"]), Some(&Value::Bool(false)));
        let message = body.at(&["response", "status", "message"]).and_then(Value::as_str).unwrap();
        assert_eq!(message, format!("Pillion: {path}[\"pillion.io/mode\"]: \"x\" is not one of native, container"));
    }
    assert_eq!(ask(Asked::Validate, &review("Pod", "CREATE", POD)).0.outcome, Ending::Allowed);
}

/// As the command tells: nobody looks there.
#[test]
fn annotations_of_an_object_that_is_no_pod_are_warned_of() {
    let object = |pod: &str| {
        let own = r#"{"name":"d","annotations":{"pillion.io/mode":"container","other/x":"y"}}"#;
        format!(r#"{{"metadata":{own},"spec":{{"template":{pod}}}}}"#)
    };
    let wrong = POD.replace(r#""labels""#, r#""annotations":{"pillion.io/mode":"x"},"labels""#);
    for (asked, pod, ending) in [
        (Asked::Validate, POD, Ending::Allowed),
        (Asked::Validate, &wrong, Ending::Denied),
        (Asked::Mutate, POD, Ending::Allowed),
    ] {
        let (answer, body) = ask(asked, &review("Deployment", "CREATE", &object(pod)));
        assert_eq!(answer.outcome, ending, "{}", answer.body);
        let [warning] = body.get("response").unwrap().list("warnings") else { panic!("{}", answer.body) };
        let words = "Pillion: metadata.annotations[\"pillion.io/mode\"]: pillion.io/mode does nothing here: write it under \
                     spec.template.metadata.annotations";
        assert_eq!(warning.as_str(), Some(words));
    }
    // And labels by the names of annotations.
    let labelled = object(POD).replacen(r#""annotations""#, r#""labels""#, 1);
    let (_, body) = ask(Asked::Validate, &review("Deployment", "CREATE", &labelled));
    let words = "Pillion: metadata.labels[\"pillion.io/mode\"]: pillion.io/mode does nothing here: write it under \
                 spec.template.metadata.annotations";
    assert_eq!(body.get("response").unwrap().list("warnings")[0].as_str(), Some(words));
    let quiet = object(POD).replace("pillion.io/mode", "pillion.example/mode");
    assert_eq!(ask(Asked::Validate, &review("Deployment", "CREATE", &quiet)).1.at(&["response", "warnings"]), None);
}

#[test]
fn only_pods_that_are_made_are_changed() {
    let sub =
        review("Pod", "CREATE", POD).replace(r#""name":"","#, r#""name":"","subResource":"ephemeralcontainers","#);
    let deployment = review("Deployment", "CREATE", &format!(r#"{{"spec":{{"template":{POD}}}}}"#));
    for text in [
        review("Pod", "UPDATE", POD),
        review("Service", "CREATE", "{}"),
        review("Pod", "DELETE", "null"),
        sub,
        deployment,
    ] {
        let (answer, body) = ask(Asked::Mutate, &text);
        assert_eq!((answer.outcome, body.at(&["response", "patch"])), (Ending::Allowed, None), "{text}");
    }
}

/// `reviews/README.md` says where they come from. With each how it ends, as it is changed and as it is judged.
#[test]
fn reviews_of_each_version_are_answered_and_leave_all_else_as_it_was() {
    let expected = [
        ("1.29-delete", Ending::Allowed, Ending::Allowed),
        ("1.29-exec", Ending::Allowed, Ending::Allowed),
        ("1.29-replicaset-pod", Ending::Injected, Ending::Allowed),
        ("1.29-scale", Ending::Allowed, Ending::Allowed),
        ("1.30-kubectl-apply", Ending::Injected, Ending::Allowed),
        ("1.31-job-pod", Ending::Injected, Ending::Allowed),
        ("1.32-pod-to-be-validated", Ending::Injected, Ending::Allowed),
        ("1.32-statefulset-pod", Ending::Injected, Ending::Allowed),
        ("1.33-daemonset-pod", Ending::Injected, Ending::Allowed),
        ("1.33-resize", Ending::Allowed, Ending::Allowed),
        ("1.34-deployment-update", Ending::Allowed, Ending::Denied),
        ("1.34-replicaset-pod", Ending::Injected, Ending::Allowed),
        ("1.34-server-dry-run", Ending::Injected, Ending::Allowed),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/injector/reviews");
    let there = fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".json")
    });
    assert_eq!(there.count(), expected.len());
    for (name, mutate, validate) in expected {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let review: Value = serde_json::from_str(&text).unwrap();
        let uid = review.at(&["request", "uid"]).and_then(Value::as_str).unwrap();
        let (answer, body) = ask(Asked::Mutate, &text);
        assert_eq!((answer.status, answer.outcome), (200, mutate), "{name}: {}", answer.body);
        assert_eq!(body.at(&["response", "uid"]).and_then(Value::as_str), Some(uid));
        if mutate == Ending::Injected {
            let object = review.at(&["request", "object"]).unwrap();
            let with = patched(&body, &object.to_json());
            assert!(with.to_json().contains("pillion-proxy"), "{name}");
            assert_eq!(uninject(&with), Ok(Taken::Out(Box::new(object.clone()))), "{name}");
        } else {
            assert_eq!(body.at(&["response", "patch"]), None, "{name}");
        }
        let (answer, body) = ask(Asked::Validate, &text);
        assert_eq!((answer.status, answer.outcome), (200, validate), "{name}: {}", answer.body);
        assert_eq!(body.at(&["response", "uid"]).and_then(Value::as_str), Some(uid));
        // Cut off anywhere, it is none.
        for end in (0..text.trim_end().len()).step_by(7) {
            assert_eq!(ask(Asked::Mutate, &text[..end]).0.outcome, Ending::Malformed, "{name} {end}");
        }
    }
}

/// A finalizer must come off, and a replica count change, whatever is written in the object since before we judged it.
#[test]
fn an_update_is_denied_for_what_it_makes_wrong_alone() {
    let deployment = |metadata: &str, replicas: u8, mode: &str| {
        let pod = POD.replacen(
            r#""metadata":{"#,
            &format!(r#""metadata":{{"annotations":{{"pillion.io/mode":"{mode}"}},"#),
            1,
        );
        format!(r#"{{"metadata":{{"name":"d"{metadata}}},"spec":{{"replicas":{replicas},"template":{pod}}}}}"#)
    };
    let (deleted, kept) = (r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, r#","deletionTimestamp":null"#);
    for (object, old, allowed, warned) in [
        (deployment("", 1, "foo"), "null".to_owned(), false, false),
        (deployment(deleted, 1, "foo"), deployment(deleted, 1, "foo"), true, false),
        (deployment(deleted, 1, "foo"), "null".to_owned(), true, false),
        (deployment(kept, 0, "foo"), deployment(kept, 1, "foo"), true, true),
        (deployment("", 0, "bar"), deployment("", 1, "foo"), false, false),
        (deployment("", 0, "foo"), deployment("", 1, "WRONG"), false, false),
    ] {
        let text = review("Deployment", "UPDATE", &object);
        let text = text.replacen(r#""oldObject":null"#, &format!(r#""oldObject":{old}"#), 1);
        let (answer, body) = ask(Asked::Validate, &text);
        assert_eq!(answer.outcome == Ending::Allowed, allowed, "{}", answer.body);
        assert_eq!(body.at(&["response", "allowed"]).and_then(Value::as_bool), Some(allowed));
        assert_eq!(body.at(&["response", "warnings"]).is_some(), warned, "{}", answer.body);
    }
}

/// Something put before what was wrong makes nothing wrong.
#[test]
fn a_container_that_moves_is_the_one_it_was() {
    let deployment = |containers: &str| {
        let pod = format!(r#"{{"metadata":{{}},"spec":{{"containers":[{containers}]}}}}"#);
        format!(r#"{{"metadata":{{"name":"d"}},"spec":{{"template":{pod}}}}}"#)
    };
    let wrong = r#"{"name":"web","ports":[{"containerPort":15006}],"securityContext":{"runAsUser":2510}}"#;
    let moved =
        r#"{"name":"web","ports":[{"containerPort":80},{"containerPort":15006}],"securityContext":{"runAsUser":2510}}"#;
    let (good, other) = (r#"{"name":"log"}"#, r#"{"name":"log","securityContext":{"runAsUser":2510}}"#);
    for (now, allowed) in [
        (format!("{good},{moved}"), true),
        // As wrong as that one, and new.
        (format!("{good},{}", wrong.replace("web", "www")), false),
        (format!("{other},{wrong}"), false),
        (format!("{good},{}", wrong.replace("15006", "15001")), false),
    ] {
        let text = review("Deployment", "UPDATE", &deployment(&now));
        let text = text.replacen(r#""oldObject":null"#, &format!(r#""oldObject":{}"#, deployment(wrong)), 1);
        assert_eq!(ask(Asked::Validate, &text).0.outcome == Ending::Allowed, allowed, "{now}");
    }
}

/// The API server drops the field from an object that is made, after its webhooks were asked: whoever writes it there gets no pod
/// without a sidecar.
#[test]
fn a_new_pod_that_says_it_is_being_deleted_is_injected() {
    let pod = POD.replacen(r#""metadata":{"#, r#""metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z","#, 1);
    let (answer, _) = ask(Asked::Mutate, &review("Pod", "CREATE", &pod));
    assert_eq!(answer.outcome, Ending::Injected, "{}", answer.body);
    let wrong = pod.replacen(r#""metadata":{"#, r#""metadata":{"annotations":{"pillion.io/mode":"foo"},"#, 1);
    let (answer, _) = ask(Asked::Validate, &review("Pod", "CREATE", &wrong));
    assert_eq!(answer.outcome, Ending::Denied, "{}", answer.body);
}

#[test]
fn what_is_no_review_is_refused_in_words() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, words) in [
        ("", "not JSON"),
        ("{}", "not an AdmissionReview"),
        (deep.as_str(), "not JSON"),
        (r#"{"kind":"AdmissionReview"}"#, "without apiVersion"),
        (
            r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{}}"#,
            "admissionReviewVersions",
        ),
        (r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#, "without request"),
        (r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":""}}"#, "without uid"),
        (r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":[]}"#, "without uid"),
    ] {
        let (answer, _) = ask(Asked::Mutate, text);
        assert_eq!((answer.status, answer.outcome), (400, Ending::Malformed));
        assert!(answer.body.contains(words), "{}", answer.body);
    }
    // Whatever is cut off or of another type: an answer, and never a panic.
    let whole = review("Pod", "CREATE", POD);
    for end in 0..whole.len() {
        assert_eq!(ask(Asked::Mutate, &whole[..end]).0.outcome, Ending::Malformed);
    }
    for (from, to) in [
        (r#"[{"name":"web""#, r#"[7,{"name":"web""#),
        (r#""containers":["#, r#""containers":{},"x":["#),
        (r#""metadata":{"#, r#""metadata":7,"m":{"#),
    ] {
        let (answer, _) = ask(Asked::Mutate, &review("Pod", "CREATE", &POD.replacen(from, to, 1)));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}
