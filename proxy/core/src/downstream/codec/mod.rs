//! From guarded bytes to a decoded request, and from a response back to bytes.
//!
//! A codec speaks its protocol and nothing else: it decodes, hands a [`Decoded`] to the service, and sends what the
//! service answers. The service never fails: every answer the proxy invents comes from `exchange::respond`, so that
//! each has exactly one record. That includes requests the codec refuses, which reach the service as
//! [`Decoded::Refused`] and must not be routed.

mod date;
pub mod http2;

use crate::{body::Incoming, framing::Refusal, tunnel::upgrade::DownstreamUpgrade};
use http::{Request, Response, request::Parts};
use std::{cell::RefCell, rc::Rc};

pub use date::date;

/// What a codec hands to the service.
#[derive(Debug)]
pub enum Decoded {
    /// A request to be served.
    Request(Inbound),
    /// A request to be answered with the refusal's status, and recorded, but not routed.
    Refused(Parts, Refusal),
}

/// A request to be served, and what its protocol offers beside it.
#[derive(Debug)]
pub struct Inbound {
    /// The request.
    pub request: Request<Incoming>,
    /// The client's side of a tunnel, if the request asks for one (CONNECT, extended CONNECT, Upgrade): it yields the
    /// stream after the answer that accepts it went out. Beside and not within the request, whose extensions hold
    /// only what can be sent between threads.
    pub upgrade: Option<DownstreamUpgrade>,
    /// Sends interim responses, if the client waits for one (`Expect: 100-continue`).
    pub interim: Option<Interim>,
}

/// Sends interim (1xx) responses ahead of the response.
///
/// To be used within the service's own future: what is sent leaves when that future next gives way.
#[derive(Debug, Clone, Default)]
pub struct Interim(Rc<RefCell<Vec<Response<()>>>>);

/// Interim responses kept until they leave; more than one turn of a service ever sends.
const MOST_INTERIM: usize = 16;

impl Interim {
    /// Sends one. After the response, or when it is no 1xx other than 101, it is dropped (RFC 9113 §8.6).
    pub fn send(&self, response: Response<()>) {
        let mut waiting = self.0.borrow_mut();
        let interim =
            response.status().is_informational() && response.status() != http::StatusCode::SWITCHING_PROTOCOLS;
        if interim && waiting.len() < MOST_INTERIM {
            waiting.push(response);
        }
    }

    fn take(&self) -> Vec<Response<()>> {
        self.0.take()
    }
}
