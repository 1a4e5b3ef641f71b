//! [`Stream`]: what a filter can see of its stream and do to it, in a callback and between callbacks.

use super::{
    Buffer, Facts, Failed, Headers, Map,
    shared::{Interrupt, Phase, Shared},
    stage::{At, Flow},
};
use crate::{
    downstream::unfinished::Room,
    error::FilterError,
    telemetry::{ConnectionFacts, ResponseFlag},
    upstream::{Carried, Carrying, ConnectError},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pillion_config::model;
use std::{
    borrow::Cow,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Bytes that filters write into one stream's heads and trailers at most.
pub(super) const MOST_WRITTEN: usize = 4 << 20;

/// Bytes written from where on they count into what clients may hold.
const LARGE: usize = 4 * 1024;

/// Bytes of a local reply's body at most: it is held in memory whole.
pub const MOST_REPLY: usize = 4 << 20;

/// A stream as one of its filters sees it. Clones are cheap; one that outlives the stream does nothing and sees nothing.
///
/// What is given to [`headers`](Self::headers) and [`body`](Self::body) must not call the same stream's methods.
#[derive(Clone)]
pub struct Stream {
    pub(super) shared: Rc<Shared>,
    pub(super) slot: usize,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// A request and its response.
    Http,
    /// A connection's opaque bytes.
    Tcp,
}

/// A direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client: the request, the bytes that come from downstream.
    Request,
    /// To the client: the response, the bytes that come from upstream.
    Response,
}

/// Who closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Nobody can say.
    Unknown,
    /// The proxy.
    Local,
    /// The other end.
    Remote,
}

/// An answer that a filter gives in place of the upstream's.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// The status; what is no final status (200 to 599) is sent as 500.
    pub status: u16,
    /// Fields beside those that the proxy sets: `Content-Length`, and `Content-Type: text/plain` where none is given and
    /// there is a body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body. A gRPC client gets it as `grpc-message`.
    pub body: Bytes,
    /// What a gRPC client gets; `None`: what follows from the status.
    pub grpc_status: Option<u32>,
    /// Why, for the access log.
    pub details: Cow<'static, str>,
}

/// Why a filter's wish is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream is over, or ending: nothing can be answered any more.
    #[error("the stream is over")]
    Over,
    /// It is answered already.
    #[error("the stream is answered already")]
    Answered,
    /// Opaque bytes have no answer.
    #[error("not an HTTP stream")]
    NotHttp,
    /// More than a stream may hold.
    #[error("too much")]
    TooMuch,
}

impl Stream {
    /// What it carries.
    #[must_use]
    pub fn kind(&self) -> StreamKind {
        self.shared.kind
    }

    /// Whether it is over, and its filters are told so.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.shared.phase.get() == Phase::Logging
    }

    /// The filter's name.
    #[must_use]
    pub fn filter(&self) -> &Arc<model::Filter> {
        &self.shared.slots[self.slot].model
    }

    /// Lets `f` read and change fields, if they are at this filter now: from the callback that shows them until it lets
    /// them go on. `None`: they are not. Trailers are made where a filter asks for them when it is shown the end of a body without.
    pub fn headers<R>(&self, map: Map, f: impl FnOnce(&mut Headers) -> R) -> Option<R> {
        let (side, trailers) = map.parts();
        if self.shared.phase.get() >= Phase::Logging {
            return None;
        }
        let mut half = self.shared.half(side).borrow_mut();
        let half = &mut *half;
        if trailers && half.trailers.is_none() && self.is_shown_the_end(side) {
            half.trailers = Some(Box::new(Headers::trailers(HeaderMap::new())));
            half.trailers_at = At::Slot(self.slot);
        }
        let (at, fields) = if trailers {
            (half.trailers_at, half.trailers.as_deref_mut())
        } else {
            (half.head_at, half.head.as_mut())
        };
        (at == At::Slot(self.slot)).then_some(())?;
        fields.map(f)
    }

    /// Notes that this filter is about to write so many bytes into heads or trailers. Where there is no memory for them the stream
    /// is answered so.
    ///
    /// # Errors
    ///
    /// [`Refused::TooMuch`]: more than 4 MiB with what was written before.
    pub fn writes(&self, bytes: usize) -> Result<(), Refused> {
        let written = self.shared.written.get().saturating_add(bytes);
        if written > MOST_WRITTEN {
            return Err(Refused::TooMuch);
        }
        self.shared.written.set(written);
        if written >= LARGE && self.shared.count_held() == Room::None {
            self.shared.interrupt(Interrupt::Error(FilterError::RequestShortMemory));
        }
        Ok(())
    }

    /// As [`headers`](Self::headers), to read; while the stream is being logged, everything that came can be read but the
    /// request's trailers, as in Envoy.
    pub fn read_headers<R>(&self, map: Map, f: impl FnOnce(&Headers) -> R) -> Option<R> {
        let (side, trailers) = map.parts();
        let logging = self.shared.phase.get() == Phase::Logging;
        if logging && !trailers {
            let mut half = self.shared.half(side).borrow_mut();
            if let Some(kept) = half.kept.take() {
                half.head = Some(kept.into_headers());
            }
        }
        let half = self.shared.half(side).borrow();
        let (at, fields) =
            if trailers { (half.trailers_at, half.trailers.as_deref()) } else { (half.head_at, half.head.as_ref()) };
        if logging && map == Map::RequestTrailers {
            return None;
        }
        (at == At::Slot(self.slot) || logging).then_some(())?;
        fields.map(f)
    }

    /// Lets `f` read and change what of a body is at this filter: in a body callback, and while that holds something back.
    /// What waits unshown behind a head is not there yet, as in Envoy.
    pub fn body<R>(&self, side: Side, f: impl FnOnce(&mut Buffer) -> R) -> Option<R> {
        let mut stage = self.shared.slots[self.slot].stage(side).try_borrow_mut().ok()?;
        (stage.body_shown || stage.body != Flow::Flowing).then(|| f(&mut stage.held))
    }

    /// Whether the body callback that runs is the one for the end of a message.
    fn is_shown_the_end(&self, side: Side) -> bool {
        let stage = self.shared.slots[self.slot].stage(side).try_borrow();
        self.shared.kind == StreamKind::Http && stage.is_ok_and(|stage| stage.body_shown && stage.end)
    }

    /// Lets what this filter holds back go on; nothing if it holds nothing back. Within a callback, once that returns.
    pub fn resume(&self, side: Side) {
        if let Ok(mut stage) = self.shared.slots[self.slot].stage(side).try_borrow_mut() {
            if !stage.running && !stage.paused() {
                return;
            }
            stage.resume = true;
        }
        self.shared.wake(side);
    }

    /// Answers the request here.
    ///
    /// # Errors
    ///
    /// [`Refused`]: nothing happens.
    pub fn reply(&self, reply: LocalReply) -> Result<(), Refused> {
        self.answer(reply, None)
    }

    /// As [`reply`](Self::reply), with a flag for record and metrics.
    ///
    /// # Errors
    ///
    /// [`Refused`]: nothing happens.
    pub fn reply_as(&self, reply: LocalReply, flag: ResponseFlag) -> Result<(), Refused> {
        self.answer(reply, Some(flag))
    }

    /// Whether it could be answered so now.
    ///
    /// # Errors
    ///
    /// [`Refused`]: why not.
    pub fn takes(&self, reply: &LocalReply) -> Result<(), Refused> {
        if self.shared.kind == StreamKind::Tcp {
            return Err(Refused::NotHttp);
        }
        if self.shared.phase.get() >= Phase::Logging {
            return Err(Refused::Over);
        }
        if self.shared.interrupted() {
            return Err(Refused::Answered);
        }
        if reply.body.len() > MOST_REPLY {
            return Err(Refused::TooMuch);
        }
        Ok(())
    }

    fn answer(&self, reply: LocalReply, flag: Option<ResponseFlag>) -> Result<(), Refused> {
        self.takes(&reply)?;
        self.shared.interrupt(Interrupt::Reply(Box::new((reply, flag))));
        Ok(())
    }

    /// Ends the stream without an answer, as `details`: HTTP/2 resets it, HTTP/1 and opaque connections are closed.
    pub fn close(&self, details: &'static str) {
        self.shared.interrupt(Interrupt::Close(details));
    }

    /// The filter fails outside of a callback: with its machine, say. Its policy applies; it is called no more.
    pub fn fail(&self, failed: Failed) {
        if self.shared.phase.get() < Phase::Logging {
            self.shared.fail(self.slot, failed);
        }
    }

    /// Has the route chosen again once the request's head leaves the chain, though no filter changed it.
    pub fn clear_route_cache(&self) {
        self.shared.clear_route.set(true);
    }

    /// Sends an opaque connection to this cluster in place of its listener's; until it is connected.
    pub fn set_cluster(&self, cluster: &str) {
        self.shared.cluster.replace(Some(cluster.into()));
    }

    /// Whether an opaque connection goes to this cluster, or may, where no filter chooses one.
    #[must_use]
    pub fn goes_to(&self, cluster: &str) -> bool {
        let (facts, view) = (&self.shared.connection, &self.shared.view);
        let asked = facts.passed_on.get().map(|name| &**name);
        let policy = self.shared.listener.opaque.as_ref();
        let own = policy.map_or(&[][..], |policy| policy.clusters(facts.local, asked));
        let is_it =
            |index: usize| view.snapshot.config.clusters.get(index).is_some_and(|it| it.name.as_str() == cluster);
        own.iter().any(|target| target.weight > 0 && is_it(target.cluster.0))
    }

    /// The listener it came by.
    #[must_use]
    pub fn listener(&self) -> &model::Listener {
        &self.shared.listener.model
    }

    /// The connection it came by.
    #[must_use]
    pub fn connection(&self) -> &Rc<ConnectionFacts> {
        &self.shared.connection
    }

    /// The connection that its request went on.
    #[must_use]
    pub fn carrying(&self) -> Option<Rc<Carrying>> {
        match &*self.shared.carrying.borrow() {
            Some(Carried::By(carrying)) => Some(Rc::clone(carrying)),
            Some(Carried::Not(..)) | None => None,
        }
    }

    /// Why no connection could be made for its request, the last time one was wanted.
    #[must_use]
    pub fn connect_failure(&self) -> Option<ConnectError> {
        match &*self.shared.carrying.borrow() {
            Some(Carried::Not(why, _)) => Some(*why),
            Some(Carried::By(_)) | None => None,
        }
    }

    /// How long its request waited for its connection, or until none could be made; of several attempts, from the first on.
    #[must_use]
    pub fn connection_wait(&self) -> Option<Duration> {
        let known = self.shared.carrying.borrow().as_ref()?.since();
        Some(known.saturating_duration_since(self.shared.told.borrow().sent_at?))
    }

    /// When it began, by the calendar: the same whenever it is asked for. The first who asks reads the clock.
    #[must_use]
    pub fn began(&self) -> SystemTime {
        self.shared.meter.began(|| self.shared.told.borrow().started.elapsed())
    }

    /// What is known of it now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(&self.shared)
    }
}

impl Map {
    fn parts(self) -> (Side, bool) {
        match self {
            Self::RequestHeaders => (Side::Request, false),
            Self::RequestTrailers => (Side::Request, true),
            Self::ResponseHeaders => (Side::Response, false),
            Self::ResponseTrailers => (Side::Response, true),
        }
    }
}

impl LocalReply {
    /// An answer with this status and no body.
    #[must_use]
    pub fn new(status: StatusCode, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: status.as_u16(),
            headers: Vec::new(),
            body: Bytes::new(),
            grpc_status: None,
            details: details.into(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("slot", &self.slot)
            .field("phase", &self.shared.phase.get())
            .finish_non_exhaustive()
    }
}
