//! The command line.
//!
//! Exit codes: 0 done · 1 the configuration or the system did not allow it, or nobody answered · 2 wrong usage ·
//! 3 `run`: connections were cut · 4 `run`: a worker died of a bug.

mod arguments;
mod command;
mod redirect;
mod rules;
mod values;

use crate::{
    admin::client::Address,
    application::{Caller, WAITED_FOR},
    assembly::{Plane, Rejected, Source},
    control::{self, Exit, Hooks},
    demo, descriptors, filters, folders, in_the_clear, inject, injector, log, secrets, unreachable,
};
use arguments::Stop;
use command::{Command, Quit, Remote, Run};
use pillion_config::{DocumentFile, Loaded, SourceName, model::AdminAddress};
use pillion_core::identity::Secrets;
use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// The exit code of wrong usage.
const WRONG_USAGE: u8 = 2;
/// Where a proxy's admin pages are by default.
const ADMIN: &str = "127.0.0.1:15000";
/// Time between two questions while waiting.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Time between two looks for who reads what we print: a shell makes the rest of a pipeline when its beginning may run already.
const LOOK: Duration = Duration::from_secs(1);
/// How long the proxy may take to leave before it is told whom it waits for.
const EXPLAIN: Duration = Duration::from_secs(5);
/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Does what the command line says. `plane` makes the data path; it is called for `run` and `demo` alone.
pub fn main<P: Plane>(plane: impl FnOnce() -> P) -> ExitCode {
    if filters::asked_to_compile(env::args_os()) {
        return pillion_wasm::compile_main();
    }
    let command = match arguments::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(Stop::Asked(text)) => {
            // A reader that has seen enough closes the pipe: no error of ours.
            writeln!(io::stdout(), "{text}").ok();
            return ExitCode::SUCCESS;
        }
        Err(Stop::Wrong(text)) => {
            eprintln!("{text}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match command {
        Command::Run(run) => {
            log::install(run.log_level());
            control::run(plane(), run.source(), Hooks::default()).into()
        }
        Command::Check { config } => {
            // What filters, their cache and what they log would warn of at a start.
            log::install(log::Level::Warn);
            check(&config)
        }
        Command::Schema => {
            // As above.
            io::stdout().write_all(pillion_config::schema().as_bytes()).ok();
            ExitCode::SUCCESS
        }
        Command::Demo { exit_after } => demo::run(plane, exit_after),
        Command::Wait(remote) => finish(remote.wait()),
        Command::Quit(quit) => finish(quit.run()),
        Command::Drain(remote) => finish(remote.drain()),
        Command::Redirect(redirect) => redirect.run(),
        Command::Rules(rules) => rules.run(),
        Command::Inject(request) => inject(&request),
        Command::Injector(request) => {
            log::install(log::Level::Info);
            injector::run(*request)
        }
    }
}

fn inject(request: &inject::command::Request) -> ExitCode {
    let done = inject::command::run(request, &mut io::stdout().lock(), &mut |words| eprintln!("{words}"));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn source(self) -> Source {
        match self {
            Self::File { config, .. } => from_file(config),
            Self::Addresses { listen, upstream, admin, .. } => {
                Box::new(move || from_addresses(listen, &upstream, admin.as_deref()))
            }
        }
    }
}

/// The source that is a file.
fn from_file(file: PathBuf) -> Source {
    // As everywhere; a pipe is kept for reloads.
    let file = if file.as_os_str() == "-" { PathBuf::from("/dev/stdin") } else { file };
    match file.to_str().and_then(|name| name.strip_prefix("env:")) {
        Some(variable) => {
            let variable = variable.to_owned();
            Box::new(move || from_variable(&variable))
        }
        None => {
            let file = DocumentFile::new(file);
            Box::new(move || Ok(file.load()?))
        }
    }
}

/// The source that is an environment variable, as an injected pod has it: it is there before any volume is, and needs none.
fn from_variable(name: &str) -> Result<Loaded, Rejected> {
    let text = env::var(name).map_err(|error| Rejected(format!("--config env:{name}: {error}")))?;
    Ok(pillion_config::parse(&SourceName::new(format!("${name}")), &text, &pillion_config::read_referenced)?)
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
    match from_file(file.to_owned())() {
        Ok(Loaded { config, warnings, .. }) => {
            for warning in &warnings {
                eprintln!("warning: {warning}");
            }
            for words in unreachable::routes(&config).chain(folders::missing(&config)) {
                eprintln!("warning: {words}");
            }
            for words in in_the_clear::endpoints(&config, in_the_clear::written) {
                eprintln!("warning: {words}");
            }
            let read = secrets::read(&config, &Secrets::default(), None);
            if !read.problems.is_empty() {
                for problem in &read.problems {
                    eprintln!("{problem}");
                }
                return Exit::NotStarted.into();
            }
            for words in secrets::amiss(&read.secrets) {
                eprintln!("warning: {words}");
            }
            descriptors::raise();
            if let Some(words) = descriptors::shortage(&config) {
                eprintln!("warning: {words}");
            }
            let filters = match filters::check(&config) {
                Ok(checked) => checked,
                Err(Rejected(errors)) => {
                    eprint!("{errors}");
                    return Exit::NotStarted.into();
                }
            };
            for name in &filters.unchecked {
                eprintln!("warning: filters: {name}: not loaded: its module is fetched, which `run` does");
            }
            let (listeners, clusters) = (config.listeners.len(), config.clusters.len());
            match filters.loaded {
                0 => println!("ok: {listeners} listeners, {clusters} clusters"),
                loaded => println!("ok: {listeners} listeners, {clusters} clusters, {loaded} filters loaded"),
            }
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

    fn drain(&self) -> Result<(), String> {
        let address = self.address()?;
        let answer =
            address.ask("POST", "/drain_listeners?inboundonly", self.timeout.min(ANSWER)).map_err(|error| {
                format!("{address}: {error} (is it running, and is this its admin address? --admin tells another)")
            })?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{address}: refused with {}: {}", answer.status, answer.body.trim()))
        }
    }
}

impl Quit {
    fn run(&self) -> Result<(), String> {
        let Remote { timeout, .. } = self.remote;
        let address = self.remote.address()?;
        let begun = Instant::now();
        let last = begun + timeout;
        // It would wait for us otherwise, and we for it.
        let path = || {
            let own = Caller::own(&self.except);
            own.map_or("/quitquitquit".to_owned(), |own| format!("/quitquitquit?{}", own.query()))
        };
        let mut asked = path();
        let answer = address.ask("POST", &asked, left(last).min(ANSWER)).map_err(|error| {
            format!("{address}: {error} (is it running, and is this its admin address? --admin tells another)")
        })?;
        if answer.status != 200 {
            return Err(format!("{address}: refused with {}: {}", answer.status, answer.body.trim()));
        }
        let (mut told, mut looked) = (false, begun);
        // It answers as long as it lives.
        while address.ask("GET", "/livez", left(last).min(ANSWER)).is_ok() {
            if left(last).is_zero() {
                return Err(format!("still draining after {timeout:?}: {address}"));
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                let now = path();
                let explains = !told && begun.elapsed() >= EXPLAIN;
                if explains || now != asked {
                    (asked, told) = (now, told || explains);
                    // Asking again changes nothing but who is not waited for, and is answered by who still is.
                    let answer = address.ask("POST", &asked, ANSWER).map(|answer| answer.body).unwrap_or_default();
                    if let (true, Some((_, others))) = (explains, answer.trim().split_once(WAITED_FOR)) {
                        eprintln!(
                            "pillion: the proxy still waits for {others}; --except names what ends only when this has ended"
                        );
                    }
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_stays_on_this_machine() {
        let at = |admin| from_addresses("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:3000", Some(admin));
        assert!(at("0.0.0.0:15000").unwrap_err().to_string().contains("loopback"));
        assert_eq!(at("none").unwrap().config.admin.address, None);
        assert_eq!(at("unix:/run/p").unwrap().config.admin.address, Some(AdminAddress::Unix("/run/p".into())));
    }
}
