//! Who may use a listener or a route.

use super::{Lowering, matching};
use crate::{
    document::{self, Field, Int, List, Scalar},
    model::{Authorization, AuthorizationRule, ClientCertificates, Enforcement, ListenerTls, Name, RuleAction},
    tree::Place,
};

/// What a listener knows of its clients, as far as it matters to rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knows {
    /// Whether clients may show a certificate.
    pub(super) peers: bool,
    /// Whether requests are seen.
    pub(super) requests: bool,
}

impl Knows {
    pub(super) fn of(tls: Option<&ListenerTls>, requests: bool) -> Self {
        Self { peers: tls.is_some_and(|tls| tls.clients != ClientCertificates::Off), requests }
    }
}

pub(super) fn authorization(
    cx: &mut Lowering<'_, '_>,
    field: Field<Box<document::Authorization>>,
    at: Place,
    knows: Knows,
) -> Option<Option<Authorization>> {
    if !field.is_written() {
        return Some(None);
    }
    let (authorization, at) = field.at(at)?;
    let all_dry = authorization.dry_run.take();
    let (list, place) = cx.required(at, "rules", authorization.rules)?;
    let count = list.len();
    let mut rules: Vec<AuthorizationRule> = Vec::with_capacity(count);
    let mut named = Vec::with_capacity(count);
    for (index, (rule, place)) in cx.elements(place, list).into_iter().enumerate() {
        let name_at = rule.name.place().unwrap_or(place);
        let read = self::rule(cx, rule, place, index, all_dry?, knows);
        named.extend(read.as_ref().map(|rule| (rule.name.clone(), name_at)));
        rules.extend(read);
    }
    cx.unique("rule", named.iter().map(|(name, place)| (name, *place)));
    (rules.len() == count).then_some(Some(Authorization { rules }))
}

fn rule(
    cx: &mut Lowering<'_, '_>,
    rule: document::AuthorizationRule,
    at: Place,
    index: usize,
    all_dry: bool,
    knows: Knows,
) -> Option<AuthorizationRule> {
    let action = cx.required(at, "action", rule.action);
    if let (false, Some(place)) = (knows.peers, rule.peers.place()) {
        cx.error(
            place,
            "clients are told apart by their certificates, which this listener does not ask for; write tls with client_certificates, or remove this",
        );
    }
    if let (false, Some(place)) = (knows.requests, rule.requests.place()) {
        cx.error(place, "there are no requests on a listener without routes; remove this");
    }
    let peers = any(cx, rule.peers, at);
    let sources = any(cx, rule.sources, at);
    let direct_sources = any(cx, rule.direct_sources, at);
    let server_names = any(cx, rule.server_names, at);
    let ports = any(cx, rule.ports, at);
    let requests_at = rule.requests.place();
    let list = rule.requests.elements();
    let count = list.len();
    if let (0, Some(place)) = (count, requests_at) {
        empty(cx, place);
    }
    let list = cx.elements(requests_at.unwrap_or(at), list);
    let requests: Vec<_> =
        list.into_iter().filter_map(|(matcher, place)| matching::matcher(cx, matcher, place)).collect();
    let dry = rule.dry_run.take()?;
    Some(AuthorizationRule {
        name: if rule.name.is_written() { rule.name.value()? } else { Name(index.to_string().into()) },
        action: match action?.0 {
            document::RuleAction::Allow => RuleAction::Allow,
            document::RuleAction::Deny => RuleAction::Deny,
        },
        enforcement: if dry || all_dry { Enforcement::DryRun } else { Enforcement::Enforced },
        peers: peers?,
        sources: sources?,
        direct_sources: direct_sources?,
        server_names: server_names?,
        ports: ports?.into_iter().map(Int::to).collect(),
        requests: (requests.len() == count).then_some(requests)?,
    })
}

/// Values of which any; none where the list is absent.
fn any<T>(cx: &mut Lowering<'_, '_>, list: List<Scalar<T>>, at: Place) -> Option<Vec<T>> {
    let place = list.place();
    let elements = list.elements();
    let count = elements.len();
    if let (0, Some(place)) = (count, place) {
        empty(cx, place);
    }
    let values: Vec<T> =
        cx.elements(place.unwrap_or(at), elements).into_iter().map(|(Scalar(value), _)| value).collect();
    (values.len() == count).then_some(values)
}

fn empty(cx: &mut Lowering<'_, '_>, place: Place) {
    cx.error(place, "an empty list matches nothing; leave the field out to match anything");
}
