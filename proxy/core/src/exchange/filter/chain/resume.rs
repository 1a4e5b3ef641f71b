//! Going on: what filters held back moves behind them, and what may come meanwhile.

use super::Goes;
use crate::{
    downstream::unfinished::Room,
    exchange::filter::{
        End, Side, StreamKind,
        shared::Shared,
        stage::{Flow, HeadHere, StopFlow, TooMuch, TrailersHere},
    },
};
use std::rc::Rc;

impl Shared {
    /// Lets go what a filter held back of head and body, behind its own callbacks.
    pub(super) fn release(self: &Rc<Self>, side: Side, place: usize, slot: usize) -> Goes {
        if self.let_head_go(side, place, slot) == Goes::Stops {
            return Goes::Stops;
        }
        let (held, end) = {
            let mut stage = self.slots[slot].stage(side).borrow_mut();
            stage.body = Flow::Flowing;
            (stage.take(), stage.end)
        };
        if !held.is_empty() || end {
            self.give_body(side, place + 1, held, End::when(end));
        }
        if self.stopped() { Goes::Stops } else { Goes::On }
    }

    /// Does what filters asked for outside of callbacks.
    pub(in crate::exchange::filter) fn advance(self: &Rc<Self>, side: Side) {
        for place in 0..self.places() {
            if self.stopped() {
                return;
            }
            let slot = self.slot_at(side, place);
            if self.slots[slot].stage(side).borrow().resume {
                self.slots[slot].stage(side).borrow_mut().resume = false;
                self.go_on(side, place, slot);
            }
        }
    }

    /// A filter lets go on what it holds back.
    fn go_on(self: &Rc<Self>, side: Side, place: usize, slot: usize) {
        let stage = self.slots[slot].stage(side);
        let (head, trailers) = {
            let stage = stage.borrow();
            (stage.head, stage.trailers)
        };
        if let HeadHere::Held(_) = head {
            // What came meanwhile was not shown to it.
            if self.let_head_go(side, place, slot) == Goes::Stops {
                return;
            }
            let (held, end) = {
                let mut stage = stage.borrow_mut();
                (stage.take(), std::mem::take(&mut stage.end))
            };
            if !held.is_empty() || end {
                self.give_body(side, place, held, End::when(end));
            }
            if trailers == TrailersHere::Unseen && !self.stopped() {
                stage.borrow_mut().trailers = TrailersHere::No;
                self.give_trailers(side, place);
            }
            return;
        }
        stage.borrow_mut().trailers = TrailersHere::No;
        if self.release(side, place, slot) == Goes::On && trailers != TrailersHere::No {
            self.give_trailers(side, place + 1);
        }
    }

    /// Whether more of a body is to be read now, where somebody wants it.
    pub(in crate::exchange::filter) fn has_room(&self, side: Side) -> bool {
        for place in 0..self.places() {
            let slot = self.slot_at(side, place);
            let stage = self.slots[slot].stage(side).borrow();
            match (stage.head, stage.body) {
                (_, Flow::Stopped(StopFlow::Buffer)) if self.kind == StreamKind::Tcp => {
                    return stage.bytes() < self.may_hold(slot);
                }
                // It fails if it is too much.
                (HeadHere::Held(TooMuch::Fails), _) | (_, Flow::Stopped(StopFlow::Buffer | StopFlow::NoBuffer)) => {
                    return true;
                }
                (HeadHere::Held(TooMuch::Waits), _) => {
                    // What is not shown to it is not waited for by it either: it is read when it lets go. So the smaller
                    // bound does for all, and many that wait over HTTP/2 hold no more than over HTTP/1.
                    let counts = self.held.counts();
                    let most = self.slots[slot].model.body_buffer.http1;
                    return stage.bytes() < most && !(counts && self.held.room() == Room::None);
                }
                (_, Flow::Stopped(StopFlow::Watermark)) => return stage.bytes() < self.may_hold(slot),
                (HeadHere::NotYet | HeadHere::Stopped | HeadHere::Passed | HeadHere::Skipped, Flow::Flowing) => {}
            }
        }
        true
    }

    /// Whether a filter waits for the body while it holds the head.
    pub(in crate::exchange::filter) fn wants_body_first(&self, side: Side) -> bool {
        self.slots.iter().any(|slot| slot.stage(side).borrow().head == HeadHere::Stopped)
    }
}
