//! [`UnderWay`]: a call under way: one of those its filter may have, and a request of its cluster's in the metrics.

use super::{CallRefused, Inner, Services};
use crate::{telemetry::metrics::ClusterMetrics, worker::Cluster};
use http::StatusCode;
use std::{cell::Cell, rc::Rc, sync::Arc};
use tokio::time::Instant;

/// Counts until it is dropped; then the request is over, however it ended.
pub(super) struct UnderWay {
    services: Rc<Inner>,
    cluster: Arc<ClusterMetrics>,
    begun: Instant,
    sent: Cell<Sent>,
}

/// How far it came.
#[derive(Clone, Copy)]
enum Sent {
    /// Nothing reached the cluster: it is no request of its.
    Not,
    /// The cluster was asked.
    Asked,
    /// And its server answered.
    Answered(StatusCode),
}

impl Services {
    /// Begins a call to this cluster. Reads the clock.
    pub(super) fn begin(&self, cluster: &Cluster) -> Result<UnderWay, CallRefused> {
        let calls = &self.inner.calls;
        if calls.get() >= self.inner.most_calls {
            return Err(CallRefused::TooMany);
        }
        calls.set(calls.get() + 1);
        let cluster = Arc::clone(cluster.state().metrics());
        cluster.request_begun();
        Ok(UnderWay { services: Rc::clone(&self.inner), cluster, begun: Instant::now(), sent: Cell::new(Sent::Not) })
    }
}

impl UnderWay {
    /// The cluster is asked.
    pub(super) fn asked(&self) {
        self.sent.set(Sent::Asked);
    }

    /// Its server answered.
    pub(super) fn answered(&self, status: StatusCode) {
        self.sent.set(Sent::Answered(status));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.services.calls.set(self.services.calls.get() - 1);
        self.cluster.request_left();
        let status = match self.sent.get() {
            Sent::Not => return,
            Sent::Asked => None,
            Sent::Answered(status) => Some(status),
        };
        self.cluster.request_answered(status, self.begun.elapsed());
    }
}
