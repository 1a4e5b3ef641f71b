//! Probes against scripted applications on loopback.

use super::*;
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

/// An application that answers each connection with the next text; what it was sent.
async fn application(answers: Vec<&'static str>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::task::spawn_local(async move {
        let mut received = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let mut length = 0;
            while !bytes[..length].ends_with(b"\r\n\r\n") {
                length += socket.read(&mut bytes[length..]).await.unwrap();
            }
            received.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        received
    });
    (port, serving)
}

fn probes(port: u16, rest: &str) -> AppProbes {
    read(&format!(r#"{{"/app-probes/a/liveness":{{"port":{port},"timeoutSeconds":1,{rest}}}}}"#)).unwrap()
}

async fn carry_out(probes: &AppProbes) -> (u16, String) {
    let mut headers = HeaderMap::new();
    headers.insert("host", "10.1.2.3:15020".parse().unwrap());
    headers.insert("user-agent", "kube-probe/1.31".parse().unwrap());
    asked_at("10.1.2.3:15020", probes, &headers).await
}

async fn asked_at(address: &str, probes: &AppProbes, headers: &HeaderMap) -> (u16, String) {
    let address = address.parse().unwrap();
    let finding = probes.carry_out("/app-probes/a/liveness", headers, address).await.unwrap();
    (finding.status.as_u16(), String::from_utf8(finding.words).unwrap())
}

fn here(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}

#[test]
fn http_is_asked_as_a_kubelet_would() {
    here(async {
        let (port, served) = application(vec!["HTTP/1.1 418 I'm a teapot\r\ncontent-length: 5\r\n\r\nshort"]).await;
        let probes = probes(port, r#""httpGet":{"path":"healthz?a=b c","httpHeaders":[{"name":"X-A","value":"1"}]}"#);
        assert_eq!(carry_out(&probes).await, (418, "short".to_owned()));
        let request = &served.await.unwrap()[0];
        assert!(request.starts_with("GET /healthz?a=b%20c HTTP/1.1\r\n"), "{request}");
        for line in
            [&format!("host: 10.1.2.3:{port}\r\n"), "user-agent: kube-probe/1.31\r\n", "x-a: 1\r\n", "accept: */*\r\n"]
        {
            assert!(request.contains(line), "{request}");
        }
    });
}

#[test]
fn a_fragment_is_not_asked_for() {
    here(async {
        let (port, served) = application(vec!["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
        assert_eq!(carry_out(&probes(port, r#""httpGet":{"path":"/a?b#c?d"}"#)).await.0, 200);
        let request = &served.await.unwrap()[0];
        assert!(request.starts_with("GET /a?b HTTP/1.1\r\n"), "{request}");
    });
}

/// The API server takes any text; the other probes of the pod must not suffer.
#[test]
fn a_field_that_http_cannot_have_fails_its_probe_alone() {
    here(async {
        let (port, served) = application(vec!["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
        for (name, value, words) in [
            ("X-A", r"one\r\nX-B: two", "the field X-A cannot have this value"),
            ("X-A", r"\u0000", "the field X-A cannot have this value"),
            ("a b", "1", "\"a b\" is no name of an HTTP field"),
        ] {
            let get = format!(r#""httpGet":{{"httpHeaders":[{{"name":"{name}","value":"{value}"}}]}}"#);
            let (status, said) = carry_out(&probes(port, &get)).await;
            assert!(status == 503 && said.contains(words), "{said}");
        }
        let get = r#""httpGet":{"httpHeaders":[{"name":"X-A","value":"é"}]}"#;
        assert_eq!(carry_out(&probes(port, get)).await.0, 200);
        assert!(served.await.unwrap()[0].contains("x-a: é\r\n"));
    });
}

/// Presents what it was made with, whatever rustls thinks of it.
#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn presenting(
    certificate: Vec<u8>,
    key: &KeyPair,
    protocol: &str,
    version: &'static SupportedProtocolVersion,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let presented = Presented(Arc::new(CertifiedKey::new(vec![certificate.into()], key)));
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(presented));
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Kubelets look at nothing of a certificate, and speak HTTP/2 to who has nothing else.
#[test]
fn https_is_asked_whatever_the_certificate_and_whichever_the_protocol() {
    here(async {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["shop.example".to_owned()]).unwrap();
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
        let critical = params.self_signed(&key).unwrap().der().to_vec();
        let cases = [critical, b"nothing that webpki could read".to_vec()];
        for (version, protocol) in [(&TLS13, "http/1.1"), (&TLS12, "http/1.1"), (&TLS13, "h2"), (&TLS12, "h2")] {
            for certificate in &cases {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let acceptor = presenting(certificate.clone(), &key, protocol, version);
                tokio::task::spawn_local(async move {
                    let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
                    if protocol == "h2" {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        while let Some(Ok((request, mut respond))) = connection.accept().await {
                            assert_eq!(request.uri().to_string(), format!("https://shop.example:{port}/healthz?a"));
                            assert_eq!(request.headers()["x-a"], "1");
                            let head = ::http::Response::builder().status(418).body(()).unwrap();
                            let mut body = respond.send_response(head, false).unwrap();
                            // More than a kubelet reads.
                            body.send_data(Bytes::from(vec![b'x'; 100_000]), true).unwrap();
                        }
                    } else {
                        let mut bytes = [0; 4096];
                        assert!(stream.read(&mut bytes).await.unwrap() > 0);
                        let answer = format!("HTTP/1.1 418 Teapot\r\ncontent-length: 9999\r\n\r\n{}", "x".repeat(9999));
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.shutdown().await.ok();
                    }
                });
                let fields =
                    [("Host", format!("shop.example:{port}")), ("X-A", "1".to_owned()), ("Keep-Alive", "1".to_owned())];
                let fields = fields.map(|(name, value)| format!(r#"{{"name":"{name}","value":"{value}"}}"#)).join(",");
                let get = format!(r#""httpGet":{{"scheme":"HTTPS","path":"/healthz?a","httpHeaders":[{fields}]}}"#);
                let text = format!(r#"{{"/app-probes/a/liveness":{{"port":{port},"timeoutSeconds":60,{get}}}}}"#);
                let (status, words) = carry_out(&read(&text).unwrap()).await;
                assert_eq!(status, 418, "{protocol} {version:?}: {words}");
                assert!(words.len() >= 9999 && words.bytes().all(|byte| byte == b'x'), "{}", words.len());
            }
        }
    });
}

#[test]
fn a_probe_may_take_longer_than_other_answers() {
    let text = r#"{"/a":{"port":1,"timeoutSeconds":300,"tcpSocket":{}},"/b":{"port":1,"tcpSocket":{}}}"#;
    assert_eq!(read(text).unwrap().longest(), Duration::from_secs(300));
    assert_eq!(AppProbes::default().longest(), Duration::ZERO);
}

#[test]
fn fields_that_are_repeated_arrive_in_their_order() {
    here(async {
        let (port, served) = application(vec!["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
        let field = |name: &str, value: &str| format!(r#"{{"name":"{name}","value":"{value}"}}"#);
        let given =
            [("X-A", "1"), ("Host", "a.example"), ("x-a", "2"), ("Host", "b.example"), ("Accept", ""), ("X-A", "1")];
        let given: Vec<_> = given.iter().map(|(name, value)| field(name, value)).collect();
        let probes = probes(port, &format!(r#""httpGet":{{"path":"/","httpHeaders":[{}]}}"#, given.join(",")));
        assert_eq!(carry_out(&probes).await.0, 200);
        let request = &served.await.unwrap()[0];
        let lines: Vec<_> =
            request.lines().filter(|line| line.starts_with("x-a") || line.starts_with("host")).collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("host")).collect::<Vec<_>>(), [&"host: a.example"]);
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("x-a")).collect::<Vec<_>>(),
            [&"x-a: 1", &"x-a: 2", &"x-a: 1"]
        );
        assert!(!request.contains("accept:"), "{request}");
    });
}

#[test]
fn redirects_on_this_host_are_followed_and_others_are_success() {
    here(async {
        let (port, served) = application(vec![
            "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n",
        ])
        .await;
        let probes = probes(port, r#""httpGet":{"path":"/"}"#);
        assert_eq!(carry_out(&probes).await.0, 500);
        assert_eq!(carry_out(&probes).await.0, 200);
        assert!(served.await.unwrap()[1].starts_with("GET /login "));
    });
}

/// What a probe with a `Host` field finds where `/shop/health` redirects to `location`, and what is asked for then; `host` is the
/// kubelet's, of a pod.
fn after(location: &str) -> (u16, String) {
    const UNFIT: &str = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
    let redirect = format!("HTTP/1.1 301 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let mut found = (0, String::new());
    here(async {
        let (port, served) = application(vec![redirect.leak(), UNFIT]).await;
        let get = r#""httpGet":{"path":"/shop/health","httpHeaders":[{"name":"Host","value":"shop.example"}]}"#;
        found.0 = carry_out(&probes(port, get)).await.0;
        if served.is_finished() {
            found.1 = served.await.unwrap()[1].split("\r\n\r\n").next().unwrap().to_owned();
        }
    });
    found
}

#[test]
fn a_redirect_is_resolved_as_a_kubelet_resolves_it() {
    // Relative ones, to an application that fails there.
    for (location, target) in [
        ("bad", "/shop/bad"),
        ("../bad?a=b", "/bad?a=b"),
        ("./", "/shop/"),
        ("?again", "/shop/health?again"),
        ("/bad x", "/bad%20x"),
    ] {
        let (status, asked) = after(location);
        assert_eq!(status, 500, "{location}");
        assert!(asked.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{location}: {asked}");
        assert!(asked.contains("host: shop.example"), "{location}: {asked}");
    }
    // Another host's, of which the application's own name is one: it is taken for the answer.
    for location in
        ["https://shop.example/shop/health", "http://shop.example:1/", "//elsewhere.example/", "http://localhost/"]
    {
        assert_eq!(after(location), (200, String::new()), "{location}");
    }
    // Nowhere.
    for location in ["http://[/", "ftp://10.1.2.3/"] {
        assert_eq!(after(location), (503, String::new()), "{location}");
    }
}

#[test]
fn an_absolute_redirect_to_this_host_is_followed_under_its_name() {
    here(async {
        let (there, served) = application(vec!["HTTP/1.1 204 Fine\r\n\r\n"]).await;
        let redirect =
            format!("HTTP/1.1 307 There\r\nlocation: http://10.1.2.3:{there}/x\r\ncontent-length: 0\r\n\r\n");
        let (port, _) = application(vec![redirect.leak()]).await;
        let get = r#""httpGet":{"path":"/","httpHeaders":[{"name":"Host","value":"shop.example"},{"name":"X-A","value":"1"}]}"#;
        assert_eq!(carry_out(&probes(port, get)).await.0, 204);
        let asked = &served.await.unwrap()[0];
        assert!(asked.contains(&format!("host: 10.1.2.3:{there}\r\n")) && asked.contains("x-a: 1\r\n"), "{asked}");
    });
}

#[test]
fn an_answer_may_have_many_fields() {
    here(async {
        let fields: String = (0..1000).map(|n| format!("x-{n}: 1\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        let (port, _) = application(vec![answer.leak()]).await;
        assert_eq!(carry_out(&probes(port, r#""httpGet":{}"#)).await, (200, String::new()));
    });
}

#[test]
fn a_silent_an_absent_and_a_broken_application_fail() {
    here(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let (status, words) = carry_out(&probes(port, r#""httpGet":{}"#)).await;
        assert_eq!((status, words.contains("no answer within 1s")), (504, true), "{words}");
        assert_eq!(carry_out(&probes(port, r#""tcpSocket":{}"#)).await.0, 200);
        drop(silent);
        for way in [r#""httpGet":{}"#, r#""tcpSocket":{}"#, r#""grpc":{}"#, r#""httpGet":{"scheme":"HTTPS"}"#] {
            assert_eq!(carry_out(&probes(port, way)).await.0, 503, "{way}");
        }
        let (port, _) = application(vec!["SSH-2.0-x\r\n"]).await;
        assert_eq!(carry_out(&probes(port, r#""httpGet":{}"#)).await.0, 503);
    });
}

#[test]
fn grpc_health_is_asked() {
    here(async {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            for status in [1_u8, 2] {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        tokio::task::spawn_local(async move {
                            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                            let data = request.into_body().data().await.unwrap().unwrap();
                            assert_eq!(&data[..], b"\0\0\0\0\x06\x0a\x04shop");
                            let head = ::http::Response::builder()
                                .header("content-type", "application/grpc")
                                .body(())
                                .unwrap();
                            let mut body = respond.send_response(head, false).unwrap();
                            body.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]), false).unwrap();
                            let mut trailers = HeaderMap::new();
                            trailers.insert("grpc-status", "0".parse().unwrap());
                            body.send_trailers(trailers).unwrap();
                        });
                    }
                });
            }
        });
        let probes = probes(port, r#""grpc":{"service":"shop"}"#);
        assert_eq!(carry_out(&probes).await, (200, "SERVING\n".to_owned()));
        assert_eq!(carry_out(&probes).await, (503, format!("port {port}: NOT_SERVING\n")));
    });
}

/// What listens on loopback alone gets nobody's traffic where it is captured, and what listens on the pod's address alone gets all.
/// Any address of 127.0.0.0/8 may be the pod's.
#[test]
fn where_traffic_is_captured_the_pods_own_address_is_asked_and_no_other() {
    here(async {
        for (listens, asked, ready) in [
            ("127.0.0.2", "127.0.0.2:15020", true),
            ("127.0.0.2", "[::ffff:127.0.0.2]:15020", true),
            ("[::1]", "[::1]:15020", true),
            ("0.0.0.0", "127.0.0.2:15020", true),
            ("127.0.0.1", "127.0.0.2:15020", false),
            ("127.0.0.1", "[::1]:15020", false),
            ("[::1]", "127.0.0.1:15020", false),
        ] {
            let listener = TcpListener::bind(format!("{listens}:0")).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::task::spawn_local(async move {
                while let Ok((mut socket, _)) = listener.accept().await {
                    let mut bytes = [0; 4096];
                    let length = socket.read(&mut bytes).await.unwrap();
                    if bytes[..length].starts_with(b"GET") {
                        socket.write_all(b"HTTP/1.1 204 Fine\r\n\r\n").await.unwrap();
                    }
                }
            });
            for (way, status) in [(r#""httpGet":{"path":"/"}"#, 204), (r#""tcpSocket":{}"#, 200)] {
                let probes = probes(port, &format!(r#""address":"pod",{way}"#));
                let (found, words) = asked_at(asked, &probes, &HeaderMap::new()).await;
                assert_eq!(found, if ready { status } else { 503 }, "{listens} {asked} {way}: {words}");
            }
        }
        // Where the proxy's own ports lead to loopback, that is asked, of either family.
        for listens in ["127.0.0.1", "[::1]"] {
            let listener = TcpListener::bind(format!("{listens}:0")).await.unwrap();
            let probes = probes(listener.local_addr().unwrap().port(), r#""tcpSocket":{}"#);
            assert_eq!(asked_at("127.0.0.2:15020", &probes, &HeaderMap::new()).await.0, 200, "{listens}");
        }
    });
}

#[test]
fn what_no_injection_wrote_is_refused() {
    for (text, words) in [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        (r#"{"/x":{}}"#, "\"/x\" is no probe"),
        (r#"{"/x":{"port":0.5,"tcpSocket":{}}}"#, "is no probe"),
    ] {
        assert!(read(text).unwrap_err().to_string().contains(words), "{text}");
    }
    assert_eq!(
        read(r#"{"/x":{"port":1,"timeoutSeconds":0,"tcpSocket":{}}}"#).unwrap().0["/x"].timeout,
        Duration::from_secs(1)
    );
}

#[test]
fn a_hook_fails_where_the_application_does_not_answer_and_by_no_status() {
    here(async {
        let (port, _served) = application(vec!["HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"]).await;
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let pod = "10.1.2.3:15020".parse().unwrap();
        let hook = |port, kind| {
            let path = format!("/app-probes/a/{kind}");
            let probes =
                read(&format!(r#"{{"{path}":{{"port":{port},"timeoutSeconds":1,"httpGet":{{"path":"/"}}}}}}"#));
            async move {
                probes.unwrap().carry_out(&path, &HeaderMap::new(), pod).await.map(|finding| finding.status.as_u16())
            }
        };
        assert_eq!(hook(port, "post-start").await, Ok(500));
        for kind in ["post-start", "pre-stop"] {
            assert_eq!(hook(nobody, kind).await, Err(NotCarriedOut), "{kind}");
        }
        assert_eq!(hook(nobody, "startup").await, Ok(503));
    });
}
