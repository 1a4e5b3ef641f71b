//! Keys that are fetched, by a task of the worker: at once, every so often, and when one is unknown.

use super::{Guard, KeySet};
use crate::exchange::filter::{HttpCall, Services};
use bytes::Bytes;
use http::StatusCode;
use pillion_config::model::{AllowedClusters, JwtUrl};
use std::{rc::Rc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Between two fetches for unknown keys: whoever sends such tokens makes no flood of them.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// Until the next attempt where there are no keys yet, or the last attempt failed.
const RETRY: Duration = Duration::from_secs(5);
/// Bytes of a JWK Set.
const MAX_SET: usize = 256 * 1024;

/// Keeps the guard's keys fresh. Never ready.
pub(super) async fn keep(guard: Rc<Guard>, url: JwtUrl, services: Services) {
    let services = services.bounded(AllowedClusters::Only(vec![url.cluster.clone()]), 1, MAX_SET);
    loop {
        guard.asked.set(Some(Instant::now()));
        let pause = match fetch(&url, &services).await {
            Ok(keys) => {
                guard.renew(keys);
                url.refresh
            }
            Err(reason) => {
                // The last good ones stay.
                tracing::warn!(cluster = %url.cluster, path = url.path, reason, "the keys of tokens cannot be fetched");
                RETRY.min(url.refresh)
            }
        };
        guard.settle();
        tokio::select! {
            () = sleep(pause) => {}
            () = guard.unknown.notified() => {
                let since = guard.asked.get().map_or(PAUSE, |asked| asked.elapsed());
                // Who waits has no keys at all, or comes after the pause.
                if guard.keys.borrow().is_some() {
                    sleep(PAUSE.saturating_sub(since)).await;
                } else {
                    sleep(RETRY.saturating_sub(since)).await;
                }
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
