//! Pods that are replaced while their service is used, and proxies that die.

use super::{Injected, application, inject, inject_with, kubelet, pods, reachable};
use pillion_tests::{
    client::Client,
    kubernetes::{ApiServer, Endpoint},
    load::Load,
    namespaces::{Pod, Switch},
    need,
    origin::Origin,
    pki::Authority,
    process::Process,
    python, some_or_return,
    tempdir::TempDir,
    wait::{self, SOON},
};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs::{self, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

const SERVICE: &str = "shop/api";

/// A pod of the service: application and proxy.
struct Backend {
    pod: Pod,
    app: Origin,
    proxy: Process,
}

impl Backend {
    /// Started as a kubelet does: rules, proxy, application; it is in the slice once it is ready.
    fn start(switch: &Switch, injected: &Injected) -> Self {
        let pod = switch.pod();
        let proxy = injected.start(&pod);
        let app = application(&pod, 8080);
        wait::until("the application's readiness", SOON, || {
            pod.enter(|| kubelet(&injected.probe) == Some(200)).then_some(())
        });
        Self { pod, app, proxy }
    }

    /// Ended as a kubelet does: hook, the application's own end once its connections have gone, signal. `gone` is called in
    /// between, whenever the control plane gets to it.
    fn end(mut self, injected: &Injected, gone: impl FnOnce()) {
        injected.run_hook(&self.pod);
        gone();
        wait::until("the application's last connection", SOON, || (self.app.open() == 0).then_some(()));
        drop(self.app);
        self.proxy.signal(Signal::TERM);
        assert_eq!(self.proxy.wait(SOON).code(), Some(0), "{}", self.proxy.stderr());
    }
}

/// The certificates of a workload as its volume has them, for anybody to read.
fn identity(authority: &Authority, id: &str) -> TempDir {
    let dir = TempDir::new();
    let issued = authority.svid(id);
    dir.write("tls.crt", issued.chain);
    dir.write("tls.key", issued.key);
    dir.write("ca.crt", authority.pem());
    readable(dir.path());
    dir
}

fn readable(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
    for file in fs::read_dir(folder).expect("it is ours") {
        fs::set_permissions(file.expect("an entry").path(), Permissions::from_mode(0o644)).expect("it is ours");
    }
}

/// Replaces each pod of a service of three under load, again and again, as a Deployment does: the new one first, then the
/// old one's end, of which client and pod hear in either order. No request fails.
fn rolling(restarts: usize) {
    let (switch, client, api) = some_or_return!(pods());
    let authority = Authority::new("mesh");
    let server_id = identity(&authority, "spiffe://cluster.local/ns/shop/sa/api");
    let client_id = identity(&authority, "spiffe://cluster.local/ns/web/sa/web");
    const MOUNT: &str = "/run/pillion/identity";
    let strict = ["--identity", "secret:tls", "--inbound-tls", "strict", "--drain-delay", "1s"];
    let injected = inject(&strict).mounted(MOUNT, server_id.path());

    let server = api.enter(|| ApiServer::start_at((api.ipv4, 0).into()));
    readable(server.account.path());
    server.service(SERVICE, &[(80, "http")]);
    let mut running: Vec<Backend> = (0..3).map(|_| Backend::start(&switch, &injected)).collect();
    let ready = |backends: &[Backend]| -> Vec<Endpoint> {
        backends.iter().map(|backend| Endpoint::ready(backend.pod.ipv4)).collect()
    };
    server.set(SERVICE, "api-1", 8080, &ready(&running));

    let flags = ["--capture", "none", "--upstreams", "15080:api.shop:80", "--discovery", "endpoint-slices"];
    let flags: Vec<&str> = flags.into_iter().chain(["--identity", "secret:tls", "--log-level", "info"]).collect();
    let outbound = inject(&flags)
        .mounted(MOUNT, client_id.path())
        .mounted("/run/pillion/account", server.account.path())
        .told("KUBERNETES_SERVICE_HOST", server.address.ip())
        .told("KUBERNETES_SERVICE_PORT", server.address.port());
    let sidecar = outbound.start(&client);
    let load = client.enter(|| Load::gets((Ipv4Addr::LOCALHOST, 15080).into(), 4, Duration::from_millis(2)));
    load.await_more(50);

    for restart in 0..restarts {
        let new = Backend::start(&switch, &injected);
        let old = running.remove(0);
        running.push(new);
        let mut endpoints = ready(&running);
        endpoints.push(Endpoint::ready(old.pod.ipv4));
        server.set(SERVICE, "api-1", 8080, &endpoints);
        // It is used before another one goes.
        let newest = running.last().expect("three of them");
        wait::until("a request at the new pod", SOON, || (newest.app.requests() > 1).then_some(()));
        let leaving = |endpoints: &mut Vec<Endpoint>| {
            endpoints.pop();
            endpoints.push(Endpoint::terminating(old.pod.ipv4));
        };
        leaving(&mut endpoints);
        // The control plane's word comes before the hook has run, or after.
        let late = restart % 2 == 1;
        if !late {
            server.set(SERVICE, "api-1", 8080, &endpoints);
        }
        old.end(&injected, || {
            if late {
                server.set(SERVICE, "api-1", 8080, &endpoints);
            }
        });
        server.set(SERVICE, "api-1", 8080, &ready(&running));
        load.await_more(20);
    }
    let figures = load.stop();
    assert!(figures.failed.is_empty(), "{} failed: {:?}\n{}", figures.failed.len(), figures.failed, sidecar.stderr());
    assert_eq!(figures.refused, 0);
    println!("{restarts} restarts, {} requests, {} failed", figures.answered, figures.failed.len());
    assert_eq!(server.counts().lists, 1, "one list, and a watch from then on");
}

#[test]
fn six_restarts_under_load_fail_no_request() {
    rolling(6);
}

#[test]
#[ignore = "takes minutes; six restarts are done by default"]
fn fifty_restarts_under_load_fail_no_request() {
    rolling(51);
}

#[test]
fn after_a_proxy_was_killed_the_next_request_succeeds() {
    let (_switch, pod, other) = some_or_return!(pods());
    let injected = inject(&["--drain-delay", "0s"]);
    let _app = application(&pod, 8080);
    let _other_app = application(&other, 9000);
    let (inside, outside) = (SocketAddr::from((pod.ipv4, 8080)), SocketAddr::from((other.ipv4, 9000)));
    let mut proxy = injected.start(&pod);
    for _ in 0..3 {
        assert!(reachable(&pod, outside) && reachable(&other, inside), "{}", proxy.stderr());
        // Connections that were open are lost with it; nothing that it left stands in the next one's way.
        let mut held = pod.enter(|| Client::over(TcpStream::connect(outside).expect("the proxy accepts")));
        proxy.signal(Signal::KILL);
        proxy.wait(SOON);
        held.end_within(SOON);
        // The kubelet starts the container anew; the rules are still there, and are not run again.
        proxy = injected.start_again(&pod);
        assert!(reachable(&pod, outside) && reachable(&other, inside), "{}", proxy.stderr());
    }
}

#[test]
fn probes_pass_where_nothing_but_mutual_tls_does() {
    let (_switch, pod, other) = some_or_return!(pods());
    let openssl = some_or_return!(need::program("openssl", "openssl"));
    let authority = Authority::new("mesh");
    let certificates = identity(&authority, "spiffe://cluster.local/ns/shop/sa/api");
    let folder = certificates.path();
    let strict = ["--identity", "secret:tls", "--inbound-tls", "strict", "--drain-delay", "0s"];
    for (probe, tls) in [
        (json!({"httpGet": {"path": "/healthz", "port": 8080}}), false),
        (json!({"tcpSocket": {"port": 8080}}), false),
        (json!({"httpGet": {"path": "/", "port": 8443, "scheme": "HTTPS"}}), true),
    ] {
        let injected = inject_with(&strict, &probe).mounted("/run/pillion/identity", folder);
        let mut proxy = injected.start(&pod);
        assert_ne!(pod.enter(|| kubelet(&injected.probe)), Some(200), "nobody listens yet");
        let app = (!tls).then(|| application(&pod, 8080));
        let secure = tls.then(|| {
            let mut command = Command::new(&openssl);
            command.args(["s_server", "-www", "-quiet", "-accept", "8443", "-cert"]);
            command.arg(folder.join("tls.crt")).arg("-key").arg(folder.join("tls.key"));
            pod.enter(|| Process::start(&mut command))
        });
        wait::until(&format!("{probe}: {}", injected.probe), SOON, || {
            pod.enter(|| kubelet(&injected.probe) == Some(200)).then_some(())
        });
        // Whoever else comes without a certificate is turned away.
        assert!(!reachable(&other, (pod.ipv4, 8080).into()), "{probe}");
        drop((app, secure));
        wait::until("the probe fails again", SOON, || {
            pod.enter(|| kubelet(&injected.probe) != Some(200)).then_some(())
        });
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
    }
}

/// The server of the official health service, asked as a kubelet asks it by `grpc:` probes.
#[test]
fn grpc_probes_pass_where_nothing_but_mutual_tls_does() {
    let (_switch, pod, other) = some_or_return!(pods());
    let python = some_or_return!(python::interpreter());
    let authority = Authority::new("mesh");
    let certificates = identity(&authority, "spiffe://cluster.local/ns/shop/sa/api");
    let strict = ["--identity", "secret:tls", "--inbound-tls", "strict", "--drain-delay", "0s"];
    let start = |service: &str| {
        let probe = json!({"grpc": {"port": 9090, "service": service}});
        let injected = inject_with(&strict, &probe).mounted("/run/pillion/identity", certificates.path());
        assert_eq!(injected.probe, "/app-probes/app/readiness", "it is asked by HTTP from now on");
        injected
    };
    let answered = |injected: &Injected, what: &str, status: u16| {
        wait::until(what, SOON, || pod.enter(|| kubelet(&injected.probe) == Some(status)).then_some(()));
    };
    let injected = start("shop.Cart");
    let mut proxy = injected.start(&pod);
    answered(&injected, "nobody listens yet", 503);
    let server = pod.enter(|| {
        let mut command = Command::new(&python);
        command.arg(python::script("health_server")).args(["0.0.0.0", "9090", "shop.Cart"]);
        Process::start(&mut command)
    });
    answered(&injected, "SERVING", 200);
    // A kubelet without a certificate cannot ask the application itself.
    let plain = other.enter(|| TcpStream::connect((pod.ipv4, 9090)).expect("the proxy accepts"));
    let mut plain = Client::over(plain);
    assert!(plain.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").is_err() || plain.try_receive("GET").is_err());
    server.signal(Signal::USR1);
    answered(&injected, "NOT_SERVING", 503);
    server.signal(Signal::USR2);
    answered(&injected, "SERVING again", 200);
    for (service, status) in [("", 200), ("shop.Nobody", 503)] {
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
        let injected = start(service);
        proxy = injected.start_again(&pod);
        answered(&injected, &format!("{service:?}"), status);
    }
    drop(server);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}
