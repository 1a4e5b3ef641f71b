//! Scenarios that send requests: the most a proxy bears, then fixed rates, each beside a direct run of the same round.

use super::{
    Load, Pace, Rates, Scenario, behind,
    generator::{self, Order},
    session::{Processes, Session, VisitError, twice, watched},
};
use crate::compare::{
    measure::{
        cores::Role,
        trace::{Calls, Trace},
    },
    peers::{Peer, find::Program, running::Running, setup::Setup},
    results::{Figures, Metric, Run, add_memory, figures},
    world::World,
};
use crate::load::Outcome;
use std::{net::SocketAddr, path::Path};

/// The rate that is the same on every machine.
const FIXED: f64 = 2_000.0;
/// A rate above this share of what a proxy bears measures its queue, not its speed.
const BEARABLE: f64 = 0.8;

/// With fewer requests, what a process does besides them is no small part of its calls.
const FEW: u64 = 100;

/// What one scenario is.
#[derive(Debug, Clone, Copy)]
struct Work {
    scenario: Scenario,
    setup: Setup,
    load: Load,
    origin: SocketAddr,
    rated: Rated,
}

/// Whether there are rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rated {
    /// Requests can be counted.
    Yes,
    /// A stream without end.
    No,
}

/// A rate to measure at.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    name: String,
    rate: f64,
}

/// Carries a scenario out.
pub fn run(
    session: &mut Session,
    scenario: Scenario,
    setup: Setup,
    load: Load,
    rated: Rated,
) -> Result<(), VisitError> {
    let Some(origin) = behind(setup, &session.world.listening) else {
        return Err(VisitError::Differs("the origin has no such port".to_owned()));
    };
    let work = Work { scenario, setup, load, origin, rated };
    let able = session.able(scenario, setup, origin);
    if able.is_empty() {
        return Ok(());
    }
    let steps = match rated {
        Rated::No => Vec::new(),
        Rated::Yes => steps(slowest(session, work, &able)?),
    };
    let pace = session.pace;
    for round in 1..=pace.rounds {
        for who in std::iter::once(None).chain(able.iter().map(Some)) {
            let peer = who.map_or(Peer::Direct, |program| program.peer);
            session.progress.now(scenario, round, pace.rounds, peer);
            let visit = Visit { world: &session.world, pace, work, who, round };
            let runs = twice(|| visit.whole(&steps));
            session.visited(scenario, peer, runs)?;
            // Once is enough: counts hardly vary, and the tracer takes its time.
            if let (Some(strace), Some(program), 1, Rated::Yes) = (session.strace.clone(), who, round, rated) {
                let visit = Visit { world: &session.world, pace, work, who: Some(program), round };
                let run = twice(|| visit.traced(program, &strace));
                session.visited(scenario, peer, run)?;
            }
        }
    }
    Ok(())
}

/// The least of the proxies' maxima, found before the rounds; none if only the fixed rate is wanted.
fn slowest(session: &mut Session, work: Work, able: &[Program]) -> Result<Option<f64>, VisitError> {
    if session.pace.rates == Rates::Fixed {
        return Ok(None);
    }
    let mut slowest: Option<f64> = None;
    for program in able {
        session.progress.now(work.scenario, 0, session.pace.rounds, program.peer);
        let visit = Visit { world: &session.world, pace: session.pace, work, who: Some(program), round: 0 };
        match twice(|| visit.whole(&[])) {
            (Ok(runs), _) => {
                let found = runs.iter().find_map(|run| run.figures.get(&Metric::Throughput)).copied();
                slowest = found.map(|found| slowest.map_or(found, |least| least.min(found))).or(slowest);
            }
            failed => session.visited(work.scenario, program.peer, failed)?,
        }
    }
    Ok(slowest)
}

/// The rates of a scenario. Pure.
fn steps(slowest: Option<f64>) -> Vec<Step> {
    let mut steps = Vec::new();
    if slowest.is_none_or(|slowest| FIXED <= BEARABLE * slowest) {
        steps.push(Step { name: "2,000 a second".to_owned(), rate: FIXED });
    }
    if let Some(slowest) = slowest {
        steps.push(Step { name: "half of the slowest's maximum".to_owned(), rate: (slowest * 0.5).round() });
        steps.push(Step { name: "80 % of the slowest's maximum".to_owned(), rate: (slowest * BEARABLE).round() });
    }
    steps
}

/// One peer in one round, a fresh process.
struct Visit<'a> {
    world: &'a World,
    pace: Pace,
    work: Work,
    who: Option<&'a Program>,
    round: u32,
}

impl Visit<'_> {
    /// Starts the peer, compares its answers, measures: memory of the fresh process, maximum, rates.
    fn whole(&self, steps: &[Step]) -> Result<Vec<Run>, VisitError> {
        let Work { setup, origin, .. } = self.work;
        match self.who {
            Some(program) => {
                let mut running = self.start(program)?;
                watched(&mut running, Processes::Stay, |running| self.through(Some(running), running.address, steps))
            }
            // TLS without a proxy is TLS of the origin.
            None if setup == Setup::Tls => self.through(None, self.world.listening.tls.unwrap_or(origin), steps),
            None => self.through(None, origin, steps),
        }
    }

    fn start(&self, program: &Program) -> Result<Running, VisitError> {
        let Work { scenario, setup, origin, .. } = self.work;
        Ok(Running::start(program, setup, self.world, origin, &scenario.name())?)
    }

    fn through(&self, running: Option<&Running>, target: SocketAddr, steps: &[Step]) -> Result<Vec<Run>, VisitError> {
        let rated = self.work.rated;
        self.compare(target)?;
        let mut runs = Vec::new();
        if let Some(running) = running {
            let mut figures = Figures::new();
            add_memory(&mut figures, running.group.memory()?);
            runs.push(self.run("fresh process", figures));
        }
        self.send(target, None, self.pace.warmup, None)?;
        let maximum = self.send(target, None, self.pace.window, running.map(|running| ("maximum", running)))?;
        let most = maximum.figures.get(&Metric::Throughput).copied().unwrap_or_default();
        runs.push(maximum);
        for step in steps {
            if rated == Rated::Yes && step.rate <= most {
                let measured = running.map(|running| (step.name.as_str(), running));
                let mut run = self.send(target, Some(step.rate), self.pace.window, measured)?;
                run.step.clone_from(&step.name);
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// The same bytes as the origin's, or an error: the generator compares them, here and in every run.
    fn compare(&self, target: SocketAddr) -> Result<(), VisitError> {
        let load = self.work.load;
        let load = Load { connections: 1, streams: 1, ..load };
        // A busy machine may not manage one answer in a moment.
        for seconds in [0.05, 0.5, 5.0] {
            let order = Order { load, target, path: None, rate: None, seconds };
            let (_, outcome) = generator::send(self.world, order, || {})?;
            if !outcome.errors.is_empty() {
                return Err(VisitError::Differs(format!("{:?}", outcome.errors)));
            }
            if outcome.requests + outcome.bytes_received > 0 {
                return Ok(());
            }
        }
        Err(VisitError::Differs("no answer within 5 s".to_owned()))
    }

    /// Sends a load and takes the peer's figures meanwhile.
    fn send(
        &self,
        target: SocketAddr,
        rate: Option<f64>,
        seconds: f64,
        measured: Option<(&str, &Running)>,
    ) -> Result<Run, VisitError> {
        let order = Order { load: self.work.load, target, path: None, rate, seconds };
        let group = measured.map(|(_, running)| &running.group);
        let before = group.map(|group| group.account()).transpose()?;
        let mut memory = None;
        let (command, outcome) = generator::send(self.world, order, || {
            memory = group.map(|group| group.memory());
        })?;
        let after = group.map(|group| group.account()).transpose()?;
        let cpu = before.zip(after).map(|(before, after)| after.since(&before)).transpose()?;
        let mut figures = figures(&outcome, cpu, rate);
        if let Some(memory) = memory.transpose()? {
            add_memory(&mut figures, memory);
        }
        let step = measured.map_or("maximum", |(step, _)| step);
        Ok(Run { command, outcome: Some(outcome), ..self.run(step, figures) })
    }

    /// Counts system calls at the maximum, of a process of its own.
    fn traced(&self, program: &Program, strace: &Path) -> Result<Vec<Run>, VisitError> {
        let mut running = self.start(program)?;
        watched(&mut running, Processes::Stay, |running| {
            self.send(running.address, None, self.pace.warmup, None)?;
            Ok(vec![self.trace(strace, running)?])
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    fn trace(&self, strace: &Path, running: &Running) -> Result<Run, VisitError> {
        let core = self.world.cores.of(Role::Harness);
        let trace = Trace::attach(strace, &running.group.members()?, core, &running.directory)?;
        let before = running.group.account()?;
        // Under the tracer a short window has too few.
        let mut run = self.send(running.address, None, self.pace.window.max(0.5), None)?;
        // Whoever came was not traced from its beginning, and the calls of whoever ended belong to no request counted.
        running.group.account()?.since(&before)?;
        let calls = trace.finish()?;
        let outcome = run.outcome.clone().unwrap_or_default();
        countable(&outcome, &calls)?;
        run.step = "system calls at the maximum".to_owned();
        run.figures = Figures::from([(Metric::SystemCalls, calls.total() as f64 / outcome.requests as f64)]);
        run.calls = Some(calls);
        Ok(run)
    }

    fn run(&self, step: &str, figures: Figures) -> Run {
        Run {
            scenario: self.work.scenario.name(),
            step: step.to_owned(),
            peer: self.who.map_or(Peer::Direct, |program| program.peer),
            round: self.round,
            figures,
            command: Vec::new(),
            outcome: None,
            calls: None,
        }
    }
}

/// Whether calls can be divided by requests.
fn countable(outcome: &Outcome, calls: &Calls) -> Result<(), VisitError> {
    let failed: u64 = outcome.errors.values().sum();
    let why = if failed > 0 {
        format!("{failed} requests failed under strace: {:?}", outcome.errors)
    } else if outcome.requests < FEW {
        format!("{} requests under strace, {FEW} are wanted", outcome.requests)
    } else if calls.total() == 0 {
        "strace counted no call".to_owned()
    } else {
        return Ok(());
    };
    Err(VisitError::Invalid(why))
}

#[cfg(test)]
mod tests {
    use super::{countable, steps};
    use crate::{compare::measure::trace::Calls, load::Outcome};

    #[test]
    fn calls_are_counted_of_enough_requests_without_failures() {
        let calls = Calls([("read".to_owned(), 900)].into());
        let of = |requests, failed| {
            let errors = if failed > 0 { [("closed".to_owned(), failed)].into() } else { Default::default() };
            Outcome { requests, errors, ..Outcome::default() }
        };
        assert!(countable(&of(300, 0), &calls).is_ok());
        for (outcome, calls, said) in [
            (of(300, 1), &calls, "1 requests failed"),
            (of(7, 0), &calls, "7 requests under strace"),
            (of(300, 0), &Calls::default(), "no call"),
        ] {
            assert!(countable(&outcome, calls).unwrap_err().to_string().contains(said));
        }
    }

    fn rates(slowest: Option<f64>) -> Vec<f64> {
        steps(slowest).iter().map(|step| step.rate).collect()
    }

    #[test]
    fn rates_follow_the_slowest() {
        assert_eq!(rates(None), [2000.0]);
        assert_eq!(rates(Some(10_000.0)), [2000.0, 5000.0, 8000.0]);
        assert_eq!(rates(Some(2_400.0)), [1200.0, 1920.0]);
    }
}
