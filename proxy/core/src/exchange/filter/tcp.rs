//! The chain of an opaque connection: [`TcpChain`], and [`TcpEnd`], an end whose bytes pass it as they are read.
//!
//! The same chain as a request's. A new connection stands for the head: while a filter holds it, nothing is read and no
//! upstream is chosen. What comes from downstream passes the filters in order, what comes from upstream in reverse.

use super::{
    End, Side,
    shared::{Interrupt, Shared},
    stage::{At, HeadHere, Slot},
    stream::{Peer, StreamKind},
};
use crate::{
    exchange::account::Account,
    io::Socket,
    snapshot::ListenerSnapshot,
    upstream::{Carried, Carrying, Cause},
    worker::View,
};
use bytes::{Bytes, BytesMut};
use pillion_config::model::FilterIndex;
use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// The filters of one connection.
pub(crate) struct TcpChain {
    shared: Rc<Shared>,
    /// The end that ended last.
    last: Cell<Option<Side>>,
    /// The end that broke off.
    broken: Cell<Option<Side>>,
    /// There was an upstream.
    opened: Cell<bool>,
}

/// An end of a connection, whose bytes pass filters as they are read. The client's counts in the connection's record what it
/// sent and what it gets, as they pass: filters ask for both meanwhile.
pub(crate) struct TcpEnd<'a, E> {
    inner: &'a mut E,
    chain: &'a TcpChain,
    side: Side,
    /// What has left the chain and did not fit.
    rest: Bytes,
}

/// What became of a connection before it had an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// It goes on.
    No,
    /// A filter ended it.
    Ended,
}

impl TcpChain {
    /// The chain of these filters, attached to the connection's account.
    pub(crate) fn open(
        view: &Rc<View>,
        listener: &Arc<ListenerSnapshot>,
        filters: &[FilterIndex],
        account: &mut Account,
    ) -> Self {
        let slots = filters.iter().map(|index| Slot::new(view.filter(*index))).collect();
        let facts = Rc::clone(&account.connection().facts);
        let worker = Rc::clone(&account.connection().worker);
        let (told, meter) = (account.told(), account.meter());
        let shared =
            Shared::new(StreamKind::Tcp, facts, (Rc::clone(view), Arc::clone(listener)), slots, told, meter, &worker);
        for slot in shared.slots.iter() {
            slot.response.borrow_mut().head = HeadHere::Passed;
        }
        account.attach(Rc::clone(&shared));
        Self { shared, last: Cell::new(None), broken: Cell::new(None), opened: Cell::new(false) }
    }

    /// Shows the connection to the filters, and waits until all have let it go on.
    pub(crate) async fn connected(&self) -> Held {
        if self.shared.interrupted() {
            return Held::Ended;
        }
        self.shared.begin_connection();
        poll_fn(|cx| {
            self.shared.half(Side::Request).borrow_mut().waker = Some(cx.waker().clone());
            self.shared.advance(Side::Request);
            if self.shared.interrupted() {
                return Poll::Ready(Held::Ended);
            }
            let out = self.shared.half(Side::Request).borrow().head_at == At::Out;
            if out { Poll::Ready(Held::No) } else { Poll::Pending }
        })
        .await
    }

    /// What the record knows by now, as a server is asked for: the cluster, the attempt.
    pub(crate) fn tell(&self, account: &Account) {
        self.shared.tell(account);
        self.shared.told.borrow_mut().sent_at = Some(Instant::now());
    }

    /// The connection to its server is there.
    pub(crate) fn carried_by(&self, server: &Socket) {
        self.shared.carrying.replace(Some(Carried::By(Carrying::of(server))));
    }

    /// No connection to a server could be made.
    pub(crate) fn carried_by_none(&self, cause: &Cause) {
        if let Cause::Connect(why) = cause {
            self.shared.carrying.replace(Some(Carried::not(*why)));
        }
    }

    /// The cluster that a filter chose.
    pub(crate) fn cluster(&self) -> Option<Box<str>> {
        self.shared.cluster.borrow().clone()
    }

    /// What was read of downstream before the chain was there.
    pub(crate) fn early(&self, early: Bytes) {
        if !early.is_empty() {
            self.shared.meter.received(early.len() as u64);
            self.shared.feed(Side::Request, early, End::No);
        }
    }

    /// An end whose bytes pass the chain.
    pub(crate) fn end<'a, E>(&'a self, inner: &'a mut E, side: Side) -> TcpEnd<'a, E> {
        self.opened.set(true);
        TcpEnd { inner, chain: self, side, rest: Bytes::new() }
    }

    /// This end broke off, and no read or write told of it.
    pub(crate) fn broke_off(&self, side: Side) {
        self.broken.set(Some(side));
    }

    /// Tells the filters that both ends are gone: of an upstream whose last bytes they saw they know, and one that goes for what a filter
    /// wanted ends with the client's, as in Envoy.
    pub(crate) fn closed(&self) {
        let both = [Side::Request, Side::Response].iter().all(|side| self.shared.half(*side).borrow().source_ended);
        let by = |side| {
            let left = self.broken.get() == Some(side) || (both && self.last.get() == Some(side));
            if left { Peer::Remote } else { Peer::Local }
        };
        for slot in 0..self.shared.slots.len() {
            if self.opened.get() && !self.shared.interrupted() {
                self.shared.upstream_closed(slot, by(Side::Response));
            }
        }
        for slot in 0..self.shared.slots.len() {
            self.shared.downstream_closed(slot, by(Side::Request));
        }
    }
}

impl<E> TcpEnd<'_, E> {
    /// What it stands before.
    pub(crate) fn inner(&self) -> &E {
        self.inner
    }

    /// What it stands before.
    pub(crate) fn inner_mut(&mut self) -> &mut E {
        self.inner
    }

    /// Keeps in mind that this end broke off.
    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.is_err() && self.chain.broken.get().is_none() {
            self.chain.broken.set(Some(self.side));
        }
        done
    }
}

impl<E: AsyncRead + Unpin> TcpEnd<'_, E> {
    /// The next bytes that have left the chain; empty at the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let (shared, side) = (&self.chain.shared, self.side);
        loop {
            shared.half(side).borrow_mut().waker = Some(cx.waker().clone());
            shared.advance(side);
            let closing = match &*shared.interrupt.borrow() {
                None => false,
                // What has passed is flushed.
                Some(Interrupt::Close(_)) => true,
                Some(Interrupt::Error(_) | Interrupt::Reply(_)) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            };
            {
                let mut half = shared.half(side).borrow_mut();
                if let Some(piece) = half.out.pop() {
                    drop(half);
                    shared.fetched(side);
                    return Poll::Ready(Ok(piece));
                }
                if closing || half.ended {
                    return Poll::Ready(Ok(Bytes::new()));
                }
                if half.source_ended {
                    // As in Envoy: both ends have ended, and what filters hold of the server's last words goes nowhere.
                    let over = side == Side::Response && shared.half(Side::Request).borrow().ended;
                    return if over { Poll::Ready(Ok(Bytes::new())) } else { Poll::Pending };
                }
            }
            if !shared.has_room(side) {
                return Poll::Pending;
            }
            let mut bytes = BytesMut::zeroed(READ);
            let mut read = ReadBuf::new(&mut bytes);
            let came = ready!(Pin::new(&mut *self.inner).poll_read(cx, &mut read));
            self.note(came)?;
            let length = read.filled().len();
            bytes.truncate(length);
            if side == Side::Request {
                shared.meter.received(length as u64);
            }
            if length == 0 {
                shared.half(side).borrow_mut().source_ended = true;
                self.chain.last.set(Some(side));
            }
            shared.feed(side, bytes.freeze(), End::when(length == 0));
        }
    }
}

impl<E: AsyncRead + Unpin> AsyncRead for TcpEnd<'_, E> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            this.rest = ready!(this.poll_bytes(cx))?;
        }
        let piece = this.rest.split_to(this.rest.len().min(buf.remaining()));
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl<E: AsyncWrite + Unpin> AsyncWrite for TcpEnd<'_, E> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut *this.inner).poll_write(cx, buf));
        if let (Ok(length), Side::Request) = (&written, this.side) {
            this.chain.shared.meter.sent(*length as u64);
        }
        Poll::Ready(this.note(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().inner).poll_shutdown(cx)
    }
}
