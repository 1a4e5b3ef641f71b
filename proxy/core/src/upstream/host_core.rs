//! host_core: what a worker knows of one address, beside its connections to it: whether it can be reached, what it speaks, how it is
//! called. Requests in flight hold it, too.

use super::{
    cluster::{ClusterState, Member},
    error::{Carrier, Cause, ConnectError, RequestError, SendError},
    heard::Heard,
};
use http::HeaderValue;
use pillion_config::model::{EndpointAddress, ServicePort, without_final_dot};
use std::{
    cell::{Cell, OnceCell},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// One address, as a request in flight needs to know it.
#[derive(Debug)]
pub(super) struct HostCore {
    pub(super) state: Arc<ClusterState>,
    pub(super) member: Arc<Member>,
    /// The address its connections come from; `None`: the proxy's.
    pub(super) source: Option<IpAddr>,
    /// Choices for which this address is passed over, after it could not be reached or refused us.
    demoted: Cell<u32>,
    /// What it speaks, where the cluster leaves that to its clients.
    pub(super) heard: Cell<Heard>,
    /// The endpoint's name, once somebody asked for it.
    host: OnceCell<Option<HeaderValue>>,
}

/// An address that could not be reached, or that refused us, is passed over this many choices, if there are others.
const DEMOTION: u32 = 64;

impl HostCore {
    pub(super) fn new(state: Arc<ClusterState>, member: Arc<Member>, source: Option<IpAddr>) -> Self {
        Self { state, member, source, demoted: Cell::new(0), heard: Cell::default(), host: OnceCell::new() }
    }

    /// The address is passed over for a while, if there are others.
    pub(super) fn demote(&self) {
        self.demoted.set(DEMOTION);
    }

    /// Whether the address should be passed over.
    pub(super) fn is_demoted(&self) -> bool {
        self.demoted.get() > 0
    }

    /// Counts the choices down.
    pub(super) fn passed_over(&self) {
        self.demoted.set(self.demoted.get().saturating_sub(1));
    }

    /// A connection to it was made.
    pub(super) fn reached(&self) {
        self.demoted.set(0);
    }

    /// None was, for this reason.
    pub(super) fn unreachable(&self, error: ConnectError) -> Cause {
        if error != ConnectError::NotHttp2 {
            self.demote();
            // Who comes back may speak something else.
            if matches!(self.heard.get(), Heard::Http1 { .. }) {
                self.heard.set(Heard::Nothing);
            }
        }
        Cause::Connect(error)
    }

    /// Learns from what came of a request by HTTP/1.1.
    pub(super) fn judge_http1<T, B>(&self, answered: &Result<T, SendError<B>>) {
        match (self.heard.get(), answered) {
            (Heard::Silence, Ok(_)) => self.heard.set(Heard::Silence.answered()),
            // Somebody else may have taken the place of the one that spoke it.
            (
                Heard::Http1 { .. },
                Err(SendError {
                    cause:
                        Cause::Request(RequestError::Violation(_) | RequestError::Closed | RequestError::ConnectionReset),
                    carrier: Carrier::Fresh,
                    ..
                }),
            ) => self.heard.set(Heard::Nothing),
            (_, Ok(_) | Err(_)) => {}
        }
    }

    /// The endpoint as the cluster writes it, or the address where it writes none.
    pub(super) fn endpoint(&self) -> EndpointAddress {
        let written = self.state.model().endpoints.get(self.member.endpoint);
        written.map_or(EndpointAddress::Ip(self.member.address), |endpoint| endpoint.address.clone())
    }

    /// The endpoint's name as the cluster writes it; `None`: it cannot stand in a field.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        let written = || {
            let host = match self.endpoint() {
                EndpointAddress::Service(service) => match service.port {
                    ServicePort::Number(port) => format!("{}:{port}", service.host()),
                    // A name is no port in a URI (RFC 3986 §3.2.3).
                    ServicePort::Name(_) => service.host(),
                },
                EndpointAddress::Name(name, port) => format!("{}:{port}", without_final_dot(&name)),
                // The interface of a link-local address is this machine's own word (RFC 6874 §4).
                EndpointAddress::Ip(address) => SocketAddr::new(address.ip(), address.port()).to_string(),
            };
            HeaderValue::try_from(host).ok()
        };
        self.host.get_or_init(written).as_ref()
    }
}
