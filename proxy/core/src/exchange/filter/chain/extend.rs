//! More filters behind the last one, for a request that has come out of the chain.

use crate::exchange::filter::{
    End, Headers, Side,
    shared::Shared,
    stage::{At, Slot},
};
use std::rc::Rc;

impl Shared {
    /// Leads a request through more filters, whose head was fetched and of whose body nothing was: what has left the chain
    /// comes to them first. Once.
    pub(in crate::exchange::filter) fn extend(self: &Rc<Self>, more: Box<[Slot]>, head: Headers) {
        let first = self.places();
        self.slots.extend(more);
        let (body, ended, trailers) = {
            let mut half = self.request.borrow_mut();
            half.head = Some(head);
            half.length = None;
            let trailers = half.trailers_at == At::Out;
            half.trailers_at = At::Nowhere;
            (std::mem::take(&mut half.out), std::mem::take(&mut half.ended), trailers)
        };
        self.give_head(Side::Request, first);
        let follows = !self.request.borrow().head_ends && (ended || !body.is_empty());
        if follows && !self.stopped() {
            self.give_body(Side::Request, first, body, End::when(ended && !trailers));
        }
        if trailers && !self.stopped() {
            self.give_trailers(Side::Request, first);
        }
    }
}
