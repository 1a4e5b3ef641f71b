//! Admin and probes: what operators and kubelets ask, and what only POST may do.

use pillion_tests::{
    client::{self, Client},
    metrics::Metrics,
    origin::Origin,
    proxy::{Proxy, Shape},
    wait,
};
use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
};

fn proxy() -> (Proxy, Origin) {
    let origin = Origin::start();
    let yaml = Shape::default()
        .yaml(&[origin.address])
        .replace("address: {admin} }", "address: {admin}, probes: \"{probes}\" }");
    (Proxy::start(&yaml), origin)
}

#[test]
fn probes_answer_on_a_port_of_their_own_and_change_nothing() {
    let (proxy, _origin) = proxy();
    for path in ["/healthz", "/livez", "/readyz", "/ready"] {
        assert_eq!(client::get(proxy.probes, path).status, 200, "{path}");
    }
    for path in ["/metrics", "/stats/prometheus"] {
        let response = client::get(proxy.probes, path);
        assert_eq!(response.status, 200, "{path}");
        assert!(
            response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")),
            "{}",
            response.head
        );
        assert!(!Metrics::parse(&response.text()).is_empty());
    }
    for path in ["/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/logging?level=debug"] {
        let status = client::post(proxy.probes, path, b"").status;
        assert!((403..=405).contains(&status), "{path} on the probe port: {status}");
    }
    for path in ["/config_dump", "/clusters", "/server_info"] {
        assert_eq!(client::get(proxy.probes, path).status, 404, "{path} on the probe port");
    }
    assert!(proxy.is_ready());
}

#[test]
fn every_page_answers() {
    let (proxy, _origin) = proxy();
    assert_eq!(proxy.get("/").status, 200);
    let dump = proxy.admin_get("/config_dump");
    assert!(dump.status == 200 && dump.text().contains("origin"), "{}", dump.text());
    let clusters = proxy.admin_get("/clusters");
    assert!(clusters.status == 200 && clusters.text().contains("origin"), "{}", clusters.text());
    let listeners = proxy.admin_get("/listeners");
    assert!(listeners.text().contains(&proxy.address.to_string()), "{}", listeners.text());
    let info = proxy.admin_get("/server_info");
    assert!(info.text().contains("0.1.0"), "{}", info.text());
    for path in ["/memory", "/logging", "/ready", "/healthz", "/livez", "/readyz", "/metrics", "/stats/prometheus"] {
        assert_eq!(proxy.admin_get(path).status, 200, "{path}");
    }
    assert_eq!(proxy.admin_get("/nothing").status, 404);
}

#[test]
fn changes_are_post_only() {
    let (proxy, _origin) = proxy();
    for path in ["/quitquitquit", "/healthcheck/fail", "/healthcheck/ok", "/drain_listeners"] {
        let response = proxy.admin_get(path);
        assert_eq!((response.status, response.header("allow")), (405, Some("POST")), "{path}");
    }
    assert!(matches!(proxy.admin_get("/logging?level=trace").status, 200 | 400 | 405));
    assert!(proxy.is_ready());
}

#[test]
fn a_foreign_host_is_refused() {
    // A page in a browser can make requests to loopback by a name of its own; its Host gives it away.
    let (proxy, _origin) = proxy();
    for (host, allowed) in [
        ("evil.example".to_owned(), false),
        (format!("evil.example:{}", proxy.admin.port()), false),
        (proxy.admin.to_string(), true),
        (format!("localhost:{}", proxy.admin.port()), true),
    ] {
        let mut client = Client::connect(proxy.admin);
        let response =
            client.exchange(format!("GET /config_dump HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert_eq!(response.status == 200, allowed, "{host}: {}", response.status);
    }
}

#[test]
fn a_cross_site_post_is_refused() {
    let (proxy, _origin) = proxy();
    let mut client = Client::connect(proxy.admin);
    let response = client.exchange(format!(
        "POST /quitquitquit HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n",
        proxy.admin
    ));
    assert!(matches!(response.status, 403 | 400), "{}", response.status);
    assert!(proxy.is_ready());
}

#[test]
fn health_can_be_failed_and_mended_while_traffic_flows() {
    let (proxy, _origin) = proxy();
    assert_eq!(proxy.admin_post("/healthcheck/fail").status, 200);
    assert_eq!(client::get(proxy.probes, "/ready").status, 503);
    assert_eq!(client::get(proxy.probes, "/livez").status, 200);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.admin_post("/healthcheck/ok").status, 200);
    assert_eq!(client::get(proxy.probes, "/ready").status, 200);
}

#[test]
fn drain_listeners_lets_what_is_in_flight_finish() {
    let (proxy, origin) = proxy();
    let mut slow = proxy.connect();
    slow.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until_true("the request to arrive", || origin.requests() == 1);
    assert_eq!(proxy.admin_post("/drain_listeners").status, 200);
    wait::until_true("the listener to close", || std::net::TcpStream::connect(proxy.address).is_err());
    origin.release();
    let response = slow.receive();
    assert_eq!(response.status, 200);
    assert!(response.closes(), "{}", response.head);
}

#[test]
fn the_log_level_changes_live() {
    let (proxy, _origin) = proxy();
    assert_eq!(proxy.admin_post("/logging?level=debug").status, 200);
    assert!(proxy.admin_get("/logging").text().contains("debug"));
    assert_eq!(proxy.admin_post("/logging?level=nonsense").status, 400);
    assert_eq!(proxy.admin_post("/logging?level=warn").status, 200);
}

#[test]
fn the_admin_endpoint_can_be_a_unix_socket_of_its_owner() {
    let origin = Origin::start();
    let yaml =
        Shape::default().yaml(&[origin.address]).replace("address: {admin}", "address: \"unix:{dir}/admin.sock\"");
    let proxy = Proxy::spawn(&yaml, std::process::Command::new);
    let path = proxy.dir().join("admin.sock");
    let mut stream = wait::until("the admin socket", wait::SOON, || UnixStream::connect(&path).ok());
    let mode = path.metadata().expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer comes");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn the_figures_are_right() {
    let (proxy, _origin) = proxy();
    let mut client = proxy.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(client.get("/status/404").status, 404);
    assert_eq!(proxy.post("/sink", &[0; 1000]).status, 200);
    proxy.await_metric("pillion_exchange_requests_total", &["listener=\"web\""], |count| count == 5.0);
    // The connection of the POST ends a moment after its answer.
    proxy.await_metric("pillion_accept_connections_active", &["listener=\"web\""], |count| count == 1.0);
    proxy.await_metric("pillion_exchange_requests_active", &[], |count| count == 0.0);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("pillion_exchange_requests_total", &["class=\"2xx\""]), 4.0);
    assert_eq!(metrics.sum("pillion_exchange_requests_total", &["class=\"4xx\""]), 1.0);
    assert_eq!(metrics.sum("pillion_upstream_requests_total", &["cluster=\"origin\""]), 5.0);
    assert_eq!(metrics.sum("pillion_exchange_duration_seconds_count", &[]), 5.0);
    assert_eq!(metrics.sum("pillion_exchange_duration_seconds_bucket", &["le=\"+Inf\""]), 5.0);
    assert_eq!(metrics.sum("pillion_exchange_request_bytes_total", &[]), 1000.0);
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total"] {
        assert!(metrics.names().any(|sample| sample.contains(name)), "no {name}");
    }
    drop(client);
    proxy.await_metric("pillion_accept_connections_active", &["listener=\"web\""], |count| count == 0.0);
}

#[test]
fn nothing_a_client_sends_becomes_a_label() {
    let (proxy, _origin) = proxy();
    // Each kind once, so that the series of statuses and reasons exist.
    for path in ["/a", "/status/404"] {
        assert!(proxy.get(path).status < 500);
    }
    // A look at the configuration's file may fall between the two scrapes; no client asked for it.
    let names = |metrics: &Metrics| -> BTreeSet<String> {
        metrics.names().filter(|name| !name.starts_with("pillion_config_")).map(str::to_owned).collect()
    };
    let before = names(&proxy.metrics());
    for number in 0..200 {
        let mut client = proxy.connect();
        let request =
            format!("M{number} /p{number}?q={number} HTTP/1.1\r\nHost: h{number}.example\r\nX-A: {number}\r\n\r\n");
        assert_eq!(client.exchange(request).status, 200);
    }
    let after = names(&proxy.metrics());
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
}
