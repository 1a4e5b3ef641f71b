//! tls: from an accepted socket to one whose bytes are the client's own.
//!
//! Between accept and detect. It reads the ClientHello, which is bounded before anything is computed, shakes hands
//! within the listener's deadline, and notes who the client is. It answers nothing: a handshake that fails is counted by
//! its cause, logged with the peer and the alert, and closed.

use super::{
    Connection,
    detect::{
        self,
        client_hello::{self, Asked, Hello, Speaker},
    },
};
use crate::{
    identity::{Cause, Failure, Serving, TlsServer, protocol_of, spiffe_id, still_valid},
    io::{
        Socket,
        tls::{Session, Told, Turns, handshake},
    },
    snapshot::ListenerSnapshot,
    telemetry::{TlsFacts, TlsPeer, cipher_name},
};
use bytes::Bytes;
use pillion_config::model::{Alpn, ListenerTlsMode, TrustDomain};
use rustls::{HandshakeKind, ProtocolVersion, pki_types::UnixTime, server::UnbufferedServerConnection};
use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// A connection whose bytes are the client's own.
pub(super) struct Accepted {
    /// It.
    pub(super) socket: Socket,
    /// What was read of it already.
    pub(super) prefix: Bytes,
    /// What TLS agreed upon, if it did.
    pub(super) agreed: Option<Alpn>,
    /// How long its first bytes were waited for already, of the time that it has to say what it is.
    pub(super) waited: Duration,
}

/// Shakes hands as the listener wants it, on a connection of which `prefix` was read before; `None`: it came to nothing. Dropping the future loses the connection.
pub(super) async fn accept(
    socket: Socket,
    prefix: Bytes,
    tls: &TlsServer,
    listener: &ListenerSnapshot,
    connection: &Rc<Connection>,
) -> Option<Accepted> {
    let turns = Turns::of_this_thread();
    let most = connection.worker.view().snapshot.config.limits.tls_handshakes;
    let attempt =
        timeout(tls.model().handshake_timeout, attempt(socket, prefix.into(), tls, listener, connection, &turns, most));
    let outcome = tokio::select! {
        biased;
        outcome = attempt => outcome,
        () = connection.unwanted() => return None,
    };
    match outcome.unwrap_or(Err(Failure::of(Cause::Timeout))) {
        Ok(Shaken { accepted, facts }) => {
            if let Some(facts) = facts {
                listener.telemetry.metrics.tls_handshake(facts.version);
                // Set once: a connection shakes hands once.
                let _ = connection.facts.tls.set(Box::new(facts));
            }
            Some(accepted)
        }
        Err(failure) => {
            listener.telemetry.metrics.tls_failure(failure.name());
            if turns.tells() == Told::Yes {
                let (listener, peer) = (&listener.telemetry.name, connection.facts.client());
                tracing::info!(%listener, %peer, %failure, "TLS handshake failed");
            }
            None
        }
    }
}

struct Shaken {
    accepted: Accepted,
    /// `None`: it is served as it came.
    facts: Option<TlsFacts>,
}

impl Shaken {
    fn untouched(socket: Socket, prefix: Vec<u8>, began: Option<Instant>) -> Self {
        let waited = began.map_or(Duration::ZERO, |began| began.elapsed());
        Self { accepted: Accepted { socket, prefix: prefix.into(), agreed: None, waited }, facts: None }
    }
}

async fn attempt(
    mut socket: Socket,
    mut prefix: Vec<u8>,
    tls: &TlsServer,
    listener: &ListenerSnapshot,
    connection: &Connection,
    turns: &Turns,
    most: usize,
) -> Result<Shaken, Failure> {
    let line = connection.control();
    let permissive = tls.model().mode_at(connection.facts.port()) == ListenerTlsMode::Permissive;
    let patience = listener.model.protocol.tcp().filter(|_| permissive).map(|tcp| tcp.detect_timeout);
    let began = patience.map(|_| Instant::now());
    let asked = loop {
        match client_hello::read(&prefix) {
            Hello::More if prefix.len() <= client_hello::MAX_BYTES => {
                if !prefix.is_empty() {
                    detect::held(line, prefix.capacity()).await;
                }
                let said_nothing = prefix.is_empty();
                let reading = read_some(&mut socket, &mut prefix);
                match patience {
                    // A client that waits for its server to speak is no peer of the mesh. One that has begun a
                    // ClientHello may be: the rest of it, late on a lossy network, is waited for as any handshake is.
                    Some(patience) if said_nothing => match timeout(patience, reading).await {
                        // Nor is one that says that it will say nothing.
                        Ok(Err(failure)) if failure.cause == Cause::Closed => {
                            return Ok(Shaken::untouched(socket, prefix, began));
                        }
                        Ok(read) => read?,
                        Err(_elapsed) => return Ok(Shaken::untouched(socket, prefix, began)),
                    },
                    Some(_) | None => reading.await?,
                }
            }
            // No peer of the mesh sends one: it is the application's own.
            Hello::More | Hello::TooLarge if permissive && listener.opaque.is_some() => {
                return Ok(Shaken::untouched(socket, prefix, began));
            }
            Hello::More | Hello::TooLarge => return Err(Failure::of(Cause::HelloTooLarge)),
            Hello::Not | Hello::Malformed if permissive => return Ok(Shaken::untouched(socket, prefix, began)),
            Hello::Not => return Err(Failure::of(Cause::NotTls)),
            Hello::Malformed => return Err(Failure::of(Cause::Malformed)),
            Hello::Whole(asked) => break asked,
        }
    };
    line.release();
    if permissive && asked.speaker == Speaker::Other {
        // The application's own, to be carried as it is where the listener carries what is not HTTP.
        return match listener.opaque {
            Some(_) => Ok(Shaken::untouched(socket, prefix, began)),
            None => Err(Failure::of(Cause::ApplicationTls)),
        };
    }
    let serving = tls.now().ok_or(Failure::of(Cause::NotReady))?;
    turns.admit(most)?;
    let session = UnbufferedServerConnection::new(Arc::clone(&serving.config));
    let session = session.map_err(|error| Failure::from_tls(&error))?;
    let shaken = handshake(socket, Session::Server(Box::new(session)), prefix, turns).await;
    // rustls looks for signature schemes, which older versions do not offer, before it looks at the version.
    let stream = shaken.map_err(|failure| match failure.cause {
        Cause::NoCipher if asked.old => Failure { cause: Cause::NoVersion, ..failure },
        _ => failure,
    })?;
    let session = stream.session();
    let facts = facts(session, asked, &serving, listener)?;
    if let Some(peer) = &facts.peer {
        // Whom to trust may have changed while hands were shaken.
        tls.still_trusts(&peer.chain, &facts.trust).map_err(|refusal| Failure::of(Cause::Refused(refusal)))?;
    }
    let agreed = facts.alpn;
    let socket = Socket::Tls(Box::new(stream));
    Ok(Shaken {
        accepted: Accepted { socket, prefix: Bytes::new(), agreed, waited: Duration::ZERO },
        facts: Some(facts),
    })
}

/// What was agreed upon, and with whom.
fn facts(session: &Session, asked: Asked, serving: &Serving, listener: &ListenerSnapshot) -> Result<TlsFacts, Failure> {
    let peer = match session.peer_certificates() {
        None | Some([]) => None,
        Some(chain @ [leaf, ..]) => {
            let resumed = session.kind() == Some(HandshakeKind::Resumed);
            if resumed {
                // rustls has restored the chain; whether its time is over nobody has looked at since.
                still_valid(chain, UnixTime::now()).map_err(|refusal| Failure::of(Cause::Refused(refusal)))?;
            }
            let id = crate::identity::Facts::read(leaf).and_then(|facts| spiffe_id(&facts).ok());
            Some(TlsPeer::of(chain, id, serving.own.as_deref()))
        }
    };
    let domain = match &peer {
        // Neither can be a domain's name.
        None => "(none)",
        Some(peer) => peer.id.as_ref().and_then(|id| serving.believed(id)).map_or("(other)", TrustDomain::as_str),
    };
    Ok(TlsFacts {
        requests: listener.telemetry.metrics.tls_peer(domain),
        version: match session.version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        cipher: session.cipher().map_or("unknown", cipher_name),
        alpn: session.alpn().and_then(protocol_of),
        presented: serving.presented(asked.name.as_deref()),
        server_name: asked.name.map(String::into_boxed_str),
        peer,
        own: serving.own.clone(),
        trust: Cell::new(serving.trust),
    })
}

/// One read, appended to `prefix`.
async fn read_some(socket: &mut Socket, prefix: &mut Vec<u8>) -> Result<(), Failure> {
    match detect::read_more(socket, |bytes| prefix.extend_from_slice(bytes)).await {
        Ok(0) => Err(Failure::of(Cause::Closed)),
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::of(Cause::Io)),
    }
}
