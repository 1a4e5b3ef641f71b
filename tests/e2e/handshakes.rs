//! A flood of TLS handshakes: what lives lives on, what is too much is shed and counted, and nothing of it stays.
//!
//! Latency and memory under 2,000 handshakes a second and 5,000 half-open connections are measured by `pillion-bench flood`.

use pillion_tests::{
    origin::Origin,
    pki::{self, Authority},
    proxy::{Proxy, Shape},
    tls::Offer,
};
use rustls::{ClientConnection, pki_types::ServerName};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const CLIENT: &str = "spiffe://example.org/ns/shop/sa/client";
const FAILURES: &str = "pillion_tls_failures_total";
const ACTIVE: &str = "pillion_accept_connections_active";

/// Connections of the flood at once, and how often.
const AT_ONCE: usize = 200;
const ROUNDS: usize = 5;
/// Connections that begin to say something and stop.
const HALF_OPEN: usize = 500;
/// Connections that live.
const LIVING: usize = 4;

/// What a client says first; sent again it costs the server what it costs the first time.
fn hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(Offer::default().config(), name).expect("a configuration that holds");
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).expect("memory takes it");
    }
    bytes
}

/// Connects, if the kernel's queue has room.
fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address).expect("the backlog takes it");
    stream.set_read_timeout(Some(pillion_tests::wait::SOON)).expect("a socket takes a read timeout");
    stream
}

#[test]
fn a_flood_is_shed_and_counted_and_felt_by_no_connection_that_lives() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let top = format!("{identity}\nlimits: {{ tls_handshakes: 8 }}");
    let listener = "tls: { client_certificates: optional }\nbacklog: 1024";
    let proxy = Shape { top: &top, listener, ..Shape::default() }.start(origin.address);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let living: Vec<_> = (0..LIVING)
        .map(|_| {
            let certificate = authority.svid(CLIENT);
            let mut client =
                Offer { certificate: Some(&certificate), ..Offer::default() }.connect(proxy.address).unwrap();
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get("/").expect("it lives on");
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    proxy.await_metric(ACTIVE, &[], |active| active == LIVING as f64);
    let (handshakes, before) = (proxy.metrics().sum("pillion_tls_handshakes_total", &[]), proxy.resident_own());

    let hello = hello();
    let half_open: Vec<_> = (0..HALF_OPEN)
        .map(|_| {
            let mut stream = connect(&proxy);
            stream.write_all(&hello[..3]).expect("an empty buffer takes it");
            stream
        })
        .collect();
    proxy.await_metric(ACTIVE, &[], |active| active == (LIVING + HALF_OPEN) as f64);
    let (mut begun, mut turned_away) = (0, 0);
    for _ in 0..ROUNDS {
        let mut flood: Vec<_> = (0..AT_ONCE).map(|_| connect(&proxy)).collect();
        for stream in &mut flood {
            // One that was shed before it was asked is as good.
            drop(stream.write_all(&hello));
        }
        for mut stream in flood {
            match stream.read(&mut [0; 64]) {
                Ok(1..) => begun += 1,
                Ok(0) | Err(_) => turned_away += 1,
            }
        }
    }
    // Each of them had an answer or a close, and the proxy knows of which.
    assert_eq!(begun + turned_away, ROUNDS * AT_ONCE);
    assert!(begun >= ROUNDS, "some are served");
    let shed = &["reason=\"shed\""];
    proxy.await_metric(FAILURES, shed, |count| count > 0.0 && count <= turned_away as f64);
    let grown = proxy.resident_own().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);

    // Those that live were served throughout, and are.
    let count = answered.load(Ordering::Relaxed);
    assert!(count > 0);
    pillion_tests::wait::until_true("more answers", || answered.load(Ordering::Relaxed) >= count + 10 * LIVING);
    stop.store(true, Ordering::Relaxed);
    living.into_iter().for_each(|client| client.join().expect("no request of a connection that lives failed"));
    let settled = proxy.metrics().sum("pillion_tls_handshakes_total", &[]);
    assert_eq!(settled, handshakes, "nobody of the flood has shaken hands");

    // Nothing of it stays.
    drop(half_open);
    proxy.await_metric(ACTIVE, &[], |active| active == 0.0);
    let refused = proxy.metrics().sum(FAILURES, &[]);
    assert!(refused >= (HALF_OPEN + turned_away) as f64, "{refused}: half-open ones are counted too");
    println!("{begun} of {} begun, {turned_away} shed, {} KiB more resident", ROUNDS * AT_ONCE, grown >> 10);
    let certificate = authority.svid(CLIENT);
    let mut healthy = Offer { certificate: Some(&certificate), ..Offer::default() }.connect(proxy.address).unwrap();
    assert_eq!(healthy.get("/").unwrap().status, 200);
}
