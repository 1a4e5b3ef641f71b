//! headers: changes to requests and responses, where conditions on the request hold.
//!
//! Beyond what a route's own changes do: conditions, one list for many routes, and the route is chosen again after them.

use super::source::AtHand;
use crate::exchange::{
    filter::{End, Factory, Failed, Filter, HeadStatus, Headers, Instance, Interest, Map, Services, Stream},
    head::change::CompiledChanges,
    prepare::render,
    route::HeaderConditions,
};
use pillion_config::{
    model::{HeaderChange, HeaderRule},
    template::Variable,
};
use std::{fmt, rc::Rc, sync::Arc};

/// A list of rules, compiled.
pub(super) struct HeaderPolicy(Arc<Policy>);

struct Policy {
    rules: Vec<Rule>,
    interest: Interest,
    /// Changes to responses speak of the request, whose head must be kept for them.
    keeps_request: bool,
}

struct Rule {
    when: HeaderConditions,
    request: CompiledChanges,
    response: CompiledChanges,
}

struct Worker(Arc<Policy>);

struct One {
    policy: Arc<Policy>,
    /// Which rules hold, as far as they change responses.
    holding: Vec<usize>,
    request: Option<Box<Headers>>,
}

impl HeaderPolicy {
    pub(super) fn new(rules: &[HeaderRule]) -> Self {
        let speaks_of_request = |change: &HeaderChange| match change {
            HeaderChange::Set(_, template) | HeaderChange::Append(_, template) => {
                template.variables().any(|variable| matches!(variable, Variable::RequestHeader(..)))
            }
            HeaderChange::Remove(_) => false,
        };
        let response = rules.iter().any(|rule| !rule.response.is_empty());
        let interest = if response {
            Interest::REQUEST_HEADERS.and(Interest::RESPONSE_HEADERS).and(Interest::ANSWERED_BEFORE)
        } else {
            Interest::REQUEST_HEADERS
        };
        Self(Arc::new(Policy {
            interest,
            keeps_request: rules.iter().flat_map(|rule| &rule.response).any(speaks_of_request),
            rules: rules
                .iter()
                .map(|rule| Rule {
                    when: HeaderConditions::compile(&rule.when),
                    request: CompiledChanges::compile(&rule.request),
                    response: CompiledChanges::compile(&rule.response),
                })
                .collect(),
        }))
    }
}

impl Factory for HeaderPolicy {
    fn instance(&self, _: Services) -> Rc<dyn Instance> {
        Rc::new(Worker(Arc::clone(&self.0)))
    }
}

impl Instance for Worker {
    fn interest(&self) -> Interest {
        self.0.interest
    }

    fn open(&self, _: &Stream) -> Result<Box<dyn Filter>, Failed> {
        Ok(Box::new(One { policy: Arc::clone(&self.0), holding: Vec::new(), request: None }))
    }
}

impl One {
    /// Which rules hold. All conditions look at the request as it came to the filter.
    fn judge(&mut self, head: &Headers) -> Vec<usize> {
        let rules = &self.policy.rules;
        if self.policy.keeps_request {
            self.request = Some(Box::new(head.clone()));
        }
        (0..rules.len()).filter(|at| rules[*at].when.hold(head.fields())).collect()
    }

    fn keep(&mut self, holding: Vec<usize>) {
        self.holding = holding.into_iter().filter(|at| !self.policy.rules[*at].response.is_empty()).collect();
    }

    fn change_response(&self, stream: &Stream) -> Result<(), Failed> {
        if self.holding.is_empty() {
            return Ok(());
        }
        let facts = stream.facts();
        let changed = stream.headers(Map::ResponseHeaders, |head| {
            for rule in self.holding.iter().map(|at| &self.policy.rules[*at].response) {
                let before = rule.speaks_of_fields().then(|| head.clone());
                let at_hand =
                    AtHand { stream, facts: &facts, request: self.request.as_deref(), response: before.as_ref() };
                rule.apply(head.fields_mut(), |variable, out| render(&at_hand, variable, out)).map_err(|_| FULL)?;
            }
            Ok(())
        });
        changed.unwrap_or(Ok(()))
    }
}

/// A head that grew beyond what a head may hold.
const FULL: Failed = Failed { details: "headers_filter_head_full" };

impl Filter for One {
    fn request_headers(&mut self, stream: &Stream, _: End) -> Result<HeadStatus, Failed> {
        let facts = stream.facts();
        let policy = Arc::clone(&self.policy);
        let changed = stream.headers(Map::RequestHeaders, |head| {
            let holding = self.judge(head);
            for rule in holding.iter().map(|at| &policy.rules[*at].request).filter(|rule| !rule.is_empty()) {
                let before = rule.speaks_of_fields().then(|| head.clone());
                let at_hand = AtHand { stream, facts: &facts, request: before.as_ref(), response: None };
                rule.apply(head.fields_mut(), |variable, out| render(&at_hand, variable, out)).map_err(|_| FULL)?;
            }
            self.keep(holding);
            Ok(())
        });
        changed.unwrap_or(Ok(()))?;
        Ok(HeadStatus::Continue)
    }

    fn response_headers(&mut self, stream: &Stream, _: End) -> Result<HeadStatus, Failed> {
        self.change_response(stream).map(|()| HeadStatus::Continue)
    }

    fn answered_before(&mut self, stream: &Stream, request: &Headers) -> Result<(), Failed> {
        let holding = self.judge(request);
        self.keep(holding);
        self.change_response(stream)
    }
}

impl fmt::Debug for HeaderPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderPolicy").field("rules", &self.0.rules.len()).finish()
    }
}
