//! [`Carrying`]: what is known of the connection that carries a request, for filters that ask.
//!
//! Made for a connection once a request with filters is sent on it, and kept with it: others pay nothing.

use crate::io::Socket;
use rustls::{ProtocolVersion, pki_types::CertificateDer};
use std::{cell::RefCell, net::SocketAddr, rc::Rc};

/// What is known of a connection to an upstream.
#[derive(Debug)]
pub struct Carrying {
    /// Our own end of it.
    pub local: Option<SocketAddr>,
    /// What TLS adds; `None`: it is in the clear.
    pub tls: Option<CarryingTls>,
}

/// What TLS says of a connection to an upstream.
#[derive(Debug)]
pub struct CarryingTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The server's certificate.
    pub peer: Option<CertificateDer<'static>>,
}

/// Where a request with filters leaves what its connection is.
pub type Told = RefCell<Option<Rc<Carrying>>>;

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
                Some(CarryingTls { version, peer: leaf.map(|leaf| leaf.clone().into_owned()) })
            }
            Socket::Tcp(_) | Socket::Redirectable(_) | Socket::Memory(_) => None,
        };
        Rc::new(Self { local: socket.local_addr(), tls })
    }
}
