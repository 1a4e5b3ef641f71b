//! [`Carrying`]: what is known of the connection that carries a request, for filters that ask.
//!
//! Made for a connection once a request with filters is sent on it, and kept with it: others pay nothing.

use super::ConnectError;
use crate::io::Socket;
use rustls::{ProtocolVersion, pki_types::CertificateDer, sign::CertifiedKey};
use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};
use tokio::time::Instant;

/// What is known of a connection to an upstream.
#[derive(Debug)]
pub struct Carrying {
    /// Our own end of it.
    pub local: Option<SocketAddr>,
    /// What TLS adds; `None`: it is in the clear.
    pub tls: Option<CarryingTls>,
    /// When a request with filters first had it.
    pub since: Instant,
}

/// What TLS says of a connection to an upstream.
#[derive(Debug)]
pub struct CarryingTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The server's certificate.
    pub peer: Option<CertificateDer<'static>>,
    /// Ours, for servers that ask.
    pub own: Option<Arc<CertifiedKey>>,
}

/// Whether a request came by a connection.
#[derive(Debug, Clone)]
pub enum Carried {
    /// It went on this one.
    By(Rc<Carrying>),
    /// None could be made, as was known then.
    Not(ConnectError, Instant),
}

/// Where a request with filters leaves what its connection is.
pub type Told = RefCell<Option<Carried>>;

impl Carried {
    /// No connection could be made, as is known now.
    #[must_use]
    pub fn not(why: ConnectError) -> Self {
        Self::Not(why, Instant::now())
    }

    /// When that was known, or when the connection was had first, whose later requests found it ready.
    #[must_use]
    pub fn since(&self) -> Instant {
        match self {
            Self::By(carrying) => carrying.since,
            Self::Not(_, then) => *then,
        }
    }
}

impl Carrying {
    /// Of this socket.
    pub(crate) fn of(socket: &Socket) -> Rc<Self> {
        let tls = match socket {
            Socket::Tls(stream) => {
                let session = stream.session();
                let leaf = session.peer_certificates().and_then(<[_]>::first);
                let version = match session.version() {
                    Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                    _ => "TLSv1.3",
                };
                let own = stream.made_by().and_then(|made_by| made_by.shown()).cloned();
                Some(CarryingTls { version, peer: leaf.map(|leaf| leaf.clone().into_owned()), own })
            }
            Socket::Tcp(_) | Socket::Redirectable(_) | Socket::Memory(_) => None,
        };
        Rc::new(Self { local: socket.local_addr(), tls, since: Instant::now() })
    }
}
