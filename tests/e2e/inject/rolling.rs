//! Pods that are replaced while their service is used, and proxies that die.

use super::{Injected, application, inject, inject_with, kubelet, kubelet_at, pods, reachable};
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
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::Path,
    process::Command,
    sync::Mutex,
    thread,
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
pub(super) fn identity(authority: &Authority, id: &str) -> TempDir {
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

/// Pods of the service.
const REPLICAS: usize = 5;

/// Does something with each of them at the same time, each on a thread that is named as the test is.
fn at_once<T: Send, R: Send>(each: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let (name, work) = (thread::current().name().unwrap_or("a test").to_owned(), &work);
    thread::scope(|scope| {
        let begin = |one: T| {
            let named = thread::Builder::new().name(name.clone());
            named.spawn_scoped(scope, move || work(one)).expect("a thread can be made")
        };
        let threads: Vec<_> = each.into_iter().map(begin).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, R>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect()
    })
}

/// What the control plane says of a service's pods, which hear of it at different times.
struct Slice<'a> {
    server: &'a ApiServer,
    /// Each with whether it is ready, or terminates.
    endpoints: Mutex<Vec<(Ipv4Addr, bool)>>,
}

impl Slice<'_> {
    /// Changes it, and tells everybody.
    fn change(&self, change: impl FnOnce(&mut Vec<(Ipv4Addr, bool)>)) {
        let mut endpoints = self.endpoints.lock().expect("nobody panics with it");
        change(&mut endpoints);
        let endpoint = |(address, ready): &(Ipv4Addr, bool)| {
            if *ready { Endpoint::ready(*address) } else { Endpoint::terminating(*address) }
        };
        // Within the lock, so that the last word is the last one that is heard.
        self.server.set(SERVICE, "api-1", 8080, &endpoints.iter().map(endpoint).collect::<Vec<_>>());
    }

    fn add(&self, backends: &[Backend]) {
        self.change(|endpoints| endpoints.extend(backends.iter().map(|backend| (backend.pod.ipv4, true))));
    }

    fn terminate(&self, addresses: &[Ipv4Addr]) {
        self.change(|endpoints| {
            let leaving = endpoints.iter_mut().filter(|(address, _)| addresses.contains(address));
            leaving.for_each(|(_, ready)| *ready = false);
        });
    }

    fn remove(&self, addresses: &[Ipv4Addr]) {
        self.change(|endpoints| endpoints.retain(|(address, _)| !addresses.contains(address)));
    }
}

/// Replaces all pods of a service under load, ten times, as a Deployment with `maxSurge: 100%` does: the new ones come first, then
/// the old ones end, of which client and pod hear in either order. No request fails.
#[test]
fn fifty_restarts_under_load_fail_no_request() {
    const ROUNDS: usize = 10;
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
    let start = || at_once(0..REPLICAS, |_| Backend::start(&switch, &injected));
    let mut running = start();
    let slice = Slice { server: &server, endpoints: Mutex::default() };
    slice.add(&running);

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

    for round in 0..ROUNDS {
        let new = start();
        slice.add(&new);
        // All are used before others go.
        for backend in &new {
            wait::until("a request at the new pod", SOON, || (backend.app.requests() > 1).then_some(()));
        }
        let old = std::mem::replace(&mut running, new);
        let addresses: Vec<Ipv4Addr> = old.iter().map(|backend| backend.pod.ipv4).collect();
        // The control plane's word comes before the hook has run, or after.
        let early = |number: usize| (round + number).is_multiple_of(2);
        let first: Vec<Ipv4Addr> =
            (0..REPLICAS).filter(|number| early(*number)).map(|number| addresses[number]).collect();
        slice.terminate(&first);
        at_once(old.into_iter().enumerate(), |(number, backend)| {
            let address = backend.pod.ipv4;
            backend.end(&injected, || {
                if !early(number) {
                    slice.terminate(&[address]);
                }
            });
        });
        slice.remove(&addresses);
        load.await_more(20);
    }
    let figures = load.stop();
    assert!(figures.failed.is_empty(), "{} failed: {:?}\n{}", figures.failed.len(), figures.failed, sidecar.stderr());
    assert_eq!(figures.refused, 0);
    println!("{} restarts, {} requests, 0 failed", ROUNDS * REPLICAS, figures.answered);
    assert_eq!(server.counts().lists, 1, "one list, and a watch from then on");
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

/// Captured connections go on to the pod's address: what listens on loopback alone has no traffic, and is not ready.
#[test]
fn a_probe_finds_what_listens_where_traffic_comes_and_nothing_else() {
    let (_switch, pod, other) = some_or_return!(pods());
    for probe in [json!({"httpGet": {"path": "/", "port": 8080}}), json!({"tcpSocket": {"port": 8080}})] {
        let injected = inject_with(&["--drain-delay", "0s"], &probe);
        let mut proxy = injected.start(&pod);
        let (ipv4, ipv6) = (IpAddr::from(pod.ipv4), IpAddr::from(pod.ipv6));
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        for (listens, reached) in [(ipv4, Some(ipv4)), (ipv6, Some(ipv6)), (loopback, None)] {
            let app = pod.enter(|| Origin::start_at((listens, 8080).into()));
            for asked in [ipv4, ipv6] {
                let expected = if reached == Some(asked) { 200 } else { 503 };
                wait::until(&format!("{probe}, on {listens}, asked at {asked}: {expected}"), SOON, || {
                    other.enter(|| kubelet_at(asked, &injected.probe) == Some(expected)).then_some(())
                });
                assert_eq!(reachable(&other, (asked, 8080).into()), reached == Some(asked), "{listens} {asked}");
            }
            drop(app);
        }
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
