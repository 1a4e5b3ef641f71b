//! Moves a body into an HTTP/2 stream, as fast as the peer's window lets it and no faster.
//!
//! Both sides use it: requests to an upstream, responses to a downstream. It holds at most one chunk of the body,
//! asks for the next only when that one has left, and never sends beyond the window it was given. While a peer grants no
//! window it does not take a chunk of a body that is known to be long: nothing would be held but for that peer. It never
//! resets the stream: the caller knows whose fault the end was.

use crate::body::{Ahead, BodyError};
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body, Frame};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time;

/// How a body got to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// All of it was handed to the stream, END_STREAM included.
    Whole,
    /// The peer has its answer and wants no more: RST_STREAM with NO_ERROR (RFC 9113 §8.1).
    Enough,
}

/// Why a body did not get to its end. The stream is still open unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The body itself failed; the side it came from is to blame.
    #[error("reading the body: {0}")]
    Body(#[source] BodyError),
    /// The peer reset the stream, or the connection was closed by a GOAWAY with this reason.
    #[error("stream reset: {0}")]
    Reset(Reason),
    /// The connection failed.
    #[error("connection: {0}")]
    Connection(#[source] h2::Error),
    /// The peer's window stayed closed for the whole of the deadline.
    #[error("no window to send in for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

enum Next {
    Frame(Option<Result<Frame<Bytes>, BodyError>>),
    Reset(Result<Reason, h2::Error>),
}

/// What a body may have left to be taken whole before its peer grants a window. Longer ones wait where they come from.
const HELD: u64 = 8 * 1024;

/// Sends `body` on `stream` and ends the stream's sending half.
///
/// A chunk known to be the last goes out with END_STREAM on it; a body that is empty from the start costs one empty
/// DATA frame (send the head with END_STREAM instead). `stall` bounds each wait for window; `handed` is told of each part that h2 takes.
/// Cancel-safe in that dropping it leaves the stream open: reset it.
///
/// # Errors
///
/// [`PumpError`] says which side failed.
pub async fn send_body<B>(
    mut body: B,
    stream: &mut SendStream<Bytes>,
    stall: Duration,
    handed: impl Fn(&SendStream<Bytes>, usize) + Copy,
) -> Result<Pumped, PumpError>
where
    B: Body<Data = Bytes, Error = BodyError> + Ahead + Unpin,
{
    loop {
        if body.is_end_stream() {
            return end(stream.send_data(Bytes::new(), true), stream).await;
        }
        // A body of unknown length may end without needing a window, so it is asked in any case.
        if body.size_hint().lower() > HELD {
            stream.reserve_capacity(1);
            if stream.capacity() == 0
                && let Room::Refused(reset) = wait_for_room(&mut body, stream, stall).await?
            {
                return verdict(reset);
            }
        }
        let frame = match poll_fn(|cx| poll_next(&mut body, stream, cx)).await {
            Next::Frame(Some(Ok(frame))) => frame,
            Next::Frame(Some(Err(error))) => return Err(PumpError::Body(error)),
            Next::Frame(None) => return end(stream.send_data(Bytes::new(), true), stream).await,
            Next::Reset(reset) => return verdict(reset),
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                match send_chunk((data, last), &mut body, stream, stall, handed).await? {
                    Chunk::Sent if last => return Ok(Pumped::Whole),
                    Chunk::Sent => continue,
                    Chunk::Refused(reset) => return verdict(reset),
                }
            }
            Err(frame) => frame,
        };
        if let Ok(trailers) = frame.into_trailers() {
            return end(stream.send_trailers(trailers), stream).await;
        }
    }
}

/// The body's next frame, unless the peer resets the stream first.
fn poll_next<B>(body: &mut B, stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Next>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    if let Poll::Ready(reset) = stream.poll_reset(cx) {
        return Poll::Ready(Next::Reset(reset));
    }
    Pin::new(body).poll_frame(cx).map(Next::Frame)
}

enum Chunk {
    Sent,
    Refused(Result<Reason, h2::Error>),
}

async fn send_chunk<B: Ahead + Unpin>(
    (mut data, last): (Bytes, bool),
    body: &mut B,
    stream: &mut SendStream<Bytes>,
    stall: Duration,
    handed: impl Fn(&SendStream<Bytes>, usize),
) -> Result<Chunk, PumpError> {
    while !data.is_empty() || last {
        stream.reserve_capacity(data.len());
        let room = match stream.capacity() {
            0 if !data.is_empty() => match wait_for_room(body, stream, stall).await? {
                Room::Open(room) => room,
                Room::Refused(reset) => return Ok(Chunk::Refused(reset)),
            },
            room => room,
        };
        let piece = data.split_to(room.min(data.len()));
        let ends = last && data.is_empty();
        handed(stream, piece.len());
        if let Err(error) = stream.send_data(piece, ends) {
            return Ok(Chunk::Refused(reset_or(error, stream).await));
        }
        if ends {
            break;
        }
    }
    Ok(Chunk::Sent)
}

enum Room {
    Open(usize),
    Refused(Result<Reason, h2::Error>),
}

/// Waits for window, and meanwhile does not let what comes behind wait where it costs more than its bytes.
async fn wait_for_room<B: Ahead + Unpin>(
    body: &mut B,
    stream: &mut SendStream<Bytes>,
    stall: Duration,
) -> Result<Room, PumpError> {
    let room = poll_fn(|cx| {
        if let Poll::Ready(reset) = stream.poll_reset(cx) {
            return Poll::Ready(Room::Refused(reset));
        }
        match stream.poll_capacity(cx) {
            Poll::Ready(Some(Ok(room))) if room > 0 => Poll::Ready(Room::Open(room)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Room::Refused(Err(error))),
            // No longer sending: the next poll of the reset, woken by the same event, says why.
            Poll::Ready(None) => Poll::Ready(Room::Refused(Ok(Reason::CANCEL))),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {
                Pin::new(&mut *body).poll_ahead(cx);
                Poll::Pending
            }
        }
    });
    time::timeout(stall, room).await.map_err(|_| PumpError::Stalled(stall))
}

/// What became of the last frame of a body.
async fn end(sent: Result<(), h2::Error>, stream: &mut SendStream<Bytes>) -> Result<Pumped, PumpError> {
    match sent {
        Ok(()) => Ok(Pumped::Whole),
        Err(error) => verdict(reset_or(error, stream).await),
    }
}

/// A frame is refused with a user error when the stream is gone; the stream itself knows the reason.
async fn reset_or(error: h2::Error, stream: &mut SendStream<Bytes>) -> Result<Reason, h2::Error> {
    poll_fn(|cx| {
        Poll::Ready(match stream.poll_reset(cx) {
            Poll::Ready(reset) => reset,
            Poll::Pending => Err(error.reason().map_or_else(|| Reason::CANCEL.into(), h2::Error::from)),
        })
    })
    .await
}

fn verdict(reset: Result<Reason, h2::Error>) -> Result<Pumped, PumpError> {
    match reset {
        Ok(Reason::NO_ERROR) => Ok(Pumped::Enough),
        Ok(reason) => Err(PumpError::Reset(reason)),
        Err(error) => Err(PumpError::Connection(error)),
    }
}
