//! The rules, compiled, and what they say of a connection or request. Pure.
//!
//! What is not known yet (the client's certificate before the handshake, the request before it came) makes a condition
//! neither hold nor fail. A verdict is given as soon as nothing that is still to come can change it: so what must be
//! denied is denied before a byte of it is interpreted.

use super::sets::{Names, Networks, Peers, Ports};
use crate::exchange::route::{Matcher, RequestView, without_parameters};
use pillion_config::model::{Authorization, AuthorizationRule, Enforcement, Name, RuleAction, SpiffeId};
use std::{cell::OnceCell, net::IpAddr};

/// Something that may not be known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is still to come.
    Pending,
    /// It is this, and stays so.
    Is(T),
    /// It may be anything and nobody will tell: what is denied to some of it is denied, and nothing is allowed because of it.
    Hidden,
}

impl<T> Fact<T> {
    /// The same by reference.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Is(value) => Fact::Is(value),
            Self::Pending => Fact::Pending,
            Self::Hidden => Fact::Hidden,
        }
    }

    /// The same of something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Is(value) => Fact::Is(f(value)),
            Self::Pending => Fact::Pending,
            Self::Hidden => Fact::Hidden,
        }
    }
}

impl<'a> Fact<Option<&'a str>> {
    /// The name that it is known to be.
    #[must_use]
    pub fn known(self) -> Option<&'a str> {
        match self {
            Self::Is(name) => name,
            Self::Pending | Self::Hidden => None,
        }
    }
}

/// What rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// The client's address: as a trusted PROXY protocol header tells it, otherwise the socket's peer.
    pub source: IpAddr,
    /// The socket's peer.
    pub direct: IpAddr,
    /// The port that the client reached.
    pub port: u16,
    /// The client's SPIFFE ID; `Is(None)`: it showed none.
    pub peer: Fact<Option<&'a SpiffeId>>,
    /// The server name that the client asked for, in any case.
    pub server_name: Fact<Option<&'a str>>,
    /// The request; `Is(None)`: the connection is opaque and brings none.
    pub request: Fact<Option<RequestView<'a>>>,
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// What is still to come decides.
    Undecided,
}

/// A decision and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It.
    pub decision: Decision,
    /// The place of the rule that decided; `None`: no rule matched.
    pub rule: Option<usize>,
}

/// A list of rules, compiled. Immutable; shared by all workers as part of a snapshot.
#[derive(Debug)]
pub struct Rules {
    rules: Box<[Rule]>,
    /// Whether any of them only rehearses.
    rehearses: bool,
    /// Whether any of them looks at server names.
    looks_at_names: bool,
}

#[derive(Debug)]
struct Rule {
    name: Name,
    action: RuleAction,
    enforcement: Enforcement,
    peers: Option<Peers>,
    sources: Option<Networks>,
    direct_sources: Option<Networks>,
    server_names: Option<Names>,
    ports: Option<Ports>,
    requests: Option<Box<[Matcher]>>,
}

/// A request's path without parameters, once somebody asks for it.
#[derive(Debug, Default)]
struct Bare(OnceCell<Option<String>>);

impl Bare {
    /// `None`: the path has none.
    fn path(&self, path: &str) -> Option<&str> {
        self.0.get_or_init(|| without_parameters(path)).as_deref()
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Pending,
}

impl Rules {
    /// Compiles a list of rules.
    #[must_use]
    pub fn compile(model: &Authorization) -> Self {
        let rules: Box<[Rule]> = model.rules.iter().map(Rule::compile).collect();
        Self {
            rehearses: rules.iter().any(|rule| rule.enforcement == Enforcement::DryRun),
            looks_at_names: rules.iter().any(|rule| rule.server_names.is_some()),
            rules,
        }
    }

    /// Whether the server name that a client asks for can matter.
    #[must_use]
    pub fn look_at_names(&self) -> bool {
        self.looks_at_names
    }

    /// What the rules that hold say.
    #[must_use]
    pub fn judge(&self, attributes: &Attributes<'_>) -> Verdict {
        self.verdict(attributes, |rule| rule.enforcement == Enforcement::Enforced)
    }

    /// What all rules would say, those that are only counted included; `None`: there are none of those.
    #[must_use]
    pub fn rehearse(&self, attributes: &Attributes<'_>) -> Option<Verdict> {
        self.rehearses.then(|| self.verdict(attributes, |_| true))
    }

    /// The name of the rule at a place.
    #[must_use]
    pub fn name(&self, rule: usize) -> Option<&Name> {
        self.rules.get(rule).map(|rule| &rule.name)
    }

    /// The names of all rules, in order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.rules.iter().map(|rule| &rule.name)
    }

    fn verdict(&self, attributes: &Attributes<'_>, counts: impl Fn(&Rule) -> bool) -> Verdict {
        let of = |wanted: RuleAction| {
            let counted = self.rules.iter().enumerate().filter(|(_, rule)| counts(rule));
            counted.filter(move |(_, rule)| rule.action == wanted)
        };
        let mut pending = false;
        let bare = Bare::default();
        for (place, rule) in of(RuleAction::Deny) {
            match rule.holds(attributes, &bare) {
                Holds::Yes => return Verdict { decision: Decision::Deny, rule: Some(place) },
                Holds::Pending => pending = true,
                Holds::No => {}
            }
        }
        let denial = if pending { Decision::Undecided } else { Decision::Allow };
        let (mut any, mut open) = (false, false);
        for (place, rule) in of(RuleAction::Allow) {
            any = true;
            match rule.holds(attributes, &bare) {
                Holds::Yes => return Verdict { decision: denial, rule: Some(place) },
                Holds::Pending => open = true,
                Holds::No => {}
            }
        }
        let decision = match (any, open) {
            (false, _) => denial,
            (true, true) => Decision::Undecided,
            // Nothing allows it, whatever is still to come.
            (true, false) => Decision::Deny,
        };
        Verdict { decision, rule: None }
    }
}

impl Rule {
    fn compile(model: &AuthorizationRule) -> Self {
        let some = |empty: bool| (!empty).then_some(());
        Self {
            name: model.name.clone(),
            action: model.action,
            enforcement: model.enforcement,
            peers: some(model.peers.is_empty()).map(|()| Peers::new(&model.peers)),
            sources: some(model.sources.is_empty()).map(|()| Networks::new(&model.sources)),
            direct_sources: some(model.direct_sources.is_empty()).map(|()| Networks::new(&model.direct_sources)),
            server_names: some(model.server_names.is_empty()).map(|()| Names::new(&model.server_names)),
            ports: some(model.ports.is_empty()).map(|()| Ports::new(&model.ports)),
            requests: some(model.requests.is_empty()).map(|()| model.requests.iter().map(Matcher::compile).collect()),
        }
    }

    /// Whether all conditions hold. The cheap ones first.
    fn holds(&self, attributes: &Attributes<'_>, bare: &Bare) -> Holds {
        let mut pending = false;
        let mut met = |holds: Holds| match holds {
            Holds::Yes => true,
            Holds::No => false,
            Holds::Pending => {
                pending = true;
                true
            }
        };
        let all = met(self.condition(&self.ports, Fact::Is(attributes.port), |ports, port| ports.has(port)))
            && met(self.condition(&self.sources, Fact::Is(attributes.source), |nets, ip| nets.have(ip)))
            && met(self.condition(&self.direct_sources, Fact::Is(attributes.direct), |nets, ip| nets.have(ip)))
            && met(self.condition(&self.peers, attributes.peer, |peers, id| id.is_some_and(|id| peers.have(id))))
            && met(self.condition(&self.server_names, attributes.server_name, |names, name| {
                name.is_some_and(|name| names.have(name))
            }))
            && met(self.condition(&self.requests, attributes.request, |matchers, request| match request {
                Some(view) => {
                    let meets = |view: &RequestView<'_>| matchers.iter().any(|matcher| matcher.meets(view));
                    // What is denied is denied however the application reads it, and what is allowed is allowed as it stands.
                    meets(&view)
                        || self.action == RuleAction::Deny
                            && bare.path(view.path).is_some_and(|path| meets(&RequestView { path, ..view }))
                }
                // What is denied to some requests is not let through unseen.
                None => self.action == RuleAction::Deny,
            }));
        match (all, pending) {
            (false, _) => Holds::No,
            (true, true) => Holds::Pending,
            (true, false) => Holds::Yes,
        }
    }

    /// A condition that is not written holds.
    fn condition<C, T: Copy>(&self, condition: &Option<C>, fact: Fact<T>, meets: impl FnOnce(&C, T) -> bool) -> Holds {
        match (condition, fact, self.action) {
            (None, _, _) | (Some(_), Fact::Hidden, RuleAction::Deny) => Holds::Yes,
            (Some(_), Fact::Hidden, RuleAction::Allow) => Holds::No,
            (Some(_), Fact::Pending, _) => Holds::Pending,
            (Some(condition), Fact::Is(value), _) if meets(condition, value) => Holds::Yes,
            (Some(_), Fact::Is(_), _) => Holds::No,
        }
    }
}
