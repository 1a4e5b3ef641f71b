//! The system's programs: which there are, and running them.

use super::{
    iptables::TABLES,
    settings::{Backend, Family},
};
use std::{
    fmt, fs,
    io::{self, Write as _},
    process::{Command, Stdio},
};

/// Why rules could not be installed, checked or removed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing to install with.
    #[error("neither nft nor iptables works here: {0}{hint}", hint = hint(.0))]
    NoProgram(String),
    /// A program could not be run.
    #[error("cannot run {program}: {source} (install it: nftables, iptables or iproute2)")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program refused.
    #[error("{command}: {words}{}", hint(.words))]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        words: String,
    },
    /// The kernel took the rules and does not show them.
    #[error("the rules were given to the kernel, but it does not show them: {0}")]
    NotThere(String),
}

/// Tables of the older kernel interface that are there and cannot be looked at: what is installed there stays, and nobody
/// knows of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("whether {} has rules here cannot be told, and none were touched: {words}{}", LEGACY, hint(.words))]
pub struct Hidden {
    /// What the program said.
    words: String,
    /// Whether it is there at all.
    program: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Installed,
    Missing,
}

impl Hidden {
    /// Whether they may well be ours. Where its program is not installed they are somebody else's, or another container's
    /// image had it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.program == Presence::Installed
    }
}

impl Failure {
    /// In one line and without the remedy, which stands behind several of them once.
    fn bare(&self) -> String {
        match self {
            Self::Refused { command, words } => {
                let words: Vec<&str> = words.lines().map(str::trim).collect();
                format!("{command}: {}", words.join(", "))
            }
            Self::NoProgram(_) | Self::Run { .. } | Self::NotThere(_) => self.to_string(),
        }
    }
}

fn hint(words: &str) -> &'static str {
    let words = words.to_ascii_lowercase();
    if words.contains("not permitted") || words.contains("must be root") || words.contains("permission denied") {
        " (this needs CAP_NET_ADMIN, and CAP_NET_RAW for iptables-legacy, in the network namespace of the application)"
    } else {
        ""
    }
}

/// What installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Programs {
    Nft,
    Iptables(Iptables),
}

/// Which iptables: `iptables`, `iptables-nft` or `iptables-legacy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Iptables(&'static str);

/// In the order in which they are tried: where both kernel interfaces exist, iptables' own choice comes first.
const KINDS: [&str; 3] = ["iptables", "iptables-nft", "iptables-legacy"];

const LEGACY: &str = "iptables-legacy";

/// Whether this network namespace has such tables of the older kernel interface as may hold rules of ours; where that is
/// not to be known, it may.
fn has_legacy_tables() -> bool {
    has_legacy(&TABLES)
}

/// Whether it has this one.
pub(super) fn has_legacy_table(table: &str) -> bool {
    has_legacy(&[table])
}

fn has_legacy(tables: &[&str]) -> bool {
    ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"].iter().any(|names| match fs::read_to_string(names) {
        Ok(names) => names.lines().any(|name| tables.contains(&name.trim())),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    })
}

impl Programs {
    pub(super) fn find(backend: Backend) -> Result<Self, Failure> {
        let candidates = match backend {
            Backend::Nft => vec![Self::Nft],
            Backend::Iptables("iptables") => KINDS.map(|kind| Self::Iptables(Iptables(kind))).to_vec(),
            Backend::Iptables(kind) => vec![Self::Iptables(Iptables(kind))],
            Backend::Auto => [Self::Nft].into_iter().chain(KINDS.map(|kind| Self::Iptables(Iptables(kind)))).collect(),
        };
        let mut told = Vec::new();
        for candidate in candidates {
            match candidate.works() {
                Ok(()) => return Ok(candidate),
                Err(failure) => told.push(failure.bare()),
            }
        }
        Err(Failure::NoProgram(told.join("; ")))
    }

    /// Those that may have rules here, one for each set of tables in the kernel.
    ///
    /// # Errors
    ///
    /// None of those that are installed works: whether there are rules is not known then.
    pub(super) fn all() -> Result<Vec<Self>, Failure> {
        let (mut all, mut told, mut refused) = (Vec::<Self>::new(), Vec::new(), false);
        let legacy = has_legacy_tables();
        for candidate in [Self::Nft].into_iter().chain(KINDS.map(|kind| Self::Iptables(Iptables(kind)))) {
            let tables = candidate.tables();
            // To look by iptables-legacy would make the tables.
            if (tables == LEGACY && !legacy) || all.iter().any(|known| known.tables() == tables) {
                continue;
            }
            match candidate.works() {
                Ok(()) => all.push(candidate),
                Err(failure) => {
                    refused |= matches!(failure, Failure::Refused { .. });
                    told.push(failure.bare());
                }
            }
        }
        if all.is_empty() && (refused || legacy) { Err(Failure::NoProgram(told.join("; "))) } else { Ok(all) }
    }

    /// The older interface's tables, where this network namespace has them and they cannot be looked at: it needs
    /// CAP_NET_RAW, which nft does without, and a program that may not be installed.
    pub(super) fn hidden() -> Option<Hidden> {
        if !has_legacy_tables() {
            return None;
        }
        // Before 1.8 it had one name only.
        let kinds = KINDS.map(|kind| Self::Iptables(Iptables(kind)));
        let mut told = None;
        for kind in kinds.iter().filter(|kind| kind.tables() == LEGACY) {
            let program = match kind.works() {
                Ok(()) => return None,
                Err(failure @ Failure::Run { .. }) => (failure, Presence::Missing),
                Err(failure) => (failure, Presence::Installed),
            };
            if program.1 == Presence::Installed || told.is_none() {
                told = Some(program);
            }
        }
        told.map(|(failure, program)| Hidden { words: failure.bare(), program })
    }

    /// Which of the kernel's sets of tables it works on.
    pub(super) fn tables(&self) -> &'static str {
        match self {
            Self::Nft => "nft",
            // Which one it is its version says; before 1.8 there was only the older.
            Self::Iptables(Iptables("iptables")) => match ask("iptables-save", &["--version"]) {
                Ok(version) if version.contains("nf_tables") => "iptables-nft",
                Ok(_) | Err(_) => LEGACY,
            },
            Self::Iptables(Iptables(kind)) => kind,
        }
    }

    /// Whether it works on the tables of the older kernel interface.
    pub(super) fn is_legacy(&self) -> bool {
        self.tables() == LEGACY
    }

    fn works(&self) -> Result<(), Failure> {
        match self {
            Self::Nft => ask("nft", &["list", "tables"]).map(drop),
            Self::Iptables(names) => ask(&names.save(Family::Ipv4), &["-t", "nat"]).map(drop),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Iptables(Iptables(kind)) => kind,
        }
    }
}

impl Iptables {
    pub(super) fn save(self, family: Family) -> String {
        self.program(family, "save")
    }

    pub(super) fn restore(self, family: Family) -> String {
        self.program(family, "restore")
    }

    fn program(self, family: Family, what: &str) -> String {
        let kind = self.0.strip_prefix("iptables").unwrap_or_default();
        match family {
            Family::Ipv4 => format!("iptables{kind}-{what}"),
            Family::Ipv6 => format!("ip6tables{kind}-{what}"),
        }
    }
}

/// Runs a program and gives what it says.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    run(program, arguments, "")
}

/// Runs a program on a text.
pub(super) fn feed(program: &str, arguments: &[&str], text: &str) -> Result<(), Failure> {
    run(program, arguments, text).map(drop)
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Run { program: program.to_owned(), source };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(program)
        .args(arguments)
        // Where Debian keeps them, which is not on everybody's path.
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why on stderr.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Refused { command: Shown(program, arguments).to_string(), words: words.trim().to_owned() })
}

struct Shown<'a>(&'a str, &'a [&'a str]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1.join(" "))
    }
}

/// A short name for a text (FNV-1a): told apart from others of ours, not kept from anybody.
pub(crate) fn digest(lines: impl Iterator<Item = String>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for line in lines {
        for byte in line.bytes().chain([b'\n']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}
