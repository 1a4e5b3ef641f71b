//! The places of the silent: what a cluster's servers are kept free of who says nothing to them, and how such a connection ends.

use super::{
    Unreached,
    late::{FirstWord, Heard, REST, last_call, until},
};
use crate::{
    downstream::original_dst::Captured, drain::Registration, exchange::account::Account, telemetry::Blame,
    tunnel::copy::Meters, upstream::Silent, worker::Cluster,
};
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};
use tokio::{io::AsyncRead, time::Instant};

/// Time from one look for a place among the silent to the next. A server that greets leaves one within milliseconds; whom to tell of it
/// would have to be known over all workers.
const LOOK: Duration = Duration::from_millis(100);

/// A connection on which nobody may have spoken.
pub(super) struct Quiet {
    /// Until when a drain waits for its server's greeting.
    pub(super) greets: Instant,
    /// Its place among the silent, as long as it is one of them.
    pub(super) place: Option<Silent>,
}

/// A place among the silent for a client who is one of them; `None`: it needs none. Where none is left it waits for one, and is listened to:
/// who speaks HTTP or TLS after all goes where that goes, and who says anything else needs no place.
///
/// # Errors
///
/// It stays silent until its time is up, closes its side so, or says what ends the wait.
pub(super) async fn place<D: AsyncRead + Unpin>(
    cluster: &Cluster,
    captured: Option<Captured>,
    registration: &Registration,
    downstream: &mut D,
    (heard, unsettled): Heard<'_>,
) -> Result<Option<Silent>, Unreached> {
    let Some(ear) = *unsettled else { return Ok(None) };
    let found = cluster.state().silent(captured);
    if found.is_some() {
        return Ok(found);
    }
    let wait = async {
        tokio::select! {
            biased;
            () = registration.aborted() => Err(Unreached::Heard(FirstWord::Nobodys)),
            place = freed(cluster, captured) => Ok(Some(place)),
            () = tokio::time::sleep(REST) => Err(Unreached::Refused(cluster.state().no_place())),
        }
    };
    let asked = Instant::now();
    match until(pin!(wait), registration, downstream, (heard, ear)).await {
        Ok(waited) => waited,
        Err(FirstWord::Opaque) if !heard.is_empty() => {
            *unsettled = None;
            Ok(None)
        }
        // It had closed its side by then, and would have listened: it gets none. Who does so while it waits has left, as far as anybody
        // can tell.
        Err(FirstWord::Opaque) if asked.elapsed() < LOOK => Err(Unreached::Refused(cluster.state().no_place())),
        Err(word) => Err(Unreached::Heard(word)),
    }
}

/// A place that somebody has left, since a server has spoken.
async fn freed(cluster: &Cluster, captured: Option<Captured>) -> Silent {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(place) = cluster.state().silent(captured) {
            return place;
        }
    }
}

/// Notes that a connection had to close on which nobody has spoken. It is as one that rests between two requests: nothing is cut,
/// and it is no fault.
pub(super) fn drained(account: &mut Account) {
    account.has_not_begun();
    account.details("drained");
    account.terminated_by(Blame::Proxy);
}

/// Ready when a connection must close on which nobody has spoken, and whose server is waited for until it `greets`; `None`: what
/// somebody said brought it here.
pub(super) async fn unspoken(registration: &Registration, greets: Option<Instant>, meters: &Meters) {
    let Some(greets) = greets else { return std::future::pending().await };
    let mut last_call = pin!(last_call(registration, greets));
    // Who has spoken costs a look at the meters.
    poll_fn(|cx| if meters.unspoken() { last_call.as_mut().poll(cx) } else { Poll::Pending }).await;
}
