//! [`Received`]: what comes on an HTTP/2 stream, and what of it was taken out of the codec before its consumer had room.
//!
//! Either side uses it. h2 holds 800 to 1,200 bytes for each DATA frame that waits, and ends the connection with all on it where
//! frames of less than 256 bytes lack too much of that, whosever they are. So whoever waits, for the other side's window or socket,
//! takes them out meanwhile ([`Received::poll_ahead`]), into a buffer of the stream's own. No credit is given back for what is there, so
//! it never holds more than the stream's window; a stream that flows never has one.

use super::pace::{Pace, Stride};
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use std::{
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll},
};

/// What comes on an HTTP/2 stream.
#[derive(Debug)]
pub(crate) struct Received {
    stream: RecvStream,
    ahead: Option<Box<Ahead>>,
    stride: Stride,
    pace: Rc<Pace>,
}

/// What was taken out of the codec; never empty.
#[derive(Debug, Default)]
struct Ahead {
    pieces: VecDeque<Bytes>,
    /// Small ones behind them, gathered.
    tail: BytesMut,
}

/// Frames of fewer bytes are gathered; what is larger stays in the buffer into which it was read.
const GATHERED: usize = 2_048;

impl Received {
    pub(crate) fn new(stream: RecvStream, pace: &Rc<Pace>) -> Self {
        let mut stride = Stride::default();
        stride.begins(pace);
        Self { stream, ahead: None, stride, pace: Rc::clone(pace) }
    }

    /// The next bytes. Their credit is the caller's to [`release`](Self::release).
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        if let Some(ahead) = &mut self.ahead {
            let data = ahead.pieces.pop_front().unwrap_or_else(|| std::mem::take(&mut ahead.tail).freeze());
            if ahead.pieces.is_empty() && ahead.tail.is_empty() {
                self.ahead = None;
            }
            self.stride.holds(self.stride.held().saturating_sub(data.len() as u32), &self.pace);
            return Poll::Ready(Some(Ok(data)));
        }
        let polled = self.stream.poll_data(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.stride.has_come(&self.pace);
        }
        polled
    }

    /// Takes the frames that wait out of the codec, and wakes for more. What cannot be taken now waits for [`poll_data`](Self::poll_data): a
    /// stream's end or failure is told as often as it is asked for.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(polled) = self.stream.poll_data(cx) {
            let Some(Ok(data)) = polled else {
                self.stride.has_come(&self.pace);
                return;
            };
            // Nothing but the end comes without data.
            if data.is_empty() {
                continue;
            }
            self.stride.holds(self.stride.held().saturating_add(data.len() as u32), &self.pace);
            let ahead = self.ahead.get_or_insert_default();
            if data.len() < GATHERED {
                ahead.tail.extend_from_slice(&data);
                continue;
            }
            if !ahead.tail.is_empty() {
                ahead.pieces.push_back(std::mem::take(&mut ahead.tail).freeze());
            }
            ahead.pieces.push_back(data);
        }
    }

    /// Nobody wants what was taken; its credit stays with it.
    pub(crate) fn forget(&mut self) {
        self.ahead = None;
    }

    /// Bytes that were taken out of the codec and wait here.
    pub(crate) fn waiting(&self) -> usize {
        let ahead = self.ahead.iter();
        ahead.map(|ahead| ahead.pieces.iter().map(Bytes::len).sum::<usize>() + ahead.tail.len()).sum()
    }

    /// The trailers, once all data was taken.
    pub(crate) fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.stream.poll_trailers(cx)
    }

    /// Gives credit back to the peer. Where the stream is gone nobody needs it: the next poll says why.
    pub(crate) fn release(&mut self, bytes: usize) {
        let flow = self.stream.flow_control();
        flow.release_capacity(bytes).ok();
        if self.stride.taken(bytes, &self.pace) {
            self.stride.enlist(flow.clone(), &self.pace);
        }
    }

    /// Whether what is taken from here on goes no further for now: a larger window would only fill memory sooner.
    pub(crate) fn gather(&mut self, gathered: bool) {
        self.stride.gather(gathered);
    }

    /// Whether all of it was given, and nothing more comes.
    pub(crate) fn is_end_stream(&mut self) -> bool {
        let ends = self.ahead.is_none() && self.stream.is_end_stream();
        if ends {
            self.stride.has_come(&self.pace);
        }
        ends
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.stride.ends(&self.pace);
    }
}
