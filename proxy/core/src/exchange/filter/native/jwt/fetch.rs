//! Keys that are fetched: once for the process, at once, every so often, and when one is unknown.
//!
//! ```text
//!  worker A  ┐ leads: fetches through its own pools ──► Fetched (shared) ──► every worker's guard
//!  worker B  ┘ waits to lead, follows what is told          keys, when asked last
//! ```
//!
//! The cluster's pools and TLS are the workers', so one of them does it: whoever has the lead. When its filter goes, with a
//! reload or with the worker, another one takes over.

use super::{Guard, KeySet, Patience};
use crate::exchange::filter::{HttpCall, Services};
use futures_util::FutureExt as _;
use http::StatusCode;
use pillion_config::model::{AllowedClusters, JwtUrl};
use std::{
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex as Lock, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify, watch},
    time::{Instant, sleep, timeout},
};

/// Between two fetches: whoever sends tokens of unknown keys makes no flood of them. A request waits as long for keys that
/// have just changed, so it is short.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Until a key that was unknown to the issuer too is asked for again: a client that goes on with an old token has neither
/// itself wait nor the issuer asked each time.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// Unknown keys that are remembered. Whoever sends more kinds of tokens has the issuer asked once in a [`PAUSE`] still.
const MAX_ASKED: usize = 1024;
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
    /// Who asked and when. Locked for a look, off the common path: no known key comes here.
    times: Lock<Times>,
}

/// When keys were asked for.
#[derive(Debug, Default)]
struct Times {
    /// The last fetch.
    begun: Option<Instant>,
    /// The begin of the last one that came to an end.
    ended: Option<Instant>,
    /// Unknown keys, by the heads of their tokens, and since when.
    unknown: HashMap<Box<str>, Instant>,
}

/// What came of it so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The last good keys.
    pub(super) keys: Option<Arc<KeySet>>,
    /// Why the last attempt failed, if it did.
    failed: Option<Arc<str>>,
}

impl Default for Fetched {
    fn default() -> Self {
        Self { told: watch::Sender::default(), lead: Mutex::default(), unknown: Notify::new(), times: Lock::default() }
    }
}

impl Fetched {
    /// What is known now.
    pub(super) fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Why there are no keys, where it was tried and there never were any.
    pub(super) fn never_came(&self) -> Option<Arc<str>> {
        let told = self.told.borrow();
        told.failed.clone().filter(|_| told.keys.is_none())
    }

    /// Whether it is worth a request's while to wait: for the first attempt, which is under way, or for one that begins
    /// after its key was found unknown. `head` is its token's, which names the key.
    pub(super) fn is_worth_waiting(&self, head: &str, patience: Patience) -> bool {
        let Told { keys, failed } = self.told();
        match (keys, patience) {
            (_, Patience::None) => false,
            (None, patience) => patience == Patience::Some && failed.is_none(),
            (Some(_), _) => {
                // Who fetches is told once for a key, and not while it looks who has asked.
                let mut times = self.times();
                let awaits = times.awaits(head, patience, Instant::now());
                if awaits == Awaits::Next {
                    self.unknown.notify_one();
                }
                awaits != Awaits::Nothing
            }
        }
    }

    /// A fetch begins, which answers who has asked so far.
    fn begin(&self) -> Instant {
        let mut times = self.times();
        let _ = self.unknown.notified().now_or_never();
        let begun = Instant::now();
        times.begun = Some(begun);
        begun
    }

    /// A fetch has ended; when the next one is due.
    fn end(&self, begun: Instant, found: Result<KeySet, String>, url: &JwtUrl) -> Duration {
        // Held while it is told: nobody finds that it has ended and then not what it brought.
        let mut times = self.times();
        times.ended = Some(begun);
        match found {
            Ok(keys) => {
                let before = self.told().keys;
                // The same with each fetch is told once.
                let before = before.as_ref().map_or(&[][..], |before| before.passed_over());
                for words in keys.passed_over().iter().filter(|words| !before.contains(words)) {
                    tracing::warn!(cluster = %url.cluster, path = url.path, "a key of tokens is not used: {words}");
                }
                self.told.send_replace(Told { keys: Some(Arc::new(keys)), failed: None });
                url.refresh
            }
            Err(reason) => {
                // The last good ones stay.
                tracing::warn!(cluster = %url.cluster, path = url.path, reason, "the keys of tokens cannot be fetched");
                self.told.send_modify(|told| told.failed = Some(reason.into()));
                RETRY.min(url.refresh)
            }
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fetch that a key waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Nothing,
    /// Another request has asked for it.
    One,
    /// It is to be asked for.
    Next,
}

impl Times {
    /// Whether a fetch that can bring this key is still to end. Who has waited before asks for no other one.
    fn awaits(&mut self, head: &str, patience: Patience, now: Instant) -> Awaits {
        if let Some(since) = self.unknown.get(head) {
            let answered = self.ended.is_some_and(|begun| begun >= *since);
            if !answered {
                return Awaits::One;
            }
            if patience != Patience::Some || now - *since < AGAIN {
                return Awaits::Nothing;
            }
        } else if patience != Patience::Some {
            return Awaits::Nothing;
        }
        if self.unknown.len() >= MAX_ASKED {
            self.unknown.clear();
        }
        self.unknown.insert(head.into(), now);
        Awaits::Next
    }

    /// How long the next fetch has to wait.
    fn pause(&self) -> Duration {
        PAUSE.saturating_sub(self.begun.map_or(PAUSE, |begun| begun.elapsed()))
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
            guard.settle(Patience::Longer);
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
        let begun = fetched.begin();
        let found = fetch(url, &services).await;
        let pause = fetched.end(begun, found, url);
        tokio::select! {
            () = sleep(pause) => {}
            () = fetched.unknown.notified() => {
                let rest = fetched.times().pause().min(pause);
                sleep(rest).await;
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
    let call =
        HttpCall { cluster: url.cluster.as_str(), headers: &pairs, body: b"", trailers: &[], timeout: url.timeout };
    let call = services.http_call(&call).map_err(|error| error.to_string())?;
    let reply = timeout(url.timeout, call).await.map_err(|_| "timed out".to_owned())?;
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.status != StatusCode::OK {
        return Err(format!("the answer is {}", reply.status.as_u16()));
    }
    KeySet::read(&reply.body).map_err(|error| error.to_string())
}
