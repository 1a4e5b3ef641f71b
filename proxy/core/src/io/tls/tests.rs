//! Two sessions over a pipe that is as awkward as a test wants it.

use super::*;
use crate::identity::{Bundles, Certificate, Roots, Speaks, TlsClient};
use crate::identity::{Failure, Secrets, Svid, TlsServer};
use pillion_config::model::{
    Alpn, ClientCertificates, ClusterTls, ClusterTlsMode, EndpointAddress, ListenerTls, ListenerTlsMode,
    ServerVerification, SpiffeMatch, TlsVersions, TrustDomain,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::{client::UnbufferedClientConnection, server::UnbufferedServerConnection};
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn secrets() -> Secrets {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI("spiffe://example.org/web".try_into().unwrap())];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    let certificate = Certificate::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let roots = Arc::new(Roots::from_pem(root.pem().as_bytes()).unwrap());
    let bundles = Bundles::new(vec![(TrustDomain::parse("example.org").unwrap(), roots)]);
    Secrets { identity: Some(Svid::new(Arc::new(certificate), Arc::new(bundles)).unwrap()), ..Secrets::default() }
}

fn sessions(versions: TlsVersions) -> (Session, Session) {
    let secrets = secrets();
    let listener = ListenerTls {
        mode: ListenerTlsMode::Strict,
        exceptions: Vec::new(),
        certificates: Vec::new(),
        clients: ClientCertificates::Required,
        client_roots: None,
        versions,
        alpn: vec![Alpn::Http2, Alpn::Http1],
        handshake_timeout: Duration::from_secs(1),
    };
    let cluster = ClusterTls {
        mode: ClusterTlsMode::Mutual,
        server_name: None,
        verification: ServerVerification::SpiffeIds(vec![SpiffeMatch::Domain(
            TrustDomain::parse("example.org").unwrap(),
        )]),
        versions,
    };
    let (server, client) = (TlsServer::new(&listener), TlsClient::new(&cluster));
    server.update(&secrets).unwrap();
    client.update(&secrets).unwrap();
    let name = client.server_name(&EndpointAddress::Ip("127.0.0.1:1".parse().unwrap())).unwrap();
    let named = client.server_name(&EndpointAddress::Name("app.example.".into(), 443)).unwrap();
    assert_eq!(named.to_str(), "app.example", "RFC 6066 §3");
    let client = UnbufferedClientConnection::new(client.now(Speaks::Http1).unwrap().0, name).unwrap();
    let server = UnbufferedServerConnection::new(Arc::clone(&server.now().unwrap().config)).unwrap();
    (Session::Client(Box::new(client)), Session::Server(Box::new(server)))
}

/// Two ends, hands shaken, over a pipe that holds so many bytes: at least a last flight, which is not waited for.
async fn pair(versions: TlsVersions, pipe: usize) -> (TlsStream, TlsStream) {
    let (client, server) = sessions(versions);
    let (a, b) = duplex(pipe);
    let turns = Turns::default();
    let (client, server) = tokio::join!(
        handshake(Socket::Memory(a), client, Vec::new(), &turns),
        handshake(Socket::Memory(b), server, Vec::new(), &turns),
    );
    (client.unwrap(), server.unwrap())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn bytes_come_through_whole_however_narrow_the_pipe_and_the_reader() {
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        for (pipe, read, count) in
            [(5_000, 7, 9_000), (5_001, 1, 3_000), (6_000, 70_000, 500_000), (1 << 20, 100, 300_000)]
        {
            run(async {
                let (mut client, mut server) = pair(versions, pipe).await;
                assert_eq!(server.session().alpn(), Some(&b"pillion/http/1.1"[..]));
                assert!(server.session().peer_certificates().is_some());
                let sent = bytes(count);
                let writing = async {
                    client.write_all(&sent).await.unwrap();
                    client.shutdown().await.unwrap();
                    // The other half stays open.
                    let mut answer = Vec::new();
                    client.read_to_end(&mut answer).await.unwrap();
                    answer
                };
                let reading = async {
                    let mut got = Vec::new();
                    let mut buf = vec![0; read];
                    loop {
                        match server.read(&mut buf).await.unwrap() {
                            0 => break,
                            more => got.extend_from_slice(&buf[..more]),
                        }
                    }
                    server.write_all(b"all of it").await.unwrap();
                    server.shutdown().await.unwrap();
                    got
                };
                let (answer, got) = tokio::join!(writing, reading);
                assert_eq!((got == sent, answer), (true, b"all of it".to_vec()), "{versions:?} {pipe} {read}");
                assert!(
                    server.incoming.is_empty() && server.outgoing.capacity() == 0 && server.incoming.capacity() == 0
                );
            });
        }
    }
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    run(async {
        let (mut client, server) = pair(TlsVersions::Only13, 1 << 16).await;
        drop(server);
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

/// Whoever speaks last in a handshake may end its side in the same segment. It is an end like any other that was said:
/// hands are shaken, and the other half stays open.
#[test]
fn a_side_that_ends_with_its_last_flight_has_shaken_hands() {
    for (versions, last) in [(TlsVersions::Only13, Last::Client), (TlsVersions::Only12, Last::Server)] {
        run(async {
            let (client, server) = sessions(versions);
            let (ends, hears) = match last {
                Last::Client => (client, server),
                Last::Server => (server, client),
            };
            let ((a, mut wire), (b, mut other)) = (duplex(1 << 16), duplex(1 << 16));
            let turns = Turns::default();
            let one_segment = async {
                let mut ends = handshake(Socket::Memory(a), ends, Vec::new(), &turns).await.unwrap();
                ends.shutdown().await.unwrap();
                let mut answer = Vec::new();
                ends.read_to_end(&mut answer).await.unwrap();
                answer
            };
            let goes_on = async {
                let mut hears = handshake(Socket::Memory(b), hears, Vec::new(), &turns).await.unwrap();
                assert_eq!(hears.read(&mut [0; 8]).await.unwrap(), 0, "{versions:?}");
                hears.write_all(b"a word").await.unwrap();
                hears.shutdown().await.unwrap();
            };
            let between = carry_last_flight_whole(&mut wire, &mut other);
            let (answer, (), ()) = tokio::join!(one_segment, goes_on, between);
            assert_eq!(answer, b"a word", "{versions:?}");
        });
    }
}

enum Last {
    Client,
    Server,
}

/// Carries bytes between the two. What `ends` says until it waits arrives at once: its last flight and close_notify by one
/// write, then its FIN.
async fn carry_last_flight_whole(ends: &mut DuplexStream, other: &mut DuplexStream) {
    let (mut said, mut heard) = ([0; 1 << 15], [0; 1 << 15]);
    let mut open = true;
    loop {
        tokio::select! {
            read = ends.read(&mut said), if open => {
                let mut length = read.unwrap();
                open = length > 0;
                // It goes on at once, or waits for an answer.
                while let Ok(Ok(more)) =
                    tokio::time::timeout(Duration::from_millis(20), ends.read(&mut said[length..])).await
                {
                    length += more;
                    if more == 0 {
                        open = false;
                        break;
                    }
                }
                other.write_all(&said[..length]).await.unwrap();
                if !open {
                    other.shutdown().await.unwrap();
                }
            }
            read = other.read(&mut heard) => match read.unwrap() {
                0 => return ends.shutdown().await.unwrap(),
                length => ends.write_all(&heard[..length]).await.unwrap(),
            },
        }
    }
}

#[test]
fn several_buffers_leave_as_one_record() {
    run(async {
        let (mut client, mut server) = pair(TlsVersions::Only13, 1 << 16).await;
        let parts = [io::IoSlice::new(b"head "), io::IoSlice::new(b""), io::IoSlice::new(b"body")];
        assert_eq!(client.write_vectored(&parts).await.unwrap(), 9);
        client.flush().await.unwrap();
        let mut got = [0; 64];
        assert_eq!(server.read(&mut got).await.unwrap(), 9);
        assert_eq!(&got[..9], b"head body");
    });
}

/// A record that was bent on its way ends the connection, whatever byte it was, and nothing panics. (Type and version in
/// front of a record are constants of old that say nothing, RFC 8446 §5.2.)
#[test]
fn what_was_bent_on_its_way_is_refused() {
    for at in 3..60 {
        run(async {
            let (mut client, server) = pair(TlsVersions::Only13, 1 << 16).await;
            let (a, mut spy) = duplex(1 << 16);
            let honest = std::mem::replace(&mut client.io, Socket::Memory(a));
            client.write_all(&bytes(40)).await.unwrap();
            client.flush().await.unwrap();
            let mut record = vec![0; 62];
            spy.read_exact(&mut record).await.unwrap();
            record[at] ^= 1;
            let (mut wire, b) = duplex(1 << 16);
            let mut server = TlsStream { io: Socket::Memory(b), ..server };
            wire.write_all(&record).await.unwrap();
            drop(wire);
            let mut got = Vec::new();
            assert!(server.read_to_end(&mut got).await.is_err(), "byte {at}");
            assert!(got.is_empty());
            drop(honest);
        });
    }
}

#[test]
fn a_flight_without_end_is_cut() {
    run(async {
        let (client, _) = sessions(TlsVersions::Only13);
        let (a, mut b) = duplex(1 << 20);
        // A ServerHello said to be 60 KiB long, in records of 16 KiB.
        let mut flight = Vec::new();
        for record in 0..4 {
            let mut content = vec![0; 16_000];
            if record == 0 {
                content[..4].copy_from_slice(&[2, 0, 0xF0, 0]);
            }
            flight.extend_from_slice(&[22, 3, 3, 0x3E, 0x80]);
            flight.extend_from_slice(&content);
        }
        b.write_all(&flight).await.unwrap();
        let turns = Turns::default();
        let failure = handshake(Socket::Memory(a), client, Vec::new(), &turns).await.unwrap_err();
        assert_eq!(failure, Failure::of(crate::identity::Cause::FlightTooLarge));
    });
}

#[test]
fn the_queue_of_handshakes_is_bounded() {
    let turns = Turns::default();
    assert!(turns.admit(1).is_ok());
    assert_eq!(turns.admit(0).unwrap_err().name(), "shed");
}
