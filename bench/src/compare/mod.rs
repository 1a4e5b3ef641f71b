//! The head-to-head scenarios: one command finds the peers, measures each in turn, writes a report and leaves nothing
//! running.
//!
//! ```text
//!  peers::find ─► World (cores, certificates, origin) ─► for each scenario, round, peer:
//!      peers::running (configure, start, compare bytes) ─► scenario (generator before it, figures from /proc)
//!                                                    ─► results (runs.jsonl) ─► report (HTML, Markdown, JSON)
//! ```

pub mod measure;
pub mod peers;
pub mod report;
pub mod results;
pub mod scenario;
pub mod world;

use clap::ValueEnum as _;
use measure::{interrupt, machine};
use peers::{
    Peer,
    find::{self, Installs, Program},
};
use results::Results;
use scenario::{
    Kind, Pace, Scenario, requests,
    session::{Progress, Session},
    sockmap, states,
};
use std::{
    env,
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
};
use world::World;

/// What `pillion-bench compare` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these scenarios
    #[arg(long, value_enum, num_args = 1..)]
    pub scenario: Vec<Scenario>,
    /// Only these proxies
    #[arg(long, value_enum, num_args = 1..)]
    pub peer: Vec<Peer>,
    /// The short form, under five minutes: two short rounds, one fixed rate, one round of what takes long
    #[arg(long)]
    pub quick: bool,
    /// Rounds over all proxies
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Seconds of one measurement
    #[arg(long)]
    pub seconds: Option<f64>,
    /// `results.json` of an earlier run to compare with
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// Install missing Debian packages (nginx, HAProxy); as root
    #[arg(long)]
    pub install: bool,
    /// Let the kernel choose cores
    #[arg(long)]
    pub no_pinning: bool,
    /// Where results go; by default `target/bench/` and the time
    #[arg(long)]
    pub output: Option<PathBuf>,
}

impl Args {
    fn pace(&self) -> Pace {
        let mut pace = if self.quick { Pace::quick() } else { Pace::full(5, 3.0) };
        if let Some(rounds) = self.rounds {
            (pace.rounds, pace.slow_rounds) = (rounds.max(1), rounds.max(1));
        }
        pace.window = self.seconds.unwrap_or(pace.window).clamp(0.1, 600.0);
        pace
    }
}

/// Runs the scenarios and writes the report.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let baseline = args.baseline.as_deref().map(read_results).transpose()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the crate lies in the workspace")?;
    let machine = machine::read(root);
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => root.join("target/bench").join(machine.date.replace(' ', "T").replace(':', "")),
    };
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    interrupt::install()?;
    let (programs, missing) = find_all(args, root);
    if interrupt::interrupted() {
        return Err("interrupted by a signal".into());
    }
    if programs.is_empty() {
        return Err(format!("no proxy to measure: {}", missing.join("; ")).into());
    }
    let pace = args.pace();
    let world = World::open(&folder, !args.no_pinning)?;
    let results = Results {
        cores: world.cores.to_string(),
        command: env::args().collect::<Vec<_>>().join(" "),
        rounds: pace.rounds,
        seconds: pace.window,
        versions: programs.iter().map(|program| program.version.clone()).collect(),
        machine,
        missing,
        ..Results::default()
    };
    let scenarios = if args.scenario.is_empty() { Scenario::value_variants() } else { &args.scenario };
    let progress = Progress::new(scenarios.len());
    let lines = File::create(folder.join("runs.jsonl"))?;
    let strace = find::on_path("strace");
    let mut session = Session { world, pace, programs, strace, results, lines, progress };
    if session.strace.is_none() {
        session.results.missing.push("system calls a request: there is no strace".to_owned());
    }
    measure(&mut session, scenarios)?;
    let text = report::write(&folder, &session.results, baseline.as_ref())?;
    session.progress.line("done");
    println!("{}", targets_of(&text));
    println!("report: {0}/report.html, {0}/report.md; figures: {0}/results.json", folder.display());
    Ok(())
}

fn measure(session: &mut Session, scenarios: &[Scenario]) -> Result<(), Box<dyn Error>> {
    for &scenario in scenarios {
        session.world.check()?;
        session.progress.next(scenario);
        match scenario.kind() {
            Kind::Requests(setup, load) => requests::run(session, scenario, setup, load, requests::Rated::Yes)?,
            Kind::Stream(setup, load) => requests::run(session, scenario, setup, load, requests::Rated::No)?,
            Kind::Idle | Kind::Routes | Kind::Reload | Kind::Burst | Kind::Startup => states::run(session, scenario)?,
            Kind::Filters => scenario::filters::run(session, scenario)?,
            Kind::Sockmap => sockmap::run(session, scenario)?,
        }
    }
    Ok(())
}

/// The proxies that are there, and for each that is not the reason; said at once, so that nobody waits for nothing.
fn find_all(args: &Args, root: &Path) -> (Vec<Program>, Vec<String>) {
    let installs = if args.install { Installs::Allowed } else { Installs::Told };
    let (mut programs, mut missing) = (Vec::new(), Vec::new());
    for peer in Peer::PROXIES.into_iter().filter(|peer| args.peer.is_empty() || args.peer.contains(peer)) {
        if interrupt::interrupted() {
            break;
        }
        match find::find(peer, root, installs) {
            Ok(program) => {
                eprintln!("{}: {}", program.version, program.path.display());
                programs.push(program);
            }
            Err(gone) => {
                eprintln!("{peer} is skipped: {}", gone.why);
                missing.push(format!("{peer}: {}", gone.why));
            }
        }
    }
    (programs, missing)
}

fn read_results(file: &Path) -> Result<Results, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: not results of `compare`: {error}", file.display()))
}

/// The part of the report that is worth a terminal.
fn targets_of(report: &str) -> &str {
    let from = report.find("\n## Targets").unwrap_or(report.len());
    let length = report[from..].get(4..).and_then(|rest| rest.find("\n## ")).map_or(report.len() - from, |n| n + 4);
    &report[from..from + length]
}
