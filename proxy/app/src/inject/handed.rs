//! What the proxy of an injected pod was told about the application's probes. Pure.

use super::{
    pod::PROXY,
    probes,
    status::Status,
    value::{Map, Value},
};

/// What its container holds of them.
#[derive(Debug)]
pub(super) enum Handed {
    /// There is no such container any more.
    NoProxy,
    /// It has no variable for them.
    Nothing,
    /// It has one that is not as we write it: by another way, or in others' words.
    Otherwise,
    /// By path, what each was.
    Probes(Map),
}

impl Handed {
    /// Of a pod with that status.
    pub(super) fn of(pod: &Value, status: &Status) -> Self {
        let Some((list, at)) = proxy(pod, status) else { return Self::NoProxy };
        let env = pod.at(&["spec", list]).and_then(|list| list.elements().get(at)).map(|proxy| proxy.list("env"));
        let variable = env.and_then(|env| env.iter().find(|one| one.str("name") == Some(probes::VARIABLE)));
        variable.map_or(Self::Nothing, |variable| probes::handed(variable).map_or(Self::Otherwise, Self::Probes))
    }

    /// Why one is not among them.
    pub(super) fn why(&self) -> String {
        let variable = probes::VARIABLE;
        match self {
            Self::NoProxy => format!("{PROXY}, which knew, has been taken out"),
            Self::Nothing => format!("{PROXY} has no variable {variable}, in which it would stand"),
            Self::Otherwise => format!("the variable {variable} of {PROXY} is not as it was written there"),
            Self::Probes(_) => {
                format!("{PROXY} knows none of that container and path, as where a container was given another name")
            }
        }
    }

    /// Those that are known.
    pub(super) fn into_probes(self) -> Map {
        if let Self::Probes(probes) = self { probes } else { Map::default() }
    }
}

/// Where the proxy's container is: the list, and the place in it.
pub(super) fn proxy(pod: &Value, status: &Status) -> Option<(&'static str, usize)> {
    ["initContainers", "containers"].into_iter().find_map(|list| {
        let ours = |container: &Value| container.str("name") == Some(PROXY) && status.put(list, PROXY);
        Some((list, pod.at(&["spec", list])?.elements().iter().position(ours)?))
    })
}
