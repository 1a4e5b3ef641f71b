//! What happened, told to operators: metrics and the access log.
//!
//! Beside the path. The exchange begins a [`Record`] when a request's head is decoded, the stages fill it in, and
//! its end, however it comes, makes exactly one set of metrics and (where configured) one line in the access log.
//!
//! ```text
//!  head decoded ─► Record::begin ─► set_route · set_cluster · attempt · response · flag … ─► finish() or drop
//!                                                                                             │
//!                         counters and histograms of the listener and the cluster ◄───────────┤
//!                         one line ─► pending buffer ─► writer thread ─► stdout or file ◄─────┘
//! ```
//!
//! Never here: a metric looked up by name on the data path, a wait for the log's disk, a label that a client chooses.

pub mod access_log;
mod facts;
mod flags;
mod meter;
pub mod metrics;
mod record;
mod time;
mod tls;
mod variable;

#[cfg(test)]
pub(crate) mod testing;

pub use facts::Facts;
pub use flags::{Blame, ResponseFlag, ResponseFlags};
pub use meter::ByteMeter;
pub use record::Record;
pub use time::utc;
pub use tls::{TlsFacts, TlsPeer, TrustVersion, cipher_name};
pub(crate) use variable::hostname;
pub use variable::{Source, Value, render};

use crate::downstream::proxy_protocol::{Ends, Header};
use access_log::Logger;
use metrics::ListenerMetrics;
use pillion_config::model::{Name, Scheme};
use std::{
    cell::OnceCell,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where what happens on a listener is told. Shared: made once for each snapshot, read by all workers.
#[derive(Debug)]
pub struct ListenerTelemetry {
    /// The listener's name.
    pub name: Name,
    /// The listener's series.
    pub metrics: Arc<ListenerMetrics>,
    /// The access log; `None`: none is kept, and a [`Record`] captures nothing for it.
    pub log: Option<Logger>,
}

/// What is known of a downstream connection from its accept to its end.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Tells it apart from all others of the process.
    pub id: ConnectionId,
    /// The peer at the other end of the socket.
    pub direct: SocketAddr,
    /// The address the peer reached.
    pub local: SocketAddr,
    /// Whether that is where it was going before the kernel sent it here, and so where its bytes go on to.
    pub captured: bool,
    /// What a trusted peer said first, by the PROXY protocol. Boxed: most connections have none.
    pub proxied: OnceCell<Box<Header>>,
    /// What TLS adds, once hands were shaken. Never set: the connection is in the clear.
    /// Boxed: most connections have none.
    pub tls: OnceCell<Box<TlsFacts>>,
    /// The server name that the client asks for in TLS that is passed on, where that was read.
    pub passed_on: OnceCell<Box<str>>,
}

/// A connection's number within the process; 1 is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The next one.
    #[must_use]
    pub fn next() -> Self {
        // Relaxed: it orders nothing.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl ConnectionFacts {
    /// The facts of a connection of which nothing is known but its ends.
    #[must_use]
    pub fn new(direct: SocketAddr, local: SocketAddr) -> Self {
        Self {
            id: ConnectionId::next(),
            direct,
            local,
            captured: false,
            proxied: OnceCell::new(),
            tls: OnceCell::new(),
            passed_on: OnceCell::new(),
        }
    }

    /// The client: whom a trusted peer speaks for, otherwise the peer itself.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        self.ends().map_or(self.direct, |ends| ends.source)
    }

    /// The address the client reached, of a trusted peer where one speaks for it.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        self.ends().map_or(self.local, |ends| ends.destination)
    }

    /// The port by which the connection is judged: of the address the client reached, but of one that was captured, where its bytes go,
    /// whatever is said of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        if self.captured { self.local.port() } else { self.destination().port() }
    }

    /// The server name that the client asked for, of us, of a server behind us or of a trusted peer before us.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let own = self.tls.get().and_then(|tls| tls.server_name.as_deref());
        own.or_else(|| self.passed_on.get().map(|name| &**name))
            .or_else(|| self.proxied.get().and_then(|header| header.authority.as_deref()))
    }

    fn ends(&self) -> Option<&Ends> {
        self.proxied.get().and_then(|header| header.ends.as_ref())
    }

    /// What the transport makes of it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        if self.tls.get().is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The client, where it showed a certificate.
    #[must_use]
    pub fn peer(&self) -> Option<&TlsPeer> {
        self.tls.get()?.peer.as_deref()
    }
}
