//! Sources of connections at the edge.

use super::Lowering;
use crate::{
    document::{self, List, Scalar},
    model::{Cidr, FilterCovers, FilterMalformed, FilterMode, Name, RuleAction, SourceFilter, SourceRule},
    tree::Place,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

/// Rules that the program has counters for (`redirect_common::MOST_RULES`).
const MOST_RULES: usize = 256;

/// Prefixes of a family that its tries hold (`redirect_common::MOST_PREFIXES`).
const MOST_PREFIXES: usize = 1 << 18;

/// Bytes of an interface's name (IFNAMSIZ, linux/if.h, less the end).
const LONGEST_INTERFACE: usize = 15;

pub(super) fn source_filter(
    cx: &mut Lowering<'_, '_>,
    filter: document::SourceFilter,
    at: Place,
) -> Option<SourceFilter> {
    let interfaces_at = filter.interfaces.place().unwrap_or(at);
    let interfaces = filter.interfaces.elements();
    let mut named: Vec<Name> = Vec::with_capacity(interfaces.len());
    for (Scalar(interface), place) in cx.elements(interfaces_at, interfaces) {
        let text = interface.as_str();
        if text.len() > LONGEST_INTERFACE || text.contains('/') || matches!(text, "." | "..") {
            cx.error(
                place,
                format!("{text:?} is no name of a network interface: at most 15 bytes and no slash, as eth0"),
            );
        } else if named.contains(&interface) {
            cx.error(place, format!("{text:?} is named twice; remove one"));
        }
        named.push(interface);
    }
    let covers_at = filter.covers.place().unwrap_or(at);
    let covers = filter.covers.take().map(|word| match word {
        document::FilterCovers::Listeners => FilterCovers::Listeners,
        document::FilterCovers::Interface => FilterCovers::Interface,
    });
    let otherwise = filter.otherwise.take().map(action);
    if (covers, otherwise) == (Some(FilterCovers::Interface), Some(RuleAction::Deny)) {
        cx.warn(
            covers_at,
            "everything that comes from elsewhere is dropped, answers to what this machine itself asks among it: allow its name servers and clusters too, or write covers: listeners",
        );
    }
    let rules = rules(cx, at, filter.rules);
    Some(SourceFilter {
        interfaces: named,
        mode: match filter.mode.take()? {
            document::FilterMode::Auto => FilterMode::Auto,
            document::FilterMode::Native => FilterMode::Native,
            document::FilterMode::Generic => FilterMode::Generic,
        },
        covers: covers?,
        malformed: match filter.malformed.take()? {
            document::FilterMalformed::Pass => FilterMalformed::Pass,
            document::FilterMalformed::Drop => FilterMalformed::Drop,
        },
        otherwise: otherwise?,
        rules: rules?,
    })
}

fn rules(cx: &mut Lowering<'_, '_>, at: Place, field: List<document::SourceRule>) -> Option<Vec<SourceRule>> {
    let (list, rules_at) = cx.required(at, "rules", field)?;
    let count = list.len();
    if count > MOST_RULES {
        cx.error(rules_at, format!("{count} rules, of which {MOST_RULES} fit; a rule may have many prefixes"));
    }
    let (mut rules, mut names, mut prefixes) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Prefixes::default());
    for (index, (rule, place)) in cx.elements(rules_at, list).into_iter().enumerate() {
        let name_at = rule.name.place().unwrap_or(place);
        let read = self::rule(cx, rule, place, index, &mut prefixes);
        names.extend(read.as_ref().map(|rule| (rule.name.clone(), name_at)));
        rules.extend(read);
    }
    for (family, count) in [("IPv4", prefixes.v4), ("IPv6", prefixes.v6)] {
        if count > MOST_PREFIXES {
            cx.error(rules_at, format!("{count} prefixes of {family}, of which {MOST_PREFIXES} fit; join neighbours"));
        }
    }
    cx.unique("rule", names.iter().map(|(name, place)| (name, *place)));
    (rules.len() == count).then_some(rules)
}

/// Prefixes seen, and the rule and place of each.
#[derive(Default)]
struct Prefixes {
    seen: HashMap<(IpAddr, u8), (usize, Place)>,
    v4: usize,
    v6: usize,
}

fn rule(
    cx: &mut Lowering<'_, '_>,
    rule: document::SourceRule,
    at: Place,
    index: usize,
    prefixes: &mut Prefixes,
) -> Option<SourceRule> {
    let action = cx.required(at, "action", rule.action);
    let sources = cx.required(at, "sources", rule.sources);
    let name_written = rule.name.is_written();
    let name = rule.name.value();
    let (list, sources_at) = sources?;
    if list.is_empty() {
        cx.error(
            sources_at,
            "a rule without sources decides nothing; write networks, as 10.0.0.0/8, or remove the rule",
        );
    }
    let count = list.len();
    let mut networks = Vec::with_capacity(count);
    for (Scalar(network), place) in cx.elements(sources_at, list) {
        let key = masked(network);
        match prefixes.seen.entry(key) {
            Entry::Vacant(free) => {
                free.insert((index, place));
                *if key.0.is_ipv4() { &mut prefixes.v4 } else { &mut prefixes.v6 } += 1;
            }
            Entry::Occupied(taken) => {
                let line = cx.line(taken.get().1);
                cx.error(
                    place,
                    format!("{}/{} stands in line {line} already; a prefix belongs to one rule", key.0, key.1),
                );
            }
        }
        networks.push(network);
    }
    let name = match (name, name_written) {
        (Some(name), _) => name,
        (None, false) => Name(index.to_string().into()),
        (None, true) => return None,
    };
    (networks.len() == count).then_some(()).and(action).map(|(word, _)| SourceRule {
        name,
        action: self::action(word),
        sources: networks,
    })
}

const fn action(word: document::SourceAction) -> RuleAction {
    match word {
        document::SourceAction::Allow => RuleAction::Allow,
        document::SourceAction::Deny => RuleAction::Deny,
    }
}

/// A prefix as it counts: without the bits behind it, one of v4-mapped addresses as IPv4.
fn masked(Cidr { address, prefix }: Cidr) -> (IpAddr, u8) {
    match (address.to_canonical(), address) {
        (IpAddr::V4(v4), IpAddr::V6(_)) if prefix >= 96 => masked(Cidr { address: v4.into(), prefix: prefix - 96 }),
        (IpAddr::V4(v4), IpAddr::V4(_)) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (IpAddr::V4((v4.to_bits() & bits).into()), prefix)
        }
        (_, IpAddr::V6(v6)) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (IpAddr::V6((v6.to_bits() & bits).into()), prefix)
        }
        (IpAddr::V6(_), IpAddr::V4(_)) => (address, prefix),
    }
}
