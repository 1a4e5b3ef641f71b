//! From an AdmissionReview to its answer. Pure.

use crate::inject::{
    diff::diff,
    pod::{self, NodeAgent, Outcome, Problem, Refusal, Surroundings},
    settings::Settings,
    value::{Map, Value, map},
    workload::{idle, template, written},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The version of reviews that is understood; API servers speak it since 1.16.
const VERSION: &str = "admission.k8s.io/v1";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Change a pod.
    Mutate,
    /// Judge annotations.
    Validate,
}

/// How a review ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The proxy was put in.
    Injected,
    /// Nothing to do, or nothing wrong.
    Allowed,
    /// The pod cannot have the proxy; it is as it was.
    Skipped,
    /// Its author must change something.
    Denied,
    /// It is no review.
    Malformed,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON, or words where it was no review.
    pub body: String,
    /// How it ended.
    pub outcome: Ending,
    /// For the log: which object, and why.
    pub words: String,
}

/// Answers a review.
#[must_use]
pub fn answer(asked: Asked, bytes: &[u8], settings: &Settings, node_agent: NodeAgent) -> Answer {
    match read(bytes) {
        Ok(request) => judge(asked, &request, settings, node_agent),
        Err(words) => {
            let body = format!("{words}\n");
            Answer { status: 400, body, outcome: Ending::Malformed, words }
        }
    }
}

/// The parts of a request that matter.
struct Request {
    uid: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    create: bool,
    subresource: bool,
    object: Value,
    /// What it was; null where it is made.
    old: Value,
}

fn read(bytes: &[u8]) -> Result<Request, String> {
    let mut review: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    if review.str("kind") != Some("AdmissionReview") {
        return Err("not an AdmissionReview".to_owned());
    }
    match review.str("apiVersion") {
        Some(VERSION) => {}
        Some(other) => return Err(format!("{other} is not spoken here: set admissionReviewVersions to [v1]")),
        None => return Err("an AdmissionReview without apiVersion".to_owned()),
    }
    let object = review.at_mut(&["request", "object"]).map(std::mem::take).unwrap_or_default();
    let old = review.at_mut(&["request", "oldObject"]).map(std::mem::take).unwrap_or_default();
    let request = review.get("request").ok_or("an AdmissionReview without request")?;
    let uid = request.str("uid").filter(|uid| !uid.is_empty()).ok_or("a request without uid")?;
    let core = |kind: &Value| matches!(kind.str("group"), None | Some("" | "apps" | "batch"));
    let kind = request.get("kind").filter(|kind| core(kind)).and_then(|kind| kind.str("kind")).unwrap_or("");
    let name =
        object.at(&["metadata", "name"]).or_else(|| object.at(&["metadata", "generateName"])).and_then(Value::as_str);
    Ok(Request {
        uid: uid.to_owned(),
        kind: kind.to_owned(),
        namespace: request.str("namespace").map(str::to_owned),
        name: name.unwrap_or("").to_owned(),
        create: request.str("operation") == Some("CREATE"),
        subresource: request.str("subResource").is_some_and(|name| !name.is_empty()),
        object,
        old,
    })
}

fn judge(asked: Asked, request: &Request, settings: &Settings, node_agent: NodeAgent) -> Answer {
    let Some(place) = template(&request.kind).filter(|_| !request.subresource) else {
        return reply(request, Ending::Allowed, "nothing with pods of its own".to_owned(), Vec::new());
    };
    let idle = idle(&request.object, place);
    let idle: Vec<String> = idle.iter().map(|idle| said(&[], std::slice::from_ref(idle))).collect();
    let nothing = |words: &str| reply(request, Ending::Allowed, words.to_owned(), warnings(&idle));
    if asked == Asked::Mutate && !(request.create && place.is_empty()) {
        return nothing("only pods that are made are changed");
    }
    let pod = request.object.at(place).filter(|pod| **pod != Value::Null);
    let Some(pod) = pod else { return nothing("no pod in it") };
    let leaving = request.object.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| *time != Value::Null);
    if leaving && !request.create {
        // Its finalizers are taken off by updates: who denied them would keep it for ever. Of what is made the field means
        // nothing: the API server ignores it.
        return nothing("it is being deleted");
    }
    let owners = pod.at(&["metadata", "ownerReferences"]).map_or(&[][..], Value::elements);
    let around = Surroundings {
        // The webhook's selector has judged the namespace.
        namespace_wish: None,
        namespace: request.namespace.clone(),
        job: matches!(request.kind.as_str(), "Job" | "CronJob")
            || owners.iter().any(|owner| owner.str("kind") == Some("Job")),
        node_agent,
    };
    match (asked, pod::inject(pod, &around, settings)) {
        (_, Err(problems)) => {
            let old = request.old.at(place).filter(|old| **old != Value::Null);
            let known = old.and_then(|old| Some((old, pod::inject(old, &around, settings).err()?)));
            let was = |(old, known): (&Value, Vec<Problem>)| {
                let known: Vec<_> = known.iter().map(|problem| by_name(old, problem)).collect();
                problems.iter().all(|new| known.contains(&by_name(pod, new)))
            };
            // Scaling it, say, or a controller's field, must not wait for whoever wrote what was wrong before.
            if asked == Asked::Validate && known.is_some_and(was) {
                let words = format!("as wrong as it was: {}", said(place, &problems));
                let all = [idle, vec![words.clone()]].concat();
                return reply(request, Ending::Allowed, words, warnings(&all));
            }
            denied(request, place, &problems, &idle)
        }
        (Asked::Validate, Ok(Outcome::Injected(_, notes))) => {
            reply(request, Ending::Allowed, "its annotations are good".to_owned(), warnings(&[idle, notes].concat()))
        }
        (Asked::Validate, Ok(Outcome::Refused(refusal))) if refusal.is_stale() => reply(
            request,
            Ending::Allowed,
            "its annotations are good".to_owned(),
            warnings(&[idle, vec![refusal.to_string()]].concat()),
        ),
        (Asked::Validate, Ok(Outcome::Refused(_))) => nothing("its annotations are good"),
        (Asked::Mutate, Ok(Outcome::Injected(with, notes))) => {
            let operations: Vec<Value> = diff(pod, &with).iter().map(|operation| operation.to_value()).collect();
            let patch = STANDARD.encode(Value::List(operations).to_json());
            let mut fields = vec![("patchType", "JSONPatch".into()), ("patch", patch.into())];
            fields.extend(warnings(&notes));
            reply(request, Ending::Injected, "injected".to_owned(), fields)
        }
        (Asked::Mutate, Ok(Outcome::Refused(refusal))) => {
            let words = refusal.to_string();
            // Who asked not to have it need not be told.
            let quiet = match refusal {
                Refusal::Already { .. } => !refusal.is_stale(),
                Refusal::Disabled | Refusal::NamespaceDisabled | Refusal::Mirror => true,
                Refusal::HostNetwork | Refusal::Windows | Refusal::OtherMesh(_) | Refusal::ForOtherMesh(_) => false,
            };
            let fields = if quiet { Vec::new() } else { warnings(&[format!("not injected: {words}")]) };
            reply(request, Ending::Skipped, words, fields)
        }
    }
}

/// A problem, told by the names of what it is of, which may have another place in their lists now.
fn by_name<'a>(pod: &Value, Problem { path, message }: &'a Problem) -> (Vec<String>, &'a str) {
    let mut at = Some(pod);
    let steps = path.iter().map(|step| {
        let list = at.filter(|of| matches!(of, Value::List(_)));
        let Some(list) = list else {
            at = at.and_then(|of| of.get(step));
            return step.clone();
        };
        at = step.parse().ok().and_then(|index: usize| list.elements().get(index));
        at.and_then(|of| of.str("name")).unwrap_or_default().to_owned()
    });
    (steps.collect(), message)
}

/// What the API server hands on to whoever asked it.
fn warnings(words: &[String]) -> Vec<(&'static str, Value)> {
    let all: Vec<Value> = words.iter().map(|words| format!("Pillion: {words}").into()).collect();
    if all.is_empty() { Vec::new() } else { vec![("warnings", Value::List(all))] }
}

fn said(place: &[&str], problems: &[Problem]) -> String {
    let words = problems.iter().map(|problem| {
        let path: Vec<String> =
            place.iter().map(|step| (*step).to_owned()).chain(problem.path.iter().cloned()).collect();
        format!("{}: {}", written(&path), problem.message)
    });
    words.collect::<Vec<_>>().join("; ")
}

fn denied(request: &Request, place: &[&str], problems: &[Problem], idle: &[String]) -> Answer {
    let words = said(place, problems);
    let message = format!("Pillion: {words}");
    let status = map([("code", 422_u16.into()), ("reason", "Invalid".into()), ("message", message.as_str().into())]);
    reply(request, Ending::Denied, words, [vec![("status", status)], warnings(idle)].concat())
}

fn reply(request: &Request, outcome: Ending, words: String, fields: Vec<(&str, Value)>) -> Answer {
    let mut response = Map::default();
    response.set("uid", request.uid.as_str());
    response.set("allowed", outcome != Ending::Denied);
    for (key, value) in fields {
        response.set(key, value);
    }
    let said = map([("outcome", outcome.name().into())]);
    response.set("auditAnnotations", said);
    let review =
        map([("apiVersion", VERSION.into()), ("kind", "AdmissionReview".into()), ("response", response.into())]);
    let namespace = request.namespace.as_deref().unwrap_or("");
    let words = format!("{}/{namespace}/{}: {words}", request.kind, request.name);
    Answer { status: 200, body: review.to_json(), outcome, words }
}

impl Ending {
    /// Its name in metrics and audit annotations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Allowed => "allowed",
            Self::Skipped => "skipped",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
        }
    }
}
