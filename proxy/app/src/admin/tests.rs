//! The service called in memory, and the bounds of its sockets on loopback.

use super::*;
use crate::{
    assembly::{ClusterStatus, EndpointStatus},
    control::state::{Action, Certificates, Stage},
};
use bytes::Bytes;
use http::{Method, header};
use http_body_util::BodyExt;
use pillion_config::{
    model::{AdminAddress, HeaderChange, Listener as ListenerModel, Metadata, Name, Route},
    simple,
    template::{Part, Template, Variable},
};
use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::LocalSet,
};

fn state() -> (Rc<State>, mpsc::Receiver<crate::control::state::Request>) {
    let (actions, requests) = mpsc::channel(1);
    let mut config = simple("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:3000").unwrap();
    let mut listener = ListenerModel::clone(&config.listeners[0]);
    let mut route = Route::clone(&listener.routes[0]);
    let literal = |text: &str| Template(vec![Part::Literal(text.into())]);
    route.request_headers = vec![
        HeaderChange::Set(header::AUTHORIZATION, literal("Bearer hunter2")),
        HeaderChange::Set(header::VIA, Template(vec![Part::Variable(Variable::Hostname, Some(7))])),
    ];
    let told =
        Metadata::from_iter([("shop".to_owned(), Metadata::from_iter([("key".to_owned(), "hunter2".into())]).into())]);
    route.metadata = Some(Arc::new(told));
    listener.routes = vec![Arc::new(route)];
    config.listeners = vec![Arc::new(listener)];
    let status = ClusterStatus {
        name: Name("site".into()),
        circuit: config.clusters[0].circuit,
        connections: 2,
        pending: 1,
        requests: 3,
        endpoints: vec![EndpointStatus {
            address: "127.0.0.1:3000".parse().unwrap(),
            hostname: None,
            weight: 1,
            requests: 3,
        }],
    };
    let state = State {
        started: Instant::now(),
        app_probes: crate::app_probes::AppProbes::default(),
        stage: Cell::new(Stage::Live),
        failed: Cell::new(false),
        said_ready: Cell::new(false),
        claim: Cell::new(crate::control::state::Claim::Made),
        interception: Cell::new(crate::control::state::Interception::NotNeeded),
        application: crate::application::Record::default(),
        certificates: Cell::new(Certificates::There),
        amiss: RefCell::default(),
        taken_back: crate::workload_api::TakenBack::default(),
        filters_lack: Box::new(Vec::new),
        config: RefCell::new(Some(Arc::new(config))),
        listeners: RefCell::new(vec![(Name("http".into()), "127.0.0.1:8080".parse().unwrap())]),
        history: RefCell::default(),
        meter: None,
        pressure: Cell::default(),
        workers: 1,
        clusters: Box::new(move || vec![status.clone()]),
        metrics: Box::new(|| Box::new(["a 1\n", "b 2\n"].into_iter().map(Bytes::from))),
        answering: Cell::new(0),
        actions,
    };
    (Rc::new(state), requests)
}

async fn call(state: &Rc<State>, port: Port, method: Method, target: &str) -> (u16, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(target).header("host", "localhost").body(()).unwrap();
    let (parts, body) =
        respond(&request.into_parts().0, port, Some("127.0.0.1:1".parse().unwrap()), state).await.unwrap().into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(text.into()).unwrap())
}

#[tokio::test]
async fn readiness_says_why_not() {
    let (state, _requests) = state();
    for (stage, failed, status, word) in [
        (Stage::Live, false, 200, "LIVE"),
        (Stage::Starting, false, 503, "INITIALIZING"),
        (Stage::Draining, false, 503, "DRAINING"),
        (Stage::Live, true, 503, "/healthcheck/ok"),
    ] {
        state.stage.set(stage);
        state.failed.set(failed);
        for path in ["/ready", "/readyz"] {
            let (got, _, text) = call(&state, Port::Probes, Method::GET, path).await;
            assert_eq!((got, text.contains(word)), (status, true), "{path}: {text}");
        }
        assert_eq!(call(&state, Port::Probes, Method::GET, "/livez").await.0, 200);
    }
    // What is amiss with the identity is said either way.
    state.stage.set(Stage::Live);
    state.failed.set(false);
    state.amiss.replace("identity: it is over\n".to_owned());
    for (certificates, status, word) in [(Certificates::There, 200, "LIVE\n"), (Certificates::Ended, 503, "ENDED: ")] {
        state.certificates.set(certificates);
        let (got, _, text) = call(&state, Port::Probes, Method::GET, "/ready").await;
        assert_eq!(
            (got, text.starts_with(word), text.ends_with("\nidentity: it is over\n")),
            (status, true, true),
            "{text}"
        );
    }
}

#[tokio::test]
async fn readiness_is_failed_and_restored_by_post_only() {
    let (state, _requests) = state();
    let (status, headers, _) = call(&state, Port::Admin, Method::GET, "/healthcheck/fail").await;
    assert_eq!((status, headers[header::ALLOW].to_str().unwrap()), (405, "POST"));
    assert_eq!(call(&state, Port::Admin, Method::POST, "/healthcheck/fail").await.0, 200);
    assert_eq!(call(&state, Port::Probes, Method::GET, "/ready").await.0, 503);
    assert_eq!(call(&state, Port::Admin, Method::POST, "/healthcheck/ok").await.0, 200);
    assert_eq!(call(&state, Port::Probes, Method::GET, "/ready").await.0, 200);
    assert_eq!(call(&state, Port::Admin, Method::POST, "/healthcheck/ok").await.2, "OK\n");
    state.stage.set(Stage::Draining);
    let (status, _, text) = call(&state, Port::Admin, Method::POST, "/healthcheck/ok").await;
    assert!(status == 200 && text.starts_with("OK, but") && text.contains("DRAINING"), "{text}");
}

#[tokio::test]
async fn pages_have_envoys_shape() {
    let (state, _requests) = state();
    let text = call(&state, Port::Admin, Method::GET, "/clusters").await.2;
    assert!(text.contains("site::127.0.0.1:3000::rq_active::3\n"), "{text}");
    assert!(text.contains("site::default_priority::max_connections::1024\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&call(&state, Port::Admin, Method::GET, "/clusters?format=json").await.2).unwrap();
    assert_eq!(json["cluster_statuses"][0]["host_statuses"][0]["address"]["socket_address"]["port_value"], 3000);
    assert_eq!(call(&state, Port::Admin, Method::GET, "/listeners").await.2, "http::127.0.0.1:8080\n");
    let info: serde_json::Value =
        serde_json::from_str(&call(&state, Port::Admin, Method::GET, "/server_info").await.2).unwrap();
    assert_eq!(info["state"], "LIVE");
    let memory: serde_json::Value =
        serde_json::from_str(&call(&state, Port::Admin, Method::GET, "/memory").await.2).unwrap();
    assert!(memory["resident"].as_u64().unwrap() > 100_000);
    assert_eq!(call(&state, Port::Probes, Method::GET, "/metrics").await.2, "a 1\nb 2\n");
    let (status, _, text) = call(&state, Port::Admin, Method::GET, "/stats").await;
    assert_eq!((status, text.contains("/stats/prometheus")), (404, true));
}

#[tokio::test]
async fn the_configuration_is_json_without_secrets() {
    let (state, _requests) = state();
    let text = call(&state, Port::Admin, Method::GET, "/config_dump").await.2;
    assert!(!text.contains("hunter2"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let route = &json["listeners"][0]["routes"][0];
    assert_eq!(route["request_headers"][0]["value"], "[redacted]");
    assert_eq!(route["request_headers"][1]["value"], "%HOSTNAME:7%");
    assert_eq!(route["metadata"]["shop"], "[redacted]");
    assert_eq!(route["action"]["forward"][0]["cluster"], "upstream");
    assert_eq!(json["clusters"][0]["endpoints"][0]["address"], "127.0.0.1:3000");
    assert_eq!(json["settings"]["drain"]["delay"], "0s");
    state.config.replace(None);
    let early = call(&state, Port::Admin, Method::GET, "/config_dump").await.2;
    serde_json::from_str::<serde_json::Value>(&early).unwrap();
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let (state, _requests) = state();
    assert_eq!(call(&state, Port::Admin, Method::POST, "/logging").await.0, 400);
    let (status, _, text) = call(&state, Port::Admin, Method::POST, "/logging?level=loud").await;
    assert_eq!((status, text.contains("debug")), (400, true));
    assert_eq!(call(&state, Port::Admin, Method::GET, "/logging?level=debug").await.0, 405, "reading changes nothing");
    assert_eq!(call(&state, Port::Admin, Method::POST, "/logging?level=debug").await.0, 200);
    assert!(call(&state, Port::Admin, Method::GET, "/logging").await.2.contains("debug"));
    crate::log::set_level(crate::log::Level::Info);
}

#[tokio::test]
async fn changes_reach_the_control_loop_and_its_words_come_back() {
    let (state, mut requests) = state();
    let asked = async {
        let request = requests.recv().await.unwrap();
        assert_eq!(request.action, Action::Reload);
        request.done.send(Err("pillion.yaml:3:1: no".into())).unwrap();
    };
    let (answer, ()) = tokio::join!(call(&state, Port::Admin, Method::POST, "/reload"), asked);
    assert_eq!((answer.0, answer.2.as_str()), (409, "pillion.yaml:3:1: no\n"));
    drop(requests);
    assert_eq!(call(&state, Port::Admin, Method::POST, "/quitquitquit").await.0, 409);
}

/// Serves a port on loopback and runs `client` against it.
async fn served<F: Future>(bound: Bound, client: F) -> F::Output {
    LocalSet::new()
        .run_until(async {
            let (state, _requests) = state();
            let _served = serve(bound, state);
            client.await
        })
        .await
}

async fn exchange(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}

fn anywhere() -> AdminAddress {
    AdminAddress::Tcp("127.0.0.1:0".parse().unwrap())
}

#[tokio::test]
async fn a_foreign_host_is_refused_on_admin_and_welcome_on_probes() {
    let evil = "GET /ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    for (bound, status) in [
        (Bound::admin(&anywhere()).unwrap(), "HTTP/1.1 403"),
        (Bound::probes("127.0.0.1:0".parse().unwrap()).unwrap(), "HTTP/1.1 200"),
    ] {
        let address = bound.to_string();
        let text = served(bound, async { exchange(TcpStream::connect(address).await.unwrap(), evil).await }).await;
        assert!(text.starts_with(status), "{text}");
        assert!(!text.to_ascii_lowercase().contains("access-control"), "{text}");
    }
}

/// As a kubelet understands it: a status for a probe, and a connection that ends for a hook.
#[tokio::test]
async fn a_hook_that_was_not_carried_out_has_no_answer() {
    let bound = Bound::probes("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.to_string();
    served(bound, async {
        for (kind, answer) in [("liveness", "HTTP/1.1 404"), ("post-start", ""), ("pre-stop", "")] {
            let request = format!("GET /app-probes/a/{kind} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let text = exchange(TcpStream::connect(&address).await.unwrap(), &request).await;
            assert!(text.starts_with(answer) && text.is_empty() == answer.is_empty(), "{kind}: {text}");
        }
    })
    .await;
}

/// A socket of both families, as an injected proxy's is; any address of 127.0.0.0/8 may be the pod's.
#[tokio::test]
async fn the_application_is_asked_at_the_address_that_the_kubelet_asked() {
    let bound = Bound::probes("[::]:0".parse().unwrap()).unwrap();
    let ours = bound.to_string().parse::<SocketAddr>().unwrap().port();
    let application = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let theirs = application.local_addr().unwrap().port();
    let text = format!(r#"{{"/app-probes/a/liveness":{{"port":{theirs},"address":"pod","tcpSocket":{{}}}}}}"#);
    LocalSet::new()
        .run_until(async {
            let (mut state, _requests) = state();
            Rc::get_mut(&mut state).unwrap().app_probes = crate::app_probes::read(&text).unwrap();
            let _served = serve(bound, state);
            for (pod, status) in
                [("127.0.0.2", "HTTP/1.1 200"), ("127.0.0.1", "HTTP/1.1 503"), ("[::1]", "HTTP/1.1 503")]
            {
                let request = "GET /app-probes/a/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                let socket = TcpStream::connect(format!("{pod}:{ours}")).await.unwrap();
                let text = exchange(socket, request).await;
                assert!(text.starts_with(status), "{pod}: {text}");
            }
        })
        .await;
}

#[tokio::test]
async fn head_has_no_body_and_pieces_are_streamed() {
    let bound = Bound::probes("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.to_string();
    served(bound, async {
        for path in ["/ready", "/metrics"] {
            let request = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let text = exchange(TcpStream::connect(&address).await.unwrap(), &request).await;
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "{text}");
        }
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let text = exchange(TcpStream::connect(&address).await.unwrap(), request).await;
        assert!(text.contains("transfer-encoding: chunked") && text.contains("b 2"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_hoarder_of_connections_keeps_nobody_out() {
    let bound = Bound::probes("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.to_string();
    served(bound, async {
        let mut hoard = Vec::new();
        for _ in 0..CONNECTIONS * 3 {
            hoard.push(TcpStream::connect(&address).await.unwrap());
        }
        let request = "GET /ready HTTP/1.0\r\n\r\n";
        let text = exchange(TcpStream::connect(&address).await.unwrap(), request).await;
        assert!(text.starts_with("HTTP/1.0 200"), "{text}");
        let gone = timeout(Duration::from_secs(30), hoard[0].read(&mut [0; 1])).await.expect("the oldest was cut");
        assert!(!matches!(gone, Ok(1..)));
    })
    .await;
}

#[tokio::test]
async fn the_admin_address_is_not_shared() {
    let first = Bound::admin(&anywhere()).unwrap();
    let again = Bound::admin(&AdminAddress::Tcp(first.to_string().parse().unwrap())).unwrap_err();
    assert!(matches!(again, BindError::InUse { .. }), "{again}");
}

#[tokio::test]
async fn the_admin_socket_is_private_and_cleans_up_after_itself_and_the_dead() {
    let path = std::env::temp_dir().join(format!("pillion-admin-{}.sock", std::process::id()));
    let address = AdminAddress::Unix(path.clone());
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bound = Bound::admin(&address).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Bound::admin(&address).unwrap_err(), BindError::InUse { .. }));
    let text = served(bound, async {
        let socket = UnixStream::connect(&path).await.unwrap();
        exchange(socket, "GET /server_info HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n").await
    })
    .await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!path.exists(), "removed with the socket");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Bound::admin(&address).unwrap_err(), BindError::NotASocket(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
}
