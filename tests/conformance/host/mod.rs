//! The hosts: each starts one process with a listener per case and tells what its guests logged.

mod envoy;
mod pillion;

use super::{case::Case, upstream::Upstream};
use base64::Engine as _;
use pillion_tests::process::Process;
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What both hosts are told of the workload, in YAML.
const METADATA: &str = "{ NAME: kit, PORT: 7, READY: true, LABELS: { app: k }, ZONES: [a, b] }";

/// What both hosts are told of a listener with the option `metadata`, and of the route, the cluster and the endpoint of
/// `/meta`, by namespace, in YAML.
const NAMESPACES: Namespaces = Namespaces {
    listener: "{ kit: { at: listener } }",
    route: "{ kit: { at: route, number: 7, ready: true, none: null, empty: '', map: { a: { b: c } }, list: [x, { name: second }, [2]] }, \
            other: {} }",
    cluster: "{ istio: { services: [{ name: shop }, { name: till }] } }",
    endpoint: "{ kit: { at: endpoint } }",
};

struct Namespaces {
    listener: &'static str,
    route: &'static str,
    cluster: &'static str,
    endpoint: &'static str,
}

/// The tokens that hosts take for a case with the option `jwt`.
const TOKENS: Tokens = Tokens { issuer: "kit", key: "claims", secret: "a secret of the kit, of which everybody knows" };

struct Tokens {
    issuer: &'static str,
    /// Under which name their claims are told.
    key: &'static str,
    secret: &'static str,
}

impl Tokens {
    fn secret_in_base64url(&self) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.secret)
    }
}

/// Whom the kit asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// Envoy, the reference.
    Envoy,
    /// The product.
    Pillion,
}

/// A case ready to be loaded.
#[derive(Debug)]
pub(crate) struct Loaded<'a> {
    /// The case.
    pub(crate) case: &'a Case,
    /// Its module's file.
    pub(crate) module: PathBuf,
    /// Its listener.
    pub(crate) address: SocketAddr,
}

/// A filter that a case configures.
#[derive(Debug, Clone)]
struct Filter {
    name: String,
    /// Its plugin's configuration.
    plugin: String,
    vm_id: String,
    /// What its lines in a transcript begin with.
    mark: String,
}

impl Case {
    /// Its filters, in order.
    fn filters(&self) -> Vec<Filter> {
        let (name, plugin) = (&self.name, &self.plugin);
        if self.chain.is_empty() {
            let (name, plugin, vm_id) = (name.clone(), plugin.clone(), format!("vm-{name}"));
            return vec![Filter { name, plugin, vm_id, mark: String::new() }];
        }
        // Of a VM's start Envoy does not say for which plugin it is: where they have one together, lines are of none.
        let together = self.has("one-vm");
        let one = |word: &String| Filter {
            name: format!("{name}.{word}"),
            plugin: word.clone(),
            vm_id: if together { format!("vm-{name}") } else { format!("vm-{name}-{word}") },
            mark: if together { String::new() } else { format!("{word}: ") },
        };
        self.chain.iter().map(one).collect()
    }
}

/// A configuration as a case has it handed over.
#[derive(Debug)]
enum Handed<'a> {
    Text(&'a str),
    /// In base64.
    Bytes(String),
    Parts(serde_json::Value),
}

impl<'a> Handed<'a> {
    fn of(case: &Case, text: &'a str) -> Self {
        if case.has("as-bytes") {
            return Self::Bytes(base64::engine::general_purpose::STANDARD.encode(crate::drive::bytes(text)));
        }
        if case.has("as-struct") {
            return Self::Parts(serde_json::from_str(text).expect("the case's configuration is JSON"));
        }
        Self::Text(text)
    }
}

/// A host that runs.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    _folder: pillion_tests::tempdir::TempDir,
    taken: HashMap<String, usize>,
    /// The words of a case's guest in a line of the log, where they are.
    words: fn(&Case, &str) -> Option<String>,
}

impl Host {
    /// As the command line spells it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Pillion => "pillion",
        }
    }

    /// Its program, or `None` after saying why the machine has none.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Envoy => envoy::program(),
            Self::Pillion => Some(pillion_tests::proxy::program()),
        }
    }

    /// Starts it with these cases; what it said where it refuses them.
    pub(crate) fn start(self, program: &Path, cases: &[Loaded<'_>], upstream: &Upstream) -> Result<Running, String> {
        match self {
            Self::Envoy => envoy::start(program, cases, upstream),
            Self::Pillion => pillion::start(program, cases, upstream),
        }
    }
}

impl Running {
    fn new(
        process: Process,
        folder: pillion_tests::tempdir::TempDir,
        words: fn(&Case, &str) -> Option<String>,
    ) -> Self {
        Self { process, _folder: folder, taken: HashMap::new(), words }
    }

    /// What the guest of this case logged since the last look, without the host's decoration.
    pub(crate) fn lines(&mut self, case: &Case) -> Vec<String> {
        let all = self.peek(case);
        let taken = self.taken.entry(case.name.clone()).or_default();
        let new = all[(*taken).min(all.len())..].to_vec();
        *taken = all.len();
        new
    }

    /// Everything the guest of this case has logged. Incomplete lines at the end of the output are left for later.
    pub(crate) fn peek(&self, case: &Case) -> Vec<String> {
        let (output, errors) = (self.process.stdout(), self.process.stderr());
        [output, errors]
            .iter()
            .flat_map(|text| text.split_inclusive('\n'))
            .filter(|line| line.ends_with('\n'))
            .filter_map(|line| (self.words)(case, line.trim_end()))
            .collect()
    }

    /// Whether it has ended, and its last words.
    pub(crate) fn fallen(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        let words = self.process.stderr();
        let tail: Vec<&str> = words.lines().rev().take(12).collect();
        Some(format!("ended with {status}: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n")))
    }
}

/// What comes after the mark that the kit's own guests begin each line with.
fn after_mark<'a>(case: &Case, line: &'a str) -> Option<&'a str> {
    let mark = format!("kit:{}: ", case.name);
    line.find(&mark).map(|at| &line[at + mark.len()..])
}
