//! The PROXY protocol with those who speak it: HAProxy and curl before the proxy, nginx and HAProxy behind it, and
//! senders who break its rules.

use pillion_core::downstream::proxy_protocol::{Read as Header, read};
use pillion_tests::{
    client::{Client, End},
    haproxy::Haproxy,
    need,
    nginx::Nginx,
    origin::Origin,
    pki::{self, Authority},
    proxy::{Proxy, Shape},
    response::Response,
    some_or_return,
    tls::Offer,
    wait::{self, SOON},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

const COUNTED: &str = "pillion_proxy_protocol_headers_total";
const TRUSTED: &str = "proxy_protocol: { trusted: [127.0.0.0/8] }";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A header of version 2 for a client at 192.0.2.1:4660.
fn v2(fields: &[u8]) -> Vec<u8> {
    let block = [192, 0, 2, 1, 198, 51, 100, 7, 0x12, 0x34, 1, 0xbb];
    [V2, &[0x21, 0x11], &((block.len() + fields.len()) as u16).to_be_bytes(), &block, fields].concat()
}

fn log(top: &str) -> String {
    format!(
        "{top}\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%DOWNSTREAM_REMOTE_ADDRESS% \
         %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %REQUESTED_SERVER_NAME%\" }} }}"
    )
}

fn records(proxy: &Proxy, count: usize) -> Vec<String> {
    wait::until("records", SOON, || {
        let text = fs::read_to_string(proxy.dir().join("access.log")).ok()?;
        let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn told(response: &Response, name: &str) -> Option<String> {
    let described = response.json();
    let headers = described["headers"].as_array().expect("the origin lists headers").clone();
    let found = headers.into_iter().find(|header| header[0].as_str() == Some(name));
    found.and_then(|header| header[1].as_str().map(ToOwned::to_owned))
}

/// A connection whose own end is at this loopback address.
fn from(ip: [u8; 4], to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((ip, 0)).into()).expect("all of 127/8 is ours");
    socket.connect(&to.into()).expect("loopback can be connected to");
    Client::over(socket.into())
}

fn ask(client: &mut Client, path: &str) -> Response {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    client.receive()
}

#[test]
fn haproxy_says_who_the_client_is() {
    let origin = Origin::start();
    for how in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let proxy = Shape { top: &log(""), listener: TRUSTED, ..Shape::default() }.start(origin.address);
        let haproxy = some_or_return!(Haproxy::start(&format!(
            "listen front\n  mode tcp\n  unique-id-format id-%rt\n  bind {{listen}}\n  server pillion {} {how}",
            proxy.address
        )));
        let mut client = from([127, 0, 0, 77], haproxy.address);
        for _ in 0..2 {
            let response = ask(&mut client, "/");
            assert_eq!(told(&response, "x-forwarded-for").as_deref(), Some("127.0.0.77"), "{how}");
        }
        let line = records(&proxy, 2).swap_remove(1);
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], client.local().to_string(), "{how}");
        assert!(words[1].starts_with("127.0.0.1:"), "{how}: {line}");
        assert_eq!(words[2], haproxy.address.to_string(), "{how}");
        proxy.await_metric(COUNTED, &["outcome=\"proxied\""], |count| count >= 1.0);
        // Its own health checks and `LOCAL` have no client.
        let mut local = Client::connect(proxy.address);
        local.send([V2, &[0x20, 0, 0, 0], GET].concat());
        assert_eq!(told(&local.receive(), "x-forwarded-for").as_deref(), Some("127.0.0.1"));
        proxy.await_metric(COUNTED, &["outcome=\"local\""], |count| count >= 1.0);
    }
}

#[test]
fn curl_speaks_it_and_tls_follows() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (dir, identity) = pki::identity(&authority, "spiffe://example.org/web");
    let listener = format!("{TRUSTED}\ntls: {{ client_certificates: \"off\" }}");
    let proxy = Shape { top: &log(&identity), listener: &listener, ..Shape::default() }.start(origin.address);
    let output = Command::new(curl)
        .args(["-sS", "--max-time", "20", "--haproxy-protocol", "--interface", "127.0.0.9"])
        .arg("--cacert")
        .arg(dir.path().join("ca.pem"))
        .args(["--resolve", &format!("localhost:{}:127.0.0.1", proxy.address.port())])
        .arg(format!("https://localhost:{}/", proxy.address.port()))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("127.0.0.9"), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let record = records(&proxy, 1).swap_remove(0);
    assert!(record.starts_with("127.0.0.9:") && record.ends_with(" localhost"), "{record}");
    // A ClientHello without a header before it.
    let certificate = authority.svid("spiffe://example.org/client");
    assert!(Offer { certificate: Some(&certificate), ..Offer::default() }.connect(proxy.address).is_err());
    proxy.await_metric(COUNTED, &["outcome=\"absent\""], |count| count >= 1.0);
}

#[test]
fn a_header_may_come_in_pieces_and_what_follows_is_not_lost() {
    let origin = Origin::start();
    let proxy = Shape { listener: TRUSTED, ..Shape::default() }.start(origin.address);
    let authority = [&[2, 0, 3][..], b"a.b"].concat();
    for header in [v2(&[]), v2(&authority), b"PROXY TCP4 192.0.2.1 198.51.100.7 4660 443\r\n".to_vec()] {
        let mut client = Client::connect(proxy.address);
        for byte in &header {
            client.send([*byte]);
            thread::sleep(Duration::from_millis(1));
        }
        client.send(GET);
        assert_eq!(told(&client.receive(), "x-forwarded-for").as_deref(), Some("192.0.2.1"));
        let mut client = Client::connect(proxy.address);
        client.send([&header[..], GET, GET].concat());
        for _ in 0..2 {
            assert_eq!(told(&client.receive(), "x-forwarded-for").as_deref(), Some("192.0.2.1"));
        }
    }
}

#[test]
fn who_breaks_its_rules_is_closed_and_counted() {
    let origin = Origin::start();
    let listener = "proxy_protocol: { trusted: [127.0.0.1], timeout: 500ms, header_bytes: 300 }";
    let proxy = Shape { listener, ..Shape::default() }.start(origin.address);
    // A field whose length runs over the header and into the request (CVE-2026-47692 seen from the reader's side).
    let spill = [&v2(&[0xe0, 0, 200])[..], &[b'x'; 200], GET].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("absent", GET.to_vec()),
        ("bad_field", spill),
        ("bad_field", [&v2(&[2, 0, 1, b'a', 2, 0, 1, b'b'])[..], GET].concat()),
        ("bad_checksum", [&v2(&[3, 0, 4, 1, 2, 3, 4])[..], GET].concat()),
        ("too_large", [V2, &[0x21, 0x11, 0xff, 0xff]].concat()),
        ("too_short", [V2, &[0x21, 0x21, 0, 12], &[0; 12], GET].concat()),
        ("bad_command", [V2, &[0x31, 0x11, 0, 12], &[0; 12], GET].concat()),
        ("bad_family", [V2, &[0x21, 0x12, 0, 12], &[0; 12], GET].concat()),
        ("bad_line", b"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n".to_vec()),
        ("bad_address", b"PROXY TCP4 ::1 198.51.100.7 1 2\r\n".to_vec()),
        ("line_too_long", [&b"PROXY "[..], &[b'x'; 120]].concat()),
        ("timeout", b"PROXY TCP4 192.0.2.1".to_vec()),
        ("timeout", Vec::new()),
    ];
    for (outcome, bytes) in &cases {
        let labels = [&*format!("outcome=\"{outcome}\"")];
        let before = proxy.metrics().sum(COUNTED, &labels);
        let mut client = Client::connect(proxy.address);
        drop(client.try_send(bytes));
        assert!(matches!(client.end_within(SOON), End::Closed | End::Reset), "{outcome}");
        proxy.await_metric(COUNTED, &labels, |count| count == before + 1.0);
    }
    let mut stranger = from([127, 0, 0, 2], proxy.address);
    drop(stranger.try_send([&v2(&[])[..], GET].concat()));
    assert!(matches!(stranger.end_within(SOON), End::Closed | End::Reset));
    proxy.await_metric(COUNTED, &["outcome=\"untrusted\""], |count| count == 1.0);
    assert_eq!(origin.requests(), 0);
    let mut good = Client::connect(proxy.address);
    good.send([&v2(&[])[..], GET].concat());
    assert_eq!(good.receive().status, 200);
}

#[test]
fn an_optional_header_is_believed_from_trusted_senders_only() {
    let origin = Origin::start();
    let listener = "proxy_protocol: { headers: optional, trusted: [127.0.0.1], timeout: 300ms }";
    let proxy = Shape { listener, ..Shape::default() }.start(origin.address);
    let mut plain = Client::connect(proxy.address);
    assert_eq!(told(&ask(&mut plain, "/"), "x-forwarded-for").as_deref(), Some("127.0.0.1"));
    let mut with = Client::connect(proxy.address);
    with.send([&v2(&[])[..], GET].concat());
    assert_eq!(told(&with.receive(), "x-forwarded-for").as_deref(), Some("192.0.2.1"));
    // Silence is no header; the client may still speak.
    let mut late = Client::connect(proxy.address);
    proxy.await_metric(COUNTED, &["outcome=\"absent\""], |count| count >= 2.0);
    assert_eq!(ask(&mut late, "/").status, 200);
    let mut stranger = from([127, 0, 0, 2], proxy.address);
    stranger.send([b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\r\n".as_slice(), GET].concat());
    assert_eq!(stranger.receive().status, 400, "it is a request line that is none");
    let mut stranger = from([127, 0, 0, 2], proxy.address);
    assert_eq!(told(&ask(&mut stranger, "/"), "x-forwarded-for").as_deref(), Some("127.0.0.2"));
}

#[test]
fn nginx_learns_who_the_client_is_and_no_connection_is_shared_by_two() {
    let server =
        |_: &str| "location / { return 200 \"$proxy_protocol_addr:$proxy_protocol_port $connection\"; }".to_owned();
    let nginx = some_or_return!(Nginx::serving("proxy_protocol", server));
    for cluster in ["proxy_protocol: { version: v1 }", "proxy_protocol: {}"] {
        let cluster = format!("{cluster}\nidle_timeout: 1m");
        let proxy = Shape { cluster: &cluster, ..Shape::default() }.start(nginx.address);
        let mut clients = [from([127, 0, 0, 5], proxy.address), from([127, 0, 0, 6], proxy.address)];
        let mut connections = [None, None];
        for round in 0..3 {
            for (client, connection) in clients.iter_mut().zip(&mut connections) {
                let text = ask(client, "/").text();
                let (address, number) = text.split_once(' ').expect("two words");
                assert_eq!(address, client.local().to_string());
                assert!(round == 0 || connection.as_deref() == Some(number), "its own connection is used again");
                *connection = Some(number.to_owned());
            }
        }
        assert_ne!(connections[0], connections[1]);
    }
}

#[test]
fn haproxy_behind_reads_the_fields_and_the_application_gets_no_byte_of_them() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_dir, identity) = pki::identity(&authority, "spiffe://example.org/web");
    let haproxy = some_or_return!(Haproxy::start(&format!(
        "listen behind\n  mode http\n  bind {{listen}} accept-proxy\n  http-request set-header x-source \
         %[src]:%[src_port]\n  http-request set-header x-authority %[fc_pp_authority]\n  http-request set-header \
         x-unique %[fc_pp_unique_id,hex]\n  server origin {}",
        origin.address
    )));
    let cluster = "proxy_protocol: { fields: [authority, alpn, tls, unique-id, checksum] }";
    let listener = "tls: { client_certificates: \"off\" }";
    let proxy = Shape { top: &identity, listener, cluster, ..Shape::default() }.start(haproxy.address);
    let mut client = Offer { alpn: &["http/1.1"], ..Offer::default() }.connect(proxy.address).unwrap();
    let response = client.get("/").unwrap();
    assert_eq!(told(&response, "x-authority").as_deref(), Some("localhost"));
    assert!(told(&response, "x-source").is_some_and(|source| source.starts_with("127.0.0.1:")));
    let unique = told(&response, "x-unique").expect("it has a name");
    assert_eq!(unique.len(), 16);
    let again = told(&client.get("/").unwrap(), "x-unique");
    assert_eq!(again, Some(unique), "the same client connection has the same name");
}

#[test]
fn what_a_client_spoke_is_told_and_passed_on() {
    let authority = Authority::new("root");
    let (_dir, identity) = pki::identity(&authority, "spiffe://example.org/web");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = "proxy_protocol: { fields: [tls, checksum] }";
    // TLS ends at the first; the second knows of it by what the first says.
    let behind = Shape { listener: TRUSTED, cluster, ..Shape::default() }.start(listener.local_addr().unwrap());
    let front =
        Shape { top: &identity, listener: "tls: { client_certificates: optional }", cluster, ..Shape::default() };
    let front = front.start(behind.address);
    let certificate = authority.svid("spiffe://example.org/client");
    for (certificate, begins) in [(None, [1, 0, 0, 0, 1]), (Some(&certificate), [7, 0, 0, 0, 0])] {
        let mut client = Offer { certificate, ..Offer::default() }.connect(front.address).unwrap();
        let asking = thread::spawn(move || drop(client.get("/")));
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut bytes = Vec::new();
        let header = loop {
            let mut more = [0; 512];
            let len = stream.read(&mut more).unwrap();
            assert!(len > 0, "{}", bytes.escape_ascii());
            bytes.extend_from_slice(&more[..len]);
            match read(&bytes, 1024) {
                Header::More => {}
                Header::Whole(header, _) => break header,
                other => panic!("{other:?}"),
            }
        };
        let told = header.tls.expect("it is told");
        assert_eq!(told[..5], begins);
        let text = String::from_utf8_lossy(&told[5..]).into_owned();
        assert!(text.contains("TLSv1.3") && text.contains("TLS_AES_"), "{text}");
        drop(stream);
        asking.join().unwrap();
    }
}

#[test]
fn two_proxies_pass_it_on_by_http2_tls_and_tunnel() {
    let (authority, origin) = (Authority::new("root"), Origin::start());
    let (_a, identity) = pki::identity(&authority, "spiffe://example.org/web");
    let behind_listener = format!("{TRUSTED}\ntls: {{ client_certificates: \"off\" }}");
    let behind = Shape { top: &log(&identity), listener: &behind_listener, ..Shape::default() }.start(origin.address);
    let cluster = "protocol: http2\nproxy_protocol: { fields: [unique-id, checksum] }\n\
                   tls: { spiffe_ids: [\"spiffe://example.org/*\"] }";
    let front = Shape { top: &identity, listener: TRUSTED, cluster, ..Shape::default() }.start(behind.address);
    for (number, ip) in [3, 4, 3].into_iter().enumerate() {
        let mut client = Client::connect(front.address);
        client.send([format!("PROXY TCP4 192.0.2.{ip} 198.51.100.7 {ip} 443\r\n").as_bytes(), GET].concat());
        assert_eq!(client.receive().status, 200);
        let line = records(&behind, number + 1).swap_remove(number);
        assert!(line.starts_with(&format!("192.0.2.{ip}:{ip} 127.0.0.1:")), "{line}");
    }
    // Opaque bytes, to a server that shows what came first.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let tunnel = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nlisteners:\n  - name: db\n    address: {{listen}}\n    tcp: {{ \
         cluster: db }}\nclusters:\n  - {{ name: db, endpoints: [\"{server}\"], proxy_protocol: {{ version: v1 }} }}"
    ));
    let mut client = TcpStream::connect(tunnel.address).unwrap();
    client.write_all(b"hello").unwrap();
    let mut first = Client::over(listener.accept().unwrap().0);
    let local = client.local_addr().unwrap();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nhello", local.port(), tunnel.address.port());
    assert_eq!(String::from_utf8(first.bytes(expected.len())).unwrap(), expected);
}
