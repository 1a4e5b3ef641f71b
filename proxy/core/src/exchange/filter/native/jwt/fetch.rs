//! Keys that are fetched: once for the process, at once, every so often, and when one is unknown.
//!
//! ```text
//!  worker A  ┐ leads: fetches through its own pools ──► Fetched (shared) ──► every worker's guard
//!  worker B  ┘ waits to lead, follows what is told          keys, when asked last
//! ```
//!
//! The cluster's pools and TLS are the workers', so one of them does it: whoever has the lead. When its filter goes, with a
//! reload or with the worker, another one takes over.

use super::{Guard, KeySet};
use crate::exchange::filter::{HttpCall, Services};
use bytes::Bytes;
use http::StatusCode;
use pillion_config::model::{AllowedClusters, JwtUrl};
use std::{
    rc::Rc,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep, timeout},
};

/// Between two fetches for unknown keys: whoever sends such tokens makes no flood of them.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// Until the next attempt where the last one failed.
const RETRY: Duration = Duration::from_secs(5);
/// Bytes of a JWK Set.
const MAX_SET: usize = 256 * 1024;

/// What all workers know of keys that are fetched. Shared by them: they have one issuer.
#[derive(Debug)]
pub(super) struct Fetched {
    told: watch::Sender<Told>,
    /// Held by who fetches.
    lead: Mutex<()>,
    /// Tells who fetches that a key is unknown.
    unknown: Notify,
    /// When keys were asked for last. Locked for a copy, off the common path.
    asked: Lock<Option<Instant>>,
}

/// What came of it so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The last good keys.
    pub(super) keys: Option<Arc<KeySet>>,
    /// Whether the last attempt failed.
    failed: bool,
}

impl Default for Fetched {
    fn default() -> Self {
        Self { told: watch::Sender::default(), lead: Mutex::default(), unknown: Notify::new(), asked: Lock::default() }
    }
}

impl Fetched {
    /// What is known now.
    pub(super) fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// A key is unknown.
    pub(super) fn ask(&self) {
        self.unknown.notify_one();
    }

    /// Whether it is worth a request's while to wait: for the first attempt, which is under way, or for one that a key it
    /// lacks brings about.
    pub(super) fn is_worth_waiting(&self) -> bool {
        let told = self.told.borrow();
        match (&told.keys, told.failed) {
            (None, failed) => !failed,
            (Some(_), _) => self.since_asked().is_none_or(|since| since >= PAUSE),
        }
    }

    fn since_asked(&self) -> Option<Duration> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).map(|asked| asked.elapsed())
    }
}

/// Keeps the guard's keys fresh. Never ready.
pub(super) async fn keep(guard: Rc<Guard>, fetched: Arc<Fetched>, url: JwtUrl, services: Services) {
    let mut told = fetched.told.subscribe();
    // Another worker may have told something since the guard was made.
    told.mark_changed();
    let follow = async {
        loop {
            // The sender is `fetched`, which is held here.
            if told.changed().await.is_err() {
                return;
            }
            let now = told.borrow_and_update().clone();
            guard.renew(now.keys);
            guard.settle();
        }
    };
    tokio::select! {
        () = follow => {}
        () = lead(&fetched, &url, &services) => {}
    }
}

/// Fetches, once it is this worker's turn to. Never ready.
async fn lead(fetched: &Fetched, url: &JwtUrl, services: &Services) {
    let _lead = fetched.lead.lock().await;
    let services = services.bounded(AllowedClusters::Only(vec![url.cluster.clone()]), 1, MAX_SET);
    loop {
        *fetched.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let pause = match fetch(url, &services).await {
            Ok(keys) => {
                fetched.told.send_replace(Told { keys: Some(Arc::new(keys)), failed: false });
                url.refresh
            }
            Err(reason) => {
                // The last good ones stay.
                tracing::warn!(cluster = %url.cluster, path = url.path, reason, "the keys of tokens cannot be fetched");
                fetched.told.send_modify(|told| told.failed = true);
                RETRY.min(url.refresh)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = fetched.unknown.notified() => {
                // Who waits comes after the pause; others have told that a key is unknown just before it was asked for.
                sleep(PAUSE.saturating_sub(fetched.since_asked().unwrap_or(PAUSE)).min(pause)).await;
            }
        }
    }
}

async fn fetch(url: &JwtUrl, services: &Services) -> Result<KeySet, String> {
    let pairs: [(&[u8], &[u8]); 5] = [
        (b":method", b"GET"),
        (b":path", url.path.as_bytes()),
        (b":authority", url.host.as_bytes()),
        (b":scheme", b"https"),
        (b"accept", b"application/jwk-set+json, application/json"),
    ];
    let call = HttpCall {
        cluster: url.cluster.as_str(),
        headers: &pairs,
        body: Bytes::new(),
        trailers: &[],
        timeout: url.timeout,
    };
    let call = services.http_call(&call).map_err(|error| error.to_string())?;
    let reply = timeout(url.timeout, call).await.map_err(|_| "timed out".to_owned())?;
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.status != StatusCode::OK {
        return Err(format!("the answer is {}", reply.status.as_u16()));
    }
    KeySet::read(&reply.body).map_err(|error| error.to_string())
}
