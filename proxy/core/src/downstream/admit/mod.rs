//! admit: may this client do that.
//!
//! Asked as soon as something new is known of a connection (its address, then its certificate, then what it speaks), of
//! each request, and again of everything that lives whenever the rules or the trust change. What is decided is pure
//! ([`Rules`]); here it is counted, told and carried out. Listeners and routes without rules have no [`Admission`], and
//! nothing is looked at.

mod carried;
mod rules;
mod sets;
mod sources;
#[cfg(test)]
mod tests;

pub use carried::{Carried, Judged};
pub use rules::{Attributes, Decision, Fact, Rules, Verdict};
pub use sources::{SourceTable, Sources};

use super::Connection;
use crate::{
    drain::{Control, Signal, Subject},
    exchange::{account::Account, route::RequestView},
    framing,
    identity::{Refusal, TlsServer},
    snapshot::ListenerSnapshot,
    telemetry::{Blame, Record, ResponseFlag, metrics::AdmitMetrics},
};
use pillion_config::model::{Authorization, ClientCertificates, ListenerProtocol, ListenerTlsMode, Name, NotHttp};
use std::{borrow::Cow, rc::Rc};
use tokio::time::Instant;

/// The rules of a listener or a route, and where their decisions are counted.
#[derive(Debug)]
pub struct Admission {
    rules: Rules,
    metrics: AdmitMetrics,
    /// For the access log, by rule; the last one where no rule matched.
    details: Box<[Box<str>]>,
}

/// It may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{details}")]
pub struct Denied {
    /// Which rule, in Envoy's words, or what else.
    pub details: Cow<'static, str>,
    /// What the client is told of it; nothing, unless it is known who it is.
    pub told: Option<Box<str>>,
}

/// What goes on with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It.
    Yes,
    /// Nothing: its end is recorded.
    No,
}

impl Admission {
    /// Compiles the rules of a listener, or of a route of it.
    #[must_use]
    pub fn compile(listener: &Name, route: Option<&Name>, model: &Authorization) -> Box<Self> {
        let rules = Rules::compile(model);
        let named = |rule: &str| match route {
            Some(route) => format!("{route}/{rule}"),
            None => rule.to_owned(),
        };
        // Envoy's word where no policy matched.
        let names: Vec<String> = rules.names().map(Name::as_str).chain(["none"]).map(named).collect();
        let details = names.iter().map(|name| format!("rbac_access_denied_matched_policy[{name}]").into());
        Box::new(Self { details: details.collect(), metrics: AdmitMetrics::new(listener, &names), rules })
    }

    /// Whether the server name that a client asks for can matter.
    #[must_use]
    pub fn looks_at_names(&self) -> bool {
        self.rules.look_at_names()
    }

    /// The place of what decided among details and metrics.
    fn place(&self, rule: Option<usize>) -> usize {
        rule.unwrap_or(self.details.len() - 1)
    }

    /// Decides, and counts what is decided for good. `known`: whether it is known who the client is.
    fn decide(&self, attributes: &Attributes<'_>, known: bool) -> Result<Decision, Denied> {
        if let Some(verdict) = self.rules.rehearse(attributes) {
            self.metrics.rehearsed(self.place(verdict.rule), verdict.decision);
        }
        let Verdict { decision, rule } = self.rules.judge(attributes);
        let place = self.place(rule);
        self.metrics.decided(place, decision);
        if decision != Decision::Deny {
            return Ok(decision);
        }
        let told = known.then(|| match rule.and_then(|rule| self.rules.name(rule)) {
            Some(name) => format!("access denied by rule {name}\n").into(),
            None => "access denied: no rule allows this\n".into(),
        });
        Err(Denied { details: Cow::Owned(self.details[place].to_string()), told })
    }
}

/// What is known of a connection. Before hands were shaken neither certificate nor server name is.
fn attributes<'a>(
    connection: &'a Connection,
    listener: &ListenerSnapshot,
    request: Fact<Option<RequestView<'a>>>,
) -> Attributes<'a> {
    let facts = &connection.facts;
    // What has arrived speaks TLS already, or will never tell us its certificate.
    let settled = connection.arrived() || facts.tls.get().is_some() || listener.tls_of(connection).is_none();
    let seen = |server_name| if settled { Fact::Is(server_name) } else { Fact::Pending };
    Attributes {
        source: facts.client().ip(),
        direct: facts.direct.ip(),
        port: facts.port(),
        peer: if settled { Fact::Is(facts.peer().and_then(|peer| peer.id.as_ref())) } else { Fact::Pending },
        // One that is passed on in TLS may still be read.
        server_name: match facts.server_name() {
            Some(name) => Fact::Is(Some(name)),
            None if listener.opaque.is_some() && !connection.arrived() => Fact::Pending,
            None => seen(None),
        },
        request,
    }
}

/// Asked before a byte of the application's is interpreted; a connection that may not be is recorded.
pub(super) fn connection(connection: &Rc<Connection>, listener: &ListenerSnapshot) -> Admitted {
    let Some(admission) = &listener.admit else { return Admitted::Yes };
    let attributes = attributes(connection, listener, Fact::Pending);
    if admission.rules.judge(&attributes).decision != Decision::Deny {
        // What follows is asked, and counted.
        return Admitted::Yes;
    }
    match admission.decide(&attributes, false) {
        Ok(_) => Admitted::Yes,
        Err(denied) => refuse(connection, listener, denied),
    }
}

/// Asked first of all, of the socket's peer: what the source filter (`ebpf-redirect/`) would not have let pass, had it seen it.
pub(super) fn source(connection: &Rc<Connection>, listener: &ListenerSnapshot, sources: &Sources) -> Admitted {
    match sources.decide(connection.facts.direct.ip()) {
        Ok(()) => Admitted::Yes,
        Err(denied) => {
            listener.telemetry.metrics.refused("source");
            refuse(connection, listener, denied)
        }
    }
}

fn refuse(connection: &Rc<Connection>, listener: &ListenerSnapshot, denied: Denied) -> Admitted {
    refused(Record::begin_connection(&listener.telemetry, &connection.facts), connection, denied)
}

fn refused(record: Record, connection: &Rc<Connection>, denied: Denied) -> Admitted {
    let mut account = Account::new(record, Rc::clone(connection));
    account.flag(ResponseFlag::Unauthorized);
    account.details(denied.details);
    account.terminated_by(Blame::Proxy);
    account.finish();
    Admitted::No
}

/// Asked of a connection that turned out not to be HTTP, or has said nothing since it `began`.
pub(super) fn not_http(connection: &Rc<Connection>, listener: &ListenerSnapshot, began: Instant) -> Admitted {
    match gets_round(connection, listener) {
        None => Admitted::Yes,
        Some(denied) => {
            listener.telemetry.metrics.detected("not_http");
            let record = Record::begin_connection(&listener.telemetry, &connection.facts).begun(began);
            refused(record, connection, denied)
        }
    }
}

/// Whether a connection that is not HTTP may not be carried.
pub(super) fn takes_http_alone(connection: &Connection, listener: &ListenerSnapshot) -> bool {
    gets_round(connection, listener).is_some()
}

/// Why a connection that is not HTTP may not be carried: what judges requests would never see it.
fn gets_round(connection: &Connection, listener: &ListenerSnapshot) -> Option<Denied> {
    let ListenerProtocol::Detect(tcp) = &listener.model.protocol else { return None };
    let refused = tcp.not_http_at(connection.facts.port()) == NotHttp::Refuse;
    refused.then(|| Denied { details: "not_http".into(), told: None })
}

/// Why a live connection's source would not be let in now.
fn shut_out(connection: &Connection, listener: &ListenerSnapshot) -> Option<Denied> {
    listener.sources.as_ref()?.judge(connection.facts.direct.ip()).err()
}

/// Asked of an opaque connection, once what it asks for in TLS that is passed on is known, or that nobody will know.
///
/// # Errors
///
/// It may not.
pub fn opaque(connection: &Connection, listener: &ListenerSnapshot, asked: Fact<Option<&str>>) -> Result<(), Denied> {
    trusted(connection)?;
    let Some(admission) = &listener.admit else { return Ok(()) };
    let mut attributes = attributes(connection, listener, Fact::Is(None));
    attributes.asks_for(asked);
    admission.decide(&attributes, false).map(drop)
}

impl<'a> Attributes<'a> {
    /// Takes what TLS that is passed on asks for, if it asks for a name or hides it; what was asked of us stands otherwise.
    fn asks_for(&mut self, asked: Fact<Option<&'a str>>) {
        match (asked, self.server_name) {
            // Of TLS that was ended here the name is known.
            (Fact::Pending | Fact::Is(None), _) | (Fact::Hidden, Fact::Is(Some(_))) => {}
            (Fact::Is(Some(_)) | Fact::Hidden, _) => self.server_name = asked,
        }
    }
}

/// Asked of a request, by its listener's rules before its route is looked for, then by its route's.
///
/// # Errors
///
/// It may not.
pub fn request(
    connection: &Connection,
    listener: &ListenerSnapshot,
    admission: Option<&Admission>,
    view: &RequestView<'_>,
) -> Result<(), Denied> {
    trusted(connection)?;
    let Some(admission) = admission else { return Ok(()) };
    let known = connection.facts.peer().is_some_and(|peer| peer.id.is_some());
    admission.decide(&attributes(connection, listener, Fact::Is(Some(*view))), known).map(drop)
}

/// A connection whose client is not believed any more does nothing new.
fn trusted(connection: &Connection) -> Result<(), Denied> {
    match connection.distrusted() {
        None => Ok(()),
        Some(why) => Err(why.into()),
    }
}

/// Why a peer that was believed is not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// Its certificate would be refused now.
    Certificate(Refusal),
    /// It showed none, and would have to now.
    NoCertificate,
    /// It does not speak TLS, and would have to now.
    NoTls,
    /// We are not who we were when we showed it our certificate.
    Identity,
    /// The server at the other end of a tunnel: its certificate would be refused now.
    Server(Refusal),
}

impl From<Distrust> for Denied {
    fn from(why: Distrust) -> Self {
        Self { details: Cow::Borrowed(why.details()), told: None }
    }
}

impl Distrust {
    /// For the access log.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Certificate(_) => "client_certificate_not_trusted_any_more",
            Self::NoCertificate => "client_certificate_required_now",
            Self::NoTls => "tls_required_now",
            Self::Identity => "identity_changed",
            Self::Server(_) => "server_certificate_not_trusted_any_more",
        }
    }

    /// For the count of what was ended.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Certificate(_) | Self::NoCertificate | Self::NoTls | Self::Server(_) => "trust",
            Self::Identity => "identity",
        }
    }

    /// Whether a client of this listener is still believed.
    #[must_use]
    pub fn of(connection: &Connection, listener: &ListenerSnapshot) -> Option<Self> {
        let tls = listener.tls.as_ref()?;
        match connection.facts.tls.get() {
            Some(facts) if !tls.still_is(facts.own.as_deref()) => Some(Self::Identity),
            Some(facts) => match &facts.peer {
                Some(peer) => tls.still_trusts(&peer.chain, &facts.trust).err().map(Self::Certificate),
                None => (tls.model().clients == ClientCertificates::Required).then_some(Self::NoCertificate),
            },
            None => {
                (connection.arrived() && mode_at(tls, connection) == ListenerTlsMode::Strict).then_some(Self::NoTls)
            }
        }
    }
}

/// Whether a connection may do without TLS.
fn mode_at(tls: &TlsServer, connection: &Connection) -> ListenerTlsMode {
    tls.model().mode_at(connection.facts.port())
}

/// Why a connection would not be let in now.
enum Revoked {
    Distrust(Distrust),
    Source,
    Rules,
}

impl Revoked {
    fn of(connection: &Connection, listener: &ListenerSnapshot) -> Option<Self> {
        if let Some(distrust) = Distrust::of(connection, listener) {
            return Some(Self::Distrust(distrust));
        }
        if shut_out(connection, listener).is_some() {
            return Some(Self::Source);
        }
        let verdict = listener.admit.as_ref()?.rules.judge(&attributes(connection, listener, Fact::Pending));
        (verdict.decision == Decision::Deny).then_some(Self::Rules)
    }

    /// For the count of what was ended.
    fn reason(&self) -> &'static str {
        match self {
            Self::Distrust(distrust) => distrust.reason(),
            Self::Source => "source",
            Self::Rules => "rules",
        }
    }

    /// For the access log, of what was cut.
    fn details(&self) -> &'static str {
        match self {
            Self::Distrust(distrust) => distrust.details(),
            Self::Source | Self::Rules => "not_allowed_any_more",
        }
    }
}

impl Subject for Connection {
    /// Requests are asked one by one; a connection that would not be let in now is led to its end.
    fn look_again(&self, control: &Control) {
        let listener = self.slot.now();
        // One that drains for another reason may have something in flight for long.
        if control.signal() == Signal::Abort || control.is_revoked() {
            return;
        }
        if let Some(revoked) = Revoked::of(self, &listener) {
            listener.telemetry.metrics.revoked(revoked.reason());
            // Where it is we who changed, the client did nothing wrong: what it asks until it has left is answered.
            self.distrust(match revoked {
                Revoked::Distrust(Distrust::Identity) | Revoked::Source | Revoked::Rules => None,
                Revoked::Distrust(why) => Some(why),
            });
            control.revoke();
        }
    }

    /// A stream may never end. Whoever is let in again by now is left to finish.
    fn overdue(&self, control: &Control) {
        if let Some(revoked) = Revoked::of(self, &self.slot.now()) {
            self.cut_for(ResponseFlag::Unauthorized, revoked.details());
            control.tell(Signal::Abort);
        }
    }

    fn relieve(&self, control: &Control) {
        let refusal = framing::Refusal::ShortMemory;
        self.cut_for(ResponseFlag::OverloadManager, refusal.name());
        self.count_refusal(refusal.name());
        control.tell(Signal::Abort);
    }
}
