//! [`Filtered`]: a body behind its filters, as whoever sends it on sees it.
//!
//! It is fetched from its source as it is asked for, shown to the filters, and given on piece by piece as it came where
//! they let it. A head's `Content-Length` that a filter left in place is kept to: what is longer is cut there, as Envoy's
//! peers do, and never reaches a server as the beginning of another request; what is shorter is an error.

use super::{
    End, Side,
    buffer::Buffer,
    headers::HeadFault,
    shared::{Interrupt, Phase, Shared},
    stage::{At, Half, Reading},
};
use crate::{
    body::{Ahead, BodyError, GivenUp, Incoming},
    downstream::unfinished::Room,
    error::FilterError,
    exchange::stream::trailers,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

type Framed = Result<Frame<Bytes>, BodyError>;
type Polled = Poll<Option<Framed>>;

/// What a stream of which something waits outside takes beside that: small ones fill memory as well.
const ASIDE: usize = 16 * 1024;

/// What became of reading once from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    Something,
    Nothing,
}

/// A body that passes filters.
#[derive(Debug)]
pub struct Filtered {
    shared: Rc<Shared>,
    side: Side,
}

impl Filtered {
    /// The body of this direction, of which nothing has been fetched yet.
    pub(super) fn body(shared: &Rc<Shared>, side: Side) -> Incoming {
        shared.half(side).borrow_mut().handed_out = true;
        Incoming::Filtered(Self { shared: Rc::clone(shared), side })
    }

    /// What has left the chain.
    fn fetch(&self) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut half = self.shared.half(self.side).borrow_mut();
        while let Some(mut piece) = half.out.pop() {
            if let Some(left) = &mut half.length {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                // A small rest would keep all that it was cut from in memory, and count as itself.
                if most < piece.len() / 2 {
                    piece = Bytes::copy_from_slice(&piece[..most]);
                }
                piece.truncate(most);
                *left -= piece.len() as u64;
                if *left == 0 {
                    // Nobody asks for what comes behind.
                    half.out = Buffer::default();
                }
            }
            if !piece.is_empty() {
                drop(half);
                self.shared.fetched(self.side);
                return Some(Some(Ok(Frame::data(piece))));
            }
        }
        if !half.ended {
            return None;
        }
        if half.length.is_some_and(|left| left > 0) {
            half.length = None;
            drop(half);
            self.shared.interrupt(Interrupt::Error(FilterError::BodyTooShort));
            return Some(Some(Err(GivenUp::Filter.into())));
        }
        if half.trailers_at != At::Out {
            return Some(None);
        }
        half.trailers_at = At::Gone;
        // Of a request they are in no log, as in Envoy.
        let logged = self.side == Side::Response && self.shared.keeps_heads();
        let trailers = if logged { half.trailers.clone() } else { half.trailers.take() };
        drop(half);
        let Some(trailers) = trailers else { return Some(None) };
        match trailers.into_trailers().and_then(passable) {
            Ok(trailers) if trailers.is_empty() => Some(None),
            Ok(trailers) => Some(Some(Ok(Frame::trailers(trailers)))),
            Err(fault) => {
                let error = match self.side {
                    Side::Request => FilterError::Request(fault),
                    Side::Response => FilterError::Response(fault),
                };
                self.shared.interrupt(Interrupt::Error(error));
                Some(Some(Err(GivenUp::Filter.into())))
            }
        }
    }
}

/// Trailers that filters left as they may be sent.
fn passable(trailers: HeaderMap) -> Result<HeaderMap, HeadFault> {
    match trailers::judge(&trailers) {
        Ok(()) => Ok(trailers),
        Err(fault) => {
            let name = trailers::forbidden(&trailers).map_or(fault.name(), HeaderName::as_str);
            Err(HeadFault::Trailers(name.into()))
        }
    }
}

impl Shared {
    /// Reads a piece of a body and shows it to the filters.
    pub(super) fn poll_feed(self: &Rc<Self>, side: Side, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        {
            let mut half = self.half(side).borrow_mut();
            if half.source_ended {
                return Poll::Pending;
            }
            // It is read now.
            half.outside = 0;
        }
        let frame = {
            let Poll::Ready((frame, end)) = self.poll_source(side, cx) else { return Poll::Pending };
            self.half(side).borrow_mut().source_ended |= end == End::Yes;
            frame.map(|frame| frame.map(|frame| (frame, end)))
        };
        match frame {
            None => self.feed(side, Bytes::new(), End::Yes),
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok((frame, end))) => match frame.into_data() {
                Ok(data) => {
                    if side == Side::Request {
                        self.meter.received(data.len() as u64);
                    }
                    self.feed(side, data, end);
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    // Before a filter sees them: what is wrong behind the chain is a filter's doing.
                    if let Err(fault) = trailers::judge(&trailers) {
                        return Poll::Ready(Err(BodyError::Refused(fault.into())));
                    }
                    self.feed_trailers(side, trailers);
                }
            },
        }
        Poll::Ready(Ok(()))
    }

    /// Something that had left the chain was fetched: where it was held back before, it counts no more.
    #[inline]
    pub(super) fn fetched(&self, side: Side) {
        if self.held.counts() || !self.half(side).borrow().out.is_empty() {
            self.count_fetched(side);
        }
    }

    #[cold]
    fn count_fetched(&self, side: Side) {
        if self.count_held() == Room::None {
            // What is left of a body that a filter made, or gathered, waits for whoever takes it.
            let left = std::mem::take(&mut self.half(side).borrow_mut().out);
            drop(left);
            self.count_held();
            self.is_short_of_memory(side);
        }
    }

    /// Reads a frame; whether it is the last one with it. The half is not borrowed meanwhile: reading a response sends on what is left
    /// of its request, at whose body filters run.
    fn poll_source(&self, side: Side, cx: &mut Context<'_>) -> Poll<(Option<Framed>, End)> {
        let mut source = {
            let mut half = self.half(side).borrow_mut();
            half.reading = Reading::Yes;
            std::mem::replace(&mut half.source, Incoming::Empty)
        };
        source.gather(|| self.slots.iter().any(|slot| slot.stage(side).borrow().bytes() > 0));
        let polled = Pin::new(&mut source).poll_frame(cx).map(|frame| {
            let end = !matches!(&frame, Some(Ok(frame)) if frame.is_data()) || source.is_end_stream();
            (frame, End::when(end))
        });
        let mut half = self.half(side).borrow_mut();
        if std::mem::replace(&mut half.reading, Reading::No) == Reading::Yes {
            half.source = source;
        }
        polled
    }

    /// As [`Ahead::poll_ahead`], of what filters have no room for.
    pub(super) fn poll_ahead(&self, side: Side, cx: &mut Context<'_>) {
        if let Ok(mut half) = self.half(side).try_borrow_mut() {
            Pin::new(&mut half.source).poll_ahead(cx);
        }
    }

    /// Filters let nothing more in. What comes all the same, as far as a client of HTTP/2 was told that it may send, counts as what they
    /// hold, with the stream it waits on; of that nobody may have more than an eighth beyond what there is room for.
    #[cold]
    pub(super) fn wait_outside(&self, side: Side, cx: &mut Context<'_>) {
        self.poll_ahead(side, cx);
        let grown = self.half(side).try_borrow_mut().is_ok_and(|mut half| {
            let waiting = match half.source.waiting() {
                0 => 0,
                bytes => bytes + ASIDE,
            };
            std::mem::replace(&mut half.outside, waiting) < waiting
        });
        if grown && self.count_held() == Room::None && self.held.room_for_what_comes() == Room::None {
            let held: Vec<_> = self.slots.iter().map(|slot| slot.stage(side).borrow_mut().take()).collect();
            drop(held);
            let source = self.half(side).borrow_mut().forget_source();
            drop(source);
            self.half(side).borrow_mut().outside = 0;
            self.count_held();
            self.is_short_of_memory(side);
        }
    }

    /// Says whom to wake when filters let something go.
    fn wait<T>(&self, side: Side, cx: &Context<'_>) -> Poll<T> {
        let before = self.half(side).borrow_mut().waker.replace(cx.waker().clone());
        drop(before);
        Poll::Pending
    }

    fn poll_more(self: &Rc<Self>, side: Side, cx: &mut Context<'_>) -> Result<Fed, BodyError> {
        if !self.has_room(side) {
            self.wait_outside(side, cx);
            return Ok(if self.interrupted() { Fed::Something } else { Fed::Nothing });
        }
        match self.poll_feed(side, cx) {
            Poll::Pending => Ok(Fed::Nothing),
            Poll::Ready(fed) => fed.map(|()| Fed::Something),
        }
    }
}

impl Filtered {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let (shared, side) = (Rc::clone(&self.shared), self.side);
        loop {
            if side == Side::Request && shared.request_over.get() {
                return Poll::Ready(Some(Err(GivenUp::Ended.into())));
            }
            if shared.phase.get() >= Phase::Logging {
                // The exchange is over, and its filters are gone: what still flows, on HTTP/1, flows as it comes, since none of them
                // looked at it.
                if let Some(fetched) = self.fetch() {
                    return Poll::Ready(fetched);
                }
                return Pin::new(&mut shared.half(side).borrow_mut().source).poll_frame(cx);
            }
            shared.advance(side);
            if shared.interrupted() {
                // Before a response's head is gone, whoever runs the exchange answers and drops this.
                if side == Side::Request && shared.phase.get() < Phase::Sent {
                    return shared.wait(side, cx);
                }
                return Poll::Ready(Some(Err(GivenUp::Filter.into())));
            }
            if let Some(fetched) = self.fetch() {
                return Poll::Ready(fetched);
            }
            match shared.poll_more(side, cx) {
                Ok(Fed::Something) => {}
                // Filters run on this thread alone: none can have let anything go since the look above.
                Ok(Fed::Nothing) => return shared.wait(side, cx),
                // What ended the stream meanwhile may be why.
                Err(_) if shared.interrupted() => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let half = self.shared.half(self.side).borrow();
        half.out.is_empty() && half.ended && half.trailers_at != At::Out && half.length.is_none_or(|left| left == 0)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let half = self.shared.half(self.side).borrow();
        match half.length {
            Some(left) => SizeHint::with_exact(left),
            None if half.ended && half.trailers_at != At::Out => SizeHint::with_exact(half.out.len() as u64),
            None => SizeHint::default(),
        }
    }

    /// As [`Ahead::poll_ahead`].
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.shared.poll_ahead(self.side, cx);
    }

    /// As [`Incoming::rests`].
    pub(crate) fn rests(&mut self) {
        self.shared.half(self.side).borrow_mut().source.rests();
    }

    /// As [`Incoming::answered`].
    pub(crate) fn answered(&mut self) {
        self.shared.half(self.side).borrow_mut().source.answered();
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        let source = {
            let Ok(mut half) = self.shared.half(self.side).try_borrow_mut() else { return };
            let half: &mut Half = &mut half;
            half.source_ended = true;
            half.forget_source()
        };
        drop(source);
    }
}
