//! A run of the command: what takes part, what was measured so far, how far it is.

use super::{Pace, Scenario};
use crate::compare::{
    measure::{
        interrupt::interrupted,
        procfs::{Account, Changed},
    },
    peers::{
        Peer,
        find::Program,
        running::{self, Running, StartError},
        setup::{self, Setup},
    },
    results::{Gravity, Note, Results, Run},
    world::World,
};
use crate::say::err;
use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// What a scenario works with.
#[derive(Debug)]
pub struct Session {
    /// Cores, origin, generator.
    pub world: World,
    /// How long and how often.
    pub pace: Pace,
    /// The proxies that take part, in order.
    pub programs: Vec<Program>,
    /// `strace`, where there is one.
    pub strace: Option<PathBuf>,
    /// What was measured.
    pub results: Results,
    /// One line for each run as it ends, so that an interrupted command leaves what it had.
    pub lines: File,
    /// What is said meanwhile.
    pub progress: Progress,
}

/// Why a visit to a peer gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The peer did not come up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Generator, files, processes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It answers something else than the origin.
    #[error("answers differ from the origin's: {0}")]
    Differs(String),
    /// What was counted is not what the step is about.
    #[error("not a measurement: {0}")]
    Invalid(String),
    /// It ended while it was measured.
    #[error("it died: {0}")]
    Died(String),
}

impl From<Changed> for VisitError {
    fn from(changed: Changed) -> Self {
        Self::Invalid(format!("{changed} meanwhile, and its CPU time with it"))
    }
}

impl VisitError {
    /// Whether the same visit may go well when it is made again.
    fn is_chance(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Died(_))
    }
}

/// Makes a visit; one that chance spoilt is made once more. What is said of the first is to be noted.
pub fn twice<T>(mut visit: impl FnMut() -> Result<T, VisitError>) -> (Result<T, VisitError>, Option<String>) {
    match visit() {
        Err(error) if error.is_chance() && !interrupted() => match visit() {
            Ok(done) => (Ok(done), Some(format!("a visit was repeated: {error}"))),
            Err(again) => (Err(again), Some(format!("a visit was repeated, in vain: {error}"))),
        },
        done => (done, None),
    }
}

/// Whether a peer's processes may change in a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// Another one was measured from then on.
    Stay,
    /// Reloads replace them.
    MayChange,
}

/// Does something with a peer; an error if it died meanwhile, or one of its processes was replaced, whatever came of it.
pub fn watched<T>(
    running: &mut Running,
    processes: Processes,
    body: impl FnOnce(&Running) -> Result<T, VisitError>,
) -> Result<T, VisitError> {
    let before = settled(running)?;
    let done = body(running);
    if interrupted() {
        return done;
    }
    if let Some(status) = running.group.ended()? {
        return Err(VisitError::Died(format!("{status}; its last words: {}", running.last_words())));
    }
    if processes == Processes::Stay {
        running.group.account()?.processes().since(&before)?;
    }
    done
}

/// The processes of a peer that has just been started, once no more come: nginx listens before it has its worker.
fn settled(running: &Running) -> io::Result<Account> {
    let mut before = running.group.account()?.processes();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(50));
        let now = running.group.account()?.processes();
        if now.since(&before).is_ok() {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

impl Session {
    /// Keeps what a visit brought, or notes why it brought nothing. An error only if the whole command is to end.
    pub fn visited(
        &mut self,
        scenario: Scenario,
        peer: Peer,
        (visit, remark): (Result<Vec<Run>, VisitError>, Option<String>),
    ) -> Result<(), VisitError> {
        if let Some(remark) = remark.filter(|_| !interrupted()) {
            self.note(scenario, peer, Gravity::Remark, remark);
        }
        match visit {
            _ if interrupted() => {
                Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted; everything started was ended").into())
            }
            Ok(runs) => {
                for run in runs {
                    serde_json::to_writer(&self.lines, &run).map_err(io::Error::from)?;
                    self.lines.write_all(b"\n")?;
                    self.results.runs.push(run);
                }
                Ok(())
            }
            Err(error) => {
                let gravity = gravity(&error);
                self.note(scenario, peer, gravity, format!("left out: {error}"));
                Ok(())
            }
        }
    }

    /// Notes something to be said beside the figures, once.
    pub fn note(&mut self, scenario: Scenario, peer: Peer, gravity: Gravity, text: String) {
        let note = Note { scenario: scenario.name(), peer, text, gravity };
        if !self.results.notes.contains(&note) {
            let word = if gravity == Gravity::Failure { "FAILED" } else { "note" };
            self.progress.line(&format!("{word}: {}: {peer}: {}", note.scenario, note.text));
            self.results.notes.push(note);
        }
    }

    /// Those of the proxies whose own check takes the configuration; of the others it is noted why not.
    pub fn able(&mut self, scenario: Scenario, setup: Setup, origin: SocketAddr) -> Vec<Program> {
        let mut able = Vec::new();
        for program in self.programs.clone() {
            match running::check(&program, setup, &self.world, origin) {
                Ok(()) => {
                    if let Some(remark) = setup::remark(program.peer, setup) {
                        self.note(scenario, program.peer, Gravity::Remark, remark.to_owned());
                    }
                    able.push(program);
                }
                Err(error) => {
                    let error = VisitError::from(error);
                    self.note(scenario, program.peer, gravity(&error), error.to_string());
                }
            }
        }
        able
    }
}

/// What a peer cannot do is no failure of the run.
fn gravity(error: &VisitError) -> Gravity {
    if matches!(error, VisitError::Start(StartError::Cannot(_))) { Gravity::Remark } else { Gravity::Failure }
}

/// A line on standard error that says what is done now.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    terminal: bool,
    scenarios: usize,
    done: usize,
}

impl Progress {
    /// Begins with so many scenarios to do.
    #[must_use]
    pub fn new(scenarios: usize) -> Self {
        Self { begun: Instant::now(), terminal: io::stderr().is_terminal(), scenarios, done: 0 }
    }

    /// The next scenario begins.
    pub fn next(&mut self, scenario: Scenario) {
        self.done += 1;
        if !self.terminal {
            self.line(&format!("[{}/{}] {}", self.done, self.scenarios, scenario.name()));
        }
    }

    /// Says what is done now; in place of what was said before, and only where someone looks.
    pub fn now(&self, scenario: Scenario, round: u32, rounds: u32, peer: Peer) {
        if self.terminal {
            let time = clock(self.begun.elapsed().as_secs());
            let (done, scenarios, name) = (self.done, self.scenarios, scenario.name());
            crate::say::to_stderr(format_args!(
                "\r\x1b[K{time} [{done}/{scenarios}] {name}, round {round} of {rounds}: {peer}"
            ));
        }
    }

    /// Says something that stays.
    pub fn line(&self, text: &str) {
        let back = if self.terminal { "\r\x1b[K" } else { "" };
        err!("{back}{} {text}", clock(self.begun.elapsed().as_secs()));
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
