//! Rules of others that send connections elsewhere where ours do, or before: a connection's destination is translated once, by whoever
//! is asked first.
//!
//! Chains of type nat are asked by priority (nft(8), "Chains"), of one priority the latest first. What iptables-legacy keeps nft does not
//! list, and is not looked at. Rules of ours that another backend has installed are no rivals: they are told of as what they are.

use super::{
    iptables, nft,
    settings::{InboundMode, Settings},
};

/// Where our chains of type nat stand.
const OURS: i64 = -100;

/// A table as `nft list ruleset` shows it: whether it is asked before ours, and what it translates.
#[derive(Default)]
struct Table {
    name: String,
    is_ahead: bool,
    translates: Vec<String>,
}

/// The rules of `nft list ruleset` that may be asked before ours, which these settings have installed by `tables`.
pub(super) fn rivals(listing: &str, settings: &Settings, tables: &str) -> Vec<String> {
    let own = format!("inet {}", nft::TABLE);
    // There ours stand in one chain with others', and the order in it is judged.
    let ours = |name: &str| name == own || (tables == "iptables-nft" && (name == "ip nat" || name == "ip6 nat"));
    let mut found = Vec::new();
    let mut table = Table::default();
    let mut in_chain_of_ours = false;
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
            table = Table { name: name.to_owned(), ..Table::default() };
        } else if line == "}" {
            if table.is_ahead && !ours(&table.name) {
                found.extend(table.translates.iter().map(|rule| format!("table {}: {rule}", table.name)));
            }
        } else if let Some(chain) = line.trim().strip_prefix("chain ") {
            in_chain_of_ours = chain.starts_with(iptables::PREFIX);
        } else if let Some(hook) = line.trim().strip_prefix("type nat hook ") {
            table.is_ahead |= is_ahead(hook, settings);
        } else if !in_chain_of_ours && translates(line.trim()) {
            table.translates.push(line.trim().to_owned());
        }
    }
    found
}

/// Whether a chain with this hook (`output priority -100; policy accept;`) is asked no later than one of ours.
fn is_ahead(hook: &str, settings: &Settings) -> bool {
    let Some((place, rest)) = hook.split_once(" priority ") else { return false };
    let meets = match place {
        "output" => settings.outbound_port.is_some(),
        "prerouting" => settings.inbound_port.is_some() && settings.inbound_mode == InboundMode::Redirect,
        _ => false,
    };
    meets && priority(rest.split(';').next().unwrap_or_default()).is_some_and(|priority| priority <= OURS)
}

/// A number, or a name with what is added to it: `dstnat - 10`.
fn priority(text: &str) -> Option<i64> {
    let mut words = text.split(' ');
    let first = words.next()?;
    let base = match first {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        number => number.parse().ok()?,
    };
    match (words.next(), words.next()) {
        (Some("+"), Some(more)) => Some(base + more.parse::<i64>().ok()?),
        (Some("-"), Some(less)) => Some(base - less.parse::<i64>().ok()?),
        _ => Some(base),
    }
}

/// Whether a rule sends connections elsewhere; iptables' own are shown as `xt target "DNAT"`, too.
fn translates(rule: &str) -> bool {
    let elsewhere = |word: &str| matches!(word.trim_matches('"'), "dnat" | "redirect" | "DNAT" | "REDIRECT");
    rule.split(' ').any(elsewhere) && !nft::is_udp_s(rule)
}
