//! What differs between two configurations, for the line an operator reads after a reload.

use pillion_config::model::{
    Action, Cluster, ClusterIndex, Config, DestinationRoute, Listener, ListenerProtocol, Name, Route, ServerNameRoute,
    Tcp, WeightedCluster,
};
use std::{borrow::Cow, fmt, sync::Arc};

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Listeners.
    pub listeners: Names,
    /// Clusters.
    pub clusters: Names,
    /// Sections besides, by the name they have in the document.
    pub sections: Vec<&'static str>,
}

/// Names that came, went or mean something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Only in the new one.
    pub added: Vec<Name>,
    /// Only in the old one.
    pub removed: Vec<Name>,
    /// In both, with another content.
    pub changed: Vec<Name>,
}

/// What differs from `before` to `after`. The order of listeners and clusters is no difference.
#[must_use]
pub fn diff(before: &Config, after: &Config) -> Changes {
    let sections = [
        ("admin", before.admin != after.admin),
        ("workers", before.workers != after.workers),
        ("limits", before.limits != after.limits),
        ("drain", before.drain != after.drain),
        ("access_log", before.access_log != after.access_log),
        ("metrics", before.metrics != after.metrics),
        ("dns", before.dns != after.dns),
        ("kubernetes", before.kubernetes != after.kubernetes),
        ("identity", before.identity != after.identity),
        ("redirect", before.redirect != after.redirect),
        ("source_filter", before.source_filter != after.source_filter),
        ("capture", before.capture != after.capture),
        ("filters", before.filters != after.filters),
    ];
    let same_listener = |old: &Listener, new: &Listener| *comparable(old, before, after) == *new;
    Changes {
        listeners: names(&before.listeners, &after.listeners, |l: &Listener| &l.name, same_listener),
        clusters: names(&before.clusters, &after.clusters, |c: &Cluster| &c.name, |old, new| old == new),
        sections: sections.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect(),
    }
}

impl Changes {
    /// Whether anything differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.clusters.is_empty() && self.sections.is_empty()
    }
}

impl Names {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// `listeners +api -old ~web; clusters ~site; ~drain`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let mut separator = "";
        for (what, names) in [("listeners", &self.listeners), ("clusters", &self.clusters)] {
            if !names.is_empty() {
                write!(f, "{separator}{what}{names}")?;
                separator = "; ";
            }
        }
        for section in &self.sections {
            write!(f, "{separator}~{section}")?;
            separator = "; ";
        }
        Ok(())
    }
}

/// Names shown of one kind; the rest is a number, so that a change of ten thousand is still a line.
const SHOWN: usize = 10;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sign, names) in [('+', &self.added), ('-', &self.removed), ('~', &self.changed)] {
            for name in names.iter().take(SHOWN) {
                write!(f, " {sign}{name}")?;
            }
            if names.len() > SHOWN {
                write!(f, " {sign}({} more)", names.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

fn names<T>(before: &[Arc<T>], after: &[Arc<T>], name: impl Fn(&T) -> &Name, same: impl Fn(&T, &T) -> bool) -> Names {
    let index = |items: &[Arc<T>]| -> std::collections::HashMap<Name, usize> {
        items.iter().enumerate().map(|(at, item)| (name(item).clone(), at)).collect()
    };
    let (old, new) = (index(before), index(after));
    let mut names = Names::default();
    for item in after {
        match old.get(name(item)) {
            None => names.added.push(name(item).clone()),
            Some(at) if !same(&before[*at], item) => names.changed.push(name(item).clone()),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|item| !new.contains_key(name(item)));
    names.removed.extend(gone.map(|item| name(item).clone()));
    names
}

/// `listener` of `before` with its clusters' places as they are in `after`. A cluster that is gone gets a place that
/// nothing has, and so differs.
fn comparable<'a>(listener: &'a Listener, before: &Config, after: &Config) -> Cow<'a, Listener> {
    let moved = |at: usize| {
        let name = before.clusters.get(at).map(|cluster| &cluster.name);
        after.clusters.iter().position(|cluster| Some(&cluster.name) == name).unwrap_or(usize::MAX)
    };
    let places: Vec<usize> = (0..before.clusters.len()).map(moved).collect();
    if places.iter().enumerate().all(|(old, new)| old == *new) {
        return Cow::Borrowed(listener);
    }
    let moved = |targets: &[WeightedCluster]| -> Vec<WeightedCluster> {
        let place = |target: &WeightedCluster| places.get(target.cluster.0).copied().unwrap_or(usize::MAX);
        targets.iter().map(|target| WeightedCluster { cluster: ClusterIndex(place(target)), ..*target }).collect()
    };
    let tcp = |tcp: &Tcp| Tcp {
        clusters: moved(&tcp.clusters),
        destinations: tcp
            .destinations
            .iter()
            .map(|route| DestinationRoute { clusters: moved(&route.clusters), ..route.clone() })
            .collect(),
        server_names: tcp
            .server_names
            .iter()
            .map(|route| ServerNameRoute { clusters: moved(&route.clusters), ..route.clone() })
            .collect(),
        ..tcp.clone()
    };
    let protocol = match &listener.protocol {
        ListenerProtocol::Http => ListenerProtocol::Http,
        ListenerProtocol::Opaque(opaque) => ListenerProtocol::Opaque(tcp(opaque)),
        ListenerProtocol::Detect(opaque) => ListenerProtocol::Detect(tcp(opaque)),
    };
    let routes = listener.routes.iter().map(|route| {
        let Action::Forward(targets) = &route.action else { return Arc::clone(route) };
        let targets = moved(targets);
        Arc::new(Route { action: Action::Forward(targets), ..Route::clone(route) })
    });
    Cow::Owned(Listener { routes: routes.collect(), protocol, ..listener.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::model::Balance;
    use pillion_config::simple;

    fn config() -> Config {
        simple("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:3000").unwrap()
    }

    fn named(cluster: &Cluster, name: &str) -> Arc<Cluster> {
        Arc::new(Cluster { name: Name(name.into()), ..cluster.clone() })
    }

    #[test]
    fn nothing_differs_from_itself() {
        let changes = diff(&config(), &config());
        assert!(changes.is_empty());
        assert_eq!(changes.to_string(), "nothing");
    }

    #[test]
    fn each_kind_of_change_is_named() {
        let before = config();
        let mut after = before.clone();
        let mut other = Cluster::clone(&after.clusters[0]);
        other.balance = Balance::Random;
        let old = other.name.clone();
        after.clusters = vec![Arc::new(other.clone()), named(&other, "api")];
        after.listeners.clear();
        after.drain.delay += std::time::Duration::from_secs(1);
        let changes = diff(&before, &after);
        assert_eq!(
            changes.to_string(),
            format!("listeners -{}; clusters +api ~{old}; ~drain", before.listeners[0].name)
        );
    }

    #[test]
    fn a_cluster_that_moved_changes_no_listener() {
        let before = config();
        let mut after = before.clone();
        after.clusters.insert(0, named(&before.clusters[0], "first"));
        let mut listener = Listener::clone(&before.listeners[0]);
        let mut route = Route::clone(&listener.routes[0]);
        route.action = Action::Forward(vec![WeightedCluster { cluster: ClusterIndex(1), weight: 1 }]);
        listener.routes = vec![Arc::new(route.clone())];
        after.listeners = vec![Arc::new(listener.clone())];
        assert_eq!(diff(&before, &after).to_string(), "clusters +first");

        route.action = Action::Forward(vec![WeightedCluster { cluster: ClusterIndex(0), weight: 1 }]);
        listener.routes = vec![Arc::new(route)];
        after.listeners = vec![Arc::new(listener)];
        assert_eq!(diff(&before, &after).listeners.changed.len(), 1, "it goes to another cluster now");
    }

    #[test]
    fn ten_thousand_changes_are_one_short_line() {
        let before = config();
        let mut after = before.clone();
        after.clusters.extend((0..10_000).map(|at| named(&before.clusters[0], &format!("c{at}"))));
        let line = diff(&before, &after).to_string();
        assert!(line.ends_with("+c9 +(9990 more)"), "{line}");
    }
}
