//! The words behind `pillion inject` and `pillion injector`: their own options, and one for each setting. Pure.

use super::{
    pod::NodeAgent,
    settings::{KEYS, Key, Settings},
};
use lexopt::{Arg, Parser, ValueExt as _};
use std::fmt::Write as _;

/// An option of a command's own.
#[derive(Debug)]
pub struct Own {
    /// `--long`.
    pub long: &'static str,
    /// `-s`.
    pub short: Option<char>,
    /// What follows it; empty: nothing does.
    pub value: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// A command as its help shows it.
#[derive(Debug)]
pub struct Usage {
    /// Its name.
    pub name: &'static str,
    /// What it does, in some lines.
    pub about: &'static str,
    /// What follows its name.
    pub usage: &'static str,
    /// Its own options.
    pub own: &'static [Own],
    /// Examples.
    pub examples: &'static [&'static str],
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// The settings that follow.
    pub settings: Settings,
    /// The command's own options, in their order.
    pub own: Vec<(&'static str, String)>,
    /// What is no option.
    pub rest: Vec<String>,
}

/// Why there is nothing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help(String),
    /// Something is wrong.
    Wrong(String),
}

/// Reads all words that are left.
///
/// # Errors
/// The first thing that is wrong, or the help that was asked for.
pub fn read(usage: &'static Usage, parser: &mut Parser) -> Result<Written, Stop> {
    let mut written = Written::default();
    let mut seen: Vec<&str> = Vec::new();
    let wrong = |words: String| {
        Stop::Wrong(format!(
            "error: {words}\n\nUsage: pillion {} {}\n\nFor more information, try '--help'.",
            usage.name, usage.usage
        ))
    };
    while let Some(argument) = parser.next().map_err(|error| wrong(error.to_string()))? {
        let (own, key, spelled) = match argument {
            Arg::Short('h') | Arg::Long("help") => return Err(Stop::Help(help(usage))),
            Arg::Value(value) => {
                written.rest.push(value.string().map_err(|error| wrong(error.to_string()))?);
                continue;
            }
            Arg::Short(short) => (usage.own.iter().find(|own| own.short == Some(short)), None, format!("-{short}")),
            Arg::Long(long) => {
                let key = KEYS.iter().find(|key| key.name == long);
                (usage.own.iter().find(|own| own.long == long), key, format!("--{long}"))
            }
        };
        if let Some(Own { long, value: "", .. }) = own {
            written.own.push((long, String::new()));
            continue;
        }
        if own.is_none() && key.is_none() {
            let known = usage.own.iter().map(|own| own.long).chain(KEYS.iter().map(|key| key.name));
            let guess = pillion_config::nearest(spelled.trim_start_matches('-'), known);
            let guess =
                guess.map_or(String::new(), |guess| format!("\n\n  tip: a similar argument exists: '--{guess}'"));
            return Err(wrong(format!("unexpected argument '{spelled}' found{guess}")));
        }
        let value = parser.value().and_then(|value| value.string());
        let value = value.map_err(|_| wrong(format!("a value is required for '{spelled}' but none was supplied")))?;
        if let Some(own) = own {
            written.own.push((own.long, value));
        } else if let Some(Key { name, .. }) = key
            && seen.contains(name)
        {
            return Err(wrong(format!("the argument '{spelled}' cannot be used multiple times")));
        } else if let Some(key) = key {
            seen.push(key.name);
            let set = written.settings.set(key, &value);
            set.map_err(|words| wrong(format!("invalid value '{value}' for '{spelled} <{}>': {words}", key.value)))?;
        }
    }
    Ok(written)
}

fn help(usage: &Usage) -> String {
    let mut text = format!("{}\n\nUsage: pillion {} {}\n\nOptions:\n", usage.about, usage.name, usage.usage);
    for Own { long, short, value, about } in usage.own {
        let short = short.map_or("   ".to_owned(), |short| format!("-{short},"));
        let value = if value.is_empty() { String::new() } else { format!(" <{value}>") };
        let _ = writeln!(text, "  {short} {:<27} {about}", format!("--{long}{value}"));
    }
    let _ = writeln!(text, "  -h, {:<27} Print help", "--help");
    text.push_str("\nSettings, each also an annotation of the pod (pillion.io/NAME), which then wins:\n");
    for Key { name, value, about, .. } in KEYS {
        let _ = writeln!(text, "      --{name} <{value}>\n          {about}");
    }
    text.push_str("\nExamples:");
    for example in usage.examples {
        let _ = write!(text, "\n  {example}");
    }
    text
}

/// `pillion inject`.
pub const INJECT: Usage = Usage {
    name: "inject",
    about: "Put the proxy into the pods of manifests",
    usage: "[OPTIONS] [FILE|FOLDER|-]...",
    own: &[
        Own {
            long: "file",
            short: Some('f'),
            value: "PATH",
            about: "A file, a folder, or - for standard input; as often as wanted",
        },
        Own {
            long: "namespace",
            short: Some('n'),
            value: "NAME",
            about: "Where objects will be that do not say it, as kubectl's --namespace",
        },
        Own { long: "uninject", short: None, value: "", about: "Take the proxy out again" },
        Own { long: "diff", short: None, value: "", about: "Show what would change instead of the manifests" },
    ],
    examples: &[
        "pillion inject -f app.yaml | kubectl apply -f -",
        "helm template chart | pillion inject --identity csi --inbound-tls strict | kubectl apply -f -",
        "pillion inject --diff manifests/",
        "kubectl get deployment web -o yaml | pillion inject --uninject | kubectl replace -f -",
    ],
};

impl Written {
    /// What was written behind `pillion inject`.
    #[must_use]
    pub fn into_request(self) -> super::command::Request {
        let has = |name: &str| self.own.iter().any(|(own, _)| *own == name);
        let (uninject, diff) = (has("uninject"), has("diff"));
        let namespace = self.own.iter().rev().find(|(own, _)| *own == "namespace").map(|(_, name)| name.clone());
        let files = self.own.into_iter().filter(|(own, _)| *own == "file").map(|(_, path)| path).chain(self.rest);
        super::command::Request {
            files: files.map(Into::into).collect(),
            wanted: if uninject { super::workload::Wanted::Uninject } else { super::workload::Wanted::Inject },
            diff,
            namespace,
            settings: self.settings,
        }
    }
}

/// `pillion injector`.
pub const INJECTOR: Usage = Usage {
    name: "injector",
    about: "Serve the admission webhook that puts the proxy into pods as they are made",
    usage: "(--cert <FILE> --key <FILE> | --self-signed <SERVICE.NAMESPACE>) [OPTIONS]",
    own: &[
        Own { long: "listen", short: None, value: "ADDRESS", about: "Where reviews are taken, by TLS [0.0.0.0:9443]" },
        Own {
            long: "probes",
            short: None,
            value: "ADDRESS",
            about: "Where /livez, /readyz and /metrics are [0.0.0.0:9090]",
        },
        Own {
            long: "cert",
            short: None,
            value: "FILE",
            about: "The certificate with its chain, PEM; read again when it changes",
        },
        Own { long: "key", short: None, value: "FILE", about: "Its key, PEM" },
        Own {
            long: "self-signed",
            short: None,
            value: "SERVICE.NAMESPACE",
            about: "Make a certificate for this Service instead",
        },
        Own {
            long: "webhook-config",
            short: None,
            value: "NAME",
            about: "With it: the webhook configurations whose caBundle is told our authority",
        },
        Own {
            long: "no-node-agent",
            short: None,
            value: "",
            about: "No agent captures on the nodes: pods that want --capture node are refused",
        },
    ],
    examples: &[
        "pillion injector --cert /tls/tls.crt --key /tls/tls.key",
        "pillion injector --self-signed pillion-injector.pillion --webhook-config pillion-injector --identity csi",
    ],
};

impl Written {
    /// What was written behind `pillion injector`.
    ///
    /// # Errors
    /// What is missing, or does not go together.
    pub fn into_injector(self) -> Result<crate::injector::Request, Stop> {
        use crate::injector::Source;
        let wrong = |words: &str| {
            Stop::Wrong(format!(
                "error: {words}\n\nUsage: pillion injector {}\n\nFor more information, try '--help'.",
                INJECTOR.usage
            ))
        };
        let node_agent = if self.own.iter().any(|(own, _)| *own == "no-node-agent") {
            NodeAgent::Absent
        } else {
            NodeAgent::Assumed
        };
        let get = |name: &str| self.own.iter().rev().find(|(own, _)| *own == name).map(|(_, value)| value.as_str());
        let address = |name: &str, default: &str| {
            let text = get(name).unwrap_or(default);
            text.parse().map_err(|_| wrong(&format!("--{name}: {text:?} is no address: write one as 0.0.0.0:9443")))
        };
        if let Some(word) = self.rest.first() {
            return Err(wrong(&format!("unexpected argument '{word}' found")));
        }
        let source = match (get("cert"), get("key"), get("self-signed"), get("webhook-config")) {
            (Some(chain), Some(key), None, None) => Source::Files(chain.into(), key.into()),
            (None, None, Some(service), config) => {
                let Some((name, namespace)) = service.split_once('.') else {
                    return Err(wrong("--self-signed: write SERVICE.NAMESPACE, as pillion-injector.pillion"));
                };
                let names = [
                    service.to_owned(),
                    format!("{name}.{namespace}.svc"),
                    format!("{name}.{namespace}.svc.cluster.local"),
                ];
                Source::Own(names.to_vec(), config.map(str::to_owned))
            }
            (Some(_), Some(_), None, Some(_)) => {
                return Err(wrong(
                    "--webhook-config goes with --self-signed: who made the files tells their authority",
                ));
            }
            _ => return Err(wrong("write --cert and --key, or --self-signed")),
        };
        Ok(crate::injector::Request {
            listen: address("listen", "0.0.0.0:9443")?,
            probes: address("probes", "0.0.0.0:9090")?,
            source,
            settings: self.settings,
            node_agent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Written, Stop> {
        read(&INJECT, &mut Parser::from_args(words))
    }

    #[test]
    fn flags_files_and_settings() {
        let request = words(&["-f", "a.yaml", "b/", "--diff", "--mode", "container", "-"]).unwrap().into_request();
        assert_eq!(request.files, ["a.yaml", "b/", "-"].map(std::path::PathBuf::from));
        assert!(request.diff && request.wanted == super::super::workload::Wanted::Inject);
        assert_eq!(request.settings.mode, super::super::settings::Mode::Container);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (given, told) in [
            (&["--mode"][..], "a value is required"),
            (&["--mode", "x"], "not one of native, container"),
            (&["--imgae", "x"], "--image"),
            (&["--image", "a", "--image", "b"], "multiple times"),
        ] {
            let Err(Stop::Wrong(text)) = words(given) else { panic!("{given:?}") };
            assert!(text.contains(told), "{given:?}: {text}");
        }
        let Err(Stop::Help(help)) = words(&["--help"]) else { panic!() };
        assert!(help.contains("--skip-inbound-ports") && help.contains("--uninject"));
    }
}
