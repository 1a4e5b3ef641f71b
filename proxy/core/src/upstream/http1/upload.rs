//! [`Upload`]: a request on its way to the server, beside which its response may come already.

use super::connection::{Http1Connection, Lost};
use crate::{
    body::Ahead,
    framing::Persistence,
    http1::{Encoder, write},
    upstream::{RequestBody, error::RequestError},
};
use http::{Method, Request, header::UPGRADE};
use http_body::Body;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What is left to do of a request.
#[derive(Debug)]
pub(super) struct Upload {
    encoder: Encoder,
    state: State,
    taken: Taken,
}

/// Whether a frame of a request's body was taken: it cannot be handed back as it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    Frames,
}

#[derive(Debug)]
enum State {
    Sending,
    /// All of it is with the kernel.
    Whole,
    /// The server took no more. It may have answered before it closed, so the reading goes on (RFC 9112 §9.5).
    Refused(Lost),
}

/// Why the request itself cannot be sent on; its connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsendable {
    /// Its body failed.
    Body,
    /// Its body is not as long as its head says.
    Misfit,
}

impl Upload {
    /// Puts the head of `request` into the connection's outbox.
    pub(super) fn begin<B: RequestBody>(request: &Request<B>, connection: &mut Http1Connection) -> Self {
        let framing = write::frame_request(request.headers(), write::Content::of(request.body()));
        write::request(connection.output.buffer(), request.method(), request.uri(), request.headers(), framing);
        // What may become a tunnel is followed by who knows what.
        let plain = !request.headers().contains_key(UPGRADE) && request.method() != Method::CONNECT;
        connection.socket.send_briefly(plain && framing.is_brief());
        let mut encoder = Encoder::new(framing);
        encoder.promise(request.headers());
        Self { encoder, state: State::Sending, taken: Taken::Nothing }
    }

    /// Whether some of it is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending)
    }

    /// What was taken of its body.
    pub(super) fn taken(&self) -> Taken {
        self.taken
    }

    /// Why the server took no more, if so.
    pub(super) fn refused(&self) -> Option<&Lost> {
        match &self.state {
            State::Refused(error) => Some(error),
            State::Sending | State::Whole => None,
        }
    }

    /// Sends on. Ready when there is nothing left to do: all is sent, or the server takes no more. Cancel-safe.
    pub(super) fn poll<B: Body<Data = bytes::Bytes> + Ahead + Unpin>(
        &mut self,
        body: &mut B,
        connection: &mut Http1Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsendable>> {
        if !matches!(self.state, State::Sending) {
            return Poll::Ready(Ok(()));
        }
        loop {
            let gathered = self.gather(body, connection, cx)?;
            let Http1Connection { socket, output, sent, .. } = &mut *connection;
            let Poll::Ready(flushed) = output.poll_flush(socket, cx, |len| *sent += len as u64) else {
                Pin::new(body).poll_ahead(cx);
                return Poll::Pending;
            };
            if let Err(error) = flushed {
                connection.persistence = Persistence::Close;
                self.state = State::Refused(Lost::Failed(error));
                return Poll::Ready(Ok(()));
            }
            if self.encoder.is_done() {
                self.state = State::Whole;
                return Poll::Ready(Ok(()));
            }
            ready!(gathered);
        }
    }

    /// Fills the outbox with what there is of the body. Pending: the body has no more for now.
    fn gather<B: Body<Data = bytes::Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        connection: &mut Http1Connection,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Unsendable> {
        let output = &mut connection.output;
        while !self.encoder.is_done() && output.has_room() {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Ok(Poll::Pending) };
            let fitted = match frame {
                None => self.encoder.end(output),
                Some(Err(_)) => return Err(Unsendable::Body),
                Some(Ok(frame)) => {
                    self.taken = Taken::Frames;
                    match frame.into_data() {
                        Ok(data) => self.encoder.data(data, output),
                        Err(frame) => match frame.into_trailers() {
                            Ok(trailers) => self.encoder.trailers(&trailers, output),
                            Err(_) => Ok(()),
                        },
                    }
                    .and_then(|()| if body.is_end_stream() { self.encoder.end(output) } else { Ok(()) })
                }
            };
            fitted.map_err(|_| Unsendable::Misfit)?;
        }
        Ok(Poll::Ready(()))
    }
}

impl Unsendable {
    pub(super) fn cause(self) -> RequestError {
        match self {
            Self::Body => RequestError::RequestBody,
            Self::Misfit => RequestError::Unwritable,
        }
    }
}
