//! Filters: what requests and responses pass through between route and upstream, and opaque bytes between the two ends
//! of a tunnel.
//!
//! ```text
//!   Config.filters ─► Loader::load ─► Factory ──(once per worker)──► Instance ──(once per stream)──► Filter
//!      (model)        control thread   Send+Sync, in the Snapshot    !Send (wasm: a machine)         !Send
//!
//!   request  ─► filter 0 ─► filter 1 ─► … ─► filter n ─► [route again] ─► upstream
//!   response ◄─ filter 0 ◄─ filter 1 ◄─ … ◄─ filter n ◄───────────────────┘
//!   end        log(0) log(1) … · done(0) drop(0) · done(1) …     once, when the request's record is accounted for
//! ```
//!
//! # The seam
//!
//! - [`Loader`] makes a [`Factory`] of a filter's model, on the control thread; an error refuses the configuration. Core
//!   has the native ones; what else there is, the app hands in.
//! - [`Factory`] is immutable and lives in the snapshot. It is kept over a reload when the loader gives it back.
//! - [`Instance`] is a worker's share, made when the worker takes a configuration into use, before any request needs it.
//! - [`Filter`] is a stream's share. Its callbacks are synchronous, are given a [`Stream`], and return what the chain does
//!   next. What a filter does later (from a timer, or when a call was answered) it does through a clone of that
//!   [`Stream`], which costs a reference count; one that outlives its stream sees nothing and does nothing.
//!
//! # What a callback may do, and what follows
//!
//! The statuses are Envoy's ([`HeadStatus`], [`BodyStatus`], [`TrailersStatus`]). A head is at one filter at a time: from
//! its callback until it is let go on it can be read and changed ([`Stream::headers`]); before and after it cannot, until
//! [`Filter::log`], where everything can be read. Nothing is validated as it is set; it is when the head leaves the
//! chain, and a head that cannot be is answered by an error. Changing a request's head makes the route be chosen again;
//! the chain stays that of the first route.
//!
//! A body's chunk is passed to the filters one after the other without a copy. A filter that holds it back sees it
//! together with what follows; how much it may hold is bounded by its `body_buffer`. Over it a request is answered 413 and
//! a response 500 (or cut, if its head is gone).
//!
//! [`Stream::reply`] answers the request here. From the request's side the answer passes the filters that the request's head
//! has come to, those behind the one that gave it with them, and of the others those that ask for it
//! ([`Interest::ANSWERED_BEFORE`]); from the response's side it passes none. A stream begins at a
//! filter when the request's head comes to it; where that never was, in time for its log or such an answer. [`Stream::close`] ends the stream
//! unanswered.
//!
//! A callback that fails ([`Failed`]) takes its filter out of the chain; what becomes of the stream says the filter's
//! [`FailPolicy`](pillion_config::model::FailPolicy). Nothing waits for a filter without an end: the route's `idle_timeout` bounds every pause.

mod again;
mod before;
mod body;
mod buffer;
mod chain;
mod course;
mod facts;
mod headers;
mod kept;
mod leave;
mod metadata;
mod native;
mod routed;
mod run;
mod services;
mod set;
mod shared;
mod slots;
mod stage;
mod state;
mod stream;
mod tcp;
mod upgrade;

pub(in crate::exchange) use before::refuse;
pub use body::Filtered;
pub use buffer::Buffer;
pub(in crate::exchange) use course::Course;
pub use facts::Facts;
pub(crate) use facts::Told;
pub(in crate::exchange) use headers::MOST_NAMES;
pub(crate) use headers::WireOrder;
pub use headers::{HeadFault, Headers, Map};
pub(crate) use metadata::LastRead;
pub use native::Native;
pub(in crate::exchange) use run::{arrive, begin, run};
pub use services::{
    Bound, CallError, CallRefused, GrpcCall, GrpcEvent, GrpcEvents, GrpcReply, GrpcStream, Holds, HttpCall, HttpReply,
    Metadata, NoRoom, Services, Task,
};
pub use set::{FilterSet, Loaded};
pub(crate) use shared::Shared;
pub use stream::{LocalReply, MOST_REPLY, Peer, Refused, Side, Stream, StreamKind};
pub(crate) use tcp::{Held, TcpChain, TcpEnd};

use pillion_config::model;
use std::{fmt, future::Future, pin::Pin, rc::Rc, sync::Arc};

/// Makes factories of models. Called on the control thread, in the order of the filters; what it returns is driven for all of them at
/// the same time.
pub trait Loader {
    /// The factory for this filter. `previous` is the one of the configuration in force whose model is the same: give it
    /// back (a clone of the `Arc`) where nothing else changed, and its instances live on.
    ///
    /// The future may take its time (a module is fetched, compiled); a configuration waits for all of its filters.
    ///
    /// # Errors
    ///
    /// What the operator must change; the configuration is refused, the one in force stays.
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a>;
}

/// A factory in the making.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn Factory>, LoadError>> + 'a>>;

/// Why a filter cannot be loaded, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}filter {filter}{}: {reason}", leading(.at), configured_by(.route.as_ref()))]
pub struct LoadError {
    /// Where it is written, `file:line:column: path`; empty: nowhere.
    pub at: String,
    /// The filter's name.
    pub filter: model::Name,
    /// The route whose own configuration it has.
    pub route: Option<model::Name>,
    /// What is wrong, and what would be right.
    pub reason: String,
    /// What it is loaded from is somewhere else and could not be had; nothing else is known to be wrong.
    pub away: bool,
}

impl LoadError {
    /// Of a part of this filter.
    #[must_use]
    pub fn of(filter: &model::Filter, part: model::Part, reason: String) -> Self {
        let at = filter.stands.at(part).to_owned();
        Self { at, filter: filter.name.clone(), route: filter.route.clone(), reason, away: false }
    }
}

fn leading(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!("{at}: ") }
}

fn configured_by(route: Option<&model::Name>) -> String {
    route.map_or_else(String::new, |route| format!(", as the route {route} configures it"))
}

/// A configured filter: immutable, shared by all workers.
pub trait Factory: Send + Sync + fmt::Debug {
    /// Makes a worker's share, on that worker's thread, as it takes the configuration into use. Must not block. What can
    /// fail was tried when the factory was loaded; an instance that fails later says so of each stream.
    fn instance(&self, services: Services) -> Rc<dyn Instance>;

    /// What it lacks now, though it is in use: a sentence.
    fn lacks(&self) -> Option<String> {
        None
    }
}

/// A worker's share of a filter.
pub trait Instance {
    /// Which callbacks its filters want; for the others the chain does not stop by. Asked once.
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    /// Begins a stream, as its head comes to the filter, or for its log if it never did; the filter is dropped at its end.
    ///
    /// # Errors
    ///
    /// [`Failed`]: it cannot serve now; the stream's policy applies.
    fn open(&self, stream: &Stream) -> Result<Box<dyn Filter>, Failed>;

    /// It is not in the configuration any more. Streams that began before may still be there.
    fn retire(&self) {}
}

/// A stream's share of a filter: the callbacks. Dropping it is the last thing that happens to it.
///
/// HTTP streams see the `request_` and `response_` callbacks, TCP connections those from `new_connection` on. While a
/// callback runs, none of the same stream's is called.
pub trait Filter {
    /// The request's head is here. `End::Yes`: no body follows.
    fn request_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        let _ = (stream, end);
        Ok(HeadStatus::Continue)
    }

    /// `size` bytes of the request's body are here, those held back before included.
    fn request_body(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let _ = (stream, size, end);
        Ok(BodyStatus::Continue)
    }

    /// The request's trailers are here.
    fn request_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        let _ = stream;
        Ok(TrailersStatus::Continue)
    }

    /// The response's head is here: the upstream's, or one made here. `End::Yes`: no body follows.
    fn response_headers(&mut self, stream: &Stream, end: End) -> Result<HeadStatus, Failed> {
        let _ = (stream, end);
        Ok(HeadStatus::Continue)
    }

    /// The request was answered before its head came to this filter: `request` is that head, as far as it came. The answer's
    /// can be changed; neither its body nor its trailers come here. Only for [`Interest::ANSWERED_BEFORE`].
    fn answered_before(&mut self, stream: &Stream, request: &Headers) -> Result<(), Failed> {
        let _ = (stream, request);
        Ok(())
    }

    /// `size` bytes of the response's body are here, those held back before included.
    fn response_body(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let _ = (stream, size, end);
        Ok(BodyStatus::Continue)
    }

    /// The response's trailers are here.
    fn response_trailers(&mut self, stream: &Stream) -> Result<TrailersStatus, Failed> {
        let _ = stream;
        Ok(TrailersStatus::Continue)
    }

    /// A connection was accepted; its upstream is not yet. [`BodyStatus::Continue`], or anything else to hold it.
    fn new_connection(&mut self, stream: &Stream) -> Result<BodyStatus, Failed> {
        let _ = stream;
        Ok(BodyStatus::Continue)
    }

    /// `size` bytes came from the client, those held back before included.
    fn downstream_data(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let _ = (stream, size, end);
        Ok(BodyStatus::Continue)
    }

    /// `size` bytes came from the server, those held back before included.
    fn upstream_data(&mut self, stream: &Stream, size: usize, end: End) -> Result<BodyStatus, Failed> {
        let _ = (stream, size, end);
        Ok(BodyStatus::Continue)
    }

    /// The client's connection is gone. [`Peer::Remote`]: the client ended it last, or broke it off.
    fn downstream_closed(&mut self, stream: &Stream, by: Peer) {
        let _ = (stream, by);
    }

    /// The server's connection is gone; called once, and not for one that never was. [`Peer::Unknown`]: after its last bytes
    /// were shown.
    fn upstream_closed(&mut self, stream: &Stream, by: Peer) {
        let _ = (stream, by);
    }

    /// The stream is over. HTTP: called before [`done`](Self::done); TCP: after it. All maps can be read.
    fn log(&mut self, stream: &Stream) {
        let _ = stream;
    }

    /// The stream is over; next it is dropped.
    fn done(&mut self, stream: &Stream) {
        let _ = stream;
    }
}

/// Whether a message is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// More follows.
    No,
    /// Nothing follows.
    Yes,
}

impl End {
    /// From whether it is the end.
    #[must_use]
    pub fn when(end: bool) -> Self {
        if end { Self::Yes } else { Self::No }
    }
}

/// What a filter wants done with a head. Envoy's `FilterHeadersStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStatus {
    /// Goes on to the next filter.
    Continue,
    /// Stays here; body and trailers still come to this filter, and [`BodyStatus::Continue`] lets all of it go on.
    StopIteration,
    /// Stays here with all that follows, without a callback, until [`Stream::resume`]; more than the filter may hold is an
    /// error.
    StopAllIterationAndBuffer,
    /// The same; when the filter holds all it may, no more is read.
    StopAllIterationAndWatermark,
}

/// What a filter wants done with a piece of a body. Envoy's `FilterDataStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStatus {
    /// Goes on to the next filter, with all that was held back.
    Continue,
    /// Is held back, and shown again together with the next piece; more than the filter may hold is an error.
    StopIterationAndBuffer,
    /// Is held back, and not shown again; when the filter holds all it may, no more is read.
    StopIterationAndWatermark,
    /// Is thrown away.
    StopIterationNoBuffer,
}

/// What a filter wants done with trailers. Envoy's `FilterTrailersStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailersStatus {
    /// Go on to the next filter, after all that was held back.
    Continue,
    /// Stay here until [`Stream::resume`].
    StopIteration,
}

/// A filter failed: a trap, a used-up limit, an instance that cannot serve now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{details}")]
pub struct Failed {
    /// Why, in a word for the access log (`%RESPONSE_CODE_DETAILS%`) and the counter's `reason`.
    pub details: &'static str,
}

/// A set of callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// None.
    pub const NONE: Self = Self(0);
    /// [`Filter::request_headers`], [`Filter::new_connection`].
    pub const REQUEST_HEADERS: Self = Self(1);
    /// [`Filter::request_body`], [`Filter::downstream_data`].
    pub const REQUEST_BODY: Self = Self(1 << 1);
    /// [`Filter::request_trailers`].
    pub const REQUEST_TRAILERS: Self = Self(1 << 2);
    /// [`Filter::response_headers`].
    pub const RESPONSE_HEADERS: Self = Self(1 << 3);
    /// [`Filter::response_body`], [`Filter::upstream_data`].
    pub const RESPONSE_BODY: Self = Self(1 << 4);
    /// [`Filter::response_trailers`].
    pub const RESPONSE_TRAILERS: Self = Self(1 << 5);
    /// [`Filter::log`]; without it heads are not kept for it.
    pub const LOG: Self = Self(1 << 6);
    /// All of these.
    pub const ALL: Self = Self(0x7f);
    /// [`Filter::answered_before`]. Not for guests: Envoy passes by those that saw no request, and no filter of its own.
    pub const ANSWERED_BEFORE: Self = Self(1 << 7);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}
