//! [`Services`]: what a worker does for an instance outside of any stream: calls to clusters, timers, tasks.
//!
//! Calls use the worker's pools and the clusters' circuits as requests do. Each is a future: dropping it gives the call
//! up. Nothing here lives longer than the worker.

mod grpc;
mod holding;
mod http;
mod under_way;

pub use grpc::{GrpcCall, GrpcEvent, GrpcEvents, GrpcReply, GrpcStream, Metadata};
pub use holding::{Bound, Holds, NoRoom};
pub use http::{HttpCall, HttpReply};

use super::HeadFault;
use crate::{
    exchange::head::grpc::GrpcStatus,
    upstream::{Cause, ConnectError, RequestError},
    worker::{Cluster, Worker},
};
use ::http::StatusCode;
use pillion_config::model::AllowedClusters;
use std::{
    cell::Cell,
    future::Future,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::task::AbortHandle;
use under_way::UnderWay;

/// What a worker does for one of its instances. Clones are the same.
#[derive(Clone)]
pub struct Services {
    inner: Rc<Inner>,
    /// Bounds what calls hold; `None`: nobody counts.
    bound: Option<Arc<dyn Bound>>,
}

struct Inner {
    worker: Weak<Worker>,
    allowed: AllowedClusters,
    most_calls: usize,
    most_response: usize,
    calls: Cell<usize>,
}

/// A task of the worker; dropping this ends it.
#[derive(Debug)]
#[must_use = "a task that is dropped at once never runs"]
pub struct Task(Option<AbortHandle>);

/// Why a call is not even begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallRefused {
    /// No cluster of the configuration has this name.
    #[error("unknown cluster")]
    UnknownCluster,
    /// The filter may not call it (`allowed_clusters`).
    #[error("the cluster is not among allowed_clusters")]
    NotAllowed,
    /// The worker ends.
    #[error("the proxy ends")]
    Ending,
    /// A pseudo-header is missing, or a name or a value is none that any message can have.
    #[error("the request cannot be said")]
    Malformed,
    /// The message is larger than any can be.
    #[error("the message is too large")]
    TooLarge,
    /// The filter has as many calls under way as it may.
    #[error("too many calls")]
    TooMany,
    /// The filter's calls hold as much memory as they may.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Its time is up, and no response has begun.
    #[error("timed out")]
    Timeout,
    /// Its time is up within the response.
    #[error("timed out within the response")]
    Late,
    /// No endpoint, no connection, no response.
    #[error("upstream: {0}")]
    Upstream(#[from] Cause),
    /// No request can be made of what it says; no server was asked.
    #[error("{0}")]
    Unwritable(HeadFault),
    /// The response broke off.
    #[error("the response broke off")]
    Broken,
    /// The response is larger than the filter takes.
    #[error("the response is too large")]
    TooLarge,
    /// The filter's calls hold as much memory as they may.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The worker is gone.
    #[error("shutting down")]
    Gone,
}

impl CallError {
    /// Whether no request could be made of what it says.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        matches!(self, Self::Unwritable(_) | Self::Upstream(Cause::Request(RequestError::Unwritable)))
    }

    /// What Envoy gives a filter in place of a response: status and body. `None`: a response had begun, and its filter is told
    /// of none.
    #[must_use]
    pub fn as_response(&self) -> Option<(StatusCode, &'static str)> {
        macro_rules! reset {
            ($reason:literal) => {
                concat!("upstream connect error or disconnect/reset before headers. reset reason: ", $reason)
            };
        }
        let (gone, bad, late) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT);
        let cause = match self {
            Self::Timeout => return Some((late, "upstream request timeout")),
            // As Envoy answers what its codec does not write.
            Self::Unwritable(_) => return Some((StatusCode::BAD_REQUEST, "")),
            Self::Late | Self::Broken | Self::TooLarge | Self::NoRoom(_) | Self::Gone => return None,
            Self::Upstream(cause) => cause,
        };
        Some(match cause {
            Cause::NoEndpoint => (gone, "no healthy upstream"),
            Cause::Overflow(_) => (gone, reset!("overflow")),
            Cause::Connect(ConnectError::Timeout(_)) => (gone, reset!("connection timeout")),
            Cause::Connect(ConnectError::Descriptors | ConnectError::LocalResources) => {
                (gone, reset!("local connection failure"))
            }
            Cause::Connect(ConnectError::NotHttp2) => (bad, reset!("protocol error")),
            Cause::Connect(
                ConnectError::Refused
                | ConnectError::Unreachable
                | ConnectError::Reset
                | ConnectError::Tls(_)
                | ConnectError::Io(_),
            )
            | Cause::UpgradeUnsupported => (gone, reset!("remote connection failure")),
            Cause::Request(error) => match error {
                RequestError::Unwritable => (StatusCode::BAD_REQUEST, ""),
                RequestError::Stalled => (late, "upstream request timeout"),
                RequestError::StreamReset(_) => (gone, reset!("remote reset")),
                RequestError::Violation(_)
                | RequestError::Malformed
                | RequestError::Http2Protocol
                | RequestError::TooManyHeaders => (bad, reset!("protocol error")),
                RequestError::Closed
                | RequestError::ConnectionReset
                | RequestError::TlsFailed
                | RequestError::GoAway(_)
                | RequestError::RequestBody
                | RequestError::Distrusted(_) => (gone, reset!("connection termination")),
            },
        })
    }
}

impl CallError {
    /// What Envoy tells a filter of a gRPC call that came to this: status and message.
    #[must_use]
    pub fn as_grpc(&self) -> (u32, String) {
        let (status, message) = match (self.as_response(), self) {
            // What the codec does not write never was a request.
            (_, error) if error.is_unwritable() => (GrpcStatus::Unavailable, self.to_string()),
            (Some((status, text)), _) => (GrpcStatus::from_http(status), text.to_owned()),
            (None, Self::Late) => (GrpcStatus::Internal, "response_timeout".to_owned()),
            (None, Self::Broken) => (GrpcStatus::Internal, self.to_string()),
            (None, Self::TooLarge | Self::NoRoom(_)) => (GrpcStatus::ResourceExhausted, self.to_string()),
            (None, Self::Timeout | Self::Upstream(_) | Self::Unwritable(_) | Self::Gone) => {
                (GrpcStatus::Unavailable, self.to_string())
            }
        };
        (status.code().into(), message)
    }
}

impl Services {
    /// Services of this worker, for an instance that may call these clusters: so many calls at once, so many bytes of each
    /// answer.
    #[must_use]
    pub fn new(worker: Weak<Worker>) -> Self {
        Self::of(Inner {
            worker,
            allowed: AllowedClusters::All,
            most_calls: 100,
            most_response: 1 << 20,
            calls: Cell::new(0),
        })
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Rc::new(inner), bound: None }
    }

    /// The same worker's services within these bounds. What was under way before is not counted.
    #[must_use]
    pub fn bounded(&self, allowed: AllowedClusters, most_calls: usize, most_response: usize) -> Self {
        Self::of(Inner { worker: self.inner.worker.clone(), allowed, most_calls, most_response, calls: Cell::new(0) })
    }

    /// The same services, for calls that hold within this bound.
    #[must_use]
    pub fn holding(&self, bound: Arc<dyn Bound>) -> Self {
        Self { inner: Rc::clone(&self.inner), bound: Some(bound) }
    }

    /// Runs a future on this worker until it ends or the task is dropped.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Task {
        Task(Some(tokio::task::spawn_local(future).abort_handle()))
    }

    /// Calls `tick` every `period` (at least a millisecond), first after one, until the task is dropped. A tick that comes
    /// late is not made up for.
    pub fn every(&self, period: Duration, mut tick: impl FnMut() + 'static) -> Task {
        let period = period.max(Duration::from_millis(1));
        self.spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                tick();
            }
        })
    }

    /// A number nobody can guess.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.inner.worker.upgrade().map_or(0, |worker| worker.random.next())
    }

    /// Whether the filter may call this cluster now.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_call(&self, cluster: &str) -> Result<(), CallRefused> {
        self.cluster(cluster).map(|_| ())
    }

    fn cluster(&self, name: &str) -> Result<Rc<Cluster>, CallRefused> {
        let worker = self.inner.worker.upgrade().ok_or(CallRefused::Ending)?;
        let view = worker.view();
        let index = view.cluster_named(name).ok_or(CallRefused::UnknownCluster)?;
        if !self.inner.allowed.allows(name) {
            return Err(CallRefused::NotAllowed);
        }
        Ok(Rc::clone(view.cluster(index, &worker)))
    }
}

impl Task {
    /// Lets it run to its end.
    pub fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
