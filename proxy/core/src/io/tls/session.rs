//! [`Session`]: rustls' connection of either side, one step at a time.

use rustls::{
    CipherSuite, HandshakeKind, ProtocolVersion,
    client::UnbufferedClientConnection,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};
use std::{fmt, io};

/// A TLS session, of either side.
pub enum Session {
    /// We were connected to.
    Server(Box<UnbufferedServerConnection>),
    /// We connected.
    Client(Box<UnbufferedClientConnection>),
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do at once.
    Again,
    /// Bytes came to light.
    Plain,
    /// More must come.
    Blocked,
    /// More may come, and bytes may be sent.
    Open,
    /// The peer said that it sends no more.
    PeerClosed,
}

/// A session's first guess at the room that a message needs.
const ROOM: usize = 4096;

impl Session {
    /// One step over `incoming`. Messages to send are appended to `outgoing`, bytes that came to light to `plain`. Gives
    /// how many bytes of `incoming` are done with.
    pub(super) fn step(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Self::Server(session) => handle(session.process_tls_records(incoming), outgoing, plain),
            Self::Client(session) => handle(session.process_tls_records(incoming), outgoing, plain),
        }
    }

    /// Encrypts `data` into `out`, which grows as needed; gives the records' length. The session must be open, and have
    /// nothing to do with `incoming`: a message of which it has seen a part must be in front of it still.
    pub(super) fn encrypt(&mut self, data: &[u8], incoming: &mut [u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let refused = || io::Error::from(io::ErrorKind::BrokenPipe);
        match self {
            Self::Server(session) => match session.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(traffic)) => encrypt(traffic, data, out),
                _ => Err(refused()),
            },
            Self::Client(session) => match session.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(traffic)) => encrypt(traffic, data, out),
                _ => Err(refused()),
            },
        }
    }

    /// Appends close_notify to `out`, if the session is open. `incoming` as for [`Self::encrypt`].
    pub(super) fn close(&mut self, incoming: &mut [u8], out: &mut Vec<u8>) {
        let mut alert = [0; 64];
        let written = match self {
            Self::Server(session) => match session.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(&mut alert).ok(),
                _ => None,
            },
            Self::Client(session) => match session.process_tls_records(incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(&mut alert).ok(),
                _ => None,
            },
        };
        out.extend_from_slice(&alert[..written.unwrap_or(0)]);
    }

    /// Whether messages wait to be sent.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Server(session) => session.wants_write(),
            Self::Client(session) => session.wants_write(),
        }
    }

    /// Whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Server(session) => session.is_handshaking(),
            Self::Client(session) => session.is_handshaking(),
        }
    }

    /// The peer's chain, its own certificate first.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Server(session) => session.peer_certificates(),
            Self::Client(session) => session.peer_certificates(),
        }
    }

    /// The application protocol agreed upon.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Server(session) => session.alpn_protocol(),
            Self::Client(session) => session.alpn_protocol(),
        }
    }

    /// Whether it resumed an earlier one.
    #[must_use]
    pub fn kind(&self) -> Option<HandshakeKind> {
        match self {
            Self::Server(session) => session.handshake_kind(),
            Self::Client(session) => session.handshake_kind(),
        }
    }

    /// The version agreed upon.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::Server(session) => session.protocol_version(),
            Self::Client(session) => session.protocol_version(),
        }
    }

    /// The cipher suite agreed upon.
    #[must_use]
    pub fn cipher(&self) -> Option<CipherSuite> {
        let suite = match self {
            Self::Server(session) => session.negotiated_cipher_suite(),
            Self::Client(session) => session.negotiated_cipher_suite(),
        };
        suite.map(|suite| suite.suite())
    }

    /// The group the keys were exchanged in.
    #[must_use]
    pub fn group(&self) -> Option<rustls::NamedGroup> {
        let group = match self {
            Self::Server(session) => session.negotiated_key_exchange_group(),
            Self::Client(session) => session.negotiated_key_exchange_group(),
        };
        group.map(|group| group.name())
    }
}

fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    outgoing: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Ok(Step::Plain)
        }
        Ok(ConnectionState::EncodeTlsData(mut message)) => {
            let start = outgoing.len();
            let mut room = ROOM;
            loop {
                outgoing.resize(start + room, 0);
                match message.encode(&mut outgoing[start..]) {
                    Ok(written) => {
                        outgoing.truncate(start + written);
                        break Ok(Step::Again);
                    }
                    Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                        room = needed.required_size;
                    }
                    Err(EncodeError::InsufficientSize(_) | EncodeError::AlreadyEncoded) => {
                        outgoing.truncate(start);
                        break Err(rustls::Error::EncryptError);
                    }
                }
            }
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::Closed) => Ok(Step::Blocked),
        // Early data is never enabled, and rustls' list is open.
        Ok(_) => Err(rustls::Error::HandshakeNotComplete),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn encrypt<D>(mut traffic: WriteTraffic<'_, D>, data: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    // Room for the data and what two records add; rustls says if that is wrong.
    let mut room = data.len() + 128;
    loop {
        if out.len() < room {
            out.resize(room, 0);
        }
        match traffic.encrypt(data, out) {
            Ok(written) => return Ok(written),
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > out.len() => {
                room = needed.required_size;
            }
            Err(EncryptError::InsufficientSize(_) | EncryptError::EncryptExhausted) => {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Session::Server",
            Self::Client(_) => "Session::Client",
        })
    }
}
