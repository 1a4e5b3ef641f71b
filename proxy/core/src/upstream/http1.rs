//! HTTP/1.1 to an upstream: one request at a time on a connection that knows its way home.
//!
//! Between the pool and the codec: it announces each request to the guard, hands it to the codec and reads from both
//! what became of it. Trailers of a request are sent only when its `Trailer` field names them (RFC 9110 §6.6.2);
//! others are dropped, as that field is the only promise an HTTP/1.1 server has that they come.

use super::{
    error::{Carrier, Cause, Delivery, RequestError, SendError},
    guard::{GuardedUpstream, ResponseHandle, UpgradeAsked},
    head,
    lease::{Carried, GoHome, InFlight, Lease, Leased, Upgraded},
    line::{Line, Seen, Watch},
    pool::Host,
};
use crate::{
    body::{BodyError, Incoming},
    telemetry::metrics::Active,
    upstream::{OnInformational, RequestBody, SendOptions, circuit_wait::Opened},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING},
};
use hyper::client::conn::{
    TrySendError,
    http1::{Connection, Parts, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::{Rc, Weak},
    task::Poll,
};
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_local,
    time::Instant,
};

/// A connection that carries one request at a time.
pub(super) struct Http1Connection<B> {
    sender: RefCell<SendRequest<B>>,
    guard: ResponseHandle,
    watch: Watch,
    host: Weak<Host<B>>,
    leftover: Rc<Leftover>,
    since: Cell<Instant>,
    carrier: Cell<Carrier>,
    /// Counted as resting while this is here.
    idle: Cell<Option<Active>>,
}

/// Where the connection's task leaves the byte stream when the protocol was changed.
#[derive(Default)]
struct Leftover {
    wanted: Cell<bool>,
    stream: RefCell<Option<(GuardedUpstream<Line>, Bytes, Opened)>>,
    left: Notify,
}

/// The codec's half of a connection.
type Codec<B> = Connection<TokioIo<GuardedUpstream<Line>>, B>;

/// Interim responses that may wait for the hook; the guard allows sixteen to a request.
const INTERIM_QUEUE: usize = 16;

impl<B: RequestBody> Http1Connection<B> {
    /// Takes the two halves that the handshake made, and lets the codec's run.
    pub(super) fn start(
        sender: SendRequest<B>,
        codec: Codec<B>,
        guard: ResponseHandle,
        watch: Watch,
        host: &Rc<Host<B>>,
        opened: Opened,
    ) -> Rc<Self> {
        let leftover = Rc::new(Leftover::default());
        let connection = Rc::new(Self {
            sender: RefCell::new(sender),
            guard,
            watch,
            host: Rc::downgrade(host),
            leftover: Rc::clone(&leftover),
            since: Cell::new(Instant::now()),
            carrier: Cell::new(Carrier::Fresh),
            idle: Cell::new(None),
        });
        spawn_local(drive(codec, leftover, opened, Rc::downgrade(host)));
        connection
    }

    /// Whether it can carry another request; `look` at the socket itself, too.
    pub(super) fn is_fit(&self, look: bool) -> bool {
        self.sender.borrow().is_ready() && !(look && self.watch.look() == Seen::Over)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.borrow().is_closed()
    }

    pub(super) fn resting_since(&self) -> Instant {
        self.since.get()
    }

    /// Rests from now on, or no longer.
    pub(super) fn set_idle(&self, gauge: Option<Active>) {
        self.idle.set(gauge);
    }

    fn delivery(&self) -> Delivery {
        match (self.guard.bytes_sent(), self.guard.bytes_answered()) {
            (0, _) => Delivery::Unsent,
            (_, 0) => Delivery::Unanswered,
            _ => Delivery::Answered,
        }
    }

    fn rest(self: Rc<Self>) {
        if let Some(host) = self.host.upgrade() {
            self.since.set(Instant::now());
            self.carrier.set(Carrier::Reused);
            host.rest(self);
        }
    }
}

impl<B: RequestBody> GoHome for Http1Connection<B> {
    fn go_home(self: Rc<Self>) {
        let ready = self.sender.borrow().is_ready();
        match (ready && self.guard.is_idle(), self.is_open()) {
            (true, _) => self.rest(),
            (false, false) => {}
            // The response came before the request's body was sent, or the codec has not run since the last chunk.
            (false, true) => {
                spawn_local(async move {
                    if poll_fn(|cx| self.sender.borrow_mut().poll_ready(cx)).await.is_ok() && self.guard.is_idle() {
                        self.rest();
                    }
                });
            }
        }
    }
}

/// Runs the codec until the connection ends, then leaves the stream behind if somebody waits for it.
async fn drive<B: RequestBody>(codec: Codec<B>, leftover: Rc<Leftover>, opened: Opened, host: Weak<Host<B>>) {
    // An error was told to the request it hit; one that hits a resting connection concerns nobody.
    if let Ok(Parts { io, read_buf, .. }) = codec.without_shutdown().await
        && leftover.wanted.get()
    {
        *leftover.stream.borrow_mut() = Some((io.into_inner(), read_buf, opened));
    } else {
        drop(opened);
    }
    leftover.left.notify_one();
    if let Some(host) = host.upgrade() {
        host.prune();
    }
}

/// Sends `request` on `connection` and waits for the head of its response.
pub(super) async fn request<B: RequestBody>(
    connection: Rc<Http1Connection<B>>,
    mut request: Request<B>,
    in_flight: InFlight,
    options: &SendOptions<'_>,
) -> Result<Response<Incoming>, SendError<B>> {
    let address = in_flight.address();
    let fail = |cause, delivery, request: Option<Request<B>>| SendError {
        cause,
        address: Some(address),
        carrier: connection.carrier.get(),
        delivery,
        request: request.map(Box::new),
        head: None,
    };
    let Some(given) = head::to_http1(&mut request, options.upgrade, address) else {
        return Err(fail(RequestError::Unwritable.into(), Delivery::Unsent, Some(request)));
    };
    if let Some(key) = options.websocket_key.filter(|_| options.upgrade.is_some()) {
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key.clone());
    }
    frame(&mut request);
    let upgrade = if options.upgrade.is_some() { UpgradeAsked::Yes } else { UpgradeAsked::No };
    let method = request.method().clone();
    let hook = options.on_informational.as_ref().map(|hook| (hook, listen(&mut request)));
    connection.leftover.wanted.set(upgrade == UpgradeAsked::Yes || method == Method::CONNECT);
    connection.guard.expect_response(&method, upgrade);
    let sending = connection.sender.borrow_mut().try_send_request(request);
    let answer = match hook {
        None => sending.await,
        Some((hook, interim)) => hear(sending, interim, hook).await,
    };
    match answer {
        Ok(response) => receive(&connection, response, &method, in_flight)
            .await
            .map_err(|error| fail(error.into(), Delivery::Answered, None)),
        Err(mut error) => {
            let back = error.take_message();
            let delivery = if back.is_some() { Delivery::Unsent } else { connection.delivery() };
            let back = back.map(|request| head::from_http1(request, given));
            Err(fail(Cause::Request(read_error(&connection.guard, &error.into_error())), delivery, back))
        }
    }
}

/// Says how a body of unknown length is framed. Of itself the codec takes it that GET and its like have none, and
/// would drop what there is.
fn frame<B: RequestBody>(request: &mut Request<B>) {
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Gives the response its lease, or the byte stream behind it.
async fn receive<B: RequestBody>(
    connection: &Rc<Http1Connection<B>>,
    response: Response<hyper::body::Incoming>,
    method: &Method,
    in_flight: InFlight,
) -> Result<Response<Incoming>, RequestError> {
    let (head, body) = response.into_parts();
    let changed =
        head.status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && head.status.is_success());
    let body = if changed {
        let leftover = &connection.leftover;
        // The codec ends in the same turn in which it hands over the head, so this does not wait for the network.
        leftover.left.notified().await;
        let (io, early, opened) = leftover.stream.borrow_mut().take().ok_or(RequestError::Closed)?;
        Incoming::Upgraded(Box::new(Upgraded::http1(io, early, opened, in_flight)))
    } else {
        connection.leftover.wanted.set(false);
        let lease = Lease::Http1 { connection: Rc::clone(connection) as Rc<dyn GoHome>, _in_flight: in_flight };
        if http_body::Body::is_end_stream(&body) {
            lease.end();
            Incoming::Empty
        } else {
            Incoming::Leased(Leased::new(Carried::Http1(body), lease))
        }
    };
    Ok(Response::from_parts(head, body))
}

/// What the codec's error and the guard say together.
fn read_error(guard: &ResponseHandle, error: &hyper::Error) -> RequestError {
    if let Some(violation) = guard.violation() {
        return RequestError::Violation(violation);
    }
    let source = error.source();
    if error.is_user() {
        let of_body = source.is_some_and(|source| source.downcast_ref::<BodyError>().is_some());
        return if of_body { RequestError::RequestBody } else { RequestError::Unwritable };
    }
    if error.is_parse() {
        return RequestError::Malformed;
    }
    match source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => RequestError::ConnectionReset,
        _ => RequestError::Closed,
    }
}

type Interim = (StatusCode, HeaderMap);

/// Asks the codec for interim responses. Its hook must be `Send`, ours is not: a channel lies between.
fn listen<B>(request: &mut Request<B>) -> mpsc::Receiver<Interim> {
    let (sender, receiver) = mpsc::channel(INTERIM_QUEUE);
    hyper::ext::on_informational(request, move |response| {
        // Full means more than the guard lets through; there is nothing to tell anybody.
        sender.try_send((response.status(), response.headers().clone())).ok();
    });
    receiver
}

/// Waits for the answer and passes on what comes before it.
async fn hear<B>(
    sending: impl Future<Output = Result<Response<hyper::body::Incoming>, TrySendError<Request<B>>>>,
    mut interim: mpsc::Receiver<Interim>,
    hook: &OnInformational,
) -> Result<Response<hyper::body::Incoming>, TrySendError<Request<B>>> {
    let mut sending = pin!(sending);
    poll_fn(|cx| {
        let answer = sending.as_mut().poll(cx);
        while let Poll::Ready(Some((status, headers))) = interim.poll_recv(cx) {
            hook(status, &headers);
        }
        answer
    })
    .await
}
