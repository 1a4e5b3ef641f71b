//! proxy_protocol: who the client is where a proxy stands before this one and says so first.
//!
//! Between accept and tls, on listeners with `proxy_protocol` alone. What a trusted sender says stands for the socket's
//! own addresses everywhere from then on: records, forwarding headers, rules, and what upstreams are told. Nothing of a
//! header from anybody else is believed, or even read. The decision is pure ([`read`]); [`accept`] reads until it is
//! made, and loses no byte behind the header. It never answers: a header that breaks a rule closes the connection.

mod checksum;
mod header;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod write;

pub use header::{Ends, Fault, Header, Read, V1_MAX, V2_HEAD, read};
pub use write::{Said, SaidTls, header as written, local};

use super::Connection;
use crate::{io::Socket, snapshot::ListenerSnapshot};
use bytes::Bytes;
use pillion_config::model::{ProxyHeaders, ProxyProtocol};
use std::rc::Rc;
use tokio::time::timeout;

/// How the look for a header ended.
#[derive(Debug)]
enum Ended {
    /// The connection is served; these bytes were read of it beyond the header.
    Served(Bytes),
    /// It is closed.
    Refused,
}

/// Reads the header, if there is to be one, and notes what it says; the bytes read beyond it. `None`: the connection
/// came to nothing. Dropping the future loses what was read: the connection must go with it.
pub(super) async fn accept(
    socket: &mut Socket,
    rules: &ProxyProtocol,
    listener: &ListenerSnapshot,
    connection: &Rc<Connection>,
) -> Option<Bytes> {
    let peer = connection.facts.direct;
    let required = rules.headers == ProxyHeaders::Required;
    let (outcome, ended) = if rules.trusted.iter().any(|network| network.contains(peer.ip())) {
        let mut prefix = Vec::new();
        let reading = timeout(rules.timeout, self::whole(socket, &mut prefix, rules.header_bytes));
        let found = tokio::select! {
            biased;
            found = reading => found,
            () = connection.unwanted() => return None,
        };
        match found {
            Ok(Read::Whole(header, len)) => {
                let outcome = if header.ends.is_some() { "proxied" } else { "local" };
                // Set once: a connection has one header.
                let _ = connection.facts.proxied.set(Box::new(header));
                prefix.drain(..len);
                (outcome, Ended::Served(prefix.into()))
            }
            Ok(Read::Bad(fault)) => {
                let listener = &listener.telemetry.name;
                tracing::debug!(%listener, %peer, %fault, "PROXY protocol header refused");
                (fault.name(), Ended::Refused)
            }
            Ok(Read::Absent) if required => ("absent", Ended::Refused),
            Ok(Read::More) if required => ("closed", Ended::Refused),
            Err(_elapsed) if required => ("timeout", Ended::Refused),
            // It may be a client whose server speaks first, or one that is gone: the next stage's to say.
            Ok(Read::Absent | Read::More) | Err(_) => ("absent", Ended::Served(prefix.into())),
        }
    } else if required {
        ("untrusted", Ended::Refused)
    } else {
        ("direct", Ended::Served(Bytes::new()))
    };
    listener.telemetry.metrics.proxy_header(outcome);
    match ended {
        Ended::Served(prefix) => Some(prefix),
        Ended::Refused => None,
    }
}

/// Reads until it is known what stands there; [`Read::More`]: the connection ended first.
async fn whole(socket: &mut Socket, prefix: &mut Vec<u8>, most: usize) -> Read {
    loop {
        match read(prefix, most) {
            Read::More => {}
            known => return known,
        }
        match super::detect::read_more(socket, |bytes| prefix.extend_from_slice(bytes)).await {
            Ok(0) | Err(_) => return Read::More,
            Ok(_) => {}
        }
    }
}
