//! Instructions a request: the one figure of speed that a busy machine does not change.
//!
//! The built proxy runs under callgrind before an origin of this process and answers first N and then, started anew, 2N
//! requests one after another on one connection. The difference, divided by N, is what a request costs in user space:
//! start and end, the same in both, are gone. The kernel's part is not in it. No wasm filter is: its module is compiled by a
//! child that is this very program, which under valgrind is valgrind.

mod callgrind;

use crate::say::out;
use crate::{
    compare::measure::interrupt::{self, interrupted},
    load::{self, LoadError},
    origin::{self, Listening, Origin, OriginError},
};
use callgrind::Proxy;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    env, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// What `pillion-bench instructions` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The proxy; `pillion` beside this program if not given
    #[arg(long)]
    pub pillion: Option<PathBuf>,
    /// N: the difference between N and 2N requests is counted
    #[arg(long, default_value_t = 2000)]
    pub requests: u64,
    /// Only scenarios whose names contain this
    #[arg(long)]
    pub only: Option<String>,
    /// An earlier run's `--json` to compare with
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// Fail where a scenario costs so many per cent more than in the baseline
    #[arg(long, requires = "baseline")]
    pub tolerance: Option<f64>,
    /// Print JSON: a later run's baseline
    #[arg(long)]
    pub json: bool,
}

/// What was counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Counted {
    /// N.
    pub requests: u64,
    /// Instructions a request, by scenario.
    pub instructions_per_request: BTreeMap<String, f64>,
}

/// Why nothing was counted, or too much.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// No valgrind.
    #[error("valgrind is needed and not there: apt-get install valgrind (or your system's package of that name)")]
    NoValgrind,
    /// No proxy.
    #[error("no proxy at {}: build it (cargo build --profile profiling -p pillion) or name it by --pillion", .0.display())]
    NoProxy(PathBuf),
    /// The proxy ended, or did not begin; its last words.
    #[error("the proxy under callgrind {what}: {words}")]
    Proxy {
        /// What it did.
        what: &'static str,
        /// What it wrote.
        words: String,
    },
    /// Callgrind's file has no sum.
    #[error("callgrind's output has no totals: {0}")]
    NoTotals(PathBuf),
    /// A baseline that is not one.
    #[error("--baseline {}: {error}", path.display())]
    Baseline {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// A baseline of another number of requests.
    #[error("--baseline {}: counted of {then} requests, this is of {now}: a figure of few has more of the first in it; give --requests {then}", path.display())]
    OtherNumber {
        /// Which.
        path: PathBuf,
        /// N now.
        now: u64,
        /// N then.
        then: u64,
    },
    /// A signal.
    #[error("interrupted by a signal; what was started was ended")]
    Interrupted,
    /// More than the baseline allows.
    #[error("more instructions than the baseline allows: {}", .0.join(", "))]
    Regressed(Vec<String>),
    /// No scenario has such a name.
    #[error("--only {0}: no scenario has that in its name")]
    NoScenario(String),
    /// `--requests 0`.
    #[error("--requests: at least 1 is needed")]
    NoRequests,
    /// Requests that were not answered.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The origin.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Files and processes.
    #[error("instructions: {0}")]
    Io(#[from] io::Error),
}

/// One kind of request.
struct Scenario {
    name: &'static str,
    protocol: load::Protocol,
    /// What the cluster speaks, as its configuration says.
    upstream: &'static str,
    target: fn(&Listening) -> SocketAddr,
    path: &'static str,
    body: usize,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "http1_keepalive_small",
        protocol: load::Protocol::Http1,
        upstream: "http1",
        target: |listening| listening.http1,
        path: "/small",
        body: 0,
    },
    Scenario {
        name: "http1_64k",
        protocol: load::Protocol::Http1,
        upstream: "http1",
        target: |listening| listening.http1,
        path: "/64k",
        body: 0,
    },
    Scenario {
        name: "http2_small",
        protocol: load::Protocol::Http2,
        upstream: "http2",
        target: |listening| listening.http2,
        path: "/small",
        body: 0,
    },
    Scenario {
        name: "grpc_unary",
        protocol: load::Protocol::Grpc,
        upstream: "http2",
        target: |listening| listening.http2,
        path: "/bench.Echo/Unary",
        body: 100,
    },
];

/// Counts and prints.
///
/// # Errors
///
/// When it cannot count, or counted more than `--tolerance` allows.
pub fn run(args: &Args) -> Result<(), CountError> {
    let before = args.baseline.as_ref().map(read_baseline).transpose()?;
    if let (Some(path), Some(before)) = (&args.baseline, &before) {
        let (now, then) = (args.requests, before.requests);
        if now != then {
            return Err(CountError::OtherNumber { path: path.clone(), now, then });
        }
    }
    let counted = count(args)?;
    if args.json {
        out!("{}", serde_json::to_string(&counted).map_err(io::Error::from)?);
    } else {
        print(&counted, before.as_ref());
    }
    match (before, args.tolerance) {
        (Some(before), Some(tolerance)) => judge(&counted, &before, tolerance),
        _ => Ok(()),
    }
}

fn count(args: &Args) -> Result<Counted, CountError> {
    if args.requests == 0 {
        return Err(CountError::NoRequests);
    }
    let program = match &args.pillion {
        Some(program) => program.clone(),
        None => env::current_exe()?.with_file_name("pillion"),
    };
    if !program.is_file() {
        return Err(CountError::NoProxy(program));
    }
    callgrind::is_there()?;
    interrupt::install()?;
    let origin = Origin::start(&origin::Args::plain(IpAddr::V4(Ipv4Addr::LOCALHOST)))?;
    let wanted = |scenario: &&Scenario| args.only.as_ref().is_none_or(|only| scenario.name.contains(only));
    let mut counted = Counted { requests: args.requests, ..Counted::default() };
    for scenario in SCENARIOS.iter().filter(wanted) {
        let upstream = (scenario.target)(&origin.listening);
        let run = |requests| -> Result<u64, CountError> {
            let proxy = Proxy::start(&program, upstream, scenario.upstream)?;
            let load = load::Args::one(proxy.address, scenario.protocol, scenario.path, scenario.body);
            load::exactly(&load, requests)?;
            proxy.end()
        };
        let told = |count: Result<u64, CountError>| if interrupted() { Err(CountError::Interrupted) } else { count };
        let (once, twice) = (told(run(args.requests))?, told(run(2 * args.requests))?);
        let each = twice.saturating_sub(once) as f64 / args.requests as f64;
        counted.instructions_per_request.insert(scenario.name.into(), each);
    }
    match &args.only {
        Some(only) if counted.instructions_per_request.is_empty() => Err(CountError::NoScenario(only.clone())),
        _ => Ok(counted),
    }
}

fn read_baseline(path: &PathBuf) -> Result<Counted, CountError> {
    let wrong = |error| CountError::Baseline { path: path.clone(), error };
    let text = fs::read(path).map_err(wrong)?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.into()))
}

fn print(counted: &Counted, before: Option<&Counted>) {
    out!("instructions a request, in user space, of {} requests on one connection", counted.requests);
    for (name, now) in &counted.instructions_per_request {
        match before.and_then(|before| before.instructions_per_request.get(name)) {
            Some(then) => out!("{name:<24} {now:>10.0}  was {then:.0}, {:+.2} %", change(*now, *then)),
            None => out!("{name:<24} {now:>10.0}"),
        }
    }
}

/// In per cent.
fn change(now: f64, then: f64) -> f64 {
    (now / then - 1.0) * 100.0
}

fn judge(counted: &Counted, before: &Counted, tolerance: f64) -> Result<(), CountError> {
    let worse = counted.instructions_per_request.iter().filter_map(|(name, now)| {
        let change = change(*now, *before.instructions_per_request.get(name)?);
        (change > tolerance).then(|| format!("{name} {change:+.2} %"))
    });
    let worse: Vec<_> = worse.collect();
    if worse.is_empty() { Ok(()) } else { Err(CountError::Regressed(worse)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(figures: &[(&str, f64)]) -> Counted {
        let figures = figures.iter().map(|(name, count)| ((*name).into(), *count));
        Counted { requests: 1, instructions_per_request: figures.collect() }
    }

    #[test]
    fn what_grew_beyond_the_tolerance_is_named() {
        let before = counted(&[("a", 1000.0), ("b", 1000.0), ("c", 1000.0)]);
        let now = counted(&[("a", 1009.0), ("b", 1021.0), ("c", 500.0), ("new", 1.0)]);
        assert!(judge(&now, &before, 2.5).is_ok());
        let error = judge(&now, &before, 1.0).unwrap_err().to_string();
        assert!(error.contains("b +2.10 %") && !error.contains("a +"), "{error}");
    }

    #[test]
    fn a_baseline_of_another_number_is_refused() {
        let file = env::temp_dir().join(format!("pillion-bench-baseline-{}", std::process::id()));
        fs::write(&file, serde_json::to_vec(&counted(&[("a", 1.0)])).unwrap()).unwrap();
        let baseline = Some(file.clone());
        let args = Args { pillion: None, requests: 7, only: None, baseline, tolerance: None, json: false };
        let error = run(&args).unwrap_err().to_string();
        fs::remove_file(file).unwrap();
        assert!(error.contains("counted of 1 requests, this is of 7"), "{error}");
    }

    #[test]
    fn a_proxy_that_is_not_there_is_told_with_the_remedy() {
        let (pillion, requests) = (Some("/nowhere/pillion".into()), 1);
        let args = Args { pillion, requests, only: None, baseline: None, tolerance: None, json: false };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("/nowhere/pillion") && error.contains("cargo build"), "{error}");
    }
}
