//! A run of the command: what takes part, what was measured so far, how far it is.

use super::{Pace, Scenario};
use crate::compare::{
    measure::interrupt::interrupted,
    peers::{
        Peer,
        find::Program,
        running::{self, StartError},
        setup::{self, Setup},
    },
    results::{Note, Results, Run},
    world::World,
};
use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    time::Instant,
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
}

impl Session {
    /// Keeps what a visit brought, or notes why it brought nothing. An error only if the whole command is to end.
    pub fn visited(
        &mut self,
        scenario: Scenario,
        peer: Peer,
        visit: Result<Vec<Run>, VisitError>,
    ) -> Result<(), VisitError> {
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
                self.note(scenario, peer, error.to_string());
                Ok(())
            }
        }
    }

    /// Notes something to be said beside the figures, once.
    pub fn note(&mut self, scenario: Scenario, peer: Peer, text: String) {
        let note = Note { scenario: scenario.name(), peer, text };
        if !self.results.notes.contains(&note) {
            self.progress.line(&format!("{}: {peer}: {}", note.scenario, note.text));
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
                        self.note(scenario, program.peer, remark.to_owned());
                    }
                    able.push(program);
                }
                Err(error) => self.note(scenario, program.peer, error.to_string()),
            }
        }
        able
    }
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
            eprint!("\r\x1b[K{time} [{done}/{scenarios}] {name}, round {round} of {rounds}: {peer}");
        }
    }

    /// Says something that stays.
    pub fn line(&self, text: &str) {
        let back = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{back}{} {text}", clock(self.begun.elapsed().as_secs()));
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
