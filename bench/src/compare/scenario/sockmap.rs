//! The redirect of loopback traffic (`ebpf-redirect/`): off, on both legs, on either one; other proxies in the same rounds.
//!
//! Every step is a fresh process, so that each connection is made in the state that is measured. The programs are attached by
//! `pillion redirect attach` as an agent would, before the first connection of the load.

use super::{
    SMALL, Scenario,
    generator::{self, Order},
    session::{Processes, Session, VisitError, twice, watched},
    states::direct,
};
use crate::compare::{
    peers::{
        Peer,
        find::Program,
        running::Running,
        setup::{Forwarding, Setup},
    },
    results::{Figures, Metric, Run, figures},
};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// What the application may be known not to use: the generator and the origin poll.
const WAIVED: &str = "splice,duplex,wait_all";

/// Times that the maps are asked to go, and how long between: connections close meanwhile.
const DETACH: (u32, Duration) = (50, Duration::from_millis(100));

/// Which connections are enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Legs {
    None,
    Both,
    Client,
    Upstream,
}

impl Legs {
    const ALL: [Self; 4] = [Self::None, Self::Both, Self::Client, Self::Upstream];

    const fn step(self) -> &'static str {
        match self {
            Self::None => "TCP on both legs",
            Self::Both => "both legs past TCP",
            Self::Client => "the client's leg past TCP",
            Self::Upstream => "the upstream's leg past TCP",
        }
    }
}

/// Attached as long as it lives.
#[derive(Debug)]
struct Attached {
    program: PathBuf,
    instance: String,
}

impl Attached {
    fn to(program: &Path, running: &Running, legs: Legs) -> io::Result<Option<Self>> {
        let instance = format!("bench-{}", running.group.pid());
        let mut command = Command::new(program);
        command.args(["redirect", "attach", "--instance", &instance, "--waive", WAIVED]);
        if matches!(legs, Legs::Both | Legs::Client) {
            command.args(["--ports", &running.address.port().to_string()]);
        }
        if matches!(legs, Legs::Both | Legs::Upstream) {
            command.args(["--proxy-pid", &running.group.pid().to_string()]);
        }
        if legs == Legs::None {
            return Ok(None);
        }
        let attached = Self { program: program.to_owned(), instance };
        let output = command.output()?;
        if output.status.success() {
            return Ok(Some(attached));
        }
        let words = [output.stdout, output.stderr].concat();
        Err(io::Error::other(format!("the redirect declines: {}", String::from_utf8_lossy(&words).trim())))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let (times, pause) = DETACH;
        for _ in 0..times {
            let done = Command::new(&self.program).args(["redirect", "detach", "--instance", &self.instance]).output();
            match done {
                Ok(done) if String::from_utf8_lossy(&done.stdout).contains("go on through TCP") => thread::sleep(pause),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Carries it out: each proxy in each round, Pillion on every choice of legs.
pub fn run(session: &mut Session, scenario: Scenario) -> Result<(), VisitError> {
    let origin = session.world.listening.http1;
    let able = session.able(scenario, Setup::Http1(Forwarding::BesideAgent), origin);
    let rounds = session.pace.rounds;
    direct(session, scenario, Legs::None.step(), rounds, None, session.pace.window)?;
    for round in 1..=rounds {
        for program in &able {
            session.progress.now(scenario, round, rounds, program.peer);
            let legs = if program.peer == Peer::Pillion { &Legs::ALL[..] } else { &Legs::ALL[..1] };
            for legs in legs.iter().copied() {
                let visit = Visit { session, scenario, program, round, legs };
                let (run, remark) = twice(|| visit.measure(origin));
                let runs = run.map(|run| visit.in_each_step(run));
                session.visited(scenario, program.peer, (runs, remark))?;
            }
        }
    }
    Ok(())
}

/// One peer in one round.
struct Visit<'a> {
    session: &'a Session,
    scenario: Scenario,
    program: &'a Program,
    round: u32,
    legs: Legs,
}

impl Visit<'_> {
    /// The load at its maximum, with the CPU time of the proxy and of the application behind it.
    fn measure(&self, origin: SocketAddr) -> Result<Run, VisitError> {
        let world = &self.session.world;
        // Without a redirect the proxy need not look whether there is more than TCP brought.
        let forwarding = if self.legs == Legs::None { Forwarding::Told } else { Forwarding::BesideAgent };
        let setup = Setup::Http1(forwarding);
        let mut running = Running::start(self.program, setup, world, origin, &self.scenario.name())?;
        // Behind the process: the maps go when its last connection has.
        let attached = Attached::to(&self.program.path, &running, self.legs)?;
        let run = watched(&mut running, Processes::Stay, |running| self.measured(running));
        drop(running);
        drop(attached);
        run
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run are far below 2^52")]
    fn measured(&self, running: &Running) -> Result<Run, VisitError> {
        let world = &self.session.world;
        let order = |seconds| Order { load: SMALL, target: running.address, path: None, rate: None, seconds };
        generator::send(world, order(self.session.pace.warmup), || {})?;
        let usage = || io::Result::Ok((running.group.account()?, world.origin_account()?));
        let before = usage()?;
        let (command, outcome) = generator::send(world, order(self.session.pace.window), || {})?;
        let after = usage()?;
        let (proxy, server) = (after.0.since(&before.0)?, after.1.since(&before.1)?);
        let mut taken: Figures = figures(&outcome, Some(proxy), None);
        if outcome.requests > 0 {
            let both = (proxy + server) as f64 / 1e3 / outcome.requests as f64;
            taken.insert(Metric::CpuWithOrigin, both);
        }
        taken.extend([(Metric::P50, outcome.latency.p50_us), (Metric::P99, outcome.latency.p99_us)]);
        Ok(Run {
            scenario: self.scenario.name(),
            step: self.legs.step().to_owned(),
            peer: self.program.peer,
            round: self.round,
            figures: taken,
            command,
            outcome: Some(outcome),
            calls: None,
        })
    }

    /// Others know no legs: what they needed in this round stands beside each of them.
    fn in_each_step(&self, run: Run) -> Vec<Run> {
        if self.program.peer == Peer::Pillion {
            return vec![run];
        }
        Legs::ALL.iter().map(|legs| Run { step: legs.step().to_owned(), ..run.clone() }).collect()
    }
}
