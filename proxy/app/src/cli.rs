//! The command line.
//!
//! Exit codes: 0 done · 1 the configuration or the system did not allow it, or nobody answered · 2 wrong usage ·
//! 3 `run`: connections were cut · 4 `run`: a worker died of a bug.

use crate::{
    admin::client::Address,
    assembly::{Plane, Rejected, Source},
    control::{self, Exit, Hooks},
    demo, descriptors, log,
};
use clap::{Args, Parser, Subcommand};
use pillion_config::{Loaded, model::AdminAddress};
use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// A lightweight sidecar proxy.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Run(Run),
    /// Validate a configuration and everything it refers to.
    Check {
        /// The configuration.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Run an application and the proxy before it, to look around.
    Demo {
        /// Exit by itself after this time.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        exit_after: Option<Duration>,
    },
    /// Wait until a running proxy is ready.
    Wait(Remote),
    /// Ask a running proxy to drain and exit, and wait until it has.
    Quit(Remote),
}

#[derive(Debug, Args)]
struct Run {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", required_unless_present = "listen")]
    config: Option<PathBuf>,
    /// Without a file: where to listen, as 0.0.0.0:8080.
    #[arg(long, value_name = "ADDRESS", requires = "upstream", conflicts_with = "config", value_parser = listen)]
    listen: Option<SocketAddr>,
    /// Without a file: where requests go, as 127.0.0.1:3000 or app.local:3000.
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    upstream: Option<String>,
    /// Without a file: where the admin pages are, as 127.0.0.1:15000 or unix:/run/pillion.sock; `none` for nowhere.
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    admin: Option<String>,
    /// How much is logged to stderr: off, error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: log::Level,
}

#[derive(Debug, Args)]
struct Remote {
    /// The proxy's admin address (default: $PILLION_ADMIN, or 127.0.0.1:15000).
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    admin: Option<Address>,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

/// Where a proxy's admin pages are by default.
const ADMIN: &str = "127.0.0.1:15000";
/// Time between two questions while waiting.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Does what the command line says. `plane` makes the data path; it is called for `run` and `demo` alone.
pub fn main<P: Plane>(plane: impl FnOnce() -> P) -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => {
            log::install(run.log_level);
            control::run(plane(), run.source(), Hooks::default()).into()
        }
        Command::Check { config } => check(&config),
        Command::Schema => {
            // A reader that has seen enough closes the pipe: no error of ours.
            writeln!(io::stdout(), "{}", pillion_config::schema()).ok();
            ExitCode::SUCCESS
        }
        Command::Demo { exit_after } => demo::run(plane, exit_after),
        Command::Wait(remote) => finish(remote.wait()),
        Command::Quit(remote) => finish(remote.quit()),
    }
}

impl Run {
    fn source(self) -> Source {
        let Self { config, listen, upstream, admin, log_level: _ } = self;
        match (config, listen, upstream) {
            (Some(file), _, _) => from_file(file),
            (None, Some(listen), Some(upstream)) => {
                Box::new(move || from_addresses(listen, &upstream, admin.as_deref()))
            }
            (None, _, _) => Box::new(|| Err(Rejected("give --config FILE, or --listen and --upstream".to_owned()))),
        }
    }
}

/// The source that is a file.
fn from_file(file: PathBuf) -> Source {
    Box::new(move || Ok(pillion_config::load(&file)?))
}

fn from_addresses(listen: SocketAddr, upstream: &str, admin: Option<&str>) -> Result<Loaded, Rejected> {
    let mut config = pillion_config::simple(listen, upstream)?;
    match admin {
        None => {}
        Some("none") => config.admin.address = None,
        Some(admin) => match admin.parse().map_err(|error| Rejected(format!("--admin: {error}")))? {
            Address::Tcp(address) if !address.ip().is_loopback() => {
                return Err(Rejected(format!(
                    "--admin: {address} is not a loopback address: everybody could stop the proxy"
                )));
            }
            Address::Tcp(address) => config.admin.address = Some(AdminAddress::Tcp(address)),
            Address::Unix(path) => config.admin.address = Some(AdminAddress::Unix(path)),
        },
    }
    Ok(Loaded { config, warnings: Vec::new(), files: Vec::new() })
}

fn check(file: &Path) -> ExitCode {
    match pillion_config::load(file) {
        Ok(Loaded { config, warnings, .. }) => {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
            descriptors::raise();
            if let Some(words) = descriptors::shortage(&config) {
                eprintln!("warning: {words}");
            }
            println!("ok: {} listeners, {} clusters", config.listeners.len(), config.clusters.len());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            Exit::NotStarted.into()
        }
    }
}

impl Remote {
    fn address(&self) -> Result<Address, String> {
        if let Some(address) = &self.admin {
            return Ok(address.clone());
        }
        let text = std::env::var("PILLION_ADMIN").unwrap_or_else(|_| ADMIN.to_owned());
        text.parse().map_err(|error| format!("PILLION_ADMIN: {error}"))
    }

    fn wait(&self) -> Result<(), String> {
        let address = self.address()?;
        let last = Instant::now() + self.timeout;
        loop {
            let reason = match address.ask("GET", "/ready", left(last).min(ANSWER)) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => answer.body.trim().to_owned(),
                Err(error) => format!("{error} (is it running, and is this its admin address? --admin tells another)"),
            };
            if left(last).is_zero() {
                return Err(format!("not ready after {:?}: {address}: {reason}", self.timeout));
            }
            std::thread::sleep(ASK_EVERY.min(left(last)));
        }
    }

    fn quit(&self) -> Result<(), String> {
        let address = self.address()?;
        let last = Instant::now() + self.timeout;
        let answer = address.ask("POST", "/quitquitquit", left(last).min(ANSWER)).map_err(|error| {
            format!("{address}: {error} (is it running, and is this its admin address? --admin tells another)")
        })?;
        if answer.status != 200 {
            return Err(format!("{address}: refused with {}: {}", answer.status, answer.body.trim()));
        }
        // It answers as long as it lives.
        while address.ask("GET", "/livez", left(last).min(ANSWER)).is_ok() {
            if left(last).is_zero() {
                return Err(format!("still draining after {:?}: {address}", self.timeout));
            }
            std::thread::sleep(ASK_EVERY.min(left(last)));
        }
        Ok(())
    }
}

fn left(last: Instant) -> Duration {
    last.saturating_duration_since(Instant::now())
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("pillion: {words}");
            ExitCode::FAILURE
        }
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    // `:8080` is how many other tools write "every address".
    let text = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    text.parse().map_err(|_| "write an address and a port, as 0.0.0.0:8080 or [::]:8080".to_owned())
}

fn level(text: &str) -> Result<log::Level, log::UnknownLevel> {
    text.parse()
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|error: crate::admin::client::NotAnAddress| error.to_string())
}

/// `300ms`, `5s`, `2m`, `1h`, or seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed.ok_or_else(|| "write a number and a unit, as 500ms, 5s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_needs_a_file_or_two_addresses() {
        for (line, good) in [
            ("run --config p.yaml", true),
            ("run --listen :8080 --upstream 127.0.0.1:3000", true),
            ("run --listen :8080 --upstream app:3000 --admin none --log-level debug", true),
            ("run", false),
            ("run --listen :8080", false),
            ("run --upstream 127.0.0.1:3000", false),
            ("run --config p.yaml --listen :8080 --upstream app:3000", false),
            ("run --listen 8080 --upstream app:3000", false),
            ("run --config p.yaml --log-level loud", false),
            ("wait --timeout 5s --admin unix:/run/p.sock", true),
            ("quit --timeout soon", false),
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("pillion").chain(line.split(' ')));
            assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
        }
    }

    #[test]
    fn the_admin_address_stays_on_this_machine() {
        let at = |admin| from_addresses("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:3000", Some(admin));
        assert!(at("0.0.0.0:15000").unwrap_err().to_string().contains("loopback"));
        assert_eq!(at("none").unwrap().config.admin.address, None);
        assert_eq!(at("unix:/run/p").unwrap().config.admin.address, Some(AdminAddress::Unix("/run/p".into())));
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("300ms", 300), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("1.5", 1500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 s", "soon", "infs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
