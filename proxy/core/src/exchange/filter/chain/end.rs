//! The ends: of an opaque connection's two sides, and of the stream at its filters.

use crate::exchange::filter::{
    End, Filter, Interest, Peer, Side, Stream, StreamKind,
    shared::{Phase, Shared},
};
use std::rc::Rc;

impl Shared {
    /// An opaque connection's upstream has ended, and a filter has been shown its last bytes. Who ended it is not asked, as
    /// in Envoy.
    pub(super) fn upstream_ended(self: &Rc<Self>, side: Side, slot: usize, end: End) {
        if self.kind == StreamKind::Tcp && side == Side::Response && end == End::Yes {
            self.upstream_closed(slot, Peer::Unknown);
        }
    }

    /// Tells a filter, once, that the server's connection is gone.
    pub(in crate::exchange::filter) fn upstream_closed(self: &Rc<Self>, slot: usize, by: Peer) {
        if !self.slots[slot].upstream_closed.replace(true) {
            self.tell_closed(slot, |filter, stream| filter.upstream_closed(stream, by));
        }
    }

    /// Tells a filter that the client's connection is gone.
    pub(in crate::exchange::filter) fn downstream_closed(self: &Rc<Self>, slot: usize, by: Peer) {
        self.tell_closed(slot, |filter, stream| filter.downstream_closed(stream, by));
    }

    fn tell_closed(self: &Rc<Self>, slot: usize, tell: impl FnOnce(&mut dyn Filter, &Stream)) {
        let at = &self.slots[slot];
        let taken = at.filter.try_borrow_mut().ok().and_then(|mut filter| filter.take());
        let Some(mut filter) = taken else { return };
        tell(&mut *filter, &Stream { shared: Rc::clone(self), slot });
        if !at.gone.get() {
            at.filter.replace(Some(filter));
        }
    }

    /// The end: an HTTP stream is logged by each filter, then done and gone at each, in order; an opaque one is done, logged
    /// and gone at one filter after the other.
    pub(in crate::exchange::filter) fn end(self: &Rc<Self>) {
        if self.phase.replace(Phase::Logging) >= Phase::Logging {
            return;
        }
        if self.kind == StreamKind::Http {
            self.log();
        }
        for slot in 0..self.places() {
            let at = &self.slots[slot];
            at.instance.take();
            let taken = at.filter.try_borrow_mut().ok().and_then(|mut filter| filter.take());
            let Some(mut filter) = taken else { continue };
            let stream = Stream { shared: Rc::clone(self), slot };
            filter.done(&stream);
            if self.kind == StreamKind::Tcp {
                filter.log(&stream);
            }
            at.gone.set(true);
            drop(filter);
        }
        self.phase.set(Phase::Over);
        if self.kind == StreamKind::Http && self.is_still_looked_at() {
            // What comes of it yet would pass filters that looked at all before.
            self.forget_request();
        }
        self.metadata.borrow_mut().forget_read();
        for side in [Side::Request, Side::Response] {
            let waker = self.half(side).borrow_mut().waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
            self.let_go(side);
        }
    }

    /// Shows an HTTP stream's end to the filters that want it: to those also that its request never came to, as in Envoy.
    fn log(self: &Rc<Self>) {
        for slot in 0..self.places() {
            let at = &self.slots[slot];
            if !at.interest.has(Interest::LOG) {
                continue;
            }
            self.open(slot);
            let taken = at.filter.try_borrow_mut().ok().and_then(|mut filter| filter.take());
            let Some(mut filter) = taken else { continue };
            filter.log(&Stream { shared: Rc::clone(self), slot });
            if !at.gone.get() {
                at.filter.replace(Some(filter));
            }
        }
    }

    /// What nobody has been given is read by nobody. A response that stays here would keep its connection, whose
    /// upload keeps this chain.
    fn let_go(&self, side: Side) {
        let source = {
            let mut half = self.half(side).borrow_mut();
            if half.handed_out {
                return;
            }
            half.forget_source()
        };
        drop(source);
    }
}
