//! [`Http1Body`]: a response's body, pulled from the connection that carries it.

use super::{
    connection::{Http1Connection, Lost},
    upload::Upload,
};
use crate::{
    body::BodyError,
    framing::{Left, Part, Persistence, Progress, Violation},
    http1::{Broken, read},
    upstream::RequestBody,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{task::spawn_local, time::timeout};

/// A response's body. It sends on what is left of its request, too. At its end the connection goes home; dropped before
/// that, it is closed.
pub(in crate::upstream) struct Http1Body {
    /// `None` once the body has ended.
    connection: Option<Box<Http1Connection>>,
    upload: Option<Box<Unfinished>>,
    /// Why the request could not be sent on, while nobody asked for the response.
    broken: Option<Broken>,
    /// What was found behind the last content, and is next.
    found: Option<Part>,
}

/// A request that its response has overtaken.
pub(super) struct Unfinished {
    pub(super) upload: Upload,
    pub(super) body: Pin<Box<dyn RequestBody>>,
}

impl Http1Body {
    pub(super) fn new(connection: Box<Http1Connection>, upload: Option<Box<Unfinished>>) -> Self {
        Self { connection: Some(connection), upload, broken: None, found: None }
    }

    /// Whether nothing more comes.
    pub(in crate::upstream) fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self.connection.as_ref().map(|connection| connection.framer.left()) {
            Some(Left::Length(left)) => SizeHint::with_exact(left),
            Some(Left::Chunked | Left::UntilClose) => SizeHint::default(),
            Some(Left::Nothing) | None => SizeHint::with_exact(0),
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_content(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.connection = None;
            self.upload = None;
        }
        polled
    }

    /// The response is not asked for now: its request is sent on all the same. A client may send all of it before it reads.
    pub(in crate::upstream) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.broken = self.broken.take().or_else(|| self.send_on(cx).err());
    }

    /// Sends on what is left of the request.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if let (Some(unfinished), Some(connection)) = (&mut self.upload, &mut self.connection)
            && let Poll::Ready(sent) = unfinished.poll(connection, cx)
        {
            self.upload = None;
            return sent;
        }
        Ok(())
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.send_on(cx).and_then(|()| self.broken.take().map_or(Ok(()), Err)).map_err(BodyError::Http1)?;
        let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
        loop {
            let part = match self.found.take() {
                Some(part) => part,
                None => match ready!(connection.poll_part(cx)) {
                    Ok(part) => part,
                    Err(Lost::Ended) if connection.framer.left() == Left::UntilClose => {
                        connection.persistence = Persistence::Close;
                        self.end();
                        return Poll::Ready(None);
                    }
                    Err(lost) => return Poll::Ready(Some(Err(lost.within_body()))),
                },
            };
            match part {
                Part::Body { len } => {
                    let data = connection.input.take(len);
                    self.look_ahead();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Part::Framing { len } => connection.input.skip(len),
                Part::Trailers { len } => {
                    let section = connection.input.take(len);
                    let trailers = read::trailers(&section, &connection.layout);
                    self.end();
                    return Poll::Ready(match trailers {
                        Ok(trailers) if trailers.is_empty() => None,
                        Ok(trailers) => Some(Ok(Frame::trailers(trailers))),
                        // No section that the machine finds good.
                        Err(_) => Some(Err(BodyError::Http1(Broken::Closed))),
                    });
                }
                // The machine stands in a body.
                Part::Head { .. } | Part::Opaque | Part::More => {
                    return Poll::Ready(Some(Err(BodyError::Http1(Broken::Violation(Violation::Unsolicited)))));
                }
            }
        }
    }

    /// Finds out whether what was just taken was the last of it, so that it can be sent on as such.
    fn look_ahead(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while connection.framer.progress() == Progress::InBody && !connection.input.is_empty() {
            match connection.framer.step(connection.input.bytes(), &mut connection.layout) {
                Ok(Part::Framing { len }) => connection.input.skip(len),
                Ok(Part::Trailers { len }) if connection.layout.fields().is_empty() => connection.input.skip(len),
                Ok(Part::More) => return,
                Ok(part) => {
                    self.found = Some(part);
                    return;
                }
                // It stays with the machine, and is met when more is wanted.
                Err(_) => return,
            }
        }
        if connection.framer.progress() == Progress::Idle {
            self.end();
        }
    }

    /// The response is whole. Its connection goes home when its request is, too.
    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            finish(connection, self.upload.take());
        }
    }
}

impl Unfinished {
    fn poll(&mut self, connection: &mut Http1Connection, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        connection.look(cx).map_err(|_| Broken::Request)?;
        self.upload.poll(&mut self.body, connection, cx).map_err(|_| Broken::Request)
    }
}

/// Sends a connection home whose response is whole: at once, or when its request is whole, too.
pub(super) fn finish(connection: Box<Http1Connection>, upload: Option<Box<Unfinished>>) {
    let Some(mut unfinished) = upload else { return connection.go_home() };
    if connection.persistence == Persistence::Close {
        return;
    }
    let mut connection = connection;
    spawn_local(async move {
        loop {
            let sent = connection.sent;
            match timeout(STALL, poll_fn(|cx| unfinished.poll(&mut connection, cx))).await {
                Ok(Ok(())) => return connection.go_home(),
                Ok(Err(_)) => return,
                // Where a client's body is waited for, its exchange says when that is over.
                Err(_) if connection.sent == sent && !connection.output.is_empty() => return,
                Err(_) => {}
            }
        }
    });
}

/// Time a server that has answered may leave the rest of the request unread, which nobody else waits for any more: as long as
/// one may leave a call's body.
const STALL: Duration = Duration::from_secs(30);

impl std::fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1Body").field("left", &self.size_hint()).finish_non_exhaustive()
    }
}
