//! From a response to bytes, and what becomes of the connection after it.
//!
//! It writes what it is given, framed as the client's version can read it, and adds only what belongs to the
//! connection: `Connection`, `Date`, the framing itself.

use super::{
    Leaving, Server, Then,
    wire::{Asked, Awaits, Course, Gone, Rest, Trailers},
};
use crate::{
    body::{Ahead, BodyError},
    downstream::codec::date,
    exchange::{respond::Reset, stream::ResponseBody},
    framing::Persistence,
    http1::{
        Encoder, Outbox,
        write::{self, Content, Framing, Own},
    },
    io::Settling,
    tunnel::upgrade::TunnelEnd,
};
use bytes::Bytes;
use http::{Method, Response, StatusCode, Version, header, response};
use http_body::{Body, Frame};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// An answer on its way out.
struct Answer {
    /// Until all of it is in the outbox, or it failed.
    body: Option<ResponseBody>,
    encoder: Encoder,
    out: Outbox,
    end: End,
}

/// How a body got to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// It is not what its head says: only the connection's end can tell the client.
    Broken,
}

/// What a request's body makes of its connection, as its answer's head goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It can go on: what is left of the body is read in any case.
    Keep,
    /// It cannot.
    Close,
    /// More of the body may come than is read for nobody, and who reads it may give it up, as an upstream does that has answered; then the
    /// client's next request would stand behind it. So the answer says that it is the last, as Envoy's does.
    Coming,
}

/// Writes an interim response, unless the client has left too much of those before it.
pub(super) fn interim(interim: Response<()>, out: &mut Outbox) {
    if !out.has_room() {
        return;
    }
    let (head, ()) = interim.into_parts();
    write::response(out.buffer(), &head, Framing::Nothing, Own::default());
}

impl Server {
    /// Sends a response.
    pub(super) async fn answer(
        &mut self,
        response: Response<ResponseBody>,
        asked: Asked,
        tunnel: Option<oneshot::Sender<TunnelEnd>>,
        mut out: Outbox,
    ) -> Then {
        let (mut head, body) = response.into_parts();
        if head.extensions.get::<Reset>().is_some() {
            return Then::Drop;
        }
        if head.status == StatusCode::NO_CONTENT {
            // Not even that of nothing (RFC 9110 §8.6).
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let switched = switched(&head, &asked.method);
        let settled = poll_fn(|cx| Poll::Ready(self.settle_now(cx, asked.awaits))).await;
        let content = Content::of(&body);
        let framing = write::frame_response(&head, content, &asked.method, asked.version);
        let last = settled != Settled::Keep
            || asked.persistence == Persistence::Close
            || framing == Framing::UntilClose
            || self.leaving == Leaving::Yes
            || self.connection.leaving()
            // What follows a refused CONNECT was meant for the tunnel; none of it is a request.
            || asked.method == Method::CONNECT;
        // Who reads such a body goes on, but not where the client may take the connection's end for the answer's.
        let goes_on =
            settled == Settled::Coming && framing != Framing::UntilClose && asked.persistence == Persistence::Keep;
        let persistence = if last { Persistence::Close } else { Persistence::Keep };
        write_head(&mut out, &head, framing, if switched { None } else { connection(persistence, asked.version) });
        self.wire.borrow_mut().send_briefly(framing.is_brief() && !switched);
        let mut encoder = Encoder::new(framing);
        if asked.trailers == Trailers::Welcome {
            encoder.welcome();
        }
        body.written(head);
        let mut answer = Answer { body: Some(body), encoder, out, end: End::Whole };
        let sent = poll_fn(|cx| self.poll_sent(cx, &mut answer)).await;
        if framing == Framing::UntilClose && !matches!(sent, Ok(End::Whole)) {
            // An orderly close would say that this was all of it (RFC 9112 §8).
            self.wire.borrow().reset_at_close();
            if sent.is_ok() {
                // A reset would throw away what is still on its way.
                let mut settling = Settling::default();
                let _ = poll_fn(|cx| self.poll_acknowledged(cx, &mut settling)).await;
            }
            return Then::Drop;
        }
        match sent {
            Err(gone) => return gone.into(),
            Ok(End::Broken) => return Then::Close,
            Ok(End::Whole) => {}
        }
        drop(answer);
        match tunnel.filter(|_| switched) {
            Some(tunnel) => return Then::Tunnel(tunnel),
            None if last && !goes_on => return Then::Close,
            None => {}
        }
        match poll_fn(|cx| self.poll_settled(cx, persistence)).await {
            Persistence::Keep => {
                self.wire.borrow_mut().decline_upgrade();
                Then::Next
            }
            Persistence::Close => Then::Close,
        }
    }

    /// Whether the request's body lets the connection go on, as far as can be told before the answer.
    fn settle_now(&self, cx: &mut Context<'_>, awaits: Awaits) -> Settled {
        let mut wire = self.wire.borrow_mut();
        match wire.course() {
            Course::Whole => Settled::Keep,
            Course::Coming(_) => match (wire.rest(), awaits) {
                (Rest::Here, _) | (Rest::Short, Awaits::Nothing) => Settled::Keep,
                (Rest::Long, Awaits::Nothing) => Settled::Coming,
                // Its next request would be taken for the body.
                (Rest::Short | Rest::Long, Awaits::Continue) => Settled::Close,
            },
            Course::Abandoned => match wire.drain(cx) {
                Persistence::Keep => Settled::Keep,
                Persistence::Close => Settled::Close,
            },
            Course::Refused(_) | Course::Cut(_) => Settled::Close,
        }
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>, told: Persistence) -> Poll<Persistence> {
        if self.obey(cx).is_err() {
            return Poll::Ready(Persistence::Close);
        }
        self.wire.borrow_mut().poll_settled(cx, told)
    }

    /// Waits until the client's kernel has what was written, and gives up when the client does.
    fn poll_acknowledged(&mut self, cx: &mut Context<'_>, settling: &mut Settling) -> Poll<Result<(), Gone>> {
        self.obey(cx)?;
        self.wire.borrow_mut().poll_acknowledged(cx, settling)
    }

    /// Moves the body into the socket, and gives up when the client does.
    fn poll_sent(&mut self, cx: &mut Context<'_>, answer: &mut Answer) -> Poll<Result<End, Gone>> {
        self.obey(cx)?;
        loop {
            let starved = answer.fill(cx);
            let mut wire = self.wire.borrow_mut();
            match wire.poll_flush(cx, &mut answer.out) {
                Poll::Ready(Ok(())) if answer.body.is_none() => return Poll::Ready(Ok(answer.end)),
                Poll::Ready(Ok(())) if starved == Starved::No => continue,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(gone)) => return Poll::Ready(Err(self.lost(gone))),
                Poll::Pending => {
                    // The rest of its request may be read meanwhile, from the same wire.
                    drop(wire);
                    if let Some(body) = &mut answer.body {
                        Pin::new(body).poll_ahead(cx);
                    }
                    wire = self.wire.borrow_mut();
                }
            }
            return wire.poll_gone(cx).map(Err);
        }
    }
}

/// Whether the body had nothing more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starved {
    No,
    Yes,
}

impl Answer {
    /// Takes of the body what the outbox has room for.
    fn fill(&mut self, cx: &mut Context<'_>) -> Starved {
        while let Some(body) = &mut self.body {
            if self.encoder.is_done() {
                self.body = None;
                break;
            }
            if !self.out.has_room() {
                return Starved::No;
            }
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => self.take(frame),
                Poll::Pending => return Starved::Yes,
            }
        }
        Starved::No
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, BodyError>>) {
        let taken = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.encoder.data(data, &mut self.out),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => self.encoder.trailers(&trailers, &mut self.out),
                    Err(_) => Ok(()),
                },
            },
            None => {
                self.body = None;
                self.encoder.end(&mut self.out)
            }
            Some(Err(_)) => {
                self.body = None;
                self.end = End::Broken;
                return;
            }
        };
        if taken.is_err() {
            self.body = None;
            self.end = End::Broken;
        }
    }
}

/// Whether a response ends HTTP on its connection.
fn switched(head: &response::Parts, method: &Method) -> bool {
    match *method {
        Method::CONNECT => head.status.is_success(),
        _ => head.status == StatusCode::SWITCHING_PROTOCOLS,
    }
}

/// What a client must be told of the connection; what it takes for granted is left out (RFC 9112 §9.3).
fn connection(persistence: Persistence, client: Version) -> Option<&'static str> {
    match persistence {
        Persistence::Close => Some("close"),
        Persistence::Keep if client < Version::HTTP_11 => Some("keep-alive"),
        Persistence::Keep => None,
    }
}

fn write_head(out: &mut Outbox, head: &response::Parts, framing: Framing, connection: Option<&'static str>) {
    write::response(out.buffer(), head, framing, Own { date: Some(date), connection });
}
