//! The rules for nftables: one table of both families, replaced as a whole.

use super::{
    Listed, Marked, Place,
    settings::{Families, Family, InboundMode, LINK_LOCAL, Network, RETURN_MARK, Settings},
};
use std::fmt::{Display, Write as _};

/// The table that is ours alone.
pub(super) const TABLE: &str = "pillion_redirect";

/// The chain that keeps the seal. It has no hook: nothing passes it.
const SEAL: &str = "seal";

/// A base chain and its rules, without comments.
struct Chain {
    name: &'static str,
    hook: &'static str,
    rules: Vec<String>,
}

/// The text that makes the table what the settings say, whatever it was: one transaction.
pub(super) fn ruleset(settings: &Settings) -> String {
    // Made if it is not there, so that it can be removed.
    let mut text = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    let digest = digest(settings);
    for Chain { name, hook, rules } in chains(settings) {
        let _ = writeln!(text, "\tchain {name} {{\n\t\t{hook}");
        for (at, rule) in rules.iter().enumerate() {
            let _ = writeln!(text, "\t\t{rule} comment \"{}\"", comment(at, rules.len(), &digest));
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

/// What each rule is known by.
pub(super) fn marked(settings: &Settings) -> Vec<Marked> {
    let digest = digest(settings);
    let marks = |Chain { name, rules, .. }: Chain| {
        let digest = digest.clone();
        (0..rules.len()).map(move |at| Marked { chain: name, comment: comment(at, rules.len(), &digest) })
    };
    chains(settings).into_iter().flat_map(marks).collect()
}

/// Whether `nft list tables` shows the table.
pub(super) fn has_table(listing: &str) -> bool {
    listing.lines().any(|line| line.trim() == format!("table inet {TABLE}"))
}

/// Whether `nft list table` shows that the kernel passes its rules by (`flags dormant`).
pub(super) fn is_dormant(listing: &str) -> bool {
    let flags = listing.lines().filter_map(|line| line.trim().strip_prefix("flags "));
    flags.flat_map(|flags| flags.split([',', ' ', ';'])).any(|flag| flag == "dormant")
}

/// The rules of `nft list ruleset` that leave connections untracked; what is not tracked nobody redirects.
pub(super) fn untracked(listing: &str) -> impl Iterator<Item = String> {
    let leaves = |line: &&str| line.split(' ').any(|word| word == "notrack") && !is_udp_s(line);
    listing.lines().map(str::trim).filter(leaves).map(str::to_owned)
}

/// Whether a rule is about UDP alone, as those before a node's DNS cache are.
pub(super) fn is_udp_s(rule: &str) -> bool {
    let names = |protocol| rule.split([' ', ',']).any(|word| word == protocol);
    names("udp") && !names("tcp")
}

/// What of `nft list table` a seal is of, in lines: all but the seal.
pub(super) fn sealed(listing: &str) -> impl Iterator<Item = String> {
    let mut within = false;
    let ours = move |line: &&str| {
        // Between chains a line is left empty.
        if line.is_empty() {
            return false;
        }
        within |= *line == format!("chain {SEAL} {{");
        let outside = !within;
        within &= *line != "}";
        outside
    };
    listing.lines().map(str::trim).filter(ours).map(str::to_owned)
}

/// The text that puts a seal on the table, in place of another.
pub(super) fn seal(comment: &str) -> String {
    let chain = format!("inet {TABLE} {SEAL}");
    format!("add chain {chain}\nflush chain {chain}\nadd rule {chain} return comment \"{comment}\"\n")
}

/// The rules in `nft list table`, but the seal. A chain without its hook is nobody's: its rules are listed under another name. What
/// else stands in the table, sets and the like, is none of ours either, and stands for a rule of a chain of its name.
pub(super) fn listed(listing: &str) -> Vec<Listed> {
    let mut rules = Vec::new();
    let mut chain = String::new();
    // What stands in the table itself has one tab before it, what is within that has more.
    let mut beside_chains = false;
    for line in listing.lines() {
        let in_table = line.starts_with('\t') && !line.starts_with("\t\t");
        let line = line.trim();
        if in_table && line != "}" {
            beside_chains = !line.starts_with("chain ");
            if beside_chains {
                rules.push(Listed {
                    chain: line.trim_end_matches(" {").to_owned(),
                    place: Place::Table,
                    comment: None,
                });
            }
        }
        if beside_chains {
            continue;
        }
        if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
            chain = format!("{name} (without a hook)");
            continue;
        }
        if line.starts_with("type ") && line.contains(" hook ") {
            if let Some(name) = chain.strip_suffix(" (without a hook)") {
                chain = name.to_owned();
            }
            continue;
        }
        if matches!(line, "" | "}") || line.starts_with("table ") {
            continue;
        }
        let comment = line.rsplit_once("comment \"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        rules.push(Listed { chain: chain.clone(), place: Place::Chain, comment });
    }
    rules.retain(|rule| rule.chain.strip_suffix(" (without a hook)") != Some(SEAL));
    // A table without a rule is there, too.
    if rules.is_empty() {
        rules.push(Listed { chain: "(none)".to_owned(), place: Place::Chain, comment: None });
    }
    rules
}

fn comment(at: usize, of: usize, digest: &str) -> String {
    format!("pillion {}/{of} {digest}", at + 1)
}

/// Of all that is installed: rules of other settings have another.
fn digest(settings: &Settings) -> String {
    let chains = chains(settings);
    let lines = chains
        .iter()
        .flat_map(|chain| [chain.name, chain.hook].into_iter().map(str::to_owned).chain(chain.rules.iter().cloned()));
    super::programs::digest(lines)
}

fn chains(settings: &Settings) -> Vec<Chain> {
    let mut chains = Vec::new();
    if let Some(port) = settings.outbound_port {
        chains.push(Chain {
            name: "outbound",
            hook: "type nat hook output priority -100; policy accept;",
            rules: outbound(settings, port),
        });
    }
    match (settings.inbound_port, settings.inbound_mode) {
        (None, _) => {}
        (Some(port), InboundMode::Redirect) => {
            let mut rules = inbound(settings);
            rules.push(format!("meta l4proto tcp redirect to :{port}"));
            chains.push(Chain {
                name: "inbound",
                hook: "type nat hook prerouting priority -100; policy accept;",
                rules,
            });
        }
        (Some(port), InboundMode::Tproxy) => {
            let mark = settings.mark.unwrap_or_default();
            let mut rules = Vec::new();
            if settings.families != Families::Ipv4 {
                // `fib` looks for it on `lo` and takes our own for a client's; and none can be: its socket is bound to its interface.
                rules.push(format!("iifname \"lo\" ip6 saddr {LINK_LOCAL} return"));
            }
            // What the proxy says to the application in a client's name: the answers must come back to it.
            rules.push(format!("iifname \"lo\" meta mark {mark} fib saddr type != local ct mark set {RETURN_MARK}"));
            rules.extend(inbound(settings));
            // Of connections that this machine made.
            rules.push("ct direction reply return".to_owned());
            for family in settings.families.each() {
                let (guard, name) = match family {
                    Family::Ipv4 => ("ipv4", "ip"),
                    Family::Ipv6 => ("ipv6", "ip6"),
                };
                rules.push(format!(
                    "meta nfproto {guard} meta l4proto tcp tproxy {name} to :{port} meta mark set {RETURN_MARK}"
                ));
            }
            chains.push(Chain {
                name: "inbound",
                hook: "type filter hook prerouting priority -150; policy accept;",
                rules,
            });
            chains.push(Chain {
                name: "answers",
                hook: "type route hook output priority -150; policy accept;",
                rules: vec![format!("ct direction reply ct mark {RETURN_MARK} meta mark set {RETURN_MARK}")],
            });
        }
    }
    chains
}

fn outbound(settings: &Settings, port: u16) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(probe) = settings.probe_port {
        for family in settings.families.each() {
            let address = match family {
                Family::Ipv4 => "ip daddr 127.0.0.1",
                Family::Ipv6 => "ip6 daddr ::1",
            };
            rules.push(format!("{address} tcp dport {probe} redirect to :{port}"));
        }
    }
    rules.extend(one_family(settings));
    rules.push("meta l4proto != tcp return".to_owned());
    rules.extend(one_of("meta skuid", &settings.uids));
    rules.extend(settings.mark.map(|mark| format!("meta mark {mark} return")));
    rules.push("oifname \"lo\" return".to_owned());
    rules.push("fib daddr type local return".to_owned());
    if settings.families != Families::Ipv4 {
        // What is told of the destination afterwards lacks the interface, without which it is nowhere.
        rules.push(format!("ip6 daddr {LINK_LOCAL} return"));
    }
    rules.extend(one_of("meta skuid", &settings.exclude_users));
    rules.extend(one_of("tcp dport", &settings.exclude_outbound_ports));
    rules.extend(networks("daddr", &settings.exclude_outbound_cidrs));
    rules.push(format!("meta l4proto tcp redirect to :{port}"));
    rules
}

fn inbound(settings: &Settings) -> Vec<String> {
    let mut rules: Vec<String> = one_family(settings).into_iter().collect();
    rules.push("iifname \"lo\" return".to_owned());
    rules.push("meta l4proto != tcp return".to_owned());
    rules.extend(one_of("tcp dport", &settings.exclude_inbound_ports));
    rules.extend(networks("saddr", &settings.exclude_inbound_cidrs));
    rules
}

fn one_family(settings: &Settings) -> Option<String> {
    match settings.families {
        Families::Both => None,
        Families::Ipv4 => Some("meta nfproto != ipv4 return".to_owned()),
        Families::Ipv6 => Some("meta nfproto != ipv6 return".to_owned()),
    }
}

fn one_of<T: Display>(what: &str, values: &[T]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    Some(format!("{what} {{ {} }} return", values.join(", ")))
}

fn networks(what: &str, networks: &[Network]) -> Vec<String> {
    let of = |family, name: &str| {
        let networks = networks.iter().filter(|network| network.is_of(family));
        networks.map(|network| format!("{name} {what} {network} return")).collect::<Vec<_>>()
    };
    [of(Family::Ipv4, "ip"), of(Family::Ipv6, "ip6")].concat()
}
