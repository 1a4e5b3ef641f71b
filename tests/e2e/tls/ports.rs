//! Modes of single ports: a listener that captures has many, and so has one whose trusted sender says where clients went.

use super::{CLIENT, WEB, refused};
use pillion_tests::{
    client::{Client, End},
    origin::Origin,
    pki::{self, Authority},
    proxy::{Proxy, Shape},
    tls::{Offer, TlsClient},
    wait::SOON,
};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
};

fn yaml(identity: &str, tls: &str, origin: SocketAddr) -> String {
    let listener = format!("proxy_protocol: {{ trusted: [127.0.0.0/8] }}\ntls: {{ {tls} }}");
    Shape { top: identity, listener: &listener, ..Shape::default() }.yaml(&[origin])
}

fn said(port: u16) -> String {
    format!("PROXY TCP4 192.0.2.1 192.0.2.2 40000 {port}\r\n")
}

/// A client that went to this port, in the clear.
fn clear(proxy: &Proxy, port: u16) -> Client {
    let mut client = proxy.connect();
    client.send(said(port));
    client
}

/// The same by TLS, as a peer.
fn tls(proxy: &Proxy, port: u16, offer: &Offer<'_>) -> std::io::Result<TlsClient> {
    let mut stream = TcpStream::connect(proxy.address)?;
    stream.write_all(said(port).as_bytes())?;
    TlsClient::over(offer.config(), stream)
}

#[test]
fn a_port_may_have_a_mode_of_its_own() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, WEB);
    let exceptions = "exceptions: [{ ports: [9091, 9090], mode: off }, { ports: [9092], mode: permissive }]";
    let proxy = Proxy::start(&yaml(&identity, exceptions, origin.address));
    let client = authority.svid(CLIENT);
    let offer = Offer { certificate: Some(&client), alpn: &["pillion/http/1.1"], ..Offer::default() };
    for port in [9092, 8080] {
        assert_eq!(tls(&proxy, port, &offer).and_then(|mut peer| peer.get("/")).unwrap().status, 200, "{port}");
    }
    for port in [9090, 9091, 9092] {
        assert_eq!(clear(&proxy, port).get("/").status, 200, "{port}");
    }
    // No TLS at all, so that what looks like it is what it is: bytes that are no HTTP.
    assert!(tls(&proxy, 9090, &offer).and_then(|mut peer| peer.get("/")).is_err());
    let before = refused(&proxy, "not_tls");
    let mut stranger = clear(&proxy, 8080);
    stranger.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(matches!(stranger.end_within(SOON), End::Bytes(_) | End::Closed | End::Reset));
    proxy.await_metric("pillion_tls_failures_total", &["reason=\"not_tls\""], |count| count == before + 1.0);

    // The exception goes, and with it whoever lives by it.
    let (mut goes, mut stays) = (clear(&proxy, 9090), clear(&proxy, 9092));
    for client in [&mut goes, &mut stays] {
        assert_eq!(client.get("/").status, 200);
    }
    let fewer = "exceptions: [{ ports: [9092], mode: permissive }]";
    proxy.replace_config(&yaml(&identity, fewer, origin.address));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert!(matches!(goes.end_within(SOON), End::Closed | End::Reset));
    assert_eq!(stays.get("/").status, 200);

    // The other way round: one port speaks it, the others do not.
    let only = "mode: off, exceptions: [{ ports: [8443], mode: strict }]";
    proxy.replace_config(&yaml(&identity, only, origin.address));
    assert_eq!(proxy.admin_post("/reload").status, 200);
    assert_eq!(clear(&proxy, 8080).get("/").status, 200);
    assert_eq!(tls(&proxy, 8443, &offer).and_then(|mut peer| peer.get("/")).unwrap().status, 200);
    let dump = proxy.admin_get("/config_dump").text();
    assert!(dump.contains("\"exceptions\""), "{dump}");
}
