//! [`Compiler`]: compiles in a child of the same binary, so that neither its memory nor its time is the proxy's.

use super::{
    Kept,
    child::{Bounds, Outcome, Spare, Wanted, talk},
};
use crate::{engine, vm::log};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Signal, getpid, kill_process},
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Time a module may take. The largest real ones (Go, with a rule engine, 10 MB) take some ten seconds on a slow machine.
const TIME: Duration = Duration::from_secs(120);

/// Bytes that compiling a module may take where nothing else bounds it. Of real ones a Go program of 30 MB was seen to take 433 MiB, one of
/// 2.4 MB 47 MiB, a Rust one of 450 KB 20 MiB: this is twice what the largest module there may be (64 MiB) takes at 15 bytes a byte.
/// What takes more was made to, as one function of 320 KB that took 6 GiB.
pub const MEMORY: u64 = 2 << 30;

/// How modules are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// By this command: it reads the module from its standard input and writes the artefact to its standard output,
    /// as [`compile_main`] does.
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
        /// Bytes it may take, as [`MEMORY`], where those who are served do not leave less.
        memory: u64,
    },
    /// In this process: for tests.
    Here,
}

/// Why there is no compiled module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is no module, or uses what is not supported.
    #[error("{0}")]
    Module(String),
    /// There is no compiler.
    #[error(
        "the compiler cannot be started: {0} (it is this very binary, by /proc/self/exe: /proc must be mounted, and limits of \
         processes and memory leave room for one more)"
    )]
    Start(String),
    /// It was ended from outside, or by what it may not do.
    #[error(
        "the compiler was ended: {0} (where memory is short the kernel does so: raise the limit, or compile the module before, by \
         `pillion check` with PILLION_WASM_CACHE on a volume that both have)"
    )]
    Killed(String),
    /// What it takes is not there; it had so many MiB.
    #[error(
        "compiling it takes more memory than is left beside what is served: it was given up at {0} MiB; raise the limit, or compile \
         the module before, by `pillion check` with PILLION_WASM_CACHE on a volume that both have"
    )]
    Memory(u64),
    /// It takes more than any module may. It had so many MiB, of so many.
    #[error(
        "compiling it takes more memory than any module's may: it was given up at {0} MiB of {1} MiB, where a Go program of 30 MB \
         takes 450; single functions of great size take most: build it optimised, or split what is generated into one"
    )]
    Large(u64, u64),
    /// The compiler did not run to its end.
    #[error("the compiler did not run: {0}")]
    Compiler(String),
    /// No configuration names it any more.
    #[error("no configuration names it any more")]
    Unwanted,
    /// It took longer than it may.
    #[error("the compiler took longer than {0:?}")]
    Time(Duration),
    /// The artefact cannot be kept.
    #[error("the compiled module cannot be kept: {0}")]
    Keep(String),
    /// The engine does not take what was compiled.
    #[error("the engine does not take the compiled module: {0}")]
    Engine(String),
}

impl Compiler {
    /// This very binary with these arguments, even if its file was replaced meanwhile.
    #[must_use]
    pub fn myself(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::Child { program: "/proc/self/exe".into(), arguments: arguments.into_iter().collect(), memory: MEMORY }
    }

    pub(super) fn compile(&self, module: &[u8], into: &Kept, wanted: &dyn Fn() -> Wanted) -> Result<(), CompileError> {
        let failed = |error: io::Error| CompileError::Compiler(error.to_string());
        let mut file = into.file.try_clone().map_err(failed)?;
        match self {
            Self::Here => {
                let artefact =
                    engine::compile(module).map_err(|words| CompileError::Module(log::quoted(words.as_bytes())))?;
                file.write_all(&artefact).map_err(failed)
            }
            Self::Child { program, arguments, memory } => {
                let mut child = Command::new(program)
                    .args(arguments)
                    .env_clear()
                    .stdin(Stdio::piped())
                    .stdout(file)
                    .stderr(Stdio::piped())
                    .spawn()
                    .map_err(|error| CompileError::Start(error.to_string()))?;
                let done = wait(&mut child, module, *memory, wanted);
                if done.is_err() {
                    // It is waited for below whether it could be killed or had ended.
                    child.kill().ok();
                    child.wait().ok();
                }
                done
            }
        }
    }
}

/// What those who are served leave to a compiler. Asked where a module is compiled by a child.
static SPARE: Mutex<Option<Arc<Spare>>> = Mutex::new(None);

/// From now on a child that compiles ends where this says that nothing is left, so that nobody is refused, and no filter killed,
/// for the memory that it takes.
pub fn leave_room(spare: Spare) {
    *SPARE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(spare));
}

fn wait(child: &mut Child, module: &[u8], memory: u64, wanted: &dyn Fn() -> Wanted) -> Result<(), CompileError> {
    let failed = |error: io::Error| CompileError::Compiler(error.to_string());
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let bounds = Bounds { until: Instant::now() + TIME, spare: spare.as_deref(), memory };
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    match talk(child, module, &bounds, wanted).map_err(failed)? {
        Outcome::Unwanted => Err(CompileError::Unwanted),
        Outcome::Late => Err(CompileError::Time(TIME)),
        Outcome::Short(taken) => Err(CompileError::Memory(mib(taken))),
        Outcome::Large(taken) => Err(CompileError::Large(mib(taken), mib(memory))),
        Outcome::Ended { status, words } => {
            // Names of the module are among them.
            let words = log::quoted(&words);
            match status.code() {
                Some(0) => Ok(()),
                Some(REFUSED) => Err(CompileError::Module(words)),
                Some(_) => Err(CompileError::Compiler(format!("{status}: {words}"))),
                None => Err(CompileError::Killed(format!("{status} {words}").trim_end().to_owned())),
            }
        }
    }
}

/// The exit code of a child that found the module wrong.
const REFUSED: i32 = 3;

/// What the child does: a module from standard input, its artefact to standard output.
#[must_use]
pub fn compile_main() -> ExitCode {
    end_with_parent();
    // Compiling can wait; what serves requests cannot.
    rustix::process::nice(10).ok();
    // And where the kernel must end somebody it is this. No privilege is needed; without /proc it is left to the kernel.
    fs::write("/proc/self/oom_score_adj", "1000").ok();
    let mut module = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut module);
    if let Err(error) = read {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match engine::compile(&module) {
        Ok(artefact) => {
            let written = output().and_then(|mut output| output.write_all(&artefact));
            match written {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(words) => {
            eprintln!("{words}");
            ExitCode::from(u8::try_from(REFUSED).unwrap_or(1))
        }
    }
}

/// Ends this process as soon as nobody can hear it any more: its standard error is a pipe that the process alone reads which wants
/// the artefact, so its other end closes with that process, however it ends and whoever has started it. (A signal at the parent's
/// death, `PR_SET_PDEATHSIG`, comes when the thread ends that has started this, and not at all if that was before it was asked for.)
/// Where no thread can be had it compiles to its end as before.
fn end_with_parent() {
    let unheard = || {
        let error = io::stderr();
        // A pipe without a reader is an error (poll(2)), which need not be asked for. A file or a terminal never is one.
        let mut ends = [PollFd::new(&error, PollFlags::empty())];
        while let Err(Errno::INTR | Errno::AGAIN) = poll(&mut ends, None) {}
        if ends[0].revents().contains(PollFlags::ERR) {
            kill_process(getpid(), Signal::KILL).ok();
        }
    };
    thread::Builder::new().name("end-with-parent".to_owned()).spawn(unheard).ok();
}

/// Standard output without the line buffer, which would look for line ends in code.
fn output() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}
