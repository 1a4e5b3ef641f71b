//! Scenarios about wasm filters: what one costs a request, what a further machine costs in memory, and what a filter that
//! misbehaves does to a listener it is not on.
//!
//! A filter costs a few percent of a request, less than two runs of the same proxy differ. So processes with and without
//! the filter stand side by side and are measured in turn, in short windows, within one visit.

use super::{
    Load, SMALL, Scenario,
    generator::{self, Order},
    session::{Processes, Session, VisitError, watched},
    states::{Visit, direct, each, rest},
};
use crate::compare::{
    measure::procfs::Memory,
    peers::{
        running::Running,
        setup::{Guest, MACHINES, STORMY, Setup, Storm},
    },
    results::{Figures, Metric, Run, add_memory, figures},
};
use std::{net::SocketAddr, time::Duration};

/// Windows of each process in one visit.
const TURNS: u32 = 6;

/// Carries a scenario out.
pub fn run(session: &mut Session, scenario: Scenario) -> Result<(), VisitError> {
    match scenario {
        Scenario::WasmStorms => storms(session, scenario),
        _ => {
            each(session, scenario, Setup::Wasm(Guest::Noop), costs)?;
            each(session, scenario, Setup::Wasm(Guest::Several), machines)
        }
    }
}

/// The name of a step that others are held against.
pub const NO_FILTER: &str = "no filter";

const STEPS: [(&str, Guest); 3] =
    [(NO_FILTER, Guest::None), ("no-op filter", Guest::Noop), ("header-adding filter", Guest::Adds)];

/// One process, and what its windows brought.
struct Side {
    step: &'static str,
    running: Running,
    cpu: u64,
    requests: u64,
    seconds: f64,
    command: Vec<String>,
}

fn order(target: SocketAddr, seconds: f64) -> Order<'static> {
    Order { load: SMALL, target, path: None, rate: None, seconds }
}

fn costs(at: &Visit<'_>) -> Result<Vec<Run>, VisitError> {
    let mut sides = Vec::new();
    for (step, guest) in STEPS {
        let running = at.start_with(Setup::Wasm(guest), &step.replace(' ', "-"))?;
        generator::send(at.world(), order(running.address, at.session.pace.warmup), || {})?;
        sides.push(Side { step, running, cpu: 0, requests: 0, seconds: 0.0, command: Vec::new() });
    }
    let window = at.session.pace.window / f64::from(TURNS) * 2.0;
    for _ in 0..TURNS {
        for side in &mut sides {
            let target = side.running.address;
            let before = side.running.group.account()?;
            let (command, outcome) = generator::send(at.world(), order(target, window), || {})?;
            if let Some(status) = side.running.group.ended()? {
                return Err(VisitError::Died(format!("{}: {status}; {}", side.step, side.running.last_words())));
            }
            let failed: u64 = outcome.errors.values().sum();
            if failed > 0 {
                return Err(VisitError::Differs(format!("{}: requests failed: {:?}", side.step, outcome.errors)));
            }
            side.cpu += side.running.group.account()?.since(&before)?;
            side.requests += outcome.requests;
            side.seconds += outcome.elapsed_seconds;
            side.command = command;
        }
    }
    let mut runs = Vec::new();
    let mut without = None;
    for side in sides {
        #[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run are far below 2^52")]
        let (cost, rate) =
            (side.cpu as f64 / 1e3 / side.requests.max(1) as f64, side.requests as f64 / side.seconds.max(1e-9));
        let mut measured = Figures::from([
            (Metric::CpuPerRequest, cost),
            (Metric::Throughput, rate),
            (Metric::FirstAnswer, side.running.first_answer.as_secs_f64() * 1e3),
        ]);
        match without {
            None => without = Some(cost),
            Some(without) => {
                measured.insert(Metric::FilterCpu, cost - without);
            }
        }
        add_memory(&mut measured, side.running.group.memory()?);
        runs.push(Run { command: side.command, ..at.run(side.step, measured) });
    }
    Ok(runs)
}

/// Resident memory with one machine and with several, each of which has served.
fn machines(at: &Visit<'_>) -> Result<Vec<Run>, VisitError> {
    let served = |guest: Guest, label: &str| -> Result<Memory, VisitError> {
        watched(&mut at.start_with(Setup::Wasm(guest), label)?, Processes::Stay, |running| {
            generator::send(at.world(), order(running.address, at.session.pace.warmup.max(1.0)), || {})?;
            rest(Duration::from_secs(2))?;
            Ok(running.group.memory()?)
        })
    };
    let one = served(Guest::Noop, "one-machine")?;
    let several = served(Guest::Several, "several-machines")?;
    let mut measured = Figures::new();
    add_memory(&mut measured, several);
    #[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^52")]
    let each = several.resident.saturating_sub(one.resident) as f64 / 1e3 / (MACHINES - 1) as f64;
    measured.insert(Metric::MachineMemory, each);
    Ok(vec![at.run(&format!("{MACHINES} machines"), measured)])
}

/// Load on the listener that is watched, and on the one with the filter.
const WATCHED: (f64, u32) = (2_000.0, 32);
const STORMED: (f64, u32) = (500.0, 8);

fn storms(session: &mut Session, scenario: Scenario) -> Result<(), VisitError> {
    let all = [
        (NO_FILTER, Storm::None),
        ("1 in 10 requests traps", Storm::Traps),
        ("every request spins", Storm::Spins),
        ("every request leaks 1 MiB", Storm::Leaks),
    ];
    let (rounds, seconds) = (session.pace.rounds, storm_seconds(session));
    direct(session, scenario, NO_FILTER, rounds, Some(WATCHED.0), seconds)?;
    each(session, scenario, Setup::Storm(Storm::Traps), move |at| {
        all.into_iter().map(|(step, storm)| stormed(at, step, storm)).collect()
    })
}

/// What is bounded is a share of the time in the long run: who dies the first time is started at once, and only the second death is paid
/// for. Shorter windows show little else.
fn storm_seconds(session: &Session) -> f64 {
    session.pace.window.max(20.0)
}

fn stormed(at: &Visit<'_>, step: &str, storm: Storm) -> Result<Run, VisitError> {
    let mut running = at.start_with(Setup::Storm(storm), &step.replace(' ', "-"))?;
    watched(&mut running, Processes::Stay, |running| stormed_of(at, running, step))
}

fn stormed_of(at: &Visit<'_>, running: &Running, step: &str) -> Result<Run, VisitError> {
    let seconds = storm_seconds(at.session);
    let of = |target, (rate, connections): (f64, u32), seconds| Order {
        load: Load { connections, ..SMALL },
        rate: Some(rate),
        ..order(target, seconds)
    };
    let stormy = SocketAddr::new(STORMY.into(), running.address.port());
    generator::send(at.world(), of(running.address, WATCHED, at.session.pace.warmup), || {})?;
    let before = running.group.account()?;
    let mut memory = None;
    let ((command, watched), (_, bad)) = std::thread::scope(|scope| {
        let storm = scope.spawn(|| generator::send(at.world(), of(stormy, STORMED, seconds), || {}));
        let watched = generator::send(at.world(), of(running.address, WATCHED, seconds), || {
            memory = Some(running.group.memory());
        });
        let storm = storm.join().unwrap_or_else(|_| Err(std::io::Error::other("the sending thread died")));
        Ok::<_, VisitError>((watched?, storm?))
    })?;
    let cpu = running.group.account()?.since(&before)?;
    let mut measured = figures(&watched, None, Some(WATCHED.0));
    measured.entry(Metric::Errors).or_insert(0.0);
    if let Some(memory) = memory.transpose()? {
        add_memory(&mut measured, memory);
    }
    // Whatever was not answered at all, or by something else than the policy's 503, is told apart.
    let refused = bad.non_2xx.get("503").copied().unwrap_or(0);
    let failed: u64 = bad.errors.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    measured.extend([
        (Metric::Refused, refused as f64),
        (Metric::Unanswered, failed.saturating_sub(refused) as f64),
        (Metric::CpuPerRequest, cpu as f64 / 1e3 / (watched.requests + bad.requests + failed).max(1) as f64),
    ]);
    Ok(Run { command, outcome: Some(watched), ..at.run(step, measured) })
}
