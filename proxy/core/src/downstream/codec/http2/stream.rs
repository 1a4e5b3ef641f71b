//! One stream: check, serve, respond, pump.

use super::{
    Settings, Tally,
    check::{Check, check},
};
use crate::{
    body::{BodyError, Held, Incoming},
    downstream::{
        codec::{Cut, Decoded, Inbound, Interim, WRITE_TIMEOUT, date},
        guard::http2::Unread,
    },
    exchange::{head::grpc::is_grpc, respond::Reset},
    framing::LargeHead,
    io::{
        Gone, Hold, Pace,
        h2_pump::{PumpError, send_body},
    },
    tunnel::{
        h2_stream::H2Stream,
        upgrade::{Offer, TunnelEnd},
    },
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, ext::Protocol, server::SendResponse};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};
use tokio::sync::oneshot;

/// What the streams of a connection share.
pub(super) struct Shared<F> {
    pub(super) service: F,
    pub(super) settings: Rc<Settings>,
    pub(super) tally: Rc<Tally>,
    pub(super) gone: Rc<Gone>,
    pub(super) pace: Rc<Pace>,
    pub(super) unread: Rc<Unread>,
}

/// The answering half. If the service panics, the stream ends with INTERNAL_ERROR and no other one does.
struct Answer<'a> {
    respond: SendResponse<Bytes>,
    tally: &'a Tally,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
            self.tally.count(&self.tally.panics);
        }
    }
}

/// A tunnel that may come of this stream: what comes of it, and where the accepted one goes.
struct Asked {
    held: Rc<Held>,
    accepted: oneshot::Sender<TunnelEnd>,
}

/// Serves one stream to its end. Dropping it resets the stream.
pub(super) async fn serve_stream<F, Fut, B>(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Rc<Shared<F>>,
) where
    F: Fn(Decoded) -> Fut,
    Fut: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error = BodyError> + Cut,
{
    let tally = &*shared.tally;
    let (parts, receive) = request.into_parts();
    // Declared before the answer: it is dropped after it. What comes of a request that is refused waits in it until then.
    let held = (parts.method == Method::CONNECT || !receive.is_end_stream()).then(|| {
        let hold = Hold::new(receive.stream_id(), &shared.gone);
        // A stream of gRPC whose client has said what it waits for may be silent for long, and its server need not begin before it
        // has something to say.
        let silence = shared.settings.timeouts.body.filter(|_| !is_grpc(&parts.headers));
        Rc::new(Held::new(receive, hold, silence, &shared.pace))
    });
    let mut answer = Answer { respond, tally };
    let head = parts.method == Method::HEAD;
    let extended = parts.extensions.get::<Protocol>().is_some();
    let (decoded, asked, interim) = match check(&parts, &shared.settings.limits, extended) {
        Check::Serve => decode(parts, held.as_ref()),
        Check::Refuse(refusal) => {
            tally.count(&tally.refused);
            (Decoded::Refused(parts, refusal), None, None)
        }
        Check::Reset(malformed) => {
            tally.malformed(malformed);
            answer.respond.send_reset(Reason::PROTOCOL_ERROR);
            drop((shared.service)(Decoded::Reset(parts, malformed.name())).await);
            return;
        }
    };
    let response = {
        let mut future = pin!((shared.service)(decoded));
        poll_fn(|cx| {
            let response = future.as_mut().poll(cx);
            for interim in interim.iter().flat_map(Interim::take) {
                shared.unread.interim(|| answer.respond.stream_id().as_u32());
                // A stream that is gone needs none; `poll_reset` says so below.
                answer.respond.send_informational(interim).ok();
            }
            match response {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                // The client gave the request up, or the connection ended: nobody waits, so the service is dropped
                // here, and what it does upstream with it.
                Poll::Pending => {
                    if let Some(held) = &held {
                        held.poll_unwanted(cx);
                    }
                    answer.respond.poll_reset(cx).map(|_| None)
                }
            }
        })
        .await
    };
    match response {
        Some(response) => {
            let mut answering = pin!(respond_with(response, head, asked, &mut answer, &shared));
            poll_fn(|cx| {
                let answered = answering.as_mut().poll(cx);
                // What a refused client sends all the same does not wait for it to read why.
                if let (Poll::Pending, Some(held)) = (answered, &held) {
                    held.poll_unwanted(cx);
                }
                answered
            })
            .await;
        }
        None => tally.count(&tally.cancelled),
    }
}

fn decode(parts: Parts, held: Option<&Rc<Held>>) -> (Decoded, Option<Asked>, Option<Interim>) {
    let interim = Interim::default();
    let (body, asked, upgrade) = if parts.method == Method::CONNECT
        && let Some(held) = held
    {
        let protocol = parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
        let (accepted, offer) = Offer::new(protocol);
        (Incoming::Empty, Some(Asked { held: Rc::clone(held), accepted }), Some(offer))
    } else {
        // h2 has checked that it is a number.
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
        let body = held.map_or(Incoming::Empty, |held| Incoming::http2(Rc::clone(held), length));
        (body, None, None)
    };
    let request = Request::from_parts(parts, body);
    (Decoded::Request(Inbound { request, upgrade, interim: Some(interim.clone()) }), asked, Some(interim))
}

async fn respond_with<F, B>(
    response: Response<B>,
    head: bool,
    asked: Option<Asked>,
    answer: &mut Answer<'_>,
    shared: &Shared<F>,
) where
    B: Body<Data = Bytes, Error = BodyError> + Cut,
{
    let (mut parts, body) = response.into_parts();
    let mut large = None;
    if !parts.extensions.is_empty() {
        if let Some(reset) = parts.extensions.get::<Reset>() {
            match reset {
                // As Envoy says it; a gRPC client makes INTERNAL of it.
                Reset::Cut => answer.respond.send_reset(Reason::INTERNAL_ERROR),
                Reset::Unserved => answer.respond.send_reset(Reason::REFUSED_STREAM),
                Reset::Gone => answer.tally.count(&answer.tally.cancelled),
            }
            return;
        }
        large = parts.extensions.get::<LargeHead>().map(|head| head.0);
    }
    tidy(&mut parts.headers, parts.status);
    let status = parts.status;
    // h2 has no 101 (RFC 9113 §8.6), and a 1xx is not a response.
    if status.is_informational() {
        answer.respond.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    let unread = &*shared.unread;
    unread.head(|| answer.respond.stream_id().as_u32(), large);
    if let Some(asked) = asked
        && status.is_success()
    {
        // RFC 9110 §9.3.6: it has no meaning there.
        parts.headers.remove(header::CONTENT_LENGTH);
        if let Ok(send) = answer.respond.send_response(Response::from_parts(parts, ()), false) {
            // Without a taker the stream is dropped, which resets it.
            let stream = H2Stream::downstream(send, asked.held, Rc::clone(&shared.unread));
            asked.accepted.send(TunnelEnd::new(stream, Bytes::new())).ok();
            answer.tally.count(&answer.tally.tunnels);
        }
        return;
    }
    let bodyless = head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || body.is_end_stream();
    let Ok(mut stream) = answer.respond.send_response(Response::from_parts(parts, ()), bodyless) else {
        // The client reset the stream in the meantime.
        answer.tally.count(&answer.tally.cancelled);
        return;
    };
    if bodyless {
        return;
    }
    let mut body = pin!(body);
    let handed = move |stream: &SendStream<Bytes>, bytes| unread.data(|| stream.stream_id().as_u32(), bytes);
    match send_body(body.as_mut(), &mut stream, shared.settings.timeouts.write, handed).await {
        // If the request is not over, h2 sends RST_STREAM with NO_ERROR once both halves are dropped (RFC 9113 §8.1).
        Ok(_) => {}
        Err(PumpError::Reset(_) | PumpError::Connection(_)) => answer.tally.count(&answer.tally.cancelled),
        Err(PumpError::Stalled(_)) => {
            answer.tally.count(&answer.tally.stalled);
            body.cut(WRITE_TIMEOUT);
            stream.send_reset(Reason::CANCEL);
        }
        // The rest of the body is lost; the client must not take what it has for the whole (RFC 9113 §8.1.1).
        Err(PumpError::Body(_)) => stream.send_reset(Reason::INTERNAL_ERROR),
    }
}

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Connection-specific fields must not reach HTTP/2 (RFC 9113 §8.2.2); a response has a date (RFC 9110 §6.6.1).
fn tidy(headers: &mut HeaderMap, status: StatusCode) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6.
        headers.remove(header::CONTENT_LENGTH);
    }
    if !headers.contains_key(header::DATE) {
        headers.insert(header::DATE, date());
    }
}
