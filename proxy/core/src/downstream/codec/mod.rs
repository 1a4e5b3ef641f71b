//! From guarded bytes to a decoded request, and from a response back to bytes.
//!
//! A codec speaks its protocol and nothing else: it decodes, hands a [`Decoded`] to the service, and sends what the
//! service answers. The service never fails: every answer the proxy invents comes from `exchange::respond`, so that
//! each has exactly one record. That includes requests the codec refuses, which reach the service as
//! [`Decoded::Refused`] and must not be routed.

mod date;
pub mod http1;
pub mod http2;

use super::Connection;
use crate::{
    body::{Ahead, Incoming},
    downstream::guard::http2::{Breach, PROTOCOL},
    exchange,
    framing::Refusal,
    io::Socket,
    snapshot::ListenerSnapshot,
    telemetry::ResponseFlag,
    tunnel::upgrade::Offer,
};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use std::{cell::RefCell, future::Future, pin::Pin, rc::Rc, sync::Arc};

pub use date::date;
use http2::End;

/// Serves HTTP/2 to the connection's end, and counts what went wrong.
pub(super) async fn serve_http2(
    socket: Socket,
    prefix: Bytes,
    listener: Arc<ListenerSnapshot>,
    connection: Rc<Connection>,
) {
    let settings = connection.slot.http2_settings(&listener);
    let control = Rc::clone(connection.control());
    let for_service = Rc::clone(&connection);
    let service = move |decoded| {
        let connection = Rc::clone(&for_service);
        async move {
            match decoded {
                Decoded::Request(inbound) => exchange::proxy(connection, inbound).await,
                Decoded::Refused(head, refusal) => exchange::refuse(connection, &head, &refusal.into()),
                Decoded::Reset(head, why) => exchange::reset(connection, &head, why),
            }
        }
    };
    let served = http2::serve(socket, prefix, settings, control, service).await;
    // Before the streams' tasks see that the connection is gone.
    match served.end {
        End::Breach(Breach::WriteTimeout) => connection.cut_for(ResponseFlag::StreamIdleTimeout, WRITE_TIMEOUT),
        End::Breach(breach @ Breach::ShortMemory) => {
            connection.cut_for(ResponseFlag::OverloadManager, breach.as_str());
        }
        _ => {}
    }
    let metrics = &listener.telemetry.metrics;
    match served.end {
        End::Breach(breach) => metrics.refusal(breach.as_str()),
        End::Protocol(_) => metrics.refusal(PROTOCOL),
        End::Closed | End::Drained | End::Idle | End::Shed | End::Aborted | End::Peer(_) | End::Io(_) => {}
    }
    served.tally.each_refusal(|reason, count| (0..count).for_each(|_| metrics.refusal(reason)));
}

/// A future made where it stays: made first and boxed or spawned then, all of its room would be copied, several KiB a
/// request, and a task's is copied again at its end.
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What a codec hands to the service.
#[derive(Debug)]
pub enum Decoded {
    /// A request to be served.
    Request(Inbound),
    /// A request to be answered with the refusal's status, and recorded, but not routed.
    Refused(Parts, Refusal),
    /// A request that was reset, to be recorded and counted under this name. The answer is thrown away.
    Reset(Parts, &'static str),
}

/// A response body that learns why its client was not given all of it.
pub trait Cut: Ahead {
    /// The proxy cuts it, for this reason. Nothing is asked of the body after that.
    fn cut(self: Pin<&mut Self>, why: &'static str);
}

/// A body with no account: whoever sends it sees that it is dropped, and needs no reason.
impl Cut for Incoming {
    fn cut(self: Pin<&mut Self>, _: &'static str) {}
}

/// A client that takes too long to read, as the record and the counter name it.
const WRITE_TIMEOUT: &str = "write_timeout";

/// A request to be served, and what its protocol offers beside it.
#[derive(Debug)]
pub struct Inbound {
    /// The request.
    pub request: Request<Incoming>,
    /// The client's side of a tunnel, if the request asks for one (CONNECT, extended CONNECT, Upgrade): it yields the
    /// stream after the answer that accepts it went out. Beside and not within the request, whose extensions hold
    /// only what can be sent between threads.
    pub upgrade: Option<Offer>,
    /// Sends interim responses, where the client's protocol has them: not on HTTP/1.0.
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
