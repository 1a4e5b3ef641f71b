//! What a peer is configured for: which template, filled with what, started and checked how. Pure.

use super::{
    Peer,
    template::{self, TemplateError, Values},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

/// The work that all peers are configured for alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// HTTP/1.1 to HTTP/1.1.
    Http1(Forwarding),
    /// HTTP/2 with prior knowledge to HTTP/2.
    Http2,
    /// The same, for gRPC (which nginx configures differently).
    Grpc,
    /// HTTP/1.1 over TLS to HTTP/1.1 over mutual TLS.
    Mutual,
    /// HTTP/1.1 over TLS to HTTP/1.1 in clear text.
    Tls,
    /// HTTP/1.1 to HTTP/1.1 with bodies of 64 KiB, buffers set for them.
    Large,
    /// TCP to TCP, bytes without end.
    Tcp,
    /// TCP to TCP, small messages.
    Messages,
    /// HTTP/1.1 with so many routes, each with a cluster of its own.
    Routes(usize),
    /// HTTP/1.1 in the form that can be reloaded.
    Reload,
    /// HTTP/1.1 without added headers, through a wasm filter or none.
    Wasm(Guest),
    /// HTTP/1.1 on two listeners, one of which has a filter that misbehaves.
    Storm(Storm),
}

/// The wasm filter of a setup: `filters/header-policy`, made with the Rust SDK, which exports every callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// None: what the filters are held against.
    None,
    /// One that changes nothing.
    Noop,
    /// One that sets a header on the request and one on the response.
    Adds,
    /// The one that changes nothing, [`MACHINES`] times, each in a machine of its own.
    Several,
}

/// Machines of a setup with several.
pub const MACHINES: usize = 5;

/// What a filter does to every request, or some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// There is no filter: what the others are held against.
    None,
    /// It traps on every tenth request.
    Traps,
    /// It never comes back.
    Spins,
    /// It takes a MiB and keeps it; where it gets none, it traps.
    Leaks,
}

/// Where the listener with that filter is; its port is that of the other.
pub const STORMY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The guest of the storms: its configuration's first byte says what it does.
const STORM: &str = include_str!("../../../peers/storm.wat");

/// Where the guests lie.
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../filters/prebuilt");

/// Whether a proxy tells the origin about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// X-Forwarded-For, -Proto, -Host and X-Request-Id, all set anew by every peer.
    Told,
    /// The same, beside an agent that may hand connections over past TCP.
    BesideAgent,
    /// None of them.
    Bare,
}

/// Where a peer's bytes come from and go to, and what it may use.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The origin's port that fits the setup.
    pub origin: SocketAddr,
    /// The origin's port for HTTP/1.1, for a peer that speaks nothing else upstream.
    pub http1_origin: SocketAddr,
    /// Where its files lie.
    pub directory: &'a Path,
    /// Where certificates and keys lie.
    pub certificates: &'a Path,
    /// Where nginx' modules lie.
    pub modules: &'a Path,
    /// Descriptors it may open.
    pub descriptors: u64,
}

/// Files to write and how to start the peer with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name and content, the main one first.
    pub files: Vec<(&'static str, String)>,
    /// Arguments that start it in its directory.
    pub start: Vec<String>,
    /// Arguments that make it check its configuration and leave.
    pub check: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetupError {
    /// The peer has no such feature.
    #[error("{0}")]
    Cannot(&'static str),
    /// A template of ours is wrong.
    #[error("template {name}: {error}")]
    Template {
        /// The file.
        name: &'static str,
        /// What is wrong with it.
        error: TemplateError,
    },
}

/// A template: the name of the file it becomes and its text.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($peer:literal: $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../../peers/", $peer, "/", $file)))),+]
    };
}

/// The templates of a peer for a setup; the one place that says who cannot do what. What a peer's build lacks (a module
/// that is not installed) is told by its own check of the configuration.
fn templates(peer: Peer, setup: Setup) -> Result<&'static [Template], &'static str> {
    use Setup::{Grpc, Http1, Http2, Large, Messages, Mutual, Reload, Routes, Storm, Tcp, Tls, Wasm};
    Ok(match (peer, setup) {
        (Peer::Direct, _) => return Err("there is no proxy to configure"),
        (Peer::Pillion, Http1(_) | Large | Reload) => templates!("pillion": "http1.yaml"),
        (Peer::Pillion, Http2 | Grpc) => templates!("pillion": "http2.yaml"),
        (Peer::Pillion, Routes(_)) => templates!("pillion": "routes.yaml"),
        (Peer::Pillion, Mutual | Tls) => templates!("pillion": "tls.yaml"),
        (Peer::Pillion, Wasm(_)) => templates!("pillion": "wasm.yaml"),
        (Peer::Envoy, Wasm(_)) => templates!("envoy": "wasm.yaml"),
        (Peer::Pillion, Storm(_)) => templates!("pillion": "storm.yaml"),
        (Peer::Envoy, Storm(_)) => return Err("it bounds no filter's time: one that spins has its worker for good"),
        (Peer::Nginx | Peer::Haproxy, Wasm(_) | Storm(_)) => return Err("it runs no proxy-wasm filters"),
        (Peer::Pillion, Tcp | Messages) => templates!("pillion": "tcp.yaml"),
        (Peer::Nginx, Http1(_) | Large | Reload) => templates!("nginx": "http1.conf"),
        (Peer::Nginx, Http2) => templates!("nginx": "http2.conf"),
        (Peer::Nginx, Grpc) => templates!("nginx": "grpc.conf"),
        (Peer::Nginx, Mutual | Tls) => templates!("nginx": "tls.conf"),
        (Peer::Nginx, Tcp | Messages) => templates!("nginx": "tcp.conf"),
        (Peer::Nginx, Routes(_)) => templates!("nginx": "routes.conf"),
        (Peer::Haproxy, Http1(_) | Large | Reload) => templates!("haproxy": "http1.cfg"),
        (Peer::Haproxy, Http2 | Grpc) => templates!("haproxy": "http2.cfg"),
        (Peer::Haproxy, Mutual | Tls) => templates!("haproxy": "tls.cfg"),
        (Peer::Haproxy, Tcp | Messages) => templates!("haproxy": "tcp.cfg"),
        (Peer::Haproxy, Routes(_)) => templates!("haproxy": "routes.cfg", "routes.map"),
        (Peer::Envoy, Http1(_) | Large) => templates!("envoy": "http1.yaml"),
        (Peer::Envoy, Http2 | Grpc) => templates!("envoy": "http2.yaml"),
        (Peer::Envoy, Mutual | Tls) => templates!("envoy": "tls.yaml"),
        (Peer::Envoy, Tcp | Messages) => templates!("envoy": "tcp.yaml"),
        (Peer::Envoy, Routes(_)) => templates!("envoy": "routes.yaml"),
        (Peer::Envoy, Reload) => templates!("envoy": "reload.yaml", "listeners.yaml", "clusters.yaml"),
    })
}

/// What makes a peer's work in a setup less than the others', to be said beside its figures.
#[must_use]
pub fn remark(peer: Peer, setup: Setup) -> Option<&'static str> {
    match (peer, setup) {
        (Peer::Nginx, Setup::Http2) => Some("speaks HTTP/1.1 to the origin: this version has no HTTP/2 there"),
        (Peer::Nginx, Setup::Grpc) => Some("carries one call at a time on a connection to the origin"),
        (Peer::Envoy, Setup::Reload) => {
            Some("does not read its own file again: its listener and cluster lie in files that it watches")
        }
        _ => None,
    }
}

/// A digest of all templates (FNV-1a): two runs with the same one gave everybody the same configuration.
#[must_use]
pub fn digest() -> String {
    const TAKEN: [Setup; 11] = [
        Setup::Http1(Forwarding::Told),
        Setup::Http2,
        Setup::Grpc,
        Setup::Mutual,
        Setup::Tls,
        Setup::Large,
        Setup::Tcp,
        Setup::Routes(1),
        Setup::Reload,
        Setup::Wasm(Guest::Noop),
        Setup::Storm(Storm::Traps),
    ];
    let all = Peer::PROXIES.into_iter().flat_map(|peer| TAKEN.into_iter().map(move |setup| templates(peer, setup)));
    let texts = all.flatten().flatten().flat_map(|(name, text)| [*name, *text]).chain([STORM]);
    let hash = texts
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The files and arguments of a peer for a setup. `generation` makes configurations differ: a reload needs a change.
pub fn plan(peer: Peer, setup: Setup, place: Place<'_>, generation: u32) -> Result<Plan, SetupError> {
    let values = values(setup, place, generation);
    let files = templates(peer, setup)
        .map_err(SetupError::Cannot)?
        .iter()
        .map(|(name, text)| match template::fill(text, &values) {
            Ok(text) => Ok((*name, text)),
            Err(error) => Err(SetupError::Template { name, error }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let main = files[0].0;
    let (start, check) = arguments(peer, setup, main, place.directory);
    Ok(Plan { files, start, check })
}

fn values(setup: Setup, place: Place<'_>, generation: u32) -> Values {
    let told = !matches!(setup, Setup::Http1(Forwarding::Bare) | Setup::Wasm(_) | Setup::Storm(_));
    let guest = if let Setup::Wasm(guest) = setup { guest } else { Guest::None };
    let storm = if let Setup::Storm(storm) = setup { storm } else { Storm::None };
    let guests = match guest {
        Guest::None => 0,
        Guest::Noop | Guest::Adds => 1,
        Guest::Several => MACHINES,
    };
    let mutual = setup == Setup::Mutual;
    Values::default()
        .text("listen", place.listen.to_string())
        .text("listen_ip", place.listen.ip().to_string())
        .text("listen_port", place.listen.port().to_string())
        .text("origin", place.origin.to_string())
        .text("origin_ip", place.origin.ip().to_string())
        .text("origin_port", place.origin.port().to_string())
        .text("http1_origin", place.http1_origin.to_string())
        .text("directory", place.directory.display().to_string())
        .text("certificates", place.certificates.display().to_string())
        .text("modules", place.modules.display().to_string())
        .text("descriptors", place.descriptors.to_string())
        .text("connections", connections(setup, place.descriptors).to_string())
        .text("scheme", if matches!(setup, Setup::Mutual | Setup::Tls) { "https" } else { "http" })
        .text("generation", generation.to_string())
        .text("guests", GUESTS)
        .text("policy", if guest == Guest::Adds { POLICY } else { "{}" })
        .section("guest", guests)
        .section("filtered", guests.min(1))
        .text("stormy_ip", STORMY.to_string())
        .text("storm", inline(storm))
        .text("storm_does", format!("{storm:?}"))
        .section("storm", usize::from(storm != Storm::None))
        .section("large", usize::from(setup == Setup::Large))
        .section("stream", usize::from(setup == Setup::Tcp))
        .section("reload", usize::from(setup == Setup::Reload))
        .section("agent", usize::from(setup == Setup::Http1(Forwarding::BesideAgent)))
        .section("forwarding", usize::from(told))
        .section("bare", usize::from(!told))
        .section("mutual", usize::from(mutual))
        .section("plain", usize::from(!mutual))
        .section("routes", if let Setup::Routes(routes) = setup { routes } else { 0 })
}

/// The guest of the storms as a configuration has it.
fn inline(storm: Storm) -> String {
    if storm == Storm::None {
        return String::new();
    }
    STANDARD.encode(wat::parse_str(STORM).expect("the text is the repository's own"))
}

/// The configuration of the guest that adds headers.
const POLICY: &str = r#"{"request":{"set":{"x-added":"1"}},"response":{"set":{"x-added":"1"}}}"#;

/// Connections a peer may have: each takes two descriptors, and two more where HAProxy splices them through a pipe; some
/// are wanted for other things.
fn connections(setup: Setup, descriptors: u64) -> u64 {
    let each = if matches!(setup, Setup::Tcp | Setup::Messages) { 4 } else { 2 };
    (descriptors.saturating_sub(2_000) / each).min(8_000)
}

fn arguments(peer: Peer, setup: Setup, main: &str, directory: &Path) -> (Vec<String>, Vec<String>) {
    let folder = directory.display().to_string();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    match peer {
        Peer::Direct => (Vec::new(), Vec::new()),
        Peer::Pillion => (words(&["run", "--config", main]), words(&["check", "--config", main])),
        // `-e`: before the configuration is read, errors would go to the system's log file.
        Peer::Nginx => {
            let start = ["-p", &folder, "-e", "error.log", "-c", main];
            (words(&start), [words(&start), words(&["-t"])].concat())
        }
        // Reloading needs the master; the others run as most containers do.
        Peer::Haproxy if setup == Setup::Reload => (words(&["-W", "-db", "-f", main]), words(&["-c", "-f", main])),
        Peer::Haproxy => (words(&["-db", "-f", main]), words(&["-c", "-f", main])),
        Peer::Envoy => {
            let start = ["-c", main, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
            (words(&start), [words(&start), words(&["--mode", "validate"])].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Forwarding, Guest, Place, Setup, SetupError, Storm, plan};
    use crate::compare::peers::Peer;
    use std::path::Path;

    const ALL: [Setup; 18] = [
        Setup::Http1(Forwarding::Told),
        Setup::Http1(Forwarding::Bare),
        Setup::Http1(Forwarding::BesideAgent),
        Setup::Http2,
        Setup::Grpc,
        Setup::Mutual,
        Setup::Tls,
        Setup::Large,
        Setup::Tcp,
        Setup::Messages,
        Setup::Routes(3),
        Setup::Reload,
        Setup::Wasm(Guest::None),
        Setup::Wasm(Guest::Adds),
        Setup::Wasm(Guest::Several),
        Setup::Storm(Storm::None),
        Setup::Storm(Storm::Traps),
        Setup::Storm(Storm::Leaks),
    ];

    fn place() -> Place<'static> {
        Place {
            listen: ([127, 0, 0, 1], 8001).into(),
            origin: ([127, 0, 0, 1], 8002).into(),
            http1_origin: ([127, 0, 0, 1], 8003).into(),
            directory: Path::new("/d"),
            certificates: Path::new("/c"),
            modules: Path::new("/m"),
            descriptors: 20_000,
        }
    }

    #[test]
    fn every_template_is_filled() {
        for peer in Peer::PROXIES {
            for setup in ALL {
                match plan(peer, setup, place(), 0) {
                    Ok(plan) => assert!(
                        plan.files.iter().all(|(_, text)| !text.contains("{{")) && plan.files[0].1.contains("8001")
                            || plan.files.len() == 3,
                        "{peer} {setup:?}"
                    ),
                    Err(SetupError::Cannot(why)) => assert!(!why.is_empty()),
                    Err(error) => panic!("{peer} {setup:?}: {error}"),
                }
            }
        }
    }

    /// A stream is spliced in both directions; of a message of 64 bytes a pipe makes more calls, not fewer.
    #[test]
    fn haproxy_splices_what_is_long() {
        let of = |setup| plan(Peer::Haproxy, setup, place(), 0).unwrap().files[0].1.clone();
        assert!(of(Setup::Tcp).contains("splice-response") && of(Setup::Tcp).contains("splice-auto"));
        assert!(!of(Setup::Messages).contains("splice-response") && of(Setup::Messages).contains("splice-auto"));
    }

    #[test]
    fn buffers_are_set_where_bodies_are_large() {
        let of = |peer, setup| plan(peer, setup, place(), 0).unwrap().files[0].1.clone();
        assert!(of(Peer::Nginx, Setup::Large).contains("proxy_buffers "));
        assert!(!of(Peer::Nginx, Setup::Http1(Forwarding::Told)).contains("proxy_buffers "));
    }

    #[test]
    fn a_reload_changes_the_configuration() {
        for peer in Peer::PROXIES {
            let of = |generation| plan(peer, Setup::Reload, place(), generation).unwrap().files;
            assert_ne!(of(0), of(1), "{peer}");
        }
    }

    #[test]
    fn routes_are_repeated() {
        let plan = plan(Peer::Haproxy, Setup::Routes(3), place(), 0).unwrap();
        assert_eq!(plan.files[1], ("routes.map", "/r0/ c0\n/r1/ c1\n/r2/ c2\n".to_owned()));
        assert_eq!(plan.files[0].1.matches("backend c").count(), 3);
    }
}
