//! The chain itself: how heads, bodies and trailers pass from one filter to the next, stop and go on.
//!
//! It moves what it is given as far as it goes, calls filters, and never waits: `run` and `body` feed it and fetch what
//! left it. The two directions are alike but for the order of the filters.

mod end;
mod extend;
mod resume;

use super::{
    BodyStatus, Buffer, End, Failed, Filter, HeadStatus, Headers, Interest, Side, Stream, StreamKind, TrailersStatus,
    shared::{Interrupt, Phase, Shared},
    stage::{At, Flow, HeadHere, StopFlow, TooMuch, TrailersHere},
};
use crate::{downstream::unfinished::Room, error::FilterError};
use bytes::Bytes;
use http::{HeaderMap, Version};
use pillion_config::model::BodyBuffer;
use std::rc::Rc;

/// Whether something can go on behind a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Stops,
}

impl Shared {
    fn places(&self) -> usize {
        self.slots.len()
    }

    /// The slot at a place of a direction's order.
    fn slot_at(&self, side: Side, place: usize) -> usize {
        match side {
            Side::Request => place,
            Side::Response => self.slots.len() - 1 - place,
        }
    }

    /// How many filters, from the first, the request's head has come to.
    fn reached(&self) -> usize {
        match self.request.borrow().head_at {
            At::Nowhere => 0,
            At::Slot(slot) => slot + 1,
            At::Out | At::Gone => self.places(),
        }
    }

    /// Runs a filter's callback. `None`: it is not there, or the stream's course has ended meanwhile.
    fn call<R>(
        self: &Rc<Self>,
        side: Side,
        slot: usize,
        callback: impl FnOnce(&mut dyn Filter, &Stream) -> Result<R, Failed>,
    ) -> Option<R> {
        let at = &self.slots[slot];
        let mut filter = at.filter.borrow_mut().take()?;
        at.stage(side).borrow_mut().running = true;
        let stream = Stream { shared: Rc::clone(self), slot };
        let returned = callback(&mut *filter, &stream);
        at.stage(side).borrow_mut().running = false;
        match returned {
            Ok(returned) if !at.gone.get() => {
                at.filter.replace(Some(filter));
                Some(returned)
            }
            Ok(_) => None,
            Err(failed) => {
                drop(filter);
                self.fail(slot, failed);
                None
            }
        }
    }

    /// Whether the filter in `slot` is passed by: it failed, or does not want this callback.
    fn passes_by(&self, slot: usize, interest: Interest) -> bool {
        let at = &self.slots[slot];
        at.gone.get() || !at.interest.has(interest)
    }

    /// Whether nothing more is to be done in this direction.
    fn stopped(&self) -> bool {
        self.interrupted() || self.phase.get() >= Phase::Logging
    }

    /// A head comes into the chain. A response's is shown to the filters that the request's came to, whoever gave it, and to
    /// those that want it all the same, as in Envoy.
    pub(super) fn begin_head(self: &Rc<Self>, side: Side, head: Headers, end: End) {
        {
            let mut half = self.half(side).borrow_mut();
            half.head = Some(head);
            half.head_ends = end == End::Yes;
        }
        let first = match side {
            Side::Request => 0,
            Side::Response => self.places() - self.reached(),
        };
        for before in 0..first {
            let slot = self.slot_at(side, before);
            if self.slots[slot].interest.has(Interest::ANSWERED_BEFORE) {
                self.show_answer(slot);
                if self.stopped() {
                    return;
                }
            }
            self.slots[slot].stage(side).borrow_mut().head = HeadHere::Skipped;
        }
        self.give_head(side, first);
    }

    /// Shows a response's head to a filter that the request's never came to.
    fn show_answer(self: &Rc<Self>, slot: usize) {
        self.open(slot);
        // Not while it is borrowed: a filter may look for it.
        let Some(request) = self.request.borrow_mut().head.take() else { return };
        self.response.borrow_mut().head_at = At::Slot(slot);
        self.call(Side::Response, slot, |filter, stream| filter.answered_before(stream, &request));
        self.request.borrow_mut().head = Some(request);
    }

    /// An opaque connection comes into the chain.
    pub(super) fn begin_connection(self: &Rc<Self>) {
        self.give_head(Side::Request, 0);
    }

    fn give_head(self: &Rc<Self>, side: Side, from: usize) {
        let (ends, shown_as_end) = {
            let half = self.half(side).borrow();
            (half.head_ends, half.head_ends && !half.opens)
        };
        let wanted = match side {
            Side::Request => Interest::REQUEST_HEADERS,
            Side::Response => Interest::RESPONSE_HEADERS,
        };
        for place in from..self.places() {
            let slot = self.slot_at(side, place);
            let stage = self.slots[slot].stage(side);
            self.half(side).borrow_mut().head_at = At::Slot(slot);
            if side == Side::Request {
                if place > 0 && self.slots[slot].asks_for_route() {
                    self.route_as_left();
                }
                self.open(slot);
                if self.stopped() {
                    return;
                }
            }
            if self.passes_by(slot, wanted) {
                stage.borrow_mut().head = HeadHere::Passed;
                continue;
            }
            let end = End::when(shown_as_end);
            let status = self.call(side, slot, |filter, stream| match (self.kind, side) {
                (StreamKind::Http, Side::Request) => filter.request_headers(stream, end),
                (StreamKind::Http, Side::Response) => filter.response_headers(stream, end),
                (StreamKind::Tcp, _) => filter.new_connection(stream).map(|status| match status {
                    BodyStatus::Continue => HeadStatus::Continue,
                    BodyStatus::StopIterationAndBuffer
                    | BodyStatus::StopIterationAndWatermark
                    | BodyStatus::StopIterationNoBuffer => HeadStatus::StopAllIterationAndWatermark,
                }),
            });
            if self.stopped() {
                return;
            }
            let mut stage = stage.borrow_mut();
            let resumed = std::mem::take(&mut stage.resume);
            stage.head = match status {
                // It failed, and its policy is to go on without it.
                None | Some(HeadStatus::Continue) => HeadHere::Passed,
                Some(_) if resumed => HeadHere::Passed,
                Some(HeadStatus::StopIteration) => HeadHere::Stopped,
                Some(HeadStatus::StopAllIterationAndBuffer) => HeadHere::Held(TooMuch::Fails),
                Some(HeadStatus::StopAllIterationAndWatermark) => HeadHere::Held(TooMuch::Waits),
            };
            if stage.head != HeadHere::Passed {
                return;
            }
        }
        let mut half = self.half(side).borrow_mut();
        half.head_at = At::Out;
        if ends {
            half.ended = true;
        }
    }

    /// A piece of a body comes into the chain. `End::Yes`: the last, and no trailers follow.
    pub(super) fn feed(self: &Rc<Self>, side: Side, data: Bytes, end: End) {
        let mut buffer = Buffer::default();
        buffer.put(data);
        self.give_body(side, 0, buffer, end);
    }

    fn give_body(self: &Rc<Self>, side: Side, from: usize, data: Buffer, end: End) {
        if let Some(place) = self.pass_body(side, from, data, end)
            && !self.stopped()
        {
            self.give_trailers(side, place + 1);
        }
    }

    /// Moves a piece of a body as far as it goes. `Some`: it was the last, and the filter at that place added trailers, which
    /// are to follow it.
    fn pass_body(self: &Rc<Self>, side: Side, from: usize, mut data: Buffer, mut end: End) -> Option<usize> {
        let mut added = None;
        let wanted = match side {
            Side::Request => Interest::REQUEST_BODY,
            Side::Response => Interest::RESPONSE_BODY,
        };
        for place in from..self.places() {
            let slot = self.slot_at(side, place);
            let at = &self.slots[slot];
            {
                let mut stage = at.stage(side).borrow_mut();
                if stage.head == HeadHere::Skipped {
                    continue;
                }
                let clear = stage.head == HeadHere::Passed && stage.body == Flow::Flowing;
                if clear && self.passes_by(slot, wanted) {
                    drop(stage);
                    self.upstream_ended(side, slot, end);
                    continue;
                }
                stage.held.put_all(std::mem::take(&mut data));
                stage.end |= end == End::Yes;
                if let HeadHere::Held(too_much) = stage.head {
                    let bytes = stage.bytes();
                    drop(stage);
                    self.bound(side, slot, bytes, too_much);
                    return added;
                }
            }
            let goes = self.show_body(side, place, slot, wanted);
            self.upstream_ended(side, slot, end);
            if at.stage(side).borrow().end && self.half(side).borrow().trailers_at == At::Slot(slot) {
                let mut stage = at.stage(side).borrow_mut();
                (stage.end, end) = (false, End::No);
                if goes == Goes::Stops {
                    // They wait with what they follow.
                    stage.trailers = TrailersHere::Stopped;
                } else {
                    added = Some(place);
                }
            }
            if goes == Goes::Stops {
                return added;
            }
            data = at.stage(side).borrow_mut().take();
        }
        let mut half = self.half(side).borrow_mut();
        half.out.put_all(data);
        half.ended |= end == End::Yes;
        added
    }

    /// Calls a filter for the body it has; what it had held back goes on with it where it says so.
    fn show_body(self: &Rc<Self>, side: Side, place: usize, slot: usize, wanted: Interest) -> Goes {
        let at = &self.slots[slot];
        let (size, end) = {
            let stage = at.stage(side).borrow();
            (stage.held.len(), End::when(stage.end))
        };
        let status = if self.passes_by(slot, wanted) {
            // Stopped by something else than its body's callback: what comes waits with it.
            let stage = at.stage(side).borrow();
            let waits = !at.gone.get() && stage.paused();
            Some(if waits { BodyStatus::StopIterationAndWatermark } else { BodyStatus::Continue })
        } else {
            at.stage(side).borrow_mut().body_shown = true;
            let status = self.call(side, slot, |filter, stream| match (self.kind, side) {
                (StreamKind::Http, Side::Request) => filter.request_body(stream, size, end),
                (StreamKind::Http, Side::Response) => filter.response_body(stream, size, end),
                (StreamKind::Tcp, Side::Request) => filter.downstream_data(stream, size, end),
                (StreamKind::Tcp, Side::Response) => filter.upstream_data(stream, size, end),
            });
            at.stage(side).borrow_mut().body_shown = false;
            status
        };
        if self.stopped() {
            return Goes::Stops;
        }
        let mut stage = at.stage(side).borrow_mut();
        let resumed = std::mem::take(&mut stage.resume);
        let (stop, too_much) = match status {
            None | Some(BodyStatus::Continue) => {
                stage.body = Flow::Flowing;
                drop(stage);
                return self.let_head_go(side, place, slot);
            }
            Some(_) if resumed => {
                stage.body = Flow::Flowing;
                drop(stage);
                return self.let_head_go(side, place, slot);
            }
            // A connection's reader waits, as in Envoy; a message that is wanted whole and is too large is refused.
            Some(BodyStatus::StopIterationAndBuffer) if self.kind == StreamKind::Tcp => {
                (StopFlow::Buffer, TooMuch::Waits)
            }
            Some(BodyStatus::StopIterationAndBuffer) => (StopFlow::Buffer, TooMuch::Fails),
            Some(BodyStatus::StopIterationAndWatermark) => {
                let shown = std::mem::take(&mut stage.held);
                stage.parked.get_or_insert_default().put_all(shown);
                (StopFlow::Watermark, TooMuch::Waits)
            }
            Some(BodyStatus::StopIterationNoBuffer) => {
                stage.held = Buffer::default();
                (StopFlow::NoBuffer, TooMuch::Waits)
            }
        };
        stage.body = Flow::Stopped(stop);
        let bytes = stage.bytes();
        drop(stage);
        self.bound(side, slot, bytes, too_much);
        Goes::Stops
    }

    /// Lets a head that a filter stopped go on, since its body does.
    fn let_head_go(self: &Rc<Self>, side: Side, place: usize, slot: usize) -> Goes {
        {
            let mut stage = self.slots[slot].stage(side).borrow_mut();
            if stage.head == HeadHere::Passed {
                return Goes::On;
            }
            stage.head = HeadHere::Passed;
        }
        self.give_head(side, place + 1);
        if self.stopped() { Goes::Stops } else { Goes::On }
    }

    /// Holds what a filter keeps back to its bound, and to what there is memory for.
    fn bound(&self, side: Side, slot: usize, bytes: usize, too_much: TooMuch) {
        if bytes > self.may_hold(slot) && too_much == TooMuch::Fails {
            let error = match side {
                Side::Request => FilterError::RequestTooLarge,
                Side::Response => FilterError::ResponseTooLarge,
            };
            return self.interrupt(Interrupt::Error(error));
        }
        if self.count_held() == Room::None && !self.waits_unshown(side, slot) {
            // It may wait for what comes next, which there is no memory for.
            let held = self.slots[slot].stage(side).borrow_mut().take();
            drop(held);
            self.count_held();
            self.is_short_of_memory(side);
        }
    }

    /// Bytes of one body that the filter in `slot` may hold back.
    fn may_hold(&self, slot: usize) -> usize {
        let BodyBuffer { http1, http2 } = self.slots[slot].model.body_buffer;
        if self.told.borrow().version == Some(Version::HTTP_2) { http2 } else { http1 }
    }

    /// Counts what filters hold back of the stream, wrote into its heads and keep in its state, an answer that one of them gave, what came meanwhile
    /// and waits before them, and what has left the chain behind it and was not fetched.
    pub(super) fn count_held(&self) -> Room {
        let of = |side: Side| {
            let back: usize = self.slots.iter().map(|slot| slot.stage(side).borrow().bytes()).sum();
            let half = self.half(side).borrow();
            back + half.out.len() + half.source.made() + half.outside
        };
        // What was written is there a second time while it is sent.
        let told = self.state.borrow().bytes();
        self.held.back(of(Side::Request) + of(Side::Response) + 2 * self.written.get() + told)
    }

    /// Whether the filter in `slot` holds the head with all that follows, of which it is shown nothing until it lets go.
    fn waits_unshown(&self, side: Side, slot: usize) -> bool {
        self.slots[slot].stage(side).borrow().head == HeadHere::Held(TooMuch::Waits)
    }

    /// Trailers come into the chain: the end of the body.
    pub(super) fn feed_trailers(self: &Rc<Self>, side: Side, trailers: HeaderMap) {
        self.half(side).borrow_mut().trailers = Some(Box::new(Headers::trailers(trailers)));
        self.give_trailers(side, 0);
    }

    fn give_trailers(self: &Rc<Self>, side: Side, from: usize) {
        let wanted = match side {
            Side::Request => Interest::REQUEST_TRAILERS,
            Side::Response => Interest::RESPONSE_TRAILERS,
        };
        for place in from..self.places() {
            let slot = self.slot_at(side, place);
            let at = &self.slots[slot];
            if at.stage(side).borrow().head == HeadHere::Skipped {
                continue;
            }
            self.half(side).borrow_mut().trailers_at = At::Slot(slot);
            let head = at.stage(side).borrow().head;
            if let HeadHere::Held(_) = head {
                at.stage(side).borrow_mut().trailers = TrailersHere::Unseen;
                return;
            }
            let status = if self.passes_by(slot, wanted) {
                let waits = !at.gone.get() && at.stage(side).borrow().paused();
                Some(if waits { TrailersStatus::StopIteration } else { TrailersStatus::Continue })
            } else {
                self.call(side, slot, |filter, stream| match side {
                    Side::Request => filter.request_trailers(stream),
                    Side::Response => filter.response_trailers(stream),
                })
            };
            if self.stopped() {
                return;
            }
            let mut stage = at.stage(side).borrow_mut();
            let resumed = std::mem::take(&mut stage.resume);
            if status == Some(TrailersStatus::StopIteration) && !resumed {
                stage.trailers = TrailersHere::Stopped;
                return;
            }
            drop(stage);
            if self.release(side, place, slot) == Goes::Stops {
                return;
            }
        }
        let mut half = self.half(side).borrow_mut();
        half.trailers_at = At::Out;
        half.ended = true;
    }
}
