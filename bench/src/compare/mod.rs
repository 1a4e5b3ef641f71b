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

use crate::say::{err, out};
use clap::ValueEnum as _;
use measure::{interrupt, machine};
use peers::{
    Peer,
    find::{self, Installs, Program},
    running::Running,
    setup::{Forwarding, Setup},
};
use report::document;
use results::{Gravity, Note, Results};
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
use world::{World, at};

/// What `pillion-bench compare` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these scenarios
    #[arg(long, value_enum, num_args = 1..)]
    pub scenario: Vec<Scenario>,
    /// Only these proxies
    #[arg(long, value_enum, num_args = 1..)]
    pub peer: Vec<Peer>,
    /// The short form: two short rounds, one fixed rate, one round of what takes long
    #[arg(long)]
    pub quick: bool,
    /// Rounds over all proxies; 5 if not given, with --quick 2 and of what takes long 1
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Seconds of one measurement, 0.1 to 600; 3 if not given, with --quick 0.5
    #[arg(long, value_parser = seconds)]
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
    /// Where results go: a folder without results; by default `target/bench/` and the time
    #[arg(long)]
    pub output: Option<PathBuf>,
}

impl Args {
    fn pace(&self) -> Pace {
        let mut pace = if self.quick { Pace::quick() } else { Pace::full(5, 3.0) };
        if let Some(rounds) = self.rounds {
            (pace.rounds, pace.slow_rounds) = (rounds, rounds);
        }
        pace.window = self.seconds.unwrap_or(pace.window);
        pace
    }

    /// What of the options changes figures, beside rounds and seconds.
    fn options(&self) -> String {
        let given = [(self.quick, "--quick"), (self.no_pinning, "--no-pinning")];
        given.into_iter().filter_map(|(given, name)| given.then_some(name)).collect::<Vec<_>>().join(" ")
    }

    /// The scenarios, each once.
    fn scenarios(&self) -> Vec<Scenario> {
        let asked = if self.scenario.is_empty() { Scenario::value_variants() } else { &self.scenario };
        let mut once = Vec::new();
        for &scenario in asked {
            if !once.contains(&scenario) {
                once.push(scenario);
            }
        }
        once
    }

    fn wants(&self, peer: Peer) -> bool {
        self.peer.is_empty() || self.peer.contains(&peer)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=600.0).contains(&seconds) { Ok(seconds) } else { Err("not between 0.1 and 600".to_owned()) }
}

/// Runs the scenarios and writes the report.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let baseline = args.baseline.as_deref().map(read_results).transpose()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the crate lies in the workspace")?;
    let machine = machine::read(root);
    if machine.tracked {
        err!(
            "the kernel tracks connections over loopback (nf_conntrack): all figures are of that; `nft list ruleset` tells for whom"
        );
    }
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => root.join("target/bench").join(machine.date.replace(' ', "T").replace(':', "")),
    };
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let folder = folder.canonicalize().map_err(at(&folder))?;
    // Another run's figures are not to be lost, nor mixed with these.
    if let Some(kept) = ["results.json", "runs.jsonl"].into_iter().find(|name| folder.join(name).exists()) {
        return Err(format!("{} has a run already ({kept}): name another folder by --output", folder.display()).into());
    }
    interrupt::install()?;
    let (programs, missing) = find_all(args, root);
    if interrupt::interrupted() {
        return Err("interrupted by a signal".into());
    }
    if programs.is_empty() {
        return Err(format!("no proxy to measure: {}", missing.join("; ")).into());
    }
    // A comparison without its subject is none.
    if args.wants(Peer::Pillion) && programs.iter().all(|program| program.peer != Peer::Pillion) {
        return Err(format!("nothing was measured: {}; --peer would name the others alone", missing.join("; ")).into());
    }
    let pace = args.pace();
    let world = World::open(&folder, !args.no_pinning)?;
    let results = Results {
        cores: world.cores.to_string(),
        command: command(),
        rounds: pace.rounds,
        seconds: pace.window,
        options: args.options(),
        configurations: peers::setup::digest(),
        versions: programs.iter().map(|program| program.version.clone()).collect(),
        machine,
        missing,
        ..Results::default()
    };
    let scenarios = args.scenarios();
    let progress = Progress::new(scenarios.len());
    let lines = folder.join("runs.jsonl");
    let lines = File::create(&lines).map_err(at(&lines))?;
    let strace = find::on_path("strace");
    let mut session = Session { world, pace, programs, strace, results, lines, progress };
    if session.strace.is_none() {
        session.results.missing.push("system calls a request: there is no strace".to_owned());
    }
    begins(&session)?;
    measure(&mut session, &scenarios)?;
    let text = report::write(&folder, &session.results, baseline.as_ref())?;
    session.progress.line("done");
    out!("{}", targets_of(&text));
    out!("report: {0}/report.html, {0}/report.md; figures: {0}/results.json", folder.display());
    let failed = |note: &&Note| note.peer == Peer::Pillion && note.gravity == Gravity::Failure;
    match session.results.notes.iter().find(failed) {
        None => Ok(()),
        Some(note) => Err(format!("figures of Pillion are missing: {}: {}", note.scenario, note.text).into()),
    }
}

/// The command line as a shell takes it, with what the environment said.
fn command() -> String {
    let named = ["PILLION_BIN", "ENVOY_BIN", "NGINX_BIN", "HAPROXY_BIN", "NGINX_MODULES"];
    let named = named.into_iter().filter_map(|name| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        Some(format!("{name}={}", document::quoted(&[value])))
    });
    let words: Vec<String> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    named.chain([document::quoted(&words)]).collect::<Vec<_>>().join(" ")
}

/// Starts Pillion once, before anybody is measured: where it does not come up, an hour need not pass before that is told.
fn begins(session: &Session) -> Result<(), Box<dyn Error>> {
    let Some(program) = session.programs.iter().find(|program| program.peer == Peer::Pillion) else { return Ok(()) };
    let (setup, world) = (Setup::Http1(Forwarding::Told), &session.world);
    match Running::start(program, setup, world, world.listening.http1, "begins") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("nothing was measured: Pillion {error}").into()),
    }
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
    for peer in Peer::PROXIES.into_iter().filter(|peer| args.wants(*peer)) {
        if interrupt::interrupted() {
            break;
        }
        match find::find(peer, root, installs) {
            Ok(program) => {
                err!("{}: {}", program.version, program.path.display());
                programs.push(program);
            }
            Err(gone) => {
                err!("{peer} is skipped: {}", gone.why);
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

#[cfg(test)]
mod tests {
    use super::{Args, Scenario};
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &str) -> Result<Args, clap::Error> {
        Command::try_parse_from(["compare"].into_iter().chain(words.split_whitespace())).map(|command| command.args)
    }

    #[test]
    fn what_is_no_length_or_number_is_refused() {
        for words in ["--seconds NaN", "--seconds inf", "--seconds 0", "--seconds -1", "--seconds 601", "--rounds 0"] {
            assert!(parse(words).is_err(), "{words}");
        }
        let pace = parse("--seconds 0.25 --rounds 3").unwrap().pace();
        assert_eq!((pace.window, pace.rounds, pace.slow_rounds), (0.25, 3, 3));
    }

    #[test]
    fn a_scenario_named_twice_runs_once() {
        let args = parse("--scenario startup tcp_stream startup").unwrap();
        assert_eq!(args.scenarios(), [Scenario::Startup, Scenario::TcpStream]);
    }
}
