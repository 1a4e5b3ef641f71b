//! A server of TLS 1.3 that refuses our certificate does so when the handshake is over on our side.

use super::*;

/// `openssl s_server`, which wants a certificate that `roots` vouch for; `None`: there is no openssl.
fn server(dir: &Path, alpn: Option<&str>) -> Option<(Process, SocketAddr)> {
    let openssl = need::program("openssl", "openssl")?;
    let address = port::free();
    let mut command = Command::new(openssl);
    command.args(["s_server", "-tls1_3", "-Verify", "3", "-verify_return_error", "-quiet"]);
    command.args(["-accept", &address.to_string()]);
    if let Some(alpn) = alpn {
        command.args(["-alpn", alpn]);
    }
    for (option, file) in [("-cert", "svid.pem"), ("-key", "svid.key"), ("-CAfile", "roots.pem")] {
        command.arg(option).arg(dir.join(file));
    }
    let server = Process::start(&mut command);
    wait::until_true("openssl to listen", || TcpStream::connect(address).is_ok());
    Some((server, address))
}

#[test]
fn a_refusal_after_the_handshake_is_the_handshakes_failure() {
    let authority = Authority::new("root");
    let (_ours, identity) = pki::identity(&authority, CLIENT);
    let (dir, _) = pki::identity(&authority, WEB);
    dir.write("roots.pem", Authority::new("another").pem());
    let shown = format!("tls: {{ mode: mutual, spiffe_ids: [\"{WEB}\"] }}");
    let bare = format!("tls: {{ mode: tls, spiffe_ids: [\"{WEB}\"] }}");
    for (tls, alert) in [(&shown, "UnknownCA"), (&bare, "CertificateRequired")] {
        for (protocol, alpn, listener) in [
            ("protocol: http1, ", Some("http/1.1"), "routes: [{ match: { prefix: / }, cluster: c }]"),
            ("protocol: http2, ", Some("h2"), "routes: [{ match: { prefix: / }, cluster: c }]"),
            ("", None, "tcp: { cluster: c }"),
            ("", None, "connect: allow, routes: [{ match: { prefix: / }, cluster: c }]"),
        ] {
            let case = format!("{alert}, {protocol}{listener}");
            let Some((_server, address)) = server(dir.path(), alpn) else { return };
            let log = dir.path().join("access.log");
            fs::remove_file(&log).ok();
            let proxy = Proxy::start(&format!(
                "admin: {{ address: {{admin}} }}\nworkers: 1\n{identity}\naccess_log: {{ path: {}, format: {{ text: \
                 \"%RESPONSE_FLAGS%\" }} }}\nlisteners: [{{ name: web, address: \"{{listen}}\", {listener} }}]\nclusters: [{{ \
                 name: c, {protocol}endpoints: [\"{address}\"], {tls} }}]\n",
                log.display()
            ));
            let mut client = proxy.connect();
            match listener.split(':').next() {
                Some("connect") => {
                    client.send("CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n");
                    // The tunnel stands before the server has judged us.
                    assert_eq!(client.receive_for("CONNECT").status, 200, "{case}");
                    client.end_within(wait::SOON);
                }
                Some("tcp") => {
                    client.send("hello");
                    client.end_within(wait::SOON);
                }
                _ => {
                    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                    assert_eq!(client.receive().status, 503, "{case}");
                }
            }
            let flags = wait::until("a record", wait::SOON, || {
                fs::read_to_string(&log).ok()?.lines().next().map(ToOwned::to_owned)
            });
            assert_eq!(flags, "UF", "{case}");
            let failed = proxy.metrics().sum("pillion_connect_failures_total", &["reason=\"peer_refused_us\""]);
            assert_eq!(failed, 1.0, "{case}: {}", proxy.stderr());
            assert_eq!(proxy.metrics().sum("pillion_upstream_resets_total", &[]), 0.0, "{case}");
            let told = proxy.stderr();
            let told: Vec<&str> = told.lines().filter(|line| line.contains("TLS handshake failed")).collect();
            let [line] = told[..] else { panic!("{case}: {told:?}") };
            for word in ["peer_refused_us", alert, &address.to_string()] {
                assert!(line.contains(word), "{case}: {line}");
            }
        }
    }
}
