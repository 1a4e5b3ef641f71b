//! 2. One request, one response.
//!
//! ```text
//!  request ─► receive ─► route ─► (filters: none yet) ─► prepare ─► retry ⟲ upstream ─► pass ─► response
//!                │          │                                          │                  ▲
//!                └──────────┴────────────────── ProxyError ────────────┴──► respond ──────┘
//! ```
//!
//! [`proxy`] is the spine. Every response the proxy invents is made in [`respond`], and every request ends with
//! exactly one [`Record`], whichever way it ends: the record rides on the response's body.

pub mod head;
mod forward;
mod receive;
pub mod respond;
pub mod retry;
pub mod route;
pub mod stream;

use crate::{
    body::Incoming,
    downstream::Connection,
    error::ProxyError,
    snapshot::ListenerSnapshot,
    telemetry::Record,
    worker::View,
};
use http::{Request, Response};
use pillion_config::model::Action;
use std::{rc::Rc, sync::Arc};
use stream::ResponseBody;

/// What a request sees from its first stage to its last: its connection, and the configuration it began with.
pub struct Exchange {
    /// The downstream connection.
    pub connection: Rc<Connection>,
    /// The configuration, read once.
    pub view: Rc<View>,
    /// The listener within it.
    pub listener: Arc<ListenerSnapshot>,
}

/// What the codec can do for a request beyond taking a response.
#[derive(Default)]
pub struct Means {
    /// Hand the connection over.
    pub offer: Option<Offer>,
    /// Send an interim (1xx) response. `None` where the codec cannot.
    pub interim: Option<Interim>,
}

/// Sends an interim response.
pub type Interim = Box<dyn Fn(StatusCode, &HeaderMap)>;

impl Exchange {
    /// A request begins on this connection.
    #[must_use]
    pub fn begin(connection: Rc<Connection>) -> Self {
        Self { view: connection.worker.view(), listener: connection.slot.now(), connection }
    }
}

/// One request, one response. Never fails: what goes wrong becomes a response.
///
/// Dropping the future gives the request up: the upstream is told, the record says that the client left.
pub async fn proxy(connection: Rc<Connection>, request: Request<Incoming>) -> Response<ResponseBody> {
    let exchange = Exchange::begin(connection);
    let mut record = exchange.record(&request);
    let grammar = respond::Grammar::of(&request);
    match answer(&exchange, request, &mut record).await {
        Ok(answer) => respond::pass(&exchange, answer, record),
        Err(error) => respond::invent(&exchange, &grammar, &error, record),
    }
}

/// A request whose head was refused before it could be decoded: one answer, one record.
pub fn refuse(connection: Rc<Connection>, error: ProxyError) -> Response<ResponseBody> {
    let exchange = Exchange::begin(connection);
    let record = exchange.record_of_refused();
    respond::invent(&exchange, &respond::Grammar::default(), &error, record)
}

async fn answer(
    exchange: &Exchange,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<respond::Answer, ProxyError> {
    let received = receive::receive(exchange, request)?;
    record.set_client(received.client);
    let found = exchange.listener.routes.find(&received).ok_or(route::NoRoute)?;
    record.set_route(&found.route.model);
    match &found.route.model.action {
        Action::Forward(clusters) => {
            let cluster = exchange.view.cluster(
                route::weighted::choose(clusters, exchange.connection.worker.random.next()),
                &exchange.connection.worker,
            );
            record.set_cluster(cluster.state().metrics());
            let prepared = forward::prepare(exchange, &found, received, record)?;
            let response = retry::send(exchange, cluster, prepared, record).await?;
            Ok(forward::accept(exchange, &found, response, record))
        }
        Action::Redirect(redirect) => respond::redirect(&found, redirect, &received),
        Action::Respond(direct) => Ok(respond::direct(&found, direct)),
    }
}
