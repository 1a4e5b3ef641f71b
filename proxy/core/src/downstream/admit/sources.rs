//! Sources by address alone: the rules of the source filter, held here as the XDP program holds them. Pure but for counting.
//!
//! Prefixes nest or lie apart, so all of them together cut the addresses into stretches that each belong to one rule: a look-up
//! is one binary search.

use super::{Decision, Denied, sets};
use crate::telemetry::metrics::AdmitMetrics;
use pillion_config::model::{Name, RuleAction, SourceFilter};
use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// Which rule each address belongs to. Immutable; shared by all listeners and workers as part of a snapshot.
#[derive(Debug)]
pub struct SourceTable {
    v4: Stretches<u32>,
    v6: Stretches<u128>,
    actions: Box<[RuleAction]>,
    otherwise: RuleAction,
}

/// Where stretches begin, ascending, and the rule of each.
#[derive(Debug)]
struct Stretches<T> {
    begin: Box<[T]>,
    rules: Box<[u16]>,
}

/// No rule's.
const NONE: u16 = u16::MAX;

/// The rules as a listener asks them, and where it counts.
#[derive(Debug)]
pub struct Sources {
    table: Arc<SourceTable>,
    metrics: AdmitMetrics,
    /// For the access log, by rule; the last one where no rule matched.
    details: Box<[Box<str>]>,
}

impl SourceTable {
    /// Compiles the rules.
    #[must_use]
    pub fn compile(filter: &SourceFilter) -> Arc<Self> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (rule, of) in (0..NONE).zip(&filter.rules) {
            for network in &of.sources {
                let (family, (first, last)) = sets::range(network);
                if family == sets::Family::V4 { &mut v4 } else { &mut v6 }.push((first, last, rule));
            }
        }
        let narrow = |Stretches { begin, rules }: Stretches<u128>| Stretches {
            begin: begin.iter().map(|begin| u32::try_from(*begin).unwrap_or(u32::MAX)).collect(),
            rules,
        };
        Arc::new(Self {
            v4: narrow(stretches(v4, u32::MAX.into())),
            v6: stretches(v6, u128::MAX),
            actions: filter.rules.iter().map(|rule| rule.action).collect(),
            otherwise: filter.otherwise,
        })
    }

    /// What becomes of a source, and the rule that says so.
    fn judge(&self, source: IpAddr) -> (RuleAction, Option<usize>) {
        let source = source.to_canonical();
        if source.is_loopback() {
            return (RuleAction::Allow, None);
        }
        let rule = match source {
            IpAddr::V4(v4) => self.v4.rule(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.rule(v6.to_bits()),
        };
        let action = rule.and_then(|rule| self.actions.get(rule).copied());
        (action.unwrap_or(self.otherwise), rule)
    }
}

impl<T: Ord + Copy> Stretches<T> {
    fn rule(&self, address: T) -> Option<usize> {
        let behind = self.begin.partition_point(|begin| *begin <= address);
        let rule = *self.rules.get(behind.checked_sub(1)?)?;
        (rule != NONE).then_some(rule.into())
    }
}

/// Cuts addresses up to `most` where another rule begins: within each prefix stand those nested in it.
fn stretches(mut prefixes: Vec<(u128, u128, u16)>, most: u128) -> Stretches<u128> {
    // The wider first where two begin together.
    prefixes.sort_unstable_by_key(|(first, last, _)| (*first, u128::MAX - last));
    let mut cut = Cut::default();
    let mut open: Vec<(u128, u16)> = Vec::new();
    for (first, last, rule) in prefixes {
        while let Some((end, _)) = open.pop_if(|(end, _)| *end < first) {
            cut.at(end + 1, open.last().map_or(NONE, |(_, rule)| *rule));
        }
        cut.at(first, rule);
        open.push((last, rule));
    }
    while let Some((end, _)) = open.pop() {
        if end < most {
            cut.at(end + 1, open.last().map_or(NONE, |(_, rule)| *rule));
        }
    }
    Stretches { begin: cut.begin.into(), rules: cut.rules.into() }
}

#[derive(Default)]
struct Cut {
    begin: Vec<u128>,
    rules: Vec<u16>,
}

impl Cut {
    fn at(&mut self, begin: u128, rule: u16) {
        if self.begin.last() == Some(&begin) {
            self.begin.pop();
            self.rules.pop();
        }
        if self.rules.last().copied().unwrap_or(NONE) != rule {
            self.begin.push(begin);
            self.rules.push(rule);
        }
    }
}

impl Sources {
    /// The rules, for a listener.
    #[must_use]
    pub fn new(listener: &Name, filter: &SourceFilter, table: &Arc<SourceTable>) -> Box<Self> {
        let names: Vec<&str> = filter.rules.iter().map(|rule| rule.name.as_str()).chain(["none"]).collect();
        let counted: Vec<String> = names.iter().map(|name| format!("source_filter/{name}")).collect();
        Box::new(Self {
            table: Arc::clone(table),
            metrics: AdmitMetrics::new(listener, &counted),
            details: names.iter().map(|name| format!("source_denied[{name}]").into()).collect(),
        })
    }

    /// Whether a source may come in, counted.
    pub(super) fn decide(&self, source: IpAddr) -> Result<(), Denied> {
        let judged = self.judge(source);
        let (action, rule) = self.table.judge(source);
        let decision = if action == RuleAction::Deny { Decision::Deny } else { Decision::Allow };
        self.metrics.decided(rule.unwrap_or(self.details.len() - 1), decision);
        judged
    }

    /// Whether a source may come in.
    pub(super) fn judge(&self, source: IpAddr) -> Result<(), Denied> {
        match self.table.judge(source) {
            (RuleAction::Allow, _) => Ok(()),
            (RuleAction::Deny, rule) => {
                let details = &self.details[rule.unwrap_or(self.details.len() - 1)];
                Err(Denied { details: Cow::Owned(details.to_string()), told: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_config::model::{Cidr, FilterCovers, FilterMalformed, FilterMode, SourceRule};
    use proptest::prelude::*;

    fn filter(rules: Vec<(RuleAction, Vec<Cidr>)>, otherwise: RuleAction) -> SourceFilter {
        let rule = |(at, (action, sources)): (usize, (RuleAction, Vec<Cidr>))| SourceRule {
            name: Name(at.to_string().into()),
            action,
            sources,
        };
        SourceFilter {
            interfaces: Vec::new(),
            mode: FilterMode::Auto,
            covers: FilterCovers::Listeners,
            malformed: FilterMalformed::Pass,
            otherwise,
            rules: rules.into_iter().enumerate().map(rule).collect(),
        }
    }

    /// The longest prefix, looked for one by one.
    fn plainly(filter: &SourceFilter, source: IpAddr) -> (RuleAction, Option<usize>) {
        let all = filter.rules.iter().enumerate();
        let matching = all.flat_map(|(at, rule)| rule.sources.iter().map(move |network| (at, network)));
        let longest =
            matching.filter(|(_, network)| network.contains(source)).max_by_key(|(_, network)| network.prefix);
        longest.map_or((filter.otherwise, None), |(at, _)| (filter.rules[at].action, Some(at)))
    }

    fn network() -> impl Strategy<Value = Cidr> {
        let v4 = (any::<u32>(), 0..=8_u8).prop_map(|(bits, prefix)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Cidr { address: IpAddr::V4((bits & mask).into()), prefix }
        });
        let v6 = (any::<u128>(), 0..=8_u8).prop_map(|(bits, prefix)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Cidr { address: IpAddr::V6((bits & mask).into()), prefix }
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn the_longest_prefix_decides(
            networks in prop::collection::hash_set(network().prop_map(|n| (n.address, n.prefix)), 0..40),
            denies in any::<bool>(),
            sources in prop::collection::vec((any::<u128>(), any::<bool>()), 50),
        ) {
            let action = |deny| if deny { RuleAction::Deny } else { RuleAction::Allow };
            let rules = networks
                .into_iter()
                .enumerate()
                .map(|(at, (address, prefix))| (action(at % 2 == 0), vec![Cidr { address, prefix }]))
                .collect();
            let filter = filter(rules, action(denies));
            let table = SourceTable::compile(&filter);
            for (bits, four) in sources {
                let source = if four { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) };
                if !source.to_canonical().is_loopback() {
                    prop_assert_eq!(table.judge(source), plainly(&filter, source), "{}", source);
                }
            }
        }
    }

    #[test]
    fn edges_of_prefixes_mapped_addresses_and_loopback() {
        let network = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
        let filter = filter(
            vec![
                (RuleAction::Allow, vec![network("10.1.0.0", 16), network("255.255.255.255", 32)]),
                (RuleAction::Deny, vec![network("10.0.0.0", 8), network("::ffff:192.0.2.0", 120), network("::", 0)]),
            ],
            RuleAction::Deny,
        );
        let table = SourceTable::compile(&filter);
        for (source, rule) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(1)),
            ("10.0.255.255", Some(1)),
            ("10.1.0.0", Some(0)),
            ("::ffff:10.1.255.255", Some(0)),
            ("10.2.0.0", Some(1)),
            ("10.255.255.255", Some(1)),
            ("11.0.0.0", None),
            ("192.0.2.200", Some(1)),
            ("255.255.255.255", Some(0)),
            ("2001:db8::1", Some(1)),
        ] {
            assert_eq!(table.judge(source.parse().unwrap()).1, rule, "{source}");
        }
        for own in ["127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(table.judge(own.parse().unwrap()), (RuleAction::Allow, None), "{own}");
        }
    }
}
