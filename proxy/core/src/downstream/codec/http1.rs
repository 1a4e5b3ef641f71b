//! HTTP/1 by hyper, behind the strict guard.
//!
//! hyper sees only heads that the guard has checked, so that both agree on where each message ends. Requests on a
//! connection are served in order, one at a time. The codec decides nothing about a request.

use crate::{
    body::Incoming,
    downstream::{
        Connection,
        codec::Inbound,
        connection::{Order, Orders},
        guard::{Begin, Deadlines, Ending, GuardHandle, GuardedSocket, RequestTicket},
    },
    exchange::{self, stream::ResponseBody},
    framing::{Limits, Underscores},
    io::Socket,
    snapshot::ListenerSnapshot,
    tunnel::upgrade::{Offer, TunnelEnd},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pillion_config::model::{self, Http};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, sync::oneshot};

/// Bytes hyper may buffer in either direction: twice a head of the default limit. Its own default, 400 KB, is a
/// sidecar's whole budget for twelve connections.
const BUFFER: usize = 64 * 1024;

/// Header fields that hyper parses without an allocation.
const HEADERS_ON_STACK: u16 = 100;

/// How long a closed connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a connection's requests share with its task.
struct Served {
    connection: Rc<Connection>,
    guard: GuardHandle,
    /// Where the connection goes once hyper has written the head that ends its HTTP.
    upgrading: RefCell<Option<oneshot::Sender<TunnelEnd>>>,
    leaving: Cell<Leaving>,
}

/// Whether the guard was told to close as soon as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    Yes,
}

/// Serves requests until either side is done with the connection. Dropping the future closes it.
pub async fn serve(socket: Socket, prefix: Bytes, listener: &ListenerSnapshot, connection: Rc<Connection>) {
    let http = &listener.model.http;
    let (guarded, guard) = GuardedSocket::new(socket, prefix, limits(http), deadlines(http));
    let mut orders = Orders::new(Rc::clone(&connection));
    let served = Rc::new(Served { connection, guard, upgrading: RefCell::default(), leaving: Cell::new(Leaving::No) });
    let service = service_fn({
        let served = Rc::clone(&served);
        move |request| {
            let served = Rc::clone(&served);
            async move { Ok::<_, Infallible>(served.answer(request).await) }
        }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER.max(2 * http.limits.header_bytes as usize));
    // Up to its own number hyper parses into an array on the stack; beyond, each request pays an allocation.
    if http.limits.headers > HEADERS_ON_STACK {
        builder.max_headers(usize::from(http.limits.headers));
    }
    let mut codec = builder.serve_connection(TokioIo::new(guarded), service);

    let ended = poll_fn(|cx| {
        served.obey(orders.poll(cx));
        Pin::new(&mut codec).poll(cx)
    })
    .await;
    if served.guard.ending() == Some(Ending::WriteStalled) {
        // Before the codec goes, and the response within it.
        served.connection.cut_for("write_timeout");
    }
    let parts = codec.into_parts();
    let mut guarded = parts.io.into_inner();
    let upgrading = served.upgrading.take();
    served.count();
    match (ended, upgrading) {
        (Ok(()), Some(tunnel)) => {
            // Nobody waits for it when the tunnel has been given up meanwhile.
            tunnel.send(TunnelEnd::new(guarded, parts.read_buf)).ok();
        }
        (Ok(()) | Err(_), _) => {
            tokio::time::timeout(GOODBYE, guarded.shutdown()).await.ok();
        }
    }
}

fn limits(http: &Http) -> Limits {
    Limits {
        max_headers: http.limits.headers,
        max_head_bytes: http.limits.header_bytes,
        max_target_bytes: http.limits.target_bytes,
        underscores: match http.underscores {
            model::Underscores::Accept => Underscores::Accept,
            model::Underscores::Reject => Underscores::Reject,
        },
        ..Limits::default()
    }
}

fn deadlines(http: &Http) -> Deadlines {
    let timeouts = &http.timeouts;
    Deadlines {
        idle: timeouts.idle,
        head: timeouts.header,
        body: timeouts.body,
        write: timeouts.write,
        linger: GOODBYE,
    }
}

impl Served {
    fn obey(&self, order: Order) {
        match order {
            Order::Carry | Order::Announce => {}
            Order::CloseIfIdle if self.guard.outstanding() > 0 => {}
            Order::CloseIfIdle | Order::CloseWhenIdle => {
                // A head may be half here: its answer must say that it is the last.
                self.leaving.set(Leaving::Yes);
                self.guard.close_when_idle();
            }
            Order::Abort => self.guard.abort(),
        }
    }

    /// Counts what no answer accounts for, once the connection has ended.
    fn count(&self) {
        if let Some(refusal) = self.guard.refusal() {
            self.connection.count_refusal(refusal.name());
        } else if self.guard.ending() == Some(Ending::WriteStalled) {
            self.connection.count_refusal("write_timeout");
        }
    }

    async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response<ResponseBody> {
        let mut response = match self.guard.begin() {
            Begin::Serve(ticket) => self.proxy(ticket, request).await,
            Begin::Refuse(refusal) => {
                exchange::refuse(Rc::clone(&self.connection), &request.into_parts().0, &refusal.into())
            }
        };
        // Behind a body that broke its framing nothing can be read.
        let broken = self.guard.body_refusal().is_some();
        let leaving = broken || self.connection.leaving() || self.leaving.get() == Leaving::Yes;
        if leaving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn proxy(&self, ticket: RequestTicket, request: Request<hyper::body::Incoming>) -> Response<ResponseBody> {
        let request = request.map(Incoming::http1);
        if !ticket.may_upgrade() {
            let inbound = Inbound { request, upgrade: None, interim: None };
            let mut response = exchange::proxy(Rc::clone(&self.connection), inbound).await;
            response.body_mut().hold(ticket);
            return response;
        }
        let connect = request.method() == Method::CONNECT;
        let (end, offer) = Offer::new(None);
        let inbound = Inbound { request, upgrade: Some(offer), interim: None };
        let mut response = exchange::proxy(Rc::clone(&self.connection), inbound).await;
        let switched =
            if connect { response.status().is_success() } else { response.status() == StatusCode::SWITCHING_PROTOCOLS };
        if switched && ticket.accept_upgrade().is_ok() {
            *self.upgrading.borrow_mut() = Some(end);
        } else {
            if connect {
                // What follows a refused CONNECT was meant for the tunnel; none of it is a request.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response.body_mut().hold(ticket);
        }
        response
    }
}
