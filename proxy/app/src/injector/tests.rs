//! Reviews as API servers of several versions send them, and everything that is none.

mod behind;
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
