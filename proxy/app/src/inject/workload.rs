//! Objects of the API: where their pods are, and what is said about each. Pure.

use super::{
    pod::{self, NodeAgent, Outcome, PULL_SECRETS, Problem, Refusal, Surroundings},
    settings::{INJECT, PREFIX, STATUS, Settings},
    uninject::{Taken, uninject},
    value::Value,
};
use std::{collections::HashMap, fmt};

/// What is done to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Put the proxy in.
    Inject,
    /// Take it out.
    Uninject,
}

/// What became of a workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The proxy is in.
    Injected,
    /// The proxy is out.
    Uninjected,
    /// As it was.
    Refused(Refusal),
    /// It never had the proxy.
    NotInjected,
    /// Something its author should look at.
    Note(String),
    /// Something its author must change.
    Wrong(String),
}

/// What is said about a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `Deployment/shop/web`.
    pub object: String,
    /// Where it is said of, from the document's root on.
    pub path: Vec<String>,
    /// What is said.
    pub verdict: Verdict,
}

/// `pillion.io/inject` of the namespaces that the manifests themselves have.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    wishes: HashMap<String, String>,
    /// The namespace of objects that do not name one; `None`: whoever applies them knows.
    current: Option<String>,
}

impl Namespaces {
    /// None known, of objects that will be in `current` unless they name another one.
    #[must_use]
    pub fn within(current: Option<String>) -> Self {
        Self { wishes: HashMap::new(), current }
    }

    /// Notes the namespaces in a document.
    pub fn learn(&mut self, object: &Value) {
        self.learn_as(object, None);
    }

    fn learn_as(&mut self, object: &Value, of_list: Option<&str>) {
        if let Some(items) = items(object) {
            let of_list = object.str("kind").and_then(member);
            items.iter().for_each(|item| self.learn_as(item, of_list));
        }
        if object.str("kind").or(of_list) != Some("Namespace") || !kubernetes_own(object, "Namespace") {
            return;
        }
        let wish = ["annotations", "labels"].iter().find_map(|kind| object.at(&["metadata", kind, INJECT])?.as_str());
        if let (Some(wish), Some(name)) = (wish, object.at(&["metadata", "name"]).and_then(Value::as_str)) {
            self.wishes.insert(name.to_owned(), wish.to_owned());
        }
    }
}

/// Does to a document what is wanted, in place, and says what it did.
pub fn process(object: &mut Value, wanted: Wanted, settings: &Settings, namespaces: &Namespaces) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut walker = Walker { wanted, settings, namespaces, reports: &mut reports };
    walker.walk(object, None, &mut Vec::new());
    reports
}

fn items(object: &Value) -> Option<&[Value]> {
    let list = object.str("kind").is_some_and(|kind| kind.ends_with("List"));
    let items = object.get("items").filter(|items| list && matches!(items, Value::List(_)))?;
    Some(items.elements())
}

/// What the items of a list of that kind are where they do not say it: those of a PodList are Pods.
fn member(list: &str) -> Option<&str> {
    list.strip_suffix("List").filter(|kind| !kind.is_empty())
}

struct Walker<'a> {
    wanted: Wanted,
    settings: &'a Settings,
    namespaces: &'a Namespaces,
    reports: &'a mut Vec<Report>,
}

impl Walker<'_> {
    /// A namespace's wish that is none is its author's mistake, as a pod's is.
    fn look_at_namespace(&mut self, object: &Value, kind: &str, path: &[String]) {
        if kind != "Namespace" || self.wanted == Wanted::Uninject {
            return;
        }
        if let Err(problems) = pod::wish(object) {
            for Problem { path: deeper, message } in problems {
                let path = path.iter().cloned().chain(deeper).collect();
                self.reports.push(Report { object: describe(object, kind), path, verdict: Verdict::Wrong(message) });
            }
        }
    }

    /// `of_list` is what the list it stands in says of it.
    fn walk(&mut self, object: &mut Value, of_list: Option<&str>, path: &mut Vec<String>) {
        if items(object).is_some() {
            let of_list = object.str("kind").and_then(member).map(str::to_owned);
            let Some(Value::List(items)) = object.at_mut(&["items"]) else { return };
            for (index, item) in items.iter_mut().enumerate() {
                path.extend(["items".to_owned(), index.to_string()]);
                self.walk(item, of_list.as_deref(), path);
                path.truncate(path.len() - 2);
            }
            return;
        }
        let kind = object.str("kind").or(of_list).unwrap_or_default().to_owned();
        if !kubernetes_own(object, &kind) {
            return;
        }
        self.look_at_namespace(object, &kind, path);
        let Some(place) = template(&kind) else { return };
        let name = describe(object, &kind);
        let namespace = object.at(&["metadata", "namespace"]).and_then(Value::as_str).map(str::to_owned);
        let namespace = namespace.or_else(|| self.namespaces.current.clone());
        let around = Surroundings {
            namespace_wish: self.namespaces.wishes.get(namespace.as_deref().unwrap_or("default")).cloned(),
            namespace,
            job: matches!(&*kind, "Job" | "CronJob"),
            node_agent: NodeAgent::Assumed,
        };
        for Problem { path: deeper, message } in idle(object, place) {
            let path = path.iter().cloned().chain(deeper).collect();
            self.reports.push(Report { object: name.clone(), path, verdict: Verdict::Note(message) });
        }
        let Some(pod) = object.at_mut(place) else { return };
        let mut say = |deeper: &[String], verdict| {
            let path =
                path.iter().cloned().chain(place.iter().map(|step| (*step).to_owned())).chain(deeper.iter().cloned());
            self.reports.push(Report { object: name.clone(), path: path.collect(), verdict });
        };
        match self.wanted {
            Wanted::Uninject => match uninject(pod) {
                Ok(Taken::Out(without)) => {
                    *pod = *without;
                    say(&[], Verdict::Uninjected);
                }
                Ok(Taken::Nothing) => say(&[], Verdict::NotInjected),
                Ok(Taken::NotOurs(name)) => {
                    say(&[], Verdict::NotInjected);
                    let words = format!(
                        "its container {name} stays: no annotation {STATUS} says that Pillion put it in; remove it if it \
                         is left of an injection"
                    );
                    say(&[], Verdict::Note(words));
                }
                Err(Problem { path, message }) => say(&path, Verdict::Wrong(message)),
            },
            Wanted::Inject => match pod::inject(pod, &around, self.settings) {
                Ok(Outcome::Injected(with, notes)) => {
                    notes.into_iter().for_each(|words| say(&[], Verdict::Note(words)));
                    let settings = pod::settings_of(pod, self.settings);
                    if around.namespace.is_none() && settings.is_ok_and(|settings| settings.has_bare_names()) {
                        let words = "it names no namespace, so that upstreams by their bare NAME are not told from others \
                                     and go out as they are: write metadata.namespace, or give --namespace";
                        say(&[], Verdict::Note(words.to_owned()));
                    }
                    let names_none = |pod: &Value| pod.at(&["spec", PULL_SECRETS]).is_none_or(Value::is_empty);
                    if names_none(pod) && !names_none(&with) {
                        let words = "it named no imagePullSecrets and does now, so that the API server adds none of its service \
                                     account's any more: name those as well, if it has some";
                        say(&[], Verdict::Note(words.to_owned()));
                    }
                    *pod = *with;
                    say(&[], Verdict::Injected);
                }
                Ok(Outcome::Refused(refusal)) => say(&[], Verdict::Refused(refusal)),
                Err(problems) => {
                    for Problem { path, message } in problems {
                        say(&path, Verdict::Wrong(message));
                    }
                }
            },
        }
    }
}

/// Annotations and labels of ours that do nothing where they are: on an object that is no pod, but has one at `place`; on the
/// template of a CronJob's Jobs; and a pod's labels by the names of annotations.
#[must_use]
pub fn idle(object: &Value, place: &[&str]) -> Vec<Problem> {
    let ours = |at: &[&str], kind: &'static str, right: &'static str, is_ours: fn(&str) -> bool| {
        let at: Vec<&str> = at.iter().copied().chain(["metadata", kind]).collect();
        let own = object.at(&at).and_then(Value::as_map);
        let keys = own.into_iter().flat_map(|map| &map.0).map(|(key, _)| key.as_str());
        let told = keys.filter(|key| is_ours(key)).map(|key| {
            let there: Vec<&str> = place.iter().copied().chain(["metadata", right]).collect();
            let words = format!("{key} does nothing here: write it under {}", there.join("."));
            let path: Vec<&str> = at.iter().copied().chain([key]).collect();
            Problem::new(&path, words)
        });
        told.collect::<Vec<_>>()
    };
    let wish = |of: &Value| of.at(&["metadata", "labels", INJECT]).cloned();
    // Of labels nothing but the wish is looked at.
    let is_setting = |key: &str| key.strip_prefix(PREFIX).is_some_and(|name| super::settings::key(name).is_some());
    let mut idle = Vec::new();
    let above: &[&[&str]] = match place {
        [] => &[],
        [spec, job, _, _] => &[&[], &[*spec, *job]],
        _ => &[&[]],
    };
    for at in above {
        idle.extend(ours(at, "annotations", "annotations", |key| key.starts_with(PREFIX)));
        // Charts write the same labels on both.
        if object.at(place).and_then(wish) != object.at(at).and_then(wish) {
            idle.extend(ours(at, "labels", "labels", |key| key == INJECT));
        }
        idle.extend(ours(at, "labels", "annotations", is_setting));
    }
    idle.extend(ours(place, "labels", "annotations", is_setting));
    idle
}

/// Where an object of this kind has its pod.
#[must_use]
pub fn template(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "Pod" => Some(&[]),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some(&["spec", "template"])
        }
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template"]),
        "PodTemplate" => Some(&["template"]),
        _ => None,
    }
}

/// Whether it is Kubernetes' own kind of that name, and not another API group's: there are many Jobs. What a list holds need
/// not say its version.
fn kubernetes_own(object: &Value, kind: &str) -> bool {
    let Some(version) = object.str("apiVersion") else { return true };
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match kind {
        "Pod" | "ReplicationController" | "PodTemplate" | "Namespace" => group.is_empty(),
        // `extensions` had them before 1.16, and there are manifests of that age.
        "Deployment" | "DaemonSet" | "ReplicaSet" => matches!(group, "apps" | "extensions"),
        "StatefulSet" => group == "apps",
        "Job" | "CronJob" => group == "batch",
        _ => true,
    }
}

fn describe(object: &Value, kind: &str) -> String {
    let metadata = |key: &str| object.at(&["metadata", key]).and_then(Value::as_str);
    let name = metadata("name").or_else(|| metadata("generateName")).unwrap_or("(without a name)");
    metadata("namespace").map_or_else(|| format!("{kind}/{name}"), |namespace| format!("{kind}/{namespace}/{name}"))
}

/// A path as a person would write it: `spec.containers[0].ports`.
#[must_use]
pub fn written(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        if step.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
        } else if step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            text.push_str(if text.is_empty() { "" } else { "." });
            text.push_str(step);
        } else {
            text.push_str(&format!("[{step:?}]"));
        }
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, path, verdict } = self;
        match verdict {
            Verdict::Injected => write!(f, "{object}: injected"),
            Verdict::Uninjected => write!(f, "{object}: taken out"),
            Verdict::Refused(refusal) => write!(f, "{object}: not injected: {refusal}"),
            Verdict::NotInjected => write!(f, "{object}: it has no Pillion"),
            Verdict::Note(words) => write!(f, "{object}: warning: {words}"),
            Verdict::Wrong(words) => write!(f, "{object}: {}: {words}", written(path)),
        }
    }
}
