//! [`Carried`]: a tunnel, and whether it may go on when rules, trust or identity have changed.
//!
//! Both its ends are looked at, and what it came of: an opaque connection by its listener's rules, a request that left HTTP
//! by those of the listener and of the routes it would take now. What may not go on is cut: a tunnel has no end of its own
//! that could be waited for.

use super::{Admission, Attributes, Connection, Decision, Denied, Distrust, Fact, attributes, gets_round, shut_out};
use crate::{
    drain::{Control, Signal, Subject},
    exchange::{head::target::Authority, route::RequestView},
    snapshot::ListenerSnapshot,
    upstream::Server,
};
use http::request;
use std::{
    cell::{OnceCell, RefCell},
    iter, mem,
    net::SocketAddr,
    rc::Rc,
};

/// What a tunnel came of.
enum Of {
    /// An opaque connection; what its client asked for in TLS that is passed on.
    Connection(Fact<Option<Box<str>>>),
    /// A request.
    Request(Box<Judged>),
}

/// A request as rules look at it, its path cleaned: as its client sent it, and as filters left it. All of it is kept for as
/// long as what became of it lives: rules that come later may look at any.
#[derive(Debug)]
pub struct Judged {
    came: request::Parts,
    /// Each time that they had changed it when a route was chosen.
    became: Vec<request::Parts>,
}

impl Judged {
    /// As its client sent it.
    pub(crate) fn new(came: request::Parts) -> Self {
        Self { came, became: Vec::new() }
    }

    /// As its client sent it.
    pub(crate) fn came(&self) -> &request::Parts {
        &self.came
    }

    /// Filters have made this of it.
    pub(crate) fn became(&mut self, head: request::Parts) {
        self.became.push(head);
    }
}

/// A tunnel, as far as it may have to end before its ends want it.
pub struct Carried {
    connection: Rc<Connection>,
    of: Of,
    /// Who it goes to, where that is TLS that we began.
    server: OnceCell<Server>,
    denied: RefCell<Option<Denied>>,
}

impl Carried {
    /// An opaque connection.
    #[must_use]
    pub fn opaque(connection: &Rc<Connection>, asked: Fact<Option<&str>>) -> Rc<Self> {
        Self::new(connection, Of::Connection(asked.map(|name| name.map(Into::into))))
    }

    /// What became of a request.
    #[must_use]
    pub fn upgraded(connection: &Rc<Connection>, request: Box<Judged>) -> Rc<Self> {
        Self::new(connection, Of::Request(request))
    }

    /// What it came by.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn new(connection: &Rc<Connection>, of: Of) -> Rc<Self> {
        Rc::new(Self { connection: Rc::clone(connection), of, server: OnceCell::new(), denied: RefCell::default() })
    }

    /// Says who it goes to. Once.
    pub fn goes_to(&self, server: Option<Server>) {
        if let Some(server) = server {
            let _ = self.server.set(server);
        }
    }

    /// Looks again if whom to believe has changed while hands were shaken.
    pub fn begin(&self, control: &Control) {
        let current = |server: &Server| self.tls_of(server, |tls| server.is_current(tls)).unwrap_or(true);
        if self.server.get().is_some_and(|server| !current(server)) {
            self.look_again(control);
        }
    }

    /// Why it had to end, if it had to.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        self.denied.borrow().clone()
    }

    fn judge(&self, listener: &ListenerSnapshot) -> Result<(), Denied> {
        if let Some(why) = Distrust::of(&self.connection, listener).or_else(|| self.distrust_of_server()) {
            self.count(listener, why.reason());
            return Err(why.into());
        }
        if let Some(denied) = shut_out(&self.connection, listener) {
            self.count(listener, "source");
            return Err(denied);
        }
        match &self.of {
            Of::Connection(asked) => {
                if let Some(denied) = gets_round(&self.connection, listener) {
                    self.count(listener, "rules");
                    return Err(denied);
                }
                let asked = asked.as_ref().map(Option::as_deref);
                self.ask(listener, listener.admit.as_deref(), None, asked)
            }
            Of::Request(judged) => self.judge_request(listener, judged),
        }
    }

    /// As one would be judged that comes now and that filters change alike: by the listener's rules and its route's as it
    /// came, and by those of each other route that it was led to as it was then.
    fn judge_request(&self, listener: &ListenerSnapshot, judged: &Judged) -> Result<(), Denied> {
        let mut taken = None;
        for (at, parts) in iter::once(&judged.came).chain(&judged.became).enumerate() {
            let view = view(parts, self.connection.facts.local);
            if at == 0 {
                self.ask(listener, listener.admit.as_deref(), Some(&view), Fact::Is(None))?;
            }
            let route = listener.routes.find(&view).map(|found| found.index);
            if mem::replace(&mut taken, route) == route {
                continue;
            }
            let route = route.and_then(|route| listener.compiled.get(route));
            self.ask(listener, route.and_then(|route| route.admit.as_deref()), Some(&view), Fact::Is(None))?;
        }
        Ok(())
    }

    /// Counts its end. An opaque connection looks again itself, too, for what is known of it before its bytes: whoever of
    /// the two comes first counts.
    fn count(&self, listener: &ListenerSnapshot, reason: &'static str) {
        let control = self.connection.control();
        if matches!(self.of, Of::Connection(_)) {
            if control.is_revoked() {
                return;
            }
            control.revoke();
        }
        listener.telemetry.metrics.revoked(reason);
    }

    /// Asks some rules; counted where they deny.
    fn ask(
        &self,
        listener: &ListenerSnapshot,
        admission: Option<&Admission>,
        request: Option<&RequestView<'_>>,
        asked: Fact<Option<&str>>,
    ) -> Result<(), Denied> {
        let Some(admission) = admission else { return Ok(()) };
        let mut attributes: Attributes<'_> = attributes(&self.connection, listener, Fact::Is(request.copied()));
        attributes.asks_for(asked);
        if admission.rules.judge(&attributes).decision != Decision::Deny {
            return Ok(());
        }
        self.count(listener, "rules");
        admission.decide(&attributes, false).map(drop)
    }

    /// Whether its server would be let in now. A cluster that is gone, or speaks in the clear by now, judges nobody.
    fn distrust_of_server(&self) -> Option<Distrust> {
        let server = self.server.get()?;
        self.tls_of(server, |tls| server.distrust(tls)).flatten()
    }

    /// What the cluster of its server's name believes now.
    fn tls_of<T>(&self, server: &Server, look: impl FnOnce(&crate::identity::TlsClient) -> T) -> Option<T> {
        let (view, _) = self.connection.slot.serving();
        let place = view.cluster_named(server.cluster().as_str())?;
        view.snapshot.clusters.get(place.0)?.tls().map(look)
    }
}

impl Subject for Carried {
    fn look_again(&self, control: &Control) {
        if control.signal() == Signal::Abort {
            return;
        }
        if let Err(denied) = self.judge(&self.connection.slot.now()) {
            self.denied.replace(Some(denied));
            control.tell(Signal::Abort);
        }
    }

    /// It was cut at once.
    fn overdue(&self, _: &Control) {}

    /// With the connection that it is on.
    fn relieve(&self, control: &Control) {
        self.connection.relieve(self.connection.control());
        control.tell(Signal::Abort);
    }
}

/// A request's head as rules see it, its path cleaned before.
fn view(parts: &request::Parts, destination: SocketAddr) -> RequestView<'_> {
    let target = parts.uri.path_and_query();
    RequestView {
        method: &parts.method,
        destination,
        host: Authority::of(&parts.uri, &parts.headers).map_or("", |authority| authority.host),
        path: target.map_or("", |target| target.path()),
        query: target.and_then(|target| target.query()),
        headers: &parts.headers,
    }
}
