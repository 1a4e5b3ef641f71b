//! 2'. Opaque bytes, both ways, until both sides have ended.
//!
//! ```text
//!  downstream end ──► count ──► copy ──► upstream end
//!                 ◄── copy ◄── count ◄──
//! ```
//!
//! [`forward`] carries what became of a request that left HTTP: an accepted `Upgrade`, CONNECT. Half-close is kept:
//! one side's end is passed on while the other side still speaks. It reads nothing of what it carries.

mod counted;
pub mod h2_stream;
pub mod upgrade;
pub mod websocket;

use crate::{
    downstream::Connection,
    exchange::account::Account,
    telemetry::{Blame, ResponseFlag},
};
use counted::{Counted, Meter};
use std::{io, rc::Rc, time::Duration};
use upgrade::TunnelEnd;

/// Bytes held for each direction.
const BUFFER: usize = 8 * 1024;

/// How a tunnel ended.
enum Outcome {
    Copied(io::Result<(u64, u64)>),
    Silent,
    Aborted,
}

/// Carries bytes between the two ends until both have ended, one fails, nothing moved for `idle`, or the connection
/// is aborted; then writes the account. Dropping the future cuts both.
pub async fn forward(
    connection: Rc<Connection>,
    downstream: TunnelEnd,
    upstream: TunnelEnd,
    idle: Option<Duration>,
    mut account: Account,
) {
    let (received, sent) = (Rc::new(Meter::default()), Rc::new(Meter::default()));
    let mut downstream = Counted::new(downstream, Rc::clone(&received));
    let mut upstream = Counted::new(upstream, Rc::clone(&sent));
    let registration = connection.enter_tunnel();
    let outcome = tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(&mut downstream, &mut upstream, BUFFER, BUFFER) => {
            Outcome::Copied(copied)
        }
        () = silence(idle, &received, &sent) => Outcome::Silent,
        () = registration.aborted() => Outcome::Aborted,
    };
    let meter = account.meter();
    meter.received(received.bytes());
    meter.sent(sent.bytes());
    // On HTTP/2 the connection is cut first, and its streams fail.
    let outcome = if connection.aborted() { Outcome::Aborted } else { outcome };
    match outcome {
        Outcome::Copied(Ok(_)) => {}
        Outcome::Copied(Err(_)) if received.failed() => {
            account.flag(ResponseFlag::DownstreamConnectionTermination);
            account.details("downstream_remote_disconnect");
            account.terminated_by(Blame::Downstream);
        }
        Outcome::Copied(Err(_)) => {
            account.flag(ResponseFlag::UpstreamConnectionTermination);
            account.details("upstream_reset_after_response_started");
            account.terminated_by(Blame::Upstream);
        }
        Outcome::Silent => {
            account.flag(ResponseFlag::StreamIdleTimeout);
            account.details("stream_idle_timeout");
            account.terminated_by(Blame::Proxy);
        }
        Outcome::Aborted => {
            account.flag(ResponseFlag::LocalReset);
            account.details("drain_deadline");
            account.terminated_by(Blame::Proxy);
        }
    }
    account.finish();
}

/// Ready once nothing has moved for `idle`; looks twice in that time, so it may take half as long again.
async fn silence(idle: Option<Duration>, received: &Meter, sent: &Meter) {
    let Some(idle) = idle else { return std::future::pending().await };
    let mut moved = (received.bytes(), sent.bytes());
    let mut still = 0;
    while still < 2 {
        tokio::time::sleep(idle / 2).await;
        let now = (received.bytes(), sent.bytes());
        still = if now == moved { still + 1 } else { 0 };
        moved = now;
    }
}
