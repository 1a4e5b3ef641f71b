//! HTTP/2 to an upstream: many requests on a connection, each in its slot.
//!
//! Between the pool and the codec. The codec is used directly: what a GOAWAY left unprocessed and what was refused is
//! known to be unsent, and a request without a body costs no task.

mod driver;
mod upload;

pub(super) use upload::Upload;

use super::{
    circuit_wait::{Opened, Waiting},
    error::{Carrier, Cause, Delivery, RequestError, SendError},
    head,
    lease::{Carried, InFlight, Lease, Leased, Upgraded},
    line::{Line, Watch},
    pool::Host,
};
use crate::{
    body::{Http2Body, Incoming},
    downstream::{admit::Distrust, windows::Window},
    framing::{Interim, LargeHead, Violation, judge_http2_response},
    identity::Dialling,
    io::{Gone, Hold},
    tunnel::h2_stream::H2Stream,
    upstream::{Bond, Carrying, OnInformational, RequestBody, SendOptions},
};
use bytes::Bytes;
use driver::Shared;
use futures_util::task::noop_waker_ref;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::{Request, Response, StatusCode, header::CONTENT_LENGTH};
use rustls::pki_types::CertificateDer;
use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{task::spawn_local, time::Instant};

/// A connection that carries many requests.
pub(super) struct Http2Connection {
    sender: RefCell<SendRequest<Bytes>>,
    shared: Rc<Shared>,
    since: Cell<Instant>,
    announced: Option<Rc<[u8]>>,
    carrying: OnceCell<Rc<Carrying>>,
    /// By what its server was judged, where TLS carries it.
    made_by: Option<Arc<Dialling>>,
    watch: Watch,
    /// Of its line.
    gone: Rc<Gone>,
    waiting: Rc<Waiting>,
    /// It finishes what it carries and closes, to make room for requests of other workers.
    retired: Cell<bool>,
}

/// A request's place on a connection. Whoever holds a part of its stream holds it, and drops it behind that.
pub(super) struct Slot {
    connection: Rc<Http2Connection>,
    carrier: Carrier,
    /// Once the request was sent.
    hold: OnceCell<Hold>,
}

/// Requests on one connection, whatever the peer allows: what one socket's write order can serve fairly.
pub(super) const MAX_STREAMS: usize = 1_024;

impl Http2Connection {
    /// Takes the two halves that the handshake made, and lets the codec's run.
    pub(super) fn start<B: RequestBody>(
        sender: SendRequest<Bytes>,
        (codec, window): (Connection<Line, Bytes>, Window),
        (watch, bond): (Watch, Option<Rc<Bond>>),
        host: &Rc<Host<B>>,
        opened: Opened,
        announced: Option<Rc<[u8]>>,
    ) -> Rc<Self> {
        let shared = Rc::new(Shared::new(window.pace()));
        let waiting = Rc::clone(&host.waiting);
        let codec = (codec, window);
        spawn_local(driver::drive(codec, Rc::clone(&shared), (watch.clone(), bond), opened, Rc::downgrade(host)));
        Rc::new(Self {
            sender: RefCell::new(sender),
            shared,
            since: Cell::new(Instant::now()),
            announced,
            carrying: OnceCell::new(),
            made_by: watch.made_by(),
            // A connection that is over already carries nothing.
            gone: watch.gone().unwrap_or_default(),
            watch,
            waiting,
            retired: Cell::new(false),
        })
    }

    /// Neither closed nor told to go away: the codec refuses new streams from then on.
    pub(super) fn takes_more(&self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        !self.retired.get()
            && self.is_open()
            && !matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Takes more, and its peer allows one more now.
    pub(super) fn has_room(&self) -> bool {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut sender = self.sender.borrow_mut();
        !self.retired.get()
            && self.is_open()
            && self.shared.active.get() < sender.current_max_send_streams().min(MAX_STREAMS)
            && matches!(sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Whether it began as a request wants it.
    pub(super) fn began_with(&self, announced: Option<&Rc<[u8]>>) -> bool {
        self.announced.as_ref() == announced
    }

    /// By what its server was judged, where it speaks TLS.
    pub(super) fn made_by(&self) -> Option<&Dialling> {
        self.made_by.as_deref()
    }

    pub(super) fn is_open(&self) -> bool {
        self.shared.open.get()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.active.get() == 0
    }

    pub(super) fn resting_since(&self) -> Instant {
        if self.is_idle() { self.since.get() } else { Instant::now() }
    }
}

impl Slot {
    /// What a stream's loss before an answer comes to: the handshake's failure, where the server refused us after it.
    fn loss(&self, cause: RequestError) -> Cause {
        if let Some(why) = self.distrusted() {
            return RequestError::Distrusted(why).into();
        }
        self.connection.shared.refused.get().map_or_else(|| cause.into(), Cause::Connect)
    }

    /// Why the connection was ended, if it was because of who is at its ends.
    pub(super) fn distrusted(&self) -> Option<Distrust> {
        self.connection.shared.distrusted.get()
    }

    /// A place on a connection that just was made.
    pub(super) fn first(connection: &Rc<Http2Connection>) -> Rc<Self> {
        Self::take(connection, Carrier::Fresh)
    }

    /// What its connection is, for filters.
    pub(super) fn carrying(&self) -> Option<Rc<Carrying>> {
        let Http2Connection { carrying, watch, .. } = &*self.connection;
        if carrying.get().is_none() {
            carrying.set(watch.carrying()?).ok();
        }
        carrying.get().cloned()
    }

    /// A place on a connection that has served before.
    pub(super) fn on(connection: &Rc<Http2Connection>) -> Rc<Self> {
        Self::take(connection, Carrier::Reused)
    }

    fn take(connection: &Rc<Http2Connection>, carrier: Carrier) -> Rc<Self> {
        let active = &connection.shared.active;
        active.set(active.get() + 1);
        Rc::new(Self { connection: Rc::clone(connection), carrier, hold: OnceCell::new() })
    }

    /// The response is whole.
    pub(super) fn over(&self) {
        if let Some(hold) = self.hold.get() {
            hold.over();
        }
    }
}

impl Slot {
    /// By what the server was judged and the chain it showed, where it speaks TLS.
    pub(super) fn shown(&self) -> Option<(Arc<Dialling>, Box<[CertificateDer<'static>]>)> {
        let made_by = self.connection.made_by.clone()?;
        Some((made_by, self.connection.watch.peer_certificates()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let active = &self.connection.shared.active;
        active.set(active.get() - 1);
        let waiting = &self.connection.waiting;
        if waiting.yields() {
            self.connection.retired.set(true);
        }
        if active.get() == 0 {
            self.connection.since.set(Instant::now());
            waiting.idle();
        }
        waiting.freed();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

/// Sends `request` in `slot` and waits for the head of its response.
pub(super) async fn request<B: RequestBody>(
    slot: Rc<Slot>,
    request: Request<B>,
    in_flight: InFlight,
    options: &SendOptions<'_>,
) -> Result<Response<Incoming>, SendError<B>> {
    let address = in_flight.address();
    let carrier = slot.carrier;
    let fail = |cause, delivery, request: Option<Request<B>>| SendError {
        cause,
        address: Some(address),
        carrier,
        delivery,
        request: request.map(Box::new),
        head: None,
    };
    if options.upgrade.is_some() && !takes_upgrades(&slot).await {
        return Err(fail(Cause::UpgradeUnsupported, Delivery::Unsent, Some(request)));
    }
    // The codec consumes the head; a copy is what makes a refused request one that can be handed back.
    let headers = request.headers().clone();
    let secure = slot.connection.made_by.is_some();
    let Some(head) = head::to_http2(request.method(), request.uri(), headers, options.upgrade, secure) else {
        return Err(fail(RequestError::Unwritable.into(), Delivery::Unsent, Some(request)));
    };
    let bodiless =
        request.body().is_end_stream() && options.upgrade.is_none() && head.method() != http::Method::CONNECT;
    let sent = slot.connection.sender.borrow_mut().send_request(head, bodiless);
    let (response, stream) = match sent {
        Ok(sent) => sent,
        Err(error) => return Err(fail(slot.loss(read_error(&error).0), Delivery::Unsent, Some(request))),
    };
    slot.hold.set(Hold::new(response.stream_id(), &slot.connection.gone)).ok();
    if options.upgrade.is_some() || request.method() == http::Method::CONNECT {
        return match answer(response, options.on_informational.as_ref()).await {
            Ok(response) => Ok(receive_tunnel(response, stream, slot, in_flight)),
            Err(Unanswered::Refused(violation)) => {
                Err(fail(RequestError::Violation(violation).into(), Delivery::Answered, None))
            }
            Err(Unanswered::Failed(error)) => {
                let (cause, delivery) = read_error(&error);
                Err(fail(slot.loss(cause), delivery, (delivery == Delivery::Unsent).then_some(request)))
            }
        };
    }
    // Without a body the request stays whole and can be handed back; a body goes its own way.
    let (upload, whole, head) = if bodiless {
        drop(stream);
        (None, Some(request), None)
    } else {
        let (head, body) = request.into_parts();
        let upload = Upload::start(body, stream, Rc::clone(&slot), options.body_stall).await;
        (Some(upload), None, Some(Box::new(head)))
    };
    match answer(response, options.on_informational.as_ref()).await {
        Ok(response) if response.headers().len() > usize::from(in_flight.model().headers) => {
            Err(fail(RequestError::TooManyHeaders.into(), Delivery::Answered, None))
        }
        Ok(response) => Ok(receive(response, upload, slot, in_flight)),
        Err(Unanswered::Refused(violation)) => {
            Err(fail(RequestError::Violation(violation).into(), Delivery::Answered, None))
        }
        Err(Unanswered::Failed(error)) => {
            let (cause, delivery) = read_error(&error);
            let cause = slot.loss(upload.and_then(|upload| upload.failure()).unwrap_or(cause));
            let unsent = delivery == Delivery::Unsent;
            let error = fail(cause, delivery, whole.filter(|_| unsent));
            Err(SendError { head: head.filter(|_| unsent), ..error })
        }
    }
}

async fn takes_upgrades(slot: &Slot) -> bool {
    let connection = &slot.connection;
    connection.shared.settled().await;
    connection.sender.borrow().is_extended_connect_protocol_enabled()
}

/// Why there is no response.
enum Unanswered {
    /// Its head breaks a rule that the codec does not know.
    Refused(Violation),
    Failed(h2::Error),
}

/// The final response's head; interim ones go to the hook, or nowhere.
async fn answer(
    mut response: ResponseFuture,
    hook: Option<&OnInformational>,
) -> Result<Response<RecvStream>, Unanswered> {
    let mut count = Interim::default();
    poll_fn(|cx| {
        // An error here is told again by the response itself.
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            let judged = count.another().and_then(|()| judge_http2_response(interim.status(), interim.headers()));
            judged.map_err(Unanswered::Refused)?;
            if let Some(hook) = hook {
                hook(interim.status(), interim.headers());
            }
        }
        let mut answered = ready!(Pin::new(&mut response).poll(cx)).map_err(Unanswered::Failed)?;
        let bytes = judge_http2_response(answered.status(), answered.headers()).map_err(Unanswered::Refused)?;
        if let Some(large) = LargeHead::of(bytes) {
            answered.extensions_mut().insert(large);
        }
        Poll::Ready(Ok(answered))
    })
    .await
}

fn receive(
    response: Response<RecvStream>,
    upload: Option<Upload>,
    slot: Rc<Slot>,
    in_flight: InFlight,
) -> Response<Incoming> {
    let (head, stream) = response.into_parts();
    let pace = Rc::clone(&slot.connection.shared.pace);
    let lease = Lease::Http2 { upload, slot, _in_flight: in_flight };
    let body = if stream.is_end_stream() {
        lease.end();
        Incoming::Empty
    } else {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = Http2Body::new(stream, length, &pace);
        Incoming::Leased(Leased::new(Carried::Http2(body), lease))
    };
    Response::from_parts(head, body)
}

/// The byte stream behind a 2xx (RFC 8441 §4); another answer has a body, and the request's half ends here.
fn receive_tunnel(
    response: Response<RecvStream>,
    mut send: SendStream<Bytes>,
    slot: Rc<Slot>,
    in_flight: InFlight,
) -> Response<Incoming> {
    if response.status().is_success() && response.status() != StatusCode::NO_CONTENT {
        let (head, receive) = response.into_parts();
        let stream = H2Stream::new(send, receive, &slot.connection.shared.pace);
        let upgraded = Upgraded::http2(stream, slot, in_flight);
        Response::from_parts(head, Incoming::Upgraded(Box::new(upgraded)))
    } else {
        // The stream may be gone by now, which ends this half as well.
        send.send_data(Bytes::new(), true).ok();
        receive(response, None, slot, in_flight)
    }
}

/// What failed, and whether the peer can have seen the request.
fn read_error(error: &h2::Error) -> (RequestError, Delivery) {
    match error.reason() {
        // RFC 9113 §6.8: the codec tells this to streams above the last one processed only.
        Some(reason) if error.is_go_away() && error.is_remote() => (RequestError::GoAway(reason), Delivery::Unsent),
        // RFC 9113 §8.7: not processed.
        Some(Reason::REFUSED_STREAM) if error.is_remote() => {
            (RequestError::StreamReset(Reason::REFUSED_STREAM), Delivery::Unsent)
        }
        Some(reason) if error.is_remote() => (RequestError::StreamReset(reason), Delivery::Answered),
        // Ours, by the codec: which of the connection's responses broke the rule it does not tell.
        Some(_) if error.is_go_away() => (RequestError::Http2Protocol, Delivery::Answered),
        // Ours, by the codec: the peer broke a rule. Ours, by the proxy: the upload's failure says why.
        Some(_) => (RequestError::Malformed, Delivery::Answered),
        None => match error.get_io().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionReset) => (RequestError::ConnectionReset, Delivery::Unanswered),
            Some(std::io::ErrorKind::InvalidData) => (RequestError::TlsFailed, Delivery::Unanswered),
            Some(_) => (RequestError::Closed, Delivery::Unanswered),
            // The codec's own refusal of what it was asked to write.
            None => (RequestError::Unwritable, Delivery::Unsent),
        },
    }
}
