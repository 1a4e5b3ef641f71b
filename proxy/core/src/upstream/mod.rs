//! 3. From a chosen cluster to bytes on a connection.
//!
//! ```text
//!  request ──► balance ──► pool ──────────────────────────────┐
//!               which       │ none rests, none has room       ├──► request ──► head of the response
//!               address?    └──► connect ──► handshake ───────┘     http1 | http2       + its lease
//! ```
//!
//! [`send`] is the spine. A [`ClusterState`] is what all workers share of a cluster, a [`WorkerCluster`] what one
//! worker holds of it. Nothing here retries a request that may have arrived: [`SendError`] says what is known, and
//! hands back what is provably unsent.

mod balance;
mod bond;
mod carrying;
mod circuit;
mod circuit_wait;
mod cluster;
mod connect;
mod error;
mod handshake;
mod head;
mod heard;
mod host_core;
mod http1;
mod http2;
mod lease;
mod line;
mod pool;
mod tls;
mod worker_cluster;

pub use balance::{Picker, Random, Standing};
pub(crate) use bond::Bond;
pub use bond::{Bonds, Doubted};
pub use carrying::{Carried, Carrying, CarryingTls, Told};
pub(crate) use cluster::Silent;
pub use cluster::{ClusterId, ClusterState, Description, MAX_DISCOVERED, Member, MemberDescription};
pub use error::{Carrier, Cause, ConnectError, Delivery, Limit, RequestError, SendError};
pub(crate) use head::set_host;
pub use lease::{Leased, Opaque, Upgraded};
pub use pool::Replay;
pub use tls::Server;
pub use worker_cluster::WorkerCluster;

use crate::{
    body::{Ahead, BodyError, Incoming},
    downstream::original_dst::Captured,
    telemetry::Blame,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use lease::InFlight;
use pool::Taken;
use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};
use worker_cluster::Tried;

/// The body of a request as it goes upstream.
pub trait RequestBody: Body<Data = Bytes, Error = BodyError> + Ahead + Unpin + 'static {}

impl<T: Body<Data = Bytes, Error = BodyError> + Ahead + Unpin + 'static> RequestBody for T {}

/// Is told of interim (1xx) responses, 101 excepted.
pub type OnInformational = Rc<dyn Fn(StatusCode, &HeaderMap)>;

/// What a request needs beside itself.
#[derive(Clone)]
pub struct SendOptions<'a> {
    /// The protocol it came by, for clusters that speak the same as the downstream.
    pub downstream: Version,
    /// Whether it could be sent again when a resting connection turns out to be closed.
    pub replay: Replay,
    /// The protocol it asks to change to: `Upgrade` on HTTP/1.1, extended CONNECT on HTTP/2.
    pub upgrade: Option<&'a HeaderValue>,
    /// The key of a WebSocket handshake, for HTTP/1.1 upstreams, where the client gave none (RFC 8441 §5).
    pub websocket_key: Option<&'a HeaderValue>,
    /// Which host it is told it was asked for.
    pub host: HostField,
    /// Where the address chosen last is left, whatever becomes of the request.
    pub address: Option<&'a Cell<Option<SocketAddr>>>,
    /// Where it is told which connection carries it. `None` costs nothing.
    pub carrying: Option<&'a Told>,
    /// Addresses tried for it before; avoided if there are others.
    pub tried: &'a [SocketAddr],
    /// What the connection it came by was about, for clusters that live where that was going.
    pub captured: Option<Captured>,
    /// Who hears of interim responses. `None` costs nothing.
    pub on_informational: Option<OnInformational>,
    /// What a new connection begins with, where the cluster wants it. A connection that began with something else
    /// serves this request not.
    pub announced: Option<&'a Rc<[u8]>>,
    /// Time an HTTP/2 upstream may leave its window shut while the body waits.
    pub body_stall: Duration,
}

/// Which host an upstream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostField {
    /// The request's own; one that has none, as HTTP/1.0 may, gets the endpoint's.
    Request,
    /// The endpoint's name as the cluster writes it.
    Endpoint,
}

/// Sends `request` to a member of `cluster` and waits for the head of the response; the body holds the connection and
/// the request's place in the limits until it ends or is dropped.
///
/// The request is canonical: origin-form with Host, or scheme, authority, path and query in its URI without Host; no
/// hop-by-hop field. CONNECT goes to nobody as a request: its answer is the connection itself. It waits for a
/// connection at most as long as the caller lets it: waits for the circuit have no deadline of their own, a connect has
/// the cluster's. Dropping the future gives the request up; nothing leaks and the connection is not reused.
///
/// # Errors
///
/// [`SendError`]: what failed, where, whether the upstream can have seen it.
pub async fn send<B: RequestBody>(
    cluster: &Rc<WorkerCluster<B>>,
    request: Request<B>,
    options: &SendOptions<'_>,
) -> Result<Response<Incoming>, SendError<B>> {
    let mut request = request;
    let mut tried = Tried::new(options);
    let Some(mut host) = cluster.balance(&tried) else {
        return Err(SendError::unsent(Cause::NoEndpoint, None, request));
    };
    loop {
        let address = Some(host.core.member.address);
        options.address.inspect(|chosen| chosen.set(address));
        let in_flight = match InFlight::begin(&host.core) {
            Ok(in_flight) => in_flight,
            Err(limit) => return Err(SendError::unsent(cluster.state().overflow(limit), address, request)),
        };
        if head::set_endpoint(&mut request, &host.core, options.host).is_err() {
            return Err(SendError::unsent(RequestError::Unwritable.into(), address, request));
        }
        let tunnel = *request.method() == Method::CONNECT && options.upgrade.is_none();
        let taken = match cluster.speaks_http2(options.downstream) {
            _ if tunnel => {
                host.take_socket(cluster, options.announced).await.map(|(socket, opened)| Taken::Socket(socket, opened))
            }
            false => host.take_http1(cluster, options.replay, options.announced).await,
            true => host.take_http2(cluster, request.headers(), options.replay, options.announced).await,
        };
        match taken {
            Ok(Taken::Socket(socket, opened)) => {
                options.carrying.inspect(|told| drop(told.replace(Some(Carried::By(Carrying::of(&socket))))));
                return Ok(lease::connected(socket, opened, in_flight));
            }
            Ok(Taken::Http1(mut connection)) => {
                options.carrying.inspect(|told| drop(told.replace(Some(Carried::By(connection.carrying())))));
                let answered = http1::request(connection, request, in_flight, options).await;
                host.core.judge_http1(&answered);
                return answered;
            }
            Ok(Taken::Http2(slot)) => {
                options.carrying.inspect(|told| drop(told.replace(slot.carrying().map(Carried::By))));
                return http2::request(slot, request, in_flight, options).await;
            }
            Err(Cause::Connect(error)) if error.blame() == Blame::Upstream => {
                match cluster.sibling(&host, &mut tried) {
                    Some(sibling) => host = sibling,
                    None => return Err(SendError::unsent(Cause::Connect(error), address, request)),
                }
            }
            Err(cause) => return Err(SendError::unsent(cause, address, request)),
        }
    }
}

/// Connects to a member of `cluster` for opaque bytes; `chosen` is left with the address tried last, whatever becomes of
/// it. The connection begins with `announced`. Each connect has the cluster's timeout. Dropping the future gives the connection up.
///
/// # Errors
///
/// Why no connection could be had.
pub async fn open<B: RequestBody>(
    cluster: &Rc<WorkerCluster<B>>,
    captured: Option<Captured>,
    chosen: &Cell<Option<SocketAddr>>,
    announced: Option<&Rc<[u8]>>,
) -> Result<Opaque, Cause> {
    let mut tried = Tried::nothing(captured);
    let mut host = cluster.balance(&tried).ok_or(Cause::NoEndpoint)?;
    loop {
        chosen.set(Some(host.core.member.address));
        let in_flight = InFlight::begin(&host.core).map_err(|limit| cluster.state().overflow(limit))?;
        match host.take_socket(cluster, announced).await {
            Ok((io, _opened)) => return Ok(Opaque { io, _opened, in_flight }),
            Err(Cause::Connect(error)) if error.blame() == Blame::Upstream => {
                host = cluster.another(&host, &mut tried).ok_or(Cause::Connect(error))?;
            }
            Err(cause) => return Err(cause),
        }
    }
}

#[cfg(test)]
mod tests;
