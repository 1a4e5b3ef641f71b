//! The rules of a source filter, and how one set of them becomes another in the maps. Pure.

use redirect_common::{FILTER_LAYOUT, FilterControl, MOST_PORTS, MOST_PREFIXES, MOST_RULES, action, slot};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// What becomes of what a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Pass,
    /// It ends at the interface.
    Drop,
}

/// One rule. Of all prefixes of all rules the longest that matches a source decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, by which it is counted.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Its prefixes. One of v4-mapped addresses means IPv4.
    pub prefixes: Vec<(IpAddr, u8)>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The rules; names are unique.
    pub rules: Vec<Rule>,
    /// What becomes of a source that no prefix matches.
    pub otherwise: Action,
    /// What becomes of frames that end too early or contradict themselves.
    pub malformed: Action,
    /// Only TCP to these ports is looked at; `None`: everything that comes.
    pub ports: Option<BTreeSet<u16>>,
}

/// Why rules cannot be held by the kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// More than fit.
    #[error("{count} {what}, of which {most} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many fit.
        most: usize,
    },
    /// A prefix that is longer than its address.
    #[error("rule {rule}: {address}/{bits} is no prefix")]
    Prefix {
        /// The rule.
        rule: String,
        /// The address.
        address: IpAddr,
        /// Its bits.
        bits: u8,
    },
    /// Twice the same prefix.
    #[error("{address}/{bits} stands in rule {first} and in rule {second}")]
    Twice {
        /// The address.
        address: IpAddr,
        /// Its bits.
        bits: u8,
        /// The rule before.
        first: String,
        /// The other rule.
        second: String,
    },
}

/// A prefix, masked.
pub(super) type Prefix<const N: usize> = (u8, [u8; N]);

/// What is to stand in the maps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) control: FilterControl,
    pub(super) v4: BTreeMap<Prefix<4>, u32>,
    pub(super) v6: BTreeMap<Prefix<16>, u32>,
    pub(super) ports: BTreeMap<u32, u32>,
    /// The slot of each rule, by name.
    pub(super) slots: BTreeMap<String, u32>,
}

/// One step from one content to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<const N: usize> {
    Insert(Prefix<N>, u32),
    Remove(Prefix<N>),
}

const fn word(action: Action) -> u32 {
    match action {
        Action::Pass => action::PASS,
        Action::Drop => action::DROP,
    }
}

fn few(what: &'static str, count: usize, most: usize) -> Result<(), RulesError> {
    if count > most { Err(RulesError::TooMany { what, count, most }) } else { Ok(()) }
}

impl Content {
    /// What `rules` want. A rule keeps the slot that it has in `before`, so that its counter goes on.
    pub(super) fn of(rules: &Rules, before: &Self) -> Result<Self, RulesError> {
        few("rules", rules.rules.len(), MOST_RULES)?;
        let ports = rules.ports.iter().flatten().map(|port| (u32::from(*port), 1)).collect::<BTreeMap<_, _>>();
        few("ports", ports.len(), MOST_PORTS)?;
        let control = FilterControl {
            layout: FILTER_LAYOUT,
            otherwise: word(rules.otherwise),
            malformed: word(rules.malformed),
            ports_only: rules.ports.is_some().into(),
        };
        let mut content = Self { control, ports, ..Self::default() };
        let kept = |rule: &Rule| Some((rule.name.clone(), *before.slots.get(&rule.name)?));
        content.slots = rules.rules.iter().filter_map(kept).collect();
        let taken: BTreeSet<u32> = content.slots.values().copied().collect();
        let mut free = (slot::RULES..).filter(|slot| !taken.contains(slot));
        for rule in &rules.rules {
            if !content.slots.contains_key(&rule.name) {
                content.slots.extend(free.next().map(|slot| (rule.name.clone(), slot)));
            }
            let slot = content.slots.get(&rule.name).copied().unwrap_or(slot::UNMATCHED);
            let value = slot << 1 | word(rule.action);
            for (address, bits) in &rule.prefixes {
                content.insert(rule, *address, *bits, value)?;
            }
        }
        few("prefixes of IPv4", content.v4.len(), MOST_PREFIXES)?;
        few("prefixes of IPv6", content.v6.len(), MOST_PREFIXES)?;
        Ok(content)
    }

    fn insert(&mut self, rule: &Rule, address: IpAddr, bits: u8, value: u32) -> Result<(), RulesError> {
        let wrong = || RulesError::Prefix { rule: rule.name.clone(), address, bits };
        let before = match (address.to_canonical(), address) {
            (IpAddr::V4(v4), IpAddr::V4(_)) if bits <= 32 => self.v4.insert((bits, masked(v4.octets(), bits)), value),
            (IpAddr::V4(v4), IpAddr::V6(_)) if (96..=128).contains(&bits) => {
                self.v4.insert((bits - 96, masked(v4.octets(), bits - 96)), value)
            }
            (IpAddr::V6(v6), _) if bits <= 128 => self.v6.insert((bits, masked(v6.octets(), bits)), value),
            _ => return Err(wrong()),
        };
        let Some(before) = before.filter(|before| *before != value) else { return Ok(()) };
        let first = self.slots.iter().find(|(_, slot)| **slot == before >> 1).map(|(name, _)| name.clone());
        Err(RulesError::Twice { address, bits, first: first.unwrap_or_default(), second: rule.name.clone() })
    }
}

/// The address with only its leading bits.
fn masked<const N: usize>(mut octets: [u8; N], bits: u8) -> [u8; N] {
    for (at, octet) in octets.iter_mut().enumerate() {
        let left = usize::from(bits).saturating_sub(at * 8).min(8);
        *octet &= u8::MAX.checked_shl(8 - left as u32).unwrap_or(0);
    }
    octets
}

/// The steps from one set of prefixes to another, so that on the way nothing is dropped that both let pass: what lets
/// pass comes first and goes last.
pub(super) fn steps<const N: usize>(from: &BTreeMap<Prefix<N>, u32>, to: &BTreeMap<Prefix<N>, u32>) -> Vec<Step<N>> {
    let drops = |value: u32| value & 1 == action::DROP;
    let new = |drop: bool| {
        let wanted =
            to.iter().filter(move |(prefix, value)| drops(**value) == drop && from.get(*prefix) != Some(value));
        wanted.map(|(prefix, value)| Step::Insert(*prefix, *value))
    };
    let gone = |drop: bool| {
        let old = from.iter().filter(move |(prefix, value)| drops(**value) == drop && !to.contains_key(*prefix));
        old.map(|(prefix, _)| Step::Remove(*prefix))
    };
    new(false).chain(new(true)).chain(gone(true)).chain(gone(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(name: &str, action: Action, prefixes: &[&str]) -> Rule {
        let prefix = |text: &&str| {
            let (address, bits) = text.split_once('/').unwrap();
            (address.parse().unwrap(), bits.parse().unwrap())
        };
        Rule { name: name.into(), action, prefixes: prefixes.iter().map(prefix).collect() }
    }

    fn rules(rules: Vec<Rule>) -> Rules {
        Rules { rules, otherwise: Action::Pass, malformed: Action::Pass, ports: None }
    }

    #[test]
    fn a_rule_keeps_its_slot_and_what_contradicts_itself_is_refused() {
        let none = Content::default();
        let one = Content::of(
            &rules(vec![rule("a", Action::Drop, &["10.9.9.9/8"]), rule("b", Action::Pass, &["::ffff:10.1.0.0/112"])]),
            &none,
        )
        .unwrap();
        assert_eq!(one.v4[&(8, [10, 0, 0, 0])], slot::RULES << 1 | 1);
        assert_eq!(one.v4[&(16, [10, 1, 0, 0])], (slot::RULES + 1) << 1);
        let two = Content::of(
            &rules(vec![rule("c", Action::Drop, &["fd00::1/8"]), rule("b", Action::Drop, &["10.1.0.0/16"])]),
            &one,
        )
        .unwrap();
        assert_eq!((two.slots["b"], two.slots["c"]), (one.slots["b"], slot::RULES));
        for (prefixes, words) in [
            (&["10.0.0.0/33"][..], "rule a: 10.0.0.0/33 is no prefix"),
            (&["::ffff:1.2.3.4/80"], "rule a: ::ffff:1.2.3.4/80 is no prefix"),
            (&["fd00::/129"], "rule a: fd00::/129 is no prefix"),
            (&["192.0.2.7/24"], "192.0.2.0/24 stands in rule a and in rule b"),
        ] {
            let both = rules(vec![rule("a", Action::Drop, prefixes), rule("b", Action::Pass, &["192.0.2.0/24"])]);
            assert_eq!(Content::of(&both, &none).unwrap_err().to_string(), words);
        }
        let many = (0..=MOST_RULES).map(|number| rule(&number.to_string(), Action::Drop, &[])).collect();
        assert_eq!(Content::of(&rules(many), &none).unwrap_err().to_string(), "257 rules, of which 256 fit");
    }

    fn judge(at: &BTreeMap<Prefix<4>, u32>, address: [u8; 4]) -> u32 {
        let longest = (0..=32).rev().find_map(|bits| at.get(&(bits, masked(address, bits))));
        longest.map_or(action::PASS, |value| value & 1)
    }

    fn prefixes() -> impl Strategy<Value = BTreeMap<Prefix<4>, u32>> {
        let prefix = (0..=6_u8, any::<u8>()).prop_map(|(bits, octet)| (bits, masked([octet, 0, 0, 0], bits)));
        prop::collection::btree_map(prefix, 6..10_u32, 0..12)
    }

    proptest! {
        #[test]
        fn the_steps_lead_there_and_never_drop_what_both_let_pass(from in prefixes(), to in prefixes()) {
            let mut now = from.clone();
            for step in steps(&from, &to) {
                match step {
                    Step::Insert(prefix, value) => drop(now.insert(prefix, value)),
                    Step::Remove(prefix) => drop(now.remove(&prefix)),
                }
                for octet in (0..=255).step_by(4) {
                    let address = [octet, 1, 1, 1];
                    if judge(&now, address) == action::DROP {
                        prop_assert!(judge(&from, address) == action::DROP || judge(&to, address) == action::DROP);
                    }
                }
            }
            prop_assert_eq!(now, to);
        }
    }
}
