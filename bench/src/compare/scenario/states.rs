//! Scenarios about a process rather than its speed: idle connections, many routes, reloads, a burst, the start.

use super::{
    Load, SMALL, Scenario, behind,
    generator::{self, Order},
    session::{Processes, Session, VisitError, twice, watched},
};
use crate::compare::{
    measure::interrupt::interrupted,
    peers::{
        Peer,
        find::Program,
        running::{Running, fetch},
        setup::{Forwarding, Setup},
    },
    results::{Figures, Metric, Run, add_memory, figures},
    world::World,
};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Time for a process to settle before its memory is read: longer than timers that give memory back or park what is idle.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two reloads.
const RELOAD_EVERY: Duration = Duration::from_millis(250);

/// Carries a scenario out: for each round, each peer.
pub fn run(session: &mut Session, scenario: Scenario) -> Result<(), VisitError> {
    match scenario {
        Scenario::Idle5000Connections => {
            let tls = Load { protocol: "tls-http1", ..SMALL };
            let http2 = Load { protocol: "http2", ..SMALL };
            [
                (Setup::Http1(Forwarding::Told), SMALL, &[0, 1_000, 5_000][..], ""),
                (Setup::Tls, tls, &[0, 1_000], ", TLS"),
                (Setup::Http2, http2, &[0, 1_000], ", HTTP/2"),
            ]
            .into_iter()
            .try_for_each(|(setup, load, numbers, words)| {
                each(session, scenario, setup, |at| idle(at, load, numbers, words))
            })
        }
        Scenario::Routes5000 => [10, 1_000, 5_000].into_iter().try_for_each(|n| {
            let rounds = session.pace.slow_rounds;
            direct(session, scenario, &routes_step(n), rounds, None, session.pace.window)?;
            each(session, scenario, Setup::Routes(n), move |at| routes(at, n))
        }),
        Scenario::ReloadUnderLoad => {
            let rounds = session.pace.slow_rounds;
            direct(session, scenario, RELOAD_STEP, rounds, Some(RELOAD_RATE), session.pace.reload)?;
            each(session, scenario, Setup::Reload, reload)
        }
        Scenario::Startup => each(session, scenario, Setup::Http1(Forwarding::Told), startup),
        _ => burst(session, scenario),
    }
}

const RELOAD_STEP: &str = "2,000 a second under reloads";
const RELOAD_RATE: f64 = 2_000.0;

fn routes_step(routes: usize) -> String {
    format!("{routes} routes")
}

/// The same load without a proxy, in each round: what the generator and the origin are of the figures.
pub(super) fn direct(
    session: &mut Session,
    scenario: Scenario,
    step: &str,
    rounds: u32,
    rate: Option<f64>,
    seconds: f64,
) -> Result<(), VisitError> {
    for round in 1..=rounds {
        session.progress.now(scenario, round, rounds, Peer::Direct);
        let order = Order { load: SMALL, target: session.world.listening.http1, path: None, rate, seconds };
        let (command, outcome) = generator::send(&session.world, order, || {})?;
        let figures = figures(&outcome, None, rate);
        let run = run_of(scenario, Peer::Direct, round, step, figures);
        let runs = vec![Run { command, outcome: Some(outcome), ..run }];
        session.visited(scenario, Peer::Direct, (Ok(runs), None))?;
    }
    Ok(())
}

/// One peer in one round.
pub(super) struct Visit<'a> {
    pub(super) session: &'a Session,
    scenario: Scenario,
    setup: Setup,
    program: &'a Program,
    round: u32,
}

pub(super) fn each(
    session: &mut Session,
    scenario: Scenario,
    setup: Setup,
    visit: impl Fn(&Visit<'_>) -> Result<Vec<Run>, VisitError>,
) -> Result<(), VisitError> {
    let origin = origin(setup, &session.world);
    let able = session.able(scenario, setup, origin);
    let pace = session.pace;
    let often = matches!(scenario, Scenario::Startup | Scenario::WasmHeaders | Scenario::WasmStorms);
    let rounds = if often { pace.rounds } else { pace.slow_rounds };
    for round in 1..=rounds {
        for program in &able {
            session.progress.now(scenario, round, rounds, program.peer);
            let at = Visit { session, scenario, setup, program, round };
            let runs = twice(|| visit(&at));
            session.visited(scenario, program.peer, runs)?;
        }
    }
    Ok(())
}

impl Visit<'_> {
    fn start(&self) -> Result<Running, VisitError> {
        self.start_with(self.setup, "")
    }

    /// One of several processes of this visit; `label` tells their folders apart.
    pub(super) fn start_with(&self, setup: Setup, label: &str) -> Result<Running, VisitError> {
        let world = &self.session.world;
        let label = format!("{}{}{label}", self.scenario.name(), if label.is_empty() { "" } else { "-" });
        Ok(Running::start(self.program, setup, world, origin(setup, world), &label)?)
    }

    pub(super) fn world(&self) -> &World {
        &self.session.world
    }

    pub(super) fn run(&self, step: &str, figures: Figures) -> Run {
        run_of(self.scenario, self.program.peer, self.round, step, figures)
    }
}

fn run_of(scenario: Scenario, peer: Peer, round: u32, step: &str, figures: Figures) -> Run {
    let step = step.to_owned();
    Run { scenario: scenario.name(), step, peer, round, figures, command: Vec::new(), outcome: None, calls: None }
}

/// Sleeps, but not through a signal.
pub(super) fn rest(time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if interrupted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Where requests of this setup end. None of these scenarios asks for mutual TLS, the one whose origin may be missing.
fn origin(setup: Setup, world: &World) -> SocketAddr {
    behind(setup, &world.listening).unwrap_or(world.listening.http1)
}

fn idle(at: &Visit<'_>, load: Load, numbers: &[u32], words: &str) -> Result<Vec<Run>, VisitError> {
    watched(&mut at.start()?, Processes::Stay, |running| idle_of(at, running, load, numbers, words))
}

fn idle_of(
    at: &Visit<'_>,
    running: &Running,
    load: Load,
    numbers: &[u32],
    words: &str,
) -> Result<Vec<Run>, VisitError> {
    let hold = |connections| generator::hold(at.world(), running.address, load, connections);
    // Code that the first request brings into memory is no connection's.
    hold(1)?.release()?;
    let mut runs = Vec::new();
    let mut empty = None;
    for &connections in numbers {
        let holding = (connections > 0).then(|| hold(connections)).transpose()?;
        rest(SETTLE)?;
        let memory = running.group.memory()?;
        let mut figures = Figures::new();
        add_memory(&mut figures, memory);
        match &holding {
            None => empty = Some(memory.resident),
            Some(holding) => {
                let failed: u64 = holding.held.errors.values().sum();
                if failed > 0 {
                    return Err(VisitError::Differs(format!("idle connections failed: {:?}", holding.held.errors)));
                }
                let grown = memory.resident.saturating_sub(empty.unwrap_or_default());
                #[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^52")]
                figures.insert(Metric::ConnectionMemory, grown as f64 / 1e3 / f64::from(connections));
            }
        }
        let command = holding.as_ref().map(|holding| holding.command.clone()).unwrap_or_default();
        runs.push(Run { command, ..at.run(&format!("{connections} idle connections{words}"), figures) });
        if let Some(holding) = holding {
            holding.release()?;
        }
    }
    Ok(runs)
}

fn routes(at: &Visit<'_>, routes: usize) -> Result<Vec<Run>, VisitError> {
    watched(&mut at.start()?, Processes::Stay, |running| routes_of(at, running, routes))
}

fn routes_of(at: &Visit<'_>, running: &Running, routes: usize) -> Result<Vec<Run>, VisitError> {
    let mut first = Figures::from([(Metric::FirstAnswer, running.first_answer.as_secs_f64() * 1e3)]);
    rest(SETTLE)?;
    add_memory(&mut first, running.group.memory()?);
    let path = format!("/r{}/small", routes - 1);
    let order = |seconds| Order { load: SMALL, target: running.address, path: Some(&path), rate: None, seconds };
    generator::send(at.world(), order(at.session.pace.warmup), || {})?;
    let before = running.group.account()?;
    let (command, outcome) = generator::send(at.world(), order(at.session.pace.window), || {})?;
    first.extend(figures(&outcome, Some(running.group.account()?.since(&before)?), None));
    Ok(vec![Run { command, outcome: Some(outcome), ..at.run(&routes_step(routes), first) }])
}

fn reload(at: &Visit<'_>) -> Result<Vec<Run>, VisitError> {
    watched(&mut at.start()?, Processes::MayChange, |running| reload_of(at, running))
}

fn reload_of(at: &Visit<'_>, running: &Running) -> Result<Vec<Run>, VisitError> {
    let (world, seconds) = (at.world(), at.session.pace.reload);
    let order = |seconds| Order { load: SMALL, target: running.address, path: None, rate: Some(RELOAD_RATE), seconds };
    generator::send(world, order(at.session.pace.warmup), || {})?;
    let before = running.group.memory()?;
    let (mut reloads, mut failure) = (0_u32, None);
    // The look at what is under load comes at seven tenths of the time: from there on nothing is changed any more.
    let (command, outcome) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| generator::send(world, order(seconds), || {}));
        let end = Instant::now() + Duration::from_secs_f64(seconds * 0.8);
        while Instant::now() + RELOAD_EVERY < end && failure.is_none() && !interrupted() {
            std::thread::sleep(RELOAD_EVERY);
            reloads += 1;
            failure = running.reload(world, reloads).err();
        }
        sending.join().unwrap_or_else(|_| Err(io::Error::other("the sending thread died")))
    })?;
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    in_force(running, reloads)?;
    let mut figures = figures(&outcome, None, Some(RELOAD_RATE));
    figures.entry(Metric::Errors).or_insert(0.0);
    figures.insert(Metric::Reloads, f64::from(reloads));
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    figures.insert(Metric::Connections, outcome.connections_opened as f64);
    let mut fresh = Figures::new();
    add_memory(&mut fresh, before);
    rest(SETTLE)?;
    add_memory(&mut figures, running.group.memory()?);
    Ok(vec![
        at.run("before the reloads", fresh),
        Run { command, outcome: Some(outcome), ..at.run(RELOAD_STEP, figures) },
    ])
}

/// Waits until answers come from the last configuration.
fn in_force(running: &Running, generation: u32) -> Result<(), VisitError> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut last = String::new();
    while Instant::now() < end {
        if let Ok(answer) = fetch(running.address, "/small") {
            last = answer.field("x-generation").unwrap_or("none").to_owned();
            if last == generation.to_string() {
                return Ok(());
            }
        }
        rest(Duration::from_millis(20))?;
    }
    Err(VisitError::Differs(format!("configuration {generation} is not in force after 10 s, but {last}")))
}

fn startup(at: &Visit<'_>) -> Result<Vec<Run>, VisitError> {
    let mut runs = Vec::new();
    for number in 0..at.session.pace.starts {
        let mut running = at.start()?;
        let mut figures = Figures::from([(Metric::FirstAnswer, running.first_answer.as_secs_f64() * 1e3)]);
        // Idle is what it says: at rest, not just begun.
        if number == 0 {
            let memory = watched(&mut running, Processes::Stay, |running| {
                rest(SETTLE)?;
                Ok(running.group.memory()?)
            });
            add_memory(&mut figures, memory?);
        }
        runs.push(at.run("start", figures));
    }
    Ok(runs)
}

/// All peers wait for the end of the quiet time together, which is why this one is not made of visits.
fn burst(session: &mut Session, scenario: Scenario) -> Result<(), VisitError> {
    let setup = Setup::Http1(Forwarding::Told);
    let able = session.able(scenario, setup, session.world.listening.http1);
    let pace = session.pace;
    for round in 1..=pace.slow_rounds {
        let mut waiting = Vec::new();
        for program in &able {
            session.progress.now(scenario, round, pace.slow_rounds, program.peer);
            let visit = Visit { session, scenario, setup, program, round };
            match twice(|| steady(&visit).and_then(|steady| Ok((steady, bursting(&visit)?)))) {
                (Ok((mut runs, (running, more))), remark) => {
                    runs.extend(more);
                    waiting.push((program.peer, running, Instant::now()));
                    session.visited(scenario, program.peer, (Ok(runs), remark))?;
                }
                (Err(error), remark) => session.visited(scenario, program.peer, (Err(error), remark))?,
            }
        }
        for (peer, mut running, ended) in waiting {
            let quiet = Duration::from_secs_f64(pace.after_burst);
            let runs = watched(&mut running, Processes::Stay, |running| {
                rest(quiet.saturating_sub(ended.elapsed()))?;
                let mut figures = Figures::new();
                add_memory(&mut figures, running.group.memory()?);
                let step = format!("{} s after the burst", pace.after_burst);
                Ok(vec![run_of(scenario, peer, round, &step, figures)])
            });
            session.visited(scenario, peer, (runs, None))?;
        }
    }
    Ok(())
}

/// Memory while a modest load is on.
fn steady(at: &Visit<'_>) -> Result<Vec<Run>, VisitError> {
    watched(&mut at.start()?, Processes::Stay, |running| {
        Ok(vec![loaded(at, running, "1,000 a second on 100 connections", 100, 1_000.0)?])
    })
}

/// Memory before and in a burst; the process goes on.
fn bursting(at: &Visit<'_>) -> Result<(Running, Vec<Run>), VisitError> {
    let mut running = at.start()?;
    let runs = watched(&mut running, Processes::Stay, |running| {
        let before = loaded(at, running, "50 a second on 10 connections", 10, 50.0)?;
        let burst = loaded(at, running, "5,000 a second on 1,000 connections", 1_000, 5_000.0)?;
        Ok(vec![before, burst])
    })?;
    Ok((running, runs))
}

fn loaded(at: &Visit<'_>, running: &Running, step: &str, connections: u32, rate: f64) -> Result<Run, VisitError> {
    let load = Load { connections, ..SMALL };
    let seconds = at.session.pace.window.max(1.0);
    let order = Order { load, target: running.address, path: None, rate: Some(rate), seconds };
    let mut memory = None;
    let (command, outcome) = generator::send(at.world(), order, || memory = Some(running.group.memory()))?;
    let mut taken = Figures::new();
    if let Some(memory) = memory.transpose()? {
        add_memory(&mut taken, memory);
    }
    let failures = |metric: &Metric| matches!(metric, Metric::Errors | Metric::FailedP50 | Metric::FailedMax);
    taken.extend(figures(&outcome, None, Some(rate)).into_iter().filter(|(metric, _)| failures(metric)));
    Ok(Run { command, outcome: Some(outcome), ..at.run(step, taken) })
}
