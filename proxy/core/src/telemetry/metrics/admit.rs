//! The series of a list of rules. Shared by all workers: only atomics, and a lock at the first decision of each kind.

use super::{handles::Owner, name};
use crate::downstream::admit::Decision;
use metrics::{Counter, Label};
use pillion_config::model::Name;
use std::sync::{Arc, OnceLock};

/// Handles to the decisions of a list of rules.
#[derive(Debug)]
pub struct AdmitMetrics {
    owner: Owner,
    rules: Box<[Decisions]>,
}

#[derive(Debug)]
struct Decisions {
    rule: Arc<str>,
    by: [OnceLock<Counter>; WORDS.len()],
}

/// Label values, by place.
const WORDS: [&str; 4] = ["allow", "deny", "dry_run_allow", "dry_run_deny"];

impl AdmitMetrics {
    /// Knows the rules of a listener by these names; registers nothing.
    #[must_use]
    pub fn new(listener: &Name, rules: &[String]) -> Self {
        let decisions = |rule: &String| Decisions { rule: rule.as_str().into(), by: Default::default() };
        Self { owner: Owner::Listener(listener.0.clone()), rules: rules.iter().map(decisions).collect() }
    }

    /// Counts a decision of the rule at this place.
    pub fn decided(&self, rule: usize, decision: Decision) {
        match decision {
            Decision::Allow => self.count(rule, 0),
            Decision::Deny => self.count(rule, 1),
            Decision::Undecided => {}
        }
    }

    /// Counts what would be decided if all rules held.
    pub fn rehearsed(&self, rule: usize, decision: Decision) {
        match decision {
            Decision::Allow => self.count(rule, 2),
            Decision::Deny => self.count(rule, 3),
            Decision::Undecided => {}
        }
    }

    fn count(&self, rule: usize, word: usize) {
        let Some(decisions) = self.rules.get(rule) else { return };
        let labels =
            || [Label::new("rule", Arc::clone(&decisions.rule)), Label::from_static_parts("decision", WORDS[word])];
        decisions.by[word].get_or_init(|| self.owner.counter_with(name::ADMIT_DECISIONS, labels())).increment(1);
    }
}
