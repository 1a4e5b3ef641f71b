//! HTTP/1.1 to an upstream: one request at a time on a connection that knows its way home.
//!
//! ```text
//!  request() ─► head, body ─► outbox ─► server ─► framing ─► 1xx ⟲ ─► head ─┬─► whole: the connection goes home
//!                   └──────────── both ways at once ──────────┘             ├─► Http1Body pulls the rest
//!                                                                           └─► 101: the stream itself
//! ```
//!
//! Between the pool and the codec (`crate::http1`): it runs in the request's own future and has no task. Trailers of a
//! request are sent only when its `Trailer` field names them (RFC 9110 §6.6.2); others are dropped, as that field is the
//! only promise an HTTP/1.1 server has that they come. Owns no deadline: those are the exchange's.

mod body;
mod connection;
mod upload;

pub(super) use body::Http1Body;
pub(super) use connection::{Home, Http1Connection};

use super::{
    error::{Carrier, Cause, Delivery, RequestError, SendError},
    head::{self, Given},
    lease::{Carried, InFlight, Lease, Leased, Upgraded},
};
use crate::{
    body::Incoming,
    framing::{Expected, Left, Part, Persistence, Progress},
    http1::read,
    upstream::{OnInformational, RequestBody, SendOptions},
};
use body::{Unfinished, finish};
use connection::Lost;
use http::{Method, Request, Response, StatusCode, header::SEC_WEBSOCKET_KEY, response};
use std::{
    future::poll_fn,
    net::SocketAddr,
    task::{Context, Poll, ready},
};
use upload::{Taken, Unsendable, Upload};

/// Sends `request` on `connection` and waits for the head of its response.
pub(super) async fn request<B: RequestBody>(
    mut connection: Box<Http1Connection>,
    mut request: Request<B>,
    in_flight: InFlight,
    options: &SendOptions<'_>,
) -> Result<Response<Incoming>, SendError<B>> {
    let (address, carrier) = (in_flight.address(), connection.carrier);
    let Some(given) = head::to_http1(&mut request, options.upgrade, address) else {
        return Err(SendError {
            carrier,
            ..SendError::unsent(RequestError::Unwritable.into(), Some(address), request)
        });
    };
    let sent = Sent { address, carrier, given };
    if let Some(key) = options.websocket_key.filter(|_| options.upgrade.is_some()) {
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key.clone());
    }
    connection.expect(match (request.method(), options.upgrade) {
        // That it has no body weighs more than what it asks for.
        (&Method::HEAD, _) => Expected::Head,
        (_, Some(_)) => Expected::Upgrade,
        (_, None) => Expected::Plain,
    });
    if let Err(lost) = poll_fn(|cx| Poll::Ready(connection.poll_before(cx))).await {
        return Err(sent.lost(connection.loss(lost.cause()), Delivery::Unsent, Taken::Nothing, request));
    }
    let mut upload = Upload::begin(&request, &mut connection);
    let hook = options.on_informational.as_ref();
    let head = poll_fn(|cx| poll_head(&mut connection, &mut upload, request.body_mut(), hook, cx)).await;
    let head = match head {
        Ok(head) => head,
        Err(cause) => {
            return Err(sent.lost(connection.loss(cause), connection.delivery(), upload.taken(), request));
        }
    };
    if connection.framer.progress() == Progress::Opaque {
        // What the server switches to begins behind the whole request (RFC 9110 §7.8).
        let rest = poll_fn(|cx| upload.poll(request.body_mut(), &mut connection, cx)).await;
        if let Some(cause) = rest.err().map(Unsendable::cause).or_else(|| upload.refused().map(|lost| lost.cause())) {
            return Err(sent.lost(cause.into(), Delivery::Answered, Taken::Frames, request));
        }
        let (socket, early, opened) = connection.into_stream();
        let stream = Upgraded::plain(socket, early, opened, in_flight);
        return Ok(Response::from_parts(head, Incoming::Upgraded(Box::new(stream))));
    }
    let unfinished = upload.is_sending().then(|| Box::new(Unfinished { upload, body: Box::pin(request.into_body()) }));
    let body = if connection.framer.left() == Left::Nothing {
        finish(connection, unfinished);
        Incoming::Empty
    } else {
        let body = Http1Body::new(connection, unfinished);
        Incoming::Leased(Leased::new(Carried::Http1(body), Lease::Http1 { _in_flight: in_flight }))
    };
    Ok(Response::from_parts(head, body))
}

/// What is known of a request on its connection, should it fail.
struct Sent {
    address: SocketAddr,
    carrier: Carrier,
    given: Given,
}

impl Sent {
    /// The error that hands back what of the request was not used up.
    #[cold]
    fn lost<B>(self, cause: Cause, delivery: Delivery, taken: Taken, request: Request<B>) -> SendError<B> {
        let Self { address, carrier, given } = self;
        let request = head::from_http1(request, given);
        let (request, head) = match (delivery, taken) {
            (Delivery::Unsent, Taken::Nothing) => (Some(Box::new(request)), None),
            (Delivery::Unsent, Taken::Frames) | (Delivery::Unanswered, _) => {
                (None, Some(Box::new(request.into_parts().0)))
            }
            (Delivery::Answered, _) => (None, None),
        };
        SendError { cause, address: Some(address), carrier, delivery, request, head }
    }
}

/// Sends on and reads, both at once, until the head of the final response is there. Cancel-safe.
fn poll_head<B: RequestBody>(
    connection: &mut Http1Connection,
    upload: &mut Upload,
    body: &mut B,
    hook: Option<&OnInformational>,
    cx: &mut Context<'_>,
) -> Poll<Result<response::Parts, RequestError>> {
    loop {
        if let Poll::Ready(sent) = upload.poll(body, connection, cx) {
            sent.map_err(Unsendable::cause)?;
            if let (Some(lost), Delivery::Unsent) = (upload.refused(), connection.delivery()) {
                return Poll::Ready(Err(lost.cause()));
            }
        }
        if connection.delivery() == Delivery::Unsent {
            connection.poll_before(cx).map_err(|lost| lost.cause())?;
            return Poll::Pending;
        }
        let (len, status) = match ready!(connection.poll_part(cx)) {
            Ok(Part::Head { len, status }) => (len, status),
            // The machine stands in a head.
            Ok(Part::Body { .. } | Part::Framing { .. } | Part::Trailers { .. } | Part::More | Part::Opaque) => {
                return Poll::Ready(Err(RequestError::Malformed));
            }
            Err(lost) => {
                // Whose write failed first knows more than the end that followed.
                let first = if let Lost::Ended = lost { upload.refused() } else { None };
                return Poll::Ready(Err(first.unwrap_or(&lost).cause()));
            }
        };
        let bytes = connection.input.take(len);
        let interim = (100..200).contains(&status) && status != StatusCode::SWITCHING_PROTOCOLS;
        if interim {
            if let Some(hook) = hook {
                let head = read::response(&bytes, &connection.layout).map_err(|_| RequestError::Malformed)?;
                hook(head.status, &head.headers);
            }
            // It may have let the body go.
            continue;
        }
        if connection.layout.persistence() == Persistence::Close {
            connection.persistence = Persistence::Close;
        }
        let head = read::response(&bytes, &connection.layout).map_err(|_| RequestError::Malformed);
        connection.layout.give_back();
        return Poll::Ready(head);
    }
}
