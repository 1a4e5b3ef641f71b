//! probe: what this node can do for the redirect, and why not, point by point.

use crate::{AttachError, Object, Outcome, btf::Btf, instance, mounts, pins::FOLDER, seen};
use std::{fmt, fs, time::Duration};

/// A thing that the redirect needs or would like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// In words.
    pub words: String,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worse than it could be; attaching works all the same.
    Note,
    /// Attaching will be declined.
    Bad,
}

/// What a node can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Point by point.
    pub points: Vec<Point>,
    /// The self-test, where it came to that.
    pub outcomes: Vec<Outcome>,
    /// What loading and verifying took.
    pub load_time: Option<Duration>,
}

/// Capabilities by their numbers in linux/capability.h, and what each is for. All but the last are needed for whatever loads
/// programs (probe, attach, replace, the source filter); whatever only looks at pins (status, switch, detach) needs none, and that
/// the pins are its user's.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (39, "CAP_BPF", "maps and programs: to probe, attach and replace, and for the source filter"),
    (12, "CAP_NET_ADMIN", "programs on cgroups, sockets and interfaces: for the same"),
    (38, "CAP_PERFMON", "programs that read the kernel's memory, as a receiver's state: for the same"),
    (21, "CAP_SYS_ADMIN", "mounting bpffs; not needed where it is mounted"),
];

/// The least kernel: what the programs call that came last (`bpf_skc_to_mptcp_sock`).
const LEAST: (u32, u32) = (5, 19);

impl Probe {
    /// Whether attaching would succeed.
    #[must_use]
    pub fn is_good(&self, waived: &[crate::Property]) -> bool {
        self.points.iter().all(|point| point.verdict != Verdict::Bad || point.name == "self_test")
            && self.load_time.is_some()
            && self.outcomes.iter().all(|outcome| outcome.failure.is_none() || waived.contains(&outcome.property))
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let points: Vec<_> = self
            .points
            .iter()
            .map(|point| serde_json::json!({"name": point.name, "verdict": point.verdict.word(), "words": point.words}))
            .collect();
        let outcomes: Vec<_> = self
            .outcomes
            .iter()
            .map(|outcome| serde_json::json!({"property": outcome.property.name(), "failure": outcome.failure}))
            .collect();
        serde_json::json!({
            "can_attach": self.is_good(&[]),
            "points": points,
            "self_test": outcomes,
            "load_seconds": self.load_time.map(|time| time.as_secs_f64()),
        })
    }
}

impl Verdict {
    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Point { name, verdict, words } in &self.points {
            writeln!(f, "{:<4} {name}: {words}", verdict.word())?;
        }
        for Outcome { property, failure } in &self.outcomes {
            match failure {
                None => writeln!(f, "good self_test {property}")?,
                Some(failure) => writeln!(f, "bad  self_test {property}: {failure}")?,
            }
        }
        let failed: Vec<_> = self.outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
        match (self.is_good(&[]), failed.as_slice()) {
            (true, _) => write!(f, "this node can redirect"),
            (false, []) => write!(f, "this node cannot redirect: plain TCP is used"),
            (false, failed) => {
                let names: Vec<_> = failed.iter().map(|outcome| outcome.property.name()).collect();
                write!(f, "this kernel declines: {} failed; plain TCP is used", names.join(", "))?;
                if failed.iter().all(|outcome| outcome.property.may_be_waived()) {
                    write!(f, " unless what failed is waived: `--waive {}`", names.join(","))?;
                }
                Ok(())
            }
        }
    }
}

/// Looks at the node and, where it can, tries everything out.
#[must_use]
pub fn probe(object: &Object) -> Probe {
    let mut points = vec![kernel(), btf(), cgroup(), bpffs(), pins()];
    points.extend(CAPABILITIES.iter().map(|(number, name, what)| capability(*number, name, what)));
    points.extend([memory(), lockdown(), jit()]);
    let (mut outcomes, mut load_time) = (Vec::new(), None);
    match instance::try_out(object) {
        Ok((report, took)) => {
            points.push(good(
                "programs",
                format!("verified in {:.0} ms, source {}", took.as_secs_f64() * 1000.0, short(object.digest())),
            ));
            outcomes = report.outcomes;
            load_time = Some(took);
            points.push(match instance::try_inbound(object) {
                Ok(()) => good("inbound", "what comes into pods can be given to their proxies (`--capture-inbound`)"),
                Err(error) => {
                    note("inbound", format!("what comes into pods cannot be given to their proxies: {error}"))
                }
            });
        }
        Err(error @ AttachError::SelfTest(_)) => points.push(bad("self_test", error.to_string())),
        Err(error) => points.push(bad("programs", error.to_string())),
    }
    Probe { points, outcomes, load_time }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn good(name: &'static str, words: impl Into<String>) -> Point {
    Point { name, verdict: Verdict::Good, words: words.into() }
}

fn note(name: &'static str, words: impl Into<String>) -> Point {
    Point { name, verdict: Verdict::Note, words: words.into() }
}

fn bad(name: &'static str, words: impl Into<String>) -> Point {
    Point { name, verdict: Verdict::Bad, words: words.into() }
}

fn kernel() -> Point {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match version(&release) {
        Some(version) if version >= LEAST => good("kernel", release),
        Some(_) => bad("kernel", format!("{release} is older than {}.{}", LEAST.0, LEAST.1)),
        None => note("kernel", format!("{release:?} is no version that is understood")),
    }
}

/// Major and minor number of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf() -> Point {
    match Btf::of_kernel().and_then(|btf| btf.offset("sock", "sk_backlog.rmem_alloc")) {
        Ok(_) => good("btf", "the kernel describes its structures"),
        Err(error) => bad("btf", error.to_string()),
    }
}

fn cgroup() -> Point {
    match (mounts::cgroup2(), mounts::own_cgroup()) {
        (Ok(mount), Ok(own)) => {
            good("cgroup2", format!("mounted at {}, this process is in {}", mount.display(), own.display()))
        }
        (Err(error), _) | (_, Err(error)) => bad("cgroup2", format!("unsupported: {error}")),
    }
}

fn bpffs() -> Point {
    match mounts::mounted_bpf() {
        Ok(Some(at)) => good("bpffs", format!("mounted at {}", at.display())),
        Ok(None) => note("bpffs", "not mounted; attaching mounts it at /sys/fs/bpf"),
        Err(error) => bad("bpffs", error.to_string()),
    }
}

/// What is attached must outlive who attached it: it is pinned there.
fn pins() -> Point {
    match seen::pinnable() {
        Ok(Some(at)) => good("pins", format!("{} may be written to", at.display())),
        // CAP_SYS_ADMIN mounts it, and what it has mounted it may write to.
        Ok(None) => note("pins", "no bpffs is mounted yet that could be written to"),
        Err((at, error)) => bad(
            "pins",
            format!(
                "{} cannot be written to by this user: {error}; give it to the user that attaches, as with `mkdir -p \
                 {at}/pillion && chown {user} {at}/pillion`",
                at.display(),
                at = at.ancestors().find(|above| !above.ends_with(FOLDER)).unwrap_or(&at).display(),
                user = rustix::process::geteuid().as_raw(),
            ),
        ),
    }
}

fn capability(number: u32, name: &'static str, what: &str) -> Point {
    let effective = fs::read_to_string("/proc/thread-self/status").ok().and_then(|status| effective(&status));
    let has = effective.map(|set| set >> number & 1 == 1);
    match has {
        Some(true) => good(name, what),
        // The old name for all of them.
        Some(false) if number != 21 && effective.is_some_and(|set| set >> 21 & 1 == 1) => {
            good(name, format!("{what}; by CAP_SYS_ADMIN"))
        }
        Some(false) if number == 21 => note(name, format!("missing: {what}")),
        Some(false) => bad(name, format!("missing: {what}")),
        None => note(name, "unknown: /proc/thread-self/status cannot be read"),
    }
}

/// The set of effective capabilities (proc_pid_status(5)).
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn memory() -> Point {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let accounted =
        version(&rustix::system::uname().release().to_string_lossy()).is_some_and(|version| version >= (5, 11));
    match limit {
        _ if accounted => good("locked_memory", "maps are charged to the cgroup, not to RLIMIT_MEMLOCK (Linux 5.11)"),
        None => good("locked_memory", "unlimited"),
        Some(limit) => note("locked_memory", format!("{limit} bytes; the maps need about 16 MB")),
    }
}

fn lockdown() -> Point {
    let words = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if words.contains("[confidentiality]") {
        bad("lockdown", "the kernel is locked down for confidentiality: programs may not read its memory")
    } else {
        good("lockdown", "programs may read kernel memory")
    }
}

fn jit() -> Point {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => note("jit", "off: programs are interpreted, which is slow"),
        _ => good("jit", "programs are compiled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_capabilities_are_read() {
        for (release, expected) in [
            ("6.18.44-fc-v595", Some((6, 18))),
            ("5.4.0", Some((5, 4))),
            ("6.1-rc3", Some((6, 1))),
            ("plan9", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("CapEff: nonsense\n"), None);
        assert_eq!(effective(""), None);
    }
}
