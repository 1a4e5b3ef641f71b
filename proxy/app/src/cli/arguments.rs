//! What the words of the command line mean: a table of commands and their options, and reading it.
//!
//! Pure. A table instead of a framework: the framework's code was a tenth of what is resident in an idle proxy.

use super::{
    command::{Command, Quit, Remote, Run},
    redirect,
    rules::{self, Act, DRY_RUN, Rules},
    values::{address, duration, level, listen, processes},
};
use crate::{inject, log};
use lexopt::Arg;
use std::{
    ffi::OsString,
    fmt::{self, Write as _},
};

/// Why there is nothing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// What was asked for: help, or the version.
    Asked(String),
    /// What is wrong, and what would be right.
    Wrong(String),
}

impl From<inject::arguments::Stop> for Stop {
    fn from(stop: inject::arguments::Stop) -> Self {
        match stop {
            inject::arguments::Stop::Help(text) => Self::Asked(text),
            inject::arguments::Stop::Wrong(text) => Self::Wrong(text),
        }
    }
}

/// A command.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What follows the name.
    pub(super) usage: &'static str,
    pub(super) options: &'static [Opt],
    pub(super) examples: &'static [&'static str],
}

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What its value is; empty: it has none.
    pub(super) value: &'static str,
    pub(super) about: &'static str,
}

const CONFIG: Opt = Opt {
    long: "config",
    short: Some('c'),
    value: "FILE",
    about: "The configuration; - is standard input, env:NAME an environment variable that holds it",
};
const REMOTE: &[Opt] = &[
    Opt {
        long: "admin",
        short: None,
        value: "ADDRESS",
        about: "The proxy's admin address [default: $PILLION_ADMIN, or 127.0.0.1:15000]",
    },
    Opt { long: "timeout", short: None, value: "DURATION", about: "How long to wait [default: 60s]" },
];

/// Of `install`: `--dry-run` stands last, where help shows it.
const INSTALL: &[Opt] = &{
    let mut all = [DRY_RUN; rules::OPTIONS.len() + 1];
    let mut at = 0;
    while at < rules::OPTIONS.len() {
        all[at] = rules::OPTIONS[at];
        at += 1;
    }
    all
};

const VERBS: &[Verb] = &[
    Verb {
        name: "run",
        about: "Run the proxy",
        usage: "--config <FILE> | --listen <ADDRESS> --upstream <ADDRESS>",
        options: &[
            CONFIG,
            Opt {
                long: "listen",
                short: None,
                value: "ADDRESS",
                about: "Without a file: where to listen, as 0.0.0.0:8080",
            },
            Opt {
                long: "upstream",
                short: None,
                value: "ADDRESS",
                about: "Without a file: where requests go, as 127.0.0.1:3000 or app.local:3000",
            },
            Opt {
                long: "admin",
                short: None,
                value: "ADDRESS",
                about: "Without a file: where the admin pages are, as 127.0.0.1:15000 or unix:/run/pillion.sock; `none` for nowhere",
            },
            Opt {
                long: "log-level",
                short: None,
                value: "LEVEL",
                about: "How much is logged to stderr: off, error, warn, info, debug, trace [default: info]",
            },
        ],
        examples: &["run --config pillion.yaml", "run --listen 127.0.0.1:8080 --upstream 127.0.0.1:3000"],
    },
    Verb {
        name: "check",
        about: "Validate a configuration and everything it refers to",
        usage: "--config <FILE>",
        options: &[CONFIG],
        examples: &["check --config pillion.yaml"],
    },
    Verb {
        name: "schema",
        about: "Print the JSON Schema of the configuration",
        usage: "",
        options: &[],
        examples: &["schema > pillion.schema.json"],
    },
    Verb {
        name: "demo",
        about: "Run an application and the proxy before it, to look around",
        usage: "[OPTIONS]",
        options: &[Opt { long: "exit-after", short: None, value: "DURATION", about: "Exit by itself after this time" }],
        examples: &["demo --exit-after 10s"],
    },
    Verb {
        name: "wait",
        about: "Wait until a running proxy is ready",
        usage: "[OPTIONS]",
        options: REMOTE,
        examples: &["wait --timeout 10s", "wait --admin unix:/run/pillion.sock"],
    },
    Verb {
        name: "quit",
        about: "Ask a running proxy to drain and exit, and wait until it has",
        usage: "[OPTIONS]",
        options: &[
            REMOTE[0],
            REMOTE[1],
            Opt {
                long: "except",
                short: None,
                value: "PROCESSES",
                about: "Whom a proxy that sees the pod's processes is not to wait for, as numbers with commas between: what ends only \
                        with its container, as $! of `tail -f log &`. It waits for all others but this command, its ancestors \
                        and who reads what they print, as `| tee log`",
            },
        ],
        examples: &["quit --timeout 30s", "quit --except 12,15"],
    },
    redirect::PROBE,
    redirect::ATTACH,
    redirect::AGENT,
    redirect::SWITCH,
    redirect::DETACH,
    redirect::STATUS,
    Verb {
        name: "drain",
        about: "Tell a running sidecar that its pod ends: inbound connections leave, outbound ones go on",
        usage: "[OPTIONS]",
        options: REMOTE,
        examples: &["drain"],
    },
    Verb {
        name: "redirect rules install",
        about: "Install the netfilter rules that send connections to the proxy, or repair them",
        usage: "--uid <LIST> | --mark <NUMBER> [OPTIONS]",
        options: INSTALL,
        examples: &[
            "redirect rules install --uid 1337",
            "redirect rules install --mark 1337 --inbound-mode tproxy --dry-run",
        ],
    },
    Verb {
        name: "redirect rules check",
        about: "Say whether exactly these netfilter rules are installed",
        usage: "--uid <LIST> | --mark <NUMBER> [OPTIONS]",
        options: rules::OPTIONS,
        examples: &["redirect rules check --uid 1337"],
    },
    Verb {
        name: "redirect rules remove",
        about: "Remove all netfilter rules of the proxy, whatever their settings were",
        usage: "",
        options: &[],
        examples: &["redirect rules remove"],
    },
    // Its options are the settings of an injection, which `inject::arguments` reads.
    Verb {
        name: "inject",
        about: "Put the sidecar into the pods of Kubernetes manifests",
        usage: "",
        options: &[],
        examples: &[],
    },
    Verb {
        name: "injector",
        about: "Serve the admission webhook that puts the sidecar into pods as they are made",
        usage: "",
        options: &[],
        examples: &[],
    },
];

/// Reads the words after the program's name.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    // `help run` asks what `run --help` asks.
    if words.first().is_some_and(|word| word == "help") {
        words.remove(0);
        words.push("--help".into());
    }
    let mut parser = lexopt::Parser::from_args(words);
    let word = match parser.next().map_err(|error| wrong(&error, None))? {
        None => return Err(Stop::Wrong(help())),
        Some(Arg::Short('h') | Arg::Long("help")) => return Err(Stop::Asked(help())),
        Some(Arg::Short('V') | Arg::Long("version")) => {
            return Err(Stop::Asked(format!("pillion {}", env!("CARGO_PKG_VERSION"))));
        }
        Some(Arg::Value(word)) => word.to_string_lossy().into_owned(),
        Some(other) => return Err(wrong(&format_args!("unexpected argument '{}' found", written(&other)), None)),
    };
    let word = whole(word, &mut parser)?;
    let Some(verb) = VERBS.iter().find(|verb| verb.name == word) else {
        let tip = tip("subcommand", "", &word, VERBS.iter().map(|verb| verb.name));
        return Err(wrong(&format_args!("unrecognized subcommand '{word}'{tip}"), None));
    };
    if verb.name == "inject" {
        let written = inject::arguments::read(&inject::arguments::INJECT, &mut parser).map_err(Stop::from)?;
        return Ok(Command::Inject(Box::new(written.into_request())));
    }
    if verb.name == "injector" {
        let written = inject::arguments::read(&inject::arguments::INJECTOR, &mut parser).map_err(Stop::from)?;
        return Ok(Command::Injector(Box::new(written.into_injector().map_err(Stop::from)?)));
    }
    let given = Given::read(verb, &mut parser)?;
    match verb.name {
        "run" => given.run().map(Command::Run),
        "check" => Ok(Command::Check { config: given.required("config")?.into() }),
        "schema" => Ok(Command::Schema),
        "demo" => Ok(Command::Demo { exit_after: given.read_as("exit-after", duration)? }),
        "wait" => given.remote().map(Command::Wait),
        "drain" => given.remote().map(Command::Drain),
        "redirect rules install" => Rules::read(&given, Act::Install).map(Command::Rules),
        "redirect rules check" => Rules::read(&given, Act::Check).map(Command::Rules),
        "redirect rules remove" => Rules::read(&given, Act::Remove).map(Command::Rules),
        "quit" => given.quit().map(Command::Quit),
        name => given.redirect(name).map(Command::Redirect),
    }
}

/// The name of a command of several words, as far as it is written: `redirect rules install`.
fn whole(mut word: String, parser: &mut lexopt::Parser) -> Result<String, Stop> {
    let goes_on =
        |word: &str| VERBS.iter().any(|verb| verb.name.strip_prefix(word).is_some_and(|r| r.starts_with(' ')));
    while goes_on(&word) {
        let below = || VERBS.iter().filter(|verb| verb.name.starts_with(&format!("{word} ")));
        match parser.next().map_err(|error| wrong(&error, None))? {
            Some(Arg::Value(next)) => word = format!("{word} {}", next.to_string_lossy()),
            Some(Arg::Short('h') | Arg::Long("help")) => {
                let words = format!("Usage: pillion {word} <COMMAND>\n\nCommands:\n{}", listed(below()));
                return Err(Stop::Asked(words));
            }
            Some(_) | None => {
                let words = format!("'{word}' is followed by a subcommand:\n\n{}", listed(below()));
                return Err(wrong(&words, None));
            }
        }
    }
    Ok(word)
}

fn listed(verbs: impl Iterator<Item = &'static Verb>) -> String {
    let lines: Vec<String> = verbs.map(|verb| format!("  pillion {:<24} {}", verb.name, verb.about)).collect();
    lines.join("\n")
}

/// The options of a command that are written, each once.
pub(super) struct Given {
    verb: &'static Verb,
    values: Vec<(&'static Opt, OsString)>,
}

impl Given {
    fn read(verb: &'static Verb, parser: &mut lexopt::Parser) -> Result<Self, Stop> {
        let mut values: Vec<(&'static Opt, OsString)> = Vec::new();
        while let Some(argument) = parser.next().map_err(|error| wrong(&error, Some(verb)))? {
            let option = match &argument {
                Arg::Short('h') | Arg::Long("help") => return Err(Stop::Asked(verb.help())),
                Arg::Short(short) => verb.options.iter().find(|option| option.short == Some(*short)),
                Arg::Long(long) => verb.options.iter().find(|option| option.long == *long),
                Arg::Value(_) => None,
            };
            let Some(option) = option else {
                let tip = match argument {
                    Arg::Long(long) => tip("argument", "--", long, verb.options.iter().map(|option| option.long)),
                    _ => String::new(),
                };
                let words = format!("unexpected argument '{}' found{tip}", written(&argument));
                return Err(wrong(&words, Some(verb)));
            };
            if values.iter().any(|(earlier, _)| *earlier == option) {
                return Err(wrong(&format_args!("the argument '{option}' cannot be used multiple times"), Some(verb)));
            }
            if option.value.is_empty() {
                values.push((option, OsString::new()));
                continue;
            }
            // What looks like an option is not its value: something is missing before it.
            let value = parser.value().ok().filter(|value| !value.as_encoded_bytes().starts_with(b"--"));
            let Some(value) = value else {
                let words = format!("a value is required for '{option}' but none was supplied");
                return Err(wrong(&words, Some(verb)));
            };
            values.push((option, value));
        }
        Ok(Self { verb, values })
    }

    pub(super) fn option(&self, long: &str) -> Option<&(&'static Opt, OsString)> {
        self.values.iter().find(|(option, _)| option.long == long)
    }

    pub(super) fn required(&self, long: &str) -> Result<OsString, Stop> {
        self.option(long).map(|(_, value)| value.clone()).ok_or_else(|| self.missing(long))
    }

    fn missing(&self, long: &str) -> Stop {
        let option = self.verb.options.iter().find(|option| option.long == long);
        let option = option.map_or(String::new(), Opt::to_string);
        wrong(&format_args!("the following required arguments were not provided:\n  {option}"), Some(self.verb))
    }

    pub(super) fn has(&self, long: &str) -> bool {
        self.option(long).is_some()
    }

    pub(super) fn wrong(&self, words: &dyn fmt::Display) -> Stop {
        wrong(words, Some(self.verb))
    }

    pub(super) fn read_as<T, E: fmt::Display>(
        &self,
        long: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Stop> {
        let Some((option, value)) = self.option(long) else {
            return Ok(None);
        };
        let invalid = |reason: &dyn fmt::Display| {
            let value = value.to_string_lossy();
            wrong(&format_args!("invalid value '{value}' for '{option}': {reason}"), Some(self.verb))
        };
        let text = value.to_str().ok_or_else(|| invalid(&"not UTF-8 text"))?;
        read(text).map(Some).map_err(|error| invalid(&error))
    }

    pub(super) fn text(&self, long: &str) -> Result<Option<String>, Stop> {
        self.read_as(long, |text| Ok::<_, std::convert::Infallible>(text.to_owned()))
    }

    fn remote(&self) -> Result<Remote, Stop> {
        let default = Remote::default();
        Ok(Remote {
            admin: self.read_as("admin", address)?,
            timeout: self.read_as("timeout", duration)?.unwrap_or(default.timeout),
        })
    }

    fn quit(&self) -> Result<Quit, Stop> {
        let except = self.read_as("except", processes)?.unwrap_or_default();
        Ok(Quit { remote: self.remote()?, except })
    }

    fn run(&self) -> Result<Run, Stop> {
        let log_level = self.read_as("log-level", level)?.unwrap_or(log::Level::Info);
        if self.option("config").is_some() {
            if let Some((other, _)) =
                ["listen", "upstream", "admin"].into_iter().find_map(|without_file| self.option(without_file))
            {
                let words = format!("the argument '{CONFIG}' cannot be used with '{other}'");
                return Err(wrong(&words, Some(self.verb)));
            }
            return Ok(Run::File { config: self.required("config")?.into(), log_level });
        }
        if self.values.iter().all(|(option, _)| option.long == "log-level") {
            return Err(self.missing("config"));
        }
        Ok(Run::Addresses {
            listen: self.read_as("listen", listen)?.ok_or_else(|| self.missing("listen"))?,
            upstream: self.text("upstream")?.ok_or_else(|| self.missing("upstream"))?,
            admin: self.text("admin")?,
            log_level,
        })
    }
}

impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            "" => write!(f, "--{}", self.long),
            value => write!(f, "--{} <{value}>", self.long),
        }
    }
}

impl Verb {
    fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage: {self}\n\nOptions:\n", self.about);
        for option in self.options {
            let short = option.short.map_or("   ".to_owned(), |short| format!("-{short},"));
            let _ = writeln!(text, "  {short} {:<23} {}", option.to_string(), option.about);
        }
        text.push_str("  -h, --help                  Print help\n\nExamples:");
        for example in self.examples {
            let _ = write!(text, "\n  pillion {example}");
        }
        text
    }
}

/// How it is used.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format_args!("pillion {} {}", self.name, self.usage).to_string().trim_end())
    }
}

fn help() -> String {
    let mut text = "A lightweight sidecar proxy\n\nUsage: pillion <COMMAND>\n\nCommands:\n".to_owned();
    for verb in VERBS {
        let _ = writeln!(text, "  {:<22} {}", verb.name, verb.about);
    }
    text.push_str("\nOptions:\n  -h, --help     Print help\n  -V, --version  Print version\n\nExamples:\n");
    text.push_str("  pillion demo\n  pillion run --config pillion.yaml\n  pillion run --help");
    text
}

fn wrong(words: &dyn fmt::Display, verb: Option<&Verb>) -> Stop {
    let usage = verb.map_or_else(|| "pillion <COMMAND>".to_owned(), Verb::to_string);
    Stop::Wrong(format!("error: {words}\n\nUsage: {usage}\n\nFor more information, try '--help'."))
}

/// An argument as it was written.
fn written(argument: &Arg<'_>) -> String {
    match argument {
        Arg::Short(short) => format!("-{short}"),
        Arg::Long(long) => format!("--{long}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    }
}

/// What was probably meant.
fn tip(what: &str, mark: &str, word: &str, known: impl Iterator<Item = &'static str>) -> String {
    pillion_config::nearest(word, known)
        .map_or(String::new(), |known| format!("\n\n  tip: a similar {what} exists: '{mark}{known}'"))
}

#[cfg(test)]
mod tests;
