//! `pillion redirect rules …`: its options, and what is done.

use super::arguments::{Given, Opt, Stop};
use crate::rules::{self, Backend, Checked, Done, Families, Hidden, InboundMode, Installed, Network, Settings};
use std::{fmt::Display, process::ExitCode, str::FromStr};

/// What is done with the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Install,
    Check,
    Remove,
    /// Print what `install` would do.
    Show,
}

/// A command about rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub act: Act,
    pub settings: Settings,
}

macro_rules! opt {
    ($long:literal, $value:literal, $about:literal) => {
        Opt { long: $long, short: None, value: $value, about: $about }
    };
}

pub(super) const OPTIONS: &[Opt] = &[
    opt!("uid", "LIST", "The users that the proxy runs as; their connections are left alone"),
    opt!("mark", "NUMBER", "The mark of the proxy's connections (capture.mark); they are left alone"),
    opt!("outbound-port", "PORT", "Where outgoing connections are sent; `none` for nowhere [default: 15001]"),
    opt!("inbound-port", "PORT", "Where incoming connections are sent; `none` for nowhere [default: 15006]"),
    opt!("inbound-mode", "MODE", "redirect, or tproxy, which keeps the client's address [default: redirect]"),
    opt!(
        "probe-port",
        "PORT",
        "capture.probe_port, by which the proxy proves that it captures; `none` [default: 15099]"
    ),
    opt!("exclude-outbound-ports", "LIST", "Outgoing connections to these ports are left alone"),
    opt!("exclude-inbound-ports", "LIST", "Incoming connections to these ports are left alone [default: 15020]"),
    opt!("exclude-outbound-cidrs", "LIST", "Outgoing connections to these networks are left alone"),
    opt!("exclude-inbound-cidrs", "LIST", "Incoming connections from these networks are left alone"),
    opt!("exclude-users", "LIST", "Connections of these users are left alone"),
    opt!("families", "WHICH", "both, ipv4 or ipv6; one that cannot be had is an error [default: both]"),
    opt!("backend", "PROGRAM", "auto, nft, iptables, iptables-nft or iptables-legacy [default: auto]"),
];

/// A flag: it has no value.
pub(super) const DRY_RUN: Opt = opt!("dry-run", "", "Print the rules and change nothing");

impl Rules {
    pub(super) fn read(given: &Given, act: Act) -> Result<Self, Stop> {
        let default = Settings::default();
        let port = |long, default| Ok::<_, Stop>(given.read_as(long, port)?.unwrap_or(default));
        let settings = Settings {
            uids: given.read_as("uid", list)?.unwrap_or_default(),
            mark: given.read_as("mark", mark)?,
            outbound_port: port("outbound-port", default.outbound_port)?,
            inbound_port: port("inbound-port", default.inbound_port)?,
            inbound_mode: given.read_as("inbound-mode", mode)?.unwrap_or(default.inbound_mode),
            probe_port: port("probe-port", default.probe_port)?,
            exclude_outbound_ports: given.read_as("exclude-outbound-ports", list)?.unwrap_or_default(),
            exclude_inbound_ports: given
                .read_as("exclude-inbound-ports", list)?
                .unwrap_or(default.exclude_inbound_ports),
            exclude_outbound_cidrs: given.read_as("exclude-outbound-cidrs", list::<Network>)?.unwrap_or_default(),
            exclude_inbound_cidrs: given.read_as("exclude-inbound-cidrs", list::<Network>)?.unwrap_or_default(),
            exclude_users: given.read_as("exclude-users", list)?.unwrap_or_default(),
            families: given.read_as("families", families)?.unwrap_or(default.families),
            backend: given.read_as("backend", backend)?.unwrap_or(default.backend),
        };
        // What is removed is known without.
        if act == Act::Remove {
            return Ok(Self { act, settings });
        }
        let act = if given.has("dry-run") { Act::Show } else { act };
        settings.validate().map(|settings| Self { act, settings }).map_err(|error| given.wrong(&error))
    }

    /// 0: done, or installed; 1: not, or nobody can tell.
    pub(super) fn run(&self) -> ExitCode {
        let outcome = match self.act {
            Act::Install => rules::install(&self.settings).map(|done| (true, done)),
            Act::Remove => rules::remove().map(|done| (!done.hidden.as_ref().is_some_and(Hidden::is_ours), done)),
            Act::Show => rules::dry_run(&self.settings).map(|done| (true, done)),
            Act::Check => rules::check(&self.settings).map(Self::judge),
        };
        match outcome {
            Ok((good, Done { words, hidden })) => {
                print!("{words}");
                if let Some(hidden) = hidden {
                    eprintln!("pillion: {hidden}");
                }
                if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(failure) => {
                eprintln!("pillion: {failure}");
                ExitCode::FAILURE
            }
        }
    }

    /// Whether exactly these rules stand, and in words.
    fn judge(Checked { installed, tables, untracked, rivals, hidden }: Checked) -> (bool, Done) {
        // It may be for what is none of ours: a node's DNS cache is spared so.
        for rule in untracked {
            eprintln!("pillion: a rule leaves connections untracked, and those are sent nowhere by ours: {rule}");
        }
        for rule in rivals {
            eprintln!("pillion: a rule may be asked before ours, and sends connections elsewhere: {rule}");
        }
        let (good, words) = match installed {
            Installed::Whole => (!hidden.as_ref().is_some_and(Hidden::is_ours), format!("installed ({tables})\n")),
            Installed::Absent => (false, "not installed\n".to_owned()),
            Installed::Partly(words) => {
                (false, format!("partly installed: {words}; `pillion redirect rules install` repairs it\n"))
            }
        };
        (good, Done { words, hidden })
    }
}

pub(super) fn port(text: &str) -> Result<Option<u16>, &'static str> {
    match text {
        "none" => Ok(None),
        text => match text.parse() {
            Ok(port @ 1..) => Ok(Some(port)),
            Ok(0) | Err(_) => Err("write a port from 1 to 65535, or none"),
        },
    }
}

/// Decimal, or hexadecimal as other tools print marks.
fn mark(text: &str) -> Result<u32, &'static str> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(mark @ 1..) => Ok(mark),
        Ok(0) | Err(_) => Err("write a number from 1, as 1337 or 0x539"),
    }
}

fn mode(text: &str) -> Result<InboundMode, &'static str> {
    match text {
        "redirect" => Ok(InboundMode::Redirect),
        "tproxy" => Ok(InboundMode::Tproxy),
        _ => Err("write redirect or tproxy"),
    }
}

fn families(text: &str) -> Result<Families, &'static str> {
    match text {
        "both" => Ok(Families::Both),
        "ipv4" => Ok(Families::Ipv4),
        "ipv6" => Ok(Families::Ipv6),
        _ => Err("write both, ipv4 or ipv6"),
    }
}

fn backend(text: &str) -> Result<Backend, &'static str> {
    match text {
        "auto" => Ok(Backend::Auto),
        "nft" => Ok(Backend::Nft),
        "iptables" => Ok(Backend::Iptables("iptables")),
        "iptables-nft" => Ok(Backend::Iptables("iptables-nft")),
        "iptables-legacy" => Ok(Backend::Iptables("iptables-legacy")),
        _ => Err("write auto, nft, iptables, iptables-nft or iptables-legacy"),
    }
}

fn list<T>(text: &str) -> Result<Vec<T>, String>
where
    T: FromStr<Err: Display>,
{
    text.split(',')
        .map(|part| part.trim().parse().map_err(|error| format!("{part:?}: {error}; several are parted by commas")))
        .collect()
}
