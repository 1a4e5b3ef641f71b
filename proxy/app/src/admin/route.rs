//! Which page a request means. Pure.

use http::Method;

/// Which of the two ports was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// On this machine only: everything.
    Admin,
    /// On the pod's address: reading only.
    Probes,
}

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The process works.
    Alive,
    /// Connections are accepted and served.
    Ready,
    /// Prometheus' text format.
    Metrics,
    /// The configuration in force.
    ConfigDump,
    /// Endpoints and their state.
    Clusters,
    /// Listeners and the addresses they are bound to.
    Listeners,
    /// Version, state, uptime.
    ServerInfo,
    /// What the process holds and what it may hold.
    Memory,
    /// Which rule decides.
    Explain,
    /// The log's level.
    Logging,
    /// The redirect of loopback traffic.
    Redirect,
    /// What there is.
    Help,
}

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Readiness fails until [`Change::Pass`].
    Fail,
    /// Readiness says what is so.
    Pass,
    /// Listeners close, connections finish, the process stays.
    DrainListeners,
    /// Drain and exit.
    Quit,
    /// Read the configuration again.
    Reload,
    /// Set the log's level.
    Logging,
    /// Switch the redirect of loopback traffic.
    Redirect,
}

/// What a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Show this.
    Show(Page),
    /// Change this.
    Do(Change),
    /// The path exists, for these methods.
    NotAllowed(&'static str),
    /// The path exists on the admin port only.
    AdminOnly,
    /// There is no such path.
    Unknown,
}

/// Paths, what GET and POST mean there, and a word of help.
const PATHS: &[(&str, Option<Page>, Option<Change>, &str)] = &[
    ("/livez", Some(Page::Alive), None, "200 while the process works"),
    ("/healthz", Some(Page::Alive), None, "the same"),
    ("/readyz", Some(Page::Ready), None, "200 while connections are accepted; otherwise 503 and why"),
    ("/ready", Some(Page::Ready), None, "the same"),
    ("/metrics", Some(Page::Metrics), None, "metrics for Prometheus"),
    ("/stats/prometheus", Some(Page::Metrics), None, "the same"),
    ("/config_dump", Some(Page::ConfigDump), None, "the configuration in force, secrets redacted"),
    ("/clusters", Some(Page::Clusters), None, "endpoints and their state (?format=json)"),
    ("/listeners", Some(Page::Listeners), None, "listeners and their addresses (?format=json)"),
    ("/authorization/explain", Some(Page::Explain), None, "which rule decides (?listener=NAME&source=ADDRESS&peer=…)"),
    ("/server_info", Some(Page::ServerInfo), None, "version, state, uptime"),
    ("/memory", Some(Page::Memory), None, "memory of the process and its group"),
    ("/logging", Some(Page::Logging), Some(Change::Logging), "the log's level; POST ?level= sets it"),
    (
        "/redirect",
        Some(Page::Redirect),
        Some(Change::Redirect),
        "loopback traffic past TCP (?format=json); POST ?switch=on|off",
    ),
    ("/help", Some(Page::Help), None, "this page"),
    ("/", Some(Page::Help), None, "this page"),
    ("/healthcheck/fail", None, Some(Change::Fail), "fail readiness"),
    ("/healthcheck/ok", None, Some(Change::Pass), "undo /healthcheck/fail"),
    (
        "/drain_listeners",
        None,
        Some(Change::DrainListeners),
        "close listeners, finish connections, stay; ?inboundonly: those alone, after drain.delay",
    ),
    ("/quitquitquit", None, Some(Change::Quit), "drain and exit"),
    ("/reload", None, Some(Change::Reload), "read the configuration again"),
];

/// What a request for this path with this method means on this port.
#[must_use]
pub fn route(port: Port, method: &Method, path: &str) -> Verdict {
    let Some((_, show, change, _)) = PATHS.iter().find(|(known, ..)| *known == path) else {
        return Verdict::Unknown;
    };
    let show = show.filter(|page| port == Port::Admin || is_probe(*page));
    let change = change.filter(|_| port == Port::Admin);
    match (show, change) {
        (Some(page), _) if matches!(*method, Method::GET | Method::HEAD) => Verdict::Show(page),
        (_, Some(change)) if *method == Method::POST => Verdict::Do(change),
        (Some(_), Some(_)) => Verdict::NotAllowed("GET, HEAD, POST"),
        (Some(_), None) => Verdict::NotAllowed("GET, HEAD"),
        (None, Some(_)) => Verdict::NotAllowed("POST"),
        (None, None) => Verdict::AdminOnly,
    }
}

/// The paths of a port, one a line.
#[must_use]
pub fn help(port: Port) -> String {
    let lines = PATHS.iter().filter_map(|(path, show, change, words)| {
        let reads = show.is_some_and(|page| port == Port::Admin || is_probe(page));
        let method = match (reads, change) {
            (true, _) => "GET ",
            (false, Some(_)) if port == Port::Admin => "POST",
            (false, _) => return None,
        };
        Some(format!("{method} {path:<18} {words}\n"))
    });
    lines.collect()
}

fn is_probe(page: Page) -> bool {
    match page {
        Page::Alive | Page::Ready | Page::Metrics => true,
        Page::ConfigDump
        | Page::Clusters
        | Page::Listeners
        | Page::ServerInfo
        | Page::Memory
        | Page::Explain
        | Page::Logging
        | Page::Redirect
        | Page::Help => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_meaning() {
        use Port::{Admin, Probes};
        for (port, method, path, expected) in [
            (Probes, Method::GET, "/readyz", Verdict::Show(Page::Ready)),
            (Probes, Method::HEAD, "/livez", Verdict::Show(Page::Alive)),
            (Probes, Method::GET, "/stats/prometheus", Verdict::Show(Page::Metrics)),
            (Probes, Method::POST, "/metrics", Verdict::NotAllowed("GET, HEAD")),
            (Probes, Method::GET, "/config_dump", Verdict::AdminOnly),
            (Probes, Method::POST, "/quitquitquit", Verdict::AdminOnly),
            (Probes, Method::POST, "/logging", Verdict::AdminOnly),
            (Admin, Method::POST, "/quitquitquit", Verdict::Do(Change::Quit)),
            (Admin, Method::GET, "/quitquitquit", Verdict::NotAllowed("POST")),
            (Admin, Method::PUT, "/logging", Verdict::NotAllowed("GET, HEAD, POST")),
            (Admin, Method::POST, "/logging", Verdict::Do(Change::Logging)),
            (Admin, Method::GET, "/logging", Verdict::Show(Page::Logging)),
            (Admin, Method::DELETE, "/clusters", Verdict::NotAllowed("GET, HEAD")),
            (Admin, Method::GET, "/Clusters", Verdict::Unknown),
            (Admin, Method::GET, "/clusters/", Verdict::Unknown),
            (Admin, Method::GET, "", Verdict::Unknown),
        ] {
            assert_eq!(route(port, &method, path), expected, "{port:?} {method} {path}");
        }
    }

    #[test]
    fn nothing_can_be_changed_on_the_probe_port_nor_by_reading() {
        for (path, ..) in PATHS {
            assert!(!matches!(route(Port::Probes, &Method::POST, path), Verdict::Do(_)), "{path}");
            for port in [Port::Admin, Port::Probes] {
                assert!(!matches!(route(port, &Method::GET, path), Verdict::Do(_)), "{path}");
            }
        }
    }

    #[test]
    fn help_lists_what_the_port_has() {
        assert!(help(Port::Admin).contains("POST /quitquitquit"));
        assert!(!help(Port::Probes).contains("config_dump") && help(Port::Probes).contains("/readyz"));
    }
}
