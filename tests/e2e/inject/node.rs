//! A pod that its node's agent captures, both ways: no init container, no capability, as Pod Security `restricted` has it.

use super::{Injected, USER, application, inject, kubelet, pods, reachable, within};
use crate::redirect::{Detached, Unified, WAIVED, counted, instance, is_root, redirected};
use pillion_tests::{
    client::{self, Client},
    load::Load,
    namespaces::{Pod, Switch},
    need,
    pki::{self, Authority},
    process::Process,
    proxy::program,
    some_or_return,
    tempdir::TempDir,
    tls::Offer,
    wait::{self, SOON},
};
use rustix::process::Signal;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Command,
    time::Duration,
};

/// A node: the cgroup of its pods, and what its agent is called.
struct Node {
    group: Unified,
    detached: Detached,
}

impl Node {
    fn new() -> Option<Self> {
        let instance = instance();
        let group = Unified::new(&instance)?;
        Some(Self { group, detached: Detached(instance) })
    }

    /// Its agent, as the chart has it where it captures.
    fn agent(&self) -> Process {
        self.agent_with(&["--capture", "15001", "--capture-inbound", "--namespaces", "/run/netns"])
    }

    fn agent_with(&self, more: &[&str]) -> Process {
        let mut agent = Command::new(program());
        agent.args([
            "redirect",
            "agent",
            "--instance",
            &self.detached.0,
            "--ports",
            "15001,15006",
            "--proxy-uid",
            USER,
        ]);
        let agent = Process::start(agent.args(["--waive", WAIVED]).args(more).arg("--cgroup").arg(&self.group.0));
        wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
        agent
    }

    /// A pod's proxy for it: there is nothing of rules.
    fn inject(&self, flags: &[&str]) -> Injected {
        let flags = [&["--capture", "node", "--drain-delay", "0s"], flags].concat();
        let mut injected = inject(&flags);
        assert!(injected.rules.is_empty(), "{:?}", injected.rules);
        injected.group = Some(self.group.0.clone());
        injected
    }
}

/// A node that this machine can be, with two pods.
fn node() -> Option<(Switch, Pod, Pod, Node)> {
    if !is_root() {
        return None;
    }
    let (switch, pod, other) = pods()?;
    Some((switch, pod, other, Node::new()?))
}

fn at(pod: &Pod, port: u16) -> [SocketAddr; 2] {
    [(IpAddr::from(pod.ipv4), port).into(), (IpAddr::from(pod.ipv6), port).into()]
}

/// What the proxy's page of metrics says of this.
fn metric(pod: &Pod, name: &str) -> u64 {
    let page = pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15020).into(), "/metrics")).text();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

fn requests(pod: &Pod, listener: &str) -> u64 {
    metric(pod, &format!("pillion_exchange_requests_total{{listener=\"{listener}\",class=\"2xx\"}}"))
}

fn refused(pod: &Pod, reason: &str) -> u64 {
    metric(pod, &format!("pillion_accept_refused_total{{listener=\"inbound\",reason=\"{reason}\"}}"))
}

#[test]
fn what_goes_out_and_what_comes_in_is_captured() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let injected = node.inject(&["--inbound-ports", "15080:8081", "--skip-inbound-ports", "9090"]);
    // It is ready once its own probes were captured.
    let proxy = injected.start(&pod);
    let any = |port| pod.enter(|| pillion_tests::origin::Origin::start_at((Ipv6Addr::UNSPECIFIED, port).into()));
    let (app, skipped) = (any(8080), any(9090));
    let told = pod.enter(|| pillion_tests::origin::Origin::start_at((Ipv4Addr::LOCALHOST, 8081).into()));
    let _other_app = application(&other, 9000);
    let said = || format!("{}\n{}", agent.stderr(), proxy.stderr());
    let ask = || {
        let url = format!("http://{}:9000/", other.ipv4);
        let mut command = within(Some(&node.group.0), &curl.display().to_string());
        command.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
        let done = pod.enter(|| command.arg(url).output().expect("curl runs"));
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    assert_eq!(ask(), "200", "{}", said());
    assert_eq!(requests(&pod, "outbound"), 1, "{}", said());
    for (number, to) in at(&pod, 8080).into_iter().enumerate() {
        assert!(reachable(&other, to), "{to}: {}", said());
        assert_eq!((requests(&pod, "inbound"), app.requests()), (number as u64 + 1, number + 1), "{to}");
    }
    // What is left out comes by itself, and what clients know of before goes on.
    assert!(at(&pod, 9090).iter().all(|to| reachable(&other, *to)), "{}", said());
    assert_eq!((requests(&pod, "inbound"), skipped.requests()), (2, 2));
    assert!(at(&pod, 15080).iter().all(|to| reachable(&other, *to)), "{}", said());
    assert_eq!((requests(&pod, "inbound-15080"), told.requests()), (2, 2));
    // The application's own connections to itself are nobody else's.
    let loopback = [(IpAddr::from(Ipv4Addr::LOCALHOST), 8080).into(), (IpAddr::from(Ipv6Addr::LOCALHOST), 8080).into()];
    for to in at(&pod, 8080).into_iter().chain(loopback) {
        assert!(reachable(&pod, to), "{to}: {}", said());
    }
    assert_eq!((requests(&pod, "inbound"), app.requests()), (2, 6));
    assert_eq!(pod.enter(|| kubelet(&injected.probe)), Some(200), "asked at the pod's address");
    // Of the proxy's own ports nobody is led to himself, nor to what proves something.
    for (port, reason) in [(15006, "not_captured"), (15098, "probe")] {
        let before = refused(&pod, reason);
        assert!(!at(&pod, port).iter().any(|to| reachable(&other, *to)), "{port}");
        assert_eq!(refused(&pod, reason), before + 2, "{port}: {}", said());
    }
    assert!(!at(&pod, 15001).iter().chain(&at(&pod, 15000)).any(|to| reachable(&other, *to)));
}

/// What an agent that captures does to what goes out of pods beside those: nothing.
#[test]
fn who_did_not_ask_for_it_goes_out_as_without_the_agent() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let said = || agent.stderr();
    let (counted_on, skipped) = (application(&other, 9000), application(&other, 9001));
    let ask = |port: u16| {
        let url = format!("http://{}:{port}/", other.ipv4);
        let mut command = within(Some(&node.group.0), &curl.display().to_string());
        command.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
        let done = pod.enter(|| command.arg(url).output().expect("curl runs"));
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    let judged = || (counted(&node.detached.0, "captured"), counted(&node.detached.0, "capture_unclaimed"));
    assert_eq!(ask(9000), "200", "a pod without a proxy: {}", said());
    assert_eq!((judged(), counted_on.requests()), ((0, 1), 1));
    // Rules of its own capture it, but for what they leave out.
    let mut injected = inject(&["--capture", "init", "--drain-delay", "0s", "--skip-outbound-ports", "9001"]);
    injected.group = Some(node.group.0.clone());
    let mut proxy = injected.start(&pod);
    let said = || format!("{}\n{}", agent.stderr(), proxy.stderr());
    assert_eq!(ask(9000), "200", "by its rules: {}", said());
    assert_eq!((requests(&pod, "outbound"), counted_on.requests()), (1, 2), "{}", said());
    assert_eq!(ask(9001), "200", "what its rules leave out: {}", said());
    assert_eq!((requests(&pod, "outbound"), skipped.requests()), (1, 1), "{}", said());
    assert_eq!(judged().0, 0, "{}", said());
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
}

/// Whichever captures, rules or the agent: of a pod that did not choose it the agent's programs see the same messages, and leave all of
/// them to TCP.
#[test]
fn what_a_pod_and_its_proxy_say_goes_past_tcp_where_it_was_chosen() {
    let (curl, python) = (need::program("curl", "curl"), need::program("python3", "python3"));
    let (curl, python) = (some_or_return!(curl), some_or_return!(python));
    for capture in ["init", "node"] {
        let (_switch, pod, other, node) = some_or_return!(node());
        let agent = if capture == "node" { node.agent() } else { node.agent_with(&[]) };
        let _other_app = application(&other, 9000);
        let folder = TempDir::new();
        folder.write("index.html", "hello");
        // In the pod's cgroup, as its containers are.
        let _app = pod.enter(|| {
            let mut command = within(Some(&node.group.0), &python.display().to_string());
            command.args(["-m", "http.server", "8080", "--bind", "::", "--directory"]);
            Process::start(command.arg(folder.path()))
        });
        let counts = || {
            let of = |counter| counted(&node.detached.0, counter);
            (redirected(&node.detached.0), of("passed_unready"))
        };
        for chosen in [false, true] {
            let mut flags = vec!["--capture", capture, "--drain-delay", "0s"];
            flags.extend(chosen.then_some(["--redirect", "agent"]).into_iter().flatten());
            let mut injected = inject(&flags);
            injected.group = Some(node.group.0.clone());
            // Those that install rules are there still the second time.
            let mut proxy = if chosen { injected.start_again(&pod) } else { injected.start(&pod) };
            let said = || format!("{capture}, {chosen}: {:?}\n{}\n{}", counts(), agent.stderr(), proxy.stderr());
            let before = counts();
            let url = format!("http://{}:9000/", other.ipv4);
            let mut command = within(Some(&node.group.0), &curl.display().to_string());
            command.args(["-sS", "--fail", "--max-time", "20"]).args(vec![url; 10]);
            let done = pod.enter(|| command.output().expect("curl runs"));
            assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stderr), said());
            assert_eq!(requests(&pod, "outbound"), 10, "{}", said());
            let out = counts();
            wait::until_true("the application", || reachable(&other, at(&pod, 8080)[0]));
            let both = counts();
            let new = |now: (u64, u64), before: (u64, u64)| (now.0 - before.0, now.1 - before.1);
            // What the application sends out, and what it is sent: each at least once a request or answer.
            for ((past, through), least) in [(new(out, before), 10), (new(both, out), 1)] {
                if chosen {
                    assert!(past >= least, "{past}: {}", said());
                } else {
                    assert!(past == 0 && through >= least, "{past}, {through}: {}", said());
                }
            }
            proxy.signal(Signal::TERM);
            assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
        }
    }
}

#[test]
fn without_its_proxy_a_pod_lets_nobody_in() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let injected = node.inject(&["--skip-inbound-ports", "9090"]);
    let mut proxy = injected.start(&pod);
    let (app, _skipped) = (application(&pod, 8080), application(&pod, 9090));
    let [to, _] = at(&pod, 8080);
    for round in 1..=2 {
        assert!(reachable(&other, to), "{}\n{}", agent.stderr(), proxy.stderr());
        let served = app.requests();
        proxy.signal(Signal::KILL);
        proxy.wait(SOON);
        for to in at(&pod, 8080) {
            let error = other.enter(|| TcpStream::connect(to)).expect_err("nobody is there");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
        }
        assert_eq!(app.requests(), served);
        assert!(reachable(&other, at(&pod, 9090)[0]) && reachable(&pod, to), "what it never had goes on");
        // The kubelet starts the container anew.
        proxy = injected.start_again(&pod);
        assert!(reachable(&other, to), "{round}: {}\n{}", agent.stderr(), proxy.stderr());
        assert_eq!(requests(&pod, "inbound"), 1);
    }
    // Nor does the end of an agent, and another one in its place.
    let mut agent = agent;
    agent.signal(Signal::KILL);
    agent.wait(SOON);
    assert!(reachable(&other, to), "{}", proxy.stderr());
    let agent = node.agent();
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), proxy.stderr());
    assert_eq!(requests(&pod, "inbound"), 3, "{}\n{}", agent.stderr(), proxy.stderr());
}

#[test]
fn strict_is_strict_at_the_applications_own_port() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let authority = Authority::new("mesh");
    let certificates = super::rolling::identity(&authority, "spiffe://cluster.local/ns/shop/sa/api");
    let agent = node.agent();
    let strict = ["--identity", "secret:tls", "--inbound-tls", "strict"];
    let injected = node.inject(&strict).mounted("/run/pillion/identity", certificates.path());
    let proxy = injected.start(&pod);
    let app = pod.enter(|| pillion_tests::origin::Origin::start_at((Ipv6Addr::UNSPECIFIED, 8080).into()));
    let client = authority.svid("spiffe://cluster.local/ns/web/sa/web");
    for to in at(&pod, 8080) {
        assert!(!reachable(&other, to), "{to}: in the clear");
        let nobody = other.enter(|| Offer::default().connect(to).and_then(|mut nobody| nobody.get("/")));
        assert!(nobody.is_err(), "{to}: without a certificate");
        let served = app.requests();
        let offer = Offer { certificate: Some(&client), ..Offer::default() };
        let status =
            other.enter(|| offer.connect(to).and_then(|mut client| client.get("/"))).map(|answer| answer.status);
        assert_eq!(status.ok(), Some(200), "{to}: {}\n{}", agent.stderr(), proxy.stderr());
        assert_eq!(app.requests(), served + 1);
    }
    assert_eq!(pod.enter(|| kubelet(&injected.probe)), Some(200), "the kubelet has no certificate and needs none");
}

#[test]
fn a_proxy_waits_for_its_agent_and_says_so() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let injected = node.inject(&[]);
    let mut proxy = injected.begin(&pod);
    let ready = || pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15020).into(), "/readyz"));
    let said = "no agent of this node captures what comes in";
    wait::until_true("its word", || proxy.stderr().contains(said));
    wait::until("the probe port", SOON, || pod.enter(|| kubelet("/livez") == Some(200)).then_some(()));
    let answer = ready();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains(said) && answer.text().contains("--capture-inbound"), "{}", answer.text());
    assert!(!reachable(&other, at(&pod, 15006)[0]));
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(proxy.stderr().matches(said).count(), 1, "once: {}", proxy.stderr());
    assert_eq!(proxy.ended(), None, "{}", proxy.stderr());
    let agent = node.agent();
    wait::until("an agent that came late", SOON, || (ready().status == 200).then_some(()));
    let app = application(&pod, 8080);
    assert!(reachable(&other, at(&pod, 8080)[0]), "{}\n{}", agent.stderr(), proxy.stderr());
    assert_eq!((requests(&pod, "inbound"), app.requests()), (1, 1));
}

/// A configuration of one's own, changed while it runs: what is left out, and whether anything is captured at all.
#[test]
fn a_reload_changes_what_comes_in() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let write = |capture: &str, left_out: &str| {
        let text = format!(
            "capture: {{ inbound_probe_port: 15097, exclude_inbound_ports: [{left_out}] }}\n\
             admin: {{ address: \"127.0.0.1:15000\", probes: \"[::]:15020\" }}\nworkers: 2\n\
             listeners:\n  - {{ name: inbound, address: \"[::]:15006\", capture: {capture}, routes: [{{ match: {{}}, cluster: \
             application }}] }}\nclusters:\n  - {{ name: application, {} }}\n",
            if capture == "agent" { "original_destination: {}" } else { "endpoints: [\"127.0.0.1:8080\"]" }
        );
        pki::replace(dir.path(), "pillion.yaml", &text);
        let file = dir.path().join("pillion.yaml");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
        file
    };
    let mut injected = node.inject(&[]);
    injected.arguments = ["run", "--config"].map(str::to_owned).into();
    injected.arguments.push(write("off", "").display().to_string());
    injected.environment.clear();
    let proxy = injected.start(&pod);
    let app = application(&pod, 8080);
    let [to, _] = at(&pod, 8080);
    let reload = |capture, left_out| {
        write(capture, left_out);
        let head = "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let answer = pod.enter(|| Client::connect((Ipv4Addr::LOCALHOST, 15000).into()).exchange(head));
        // It may have been read already, since the file has changed.
        assert!(answer.text().starts_with("reloaded") || answer.text() == "unchanged\n", "{}", answer.text());
        wait::until("its readiness", SOON, || pod.enter(|| kubelet("/readyz") == Some(200)).then_some(()));
    };
    assert!(reachable(&other, to));
    assert_eq!((requests(&pod, "inbound"), app.requests()), (0, 1), "not captured yet");
    let mut held = other.enter(|| Client::over(TcpStream::connect(to).expect("the application listens")));
    assert_eq!(held.get("/").status, 200);
    for (left_out, captured) in [("22", true), ("22, 8080", false), ("", true)] {
        reload("agent", left_out);
        let before = (requests(&pod, "inbound"), app.requests());
        for _ in 0..8 {
            assert!(reachable(&other, to), "{left_out:?}: {}\n{}", agent.stderr(), proxy.stderr());
        }
        let more = if captured { 8 } else { 0 };
        assert_eq!((requests(&pod, "inbound"), app.requests()), (before.0 + more, before.1 + 8), "{left_out:?}");
    }
    assert_eq!(held.get("/").status, 200, "who was there goes on");
    // What is captured stays so: nobody gets past a proxy that has given it up.
    reload("off", "");
    wait::until("the listener's end", SOON, || other.enter(|| TcpStream::connect(to)).is_err().then_some(()));
    let error = other.enter(|| TcpStream::connect(to)).expect_err("nobody takes it");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    reload("agent", "");
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), proxy.stderr());
}

/// What an operator takes away, or another release puts its own in the place of, does not leave a pod whose proxy thinks that all is
/// well.
#[test]
fn capture_that_was_taken_away_is_missed_and_comes_again() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let proxy = node.inject(&[]).start(&pod);
    let app = application(&pod, 8080);
    let [to, _] = at(&pod, 8080);
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), proxy.stderr());
    // All of it, claims included.
    drop(agent);
    let done = Command::new(program()).args(["redirect", "detach", "--instance", &node.detached.0]).output();
    assert!(done.expect("the program runs").status.success());
    let pins = std::path::Path::new("/sys/fs/bpf/pillion").join(&node.detached.0);
    drop(fs::remove_dir_all(pins));
    wait::until("its word", SOON * 2, || pod.enter(|| kubelet("/readyz") == Some(503)).then_some(()));
    assert!(proxy.stderr().contains("captured no more"), "{}", proxy.stderr());
    let agent = node.agent();
    wait::until("another agent", SOON * 2, || pod.enter(|| kubelet("/readyz") == Some(200)).then_some(()));
    let before = (requests(&pod, "inbound"), app.requests());
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), proxy.stderr());
    assert_eq!((requests(&pod, "inbound"), app.requests()), (before.0 + 1, before.1 + 1));
}

/// A process beside the one before, as an operator has it who replaces the program: both share the port, and the claim is the newer one's.
#[test]
fn a_process_takes_over_from_the_one_before() {
    let (_switch, pod, other, node) = some_or_return!(node());
    let agent = node.agent();
    let start = |admin: u16, probes: u16| {
        let text = format!(
            "admin: {{ address: \"127.0.0.1:{admin}\", probes: \"[::]:{probes}\" }}\nworkers: 1\ndrain: {{ delay: 0s, deadline: 5s }}\n\
             listeners:\n  - {{ name: inbound, address: \"[::]:15006\", share_port: true, capture: agent, routes: [{{ match: {{}}, \
             cluster: application }}] }}\nclusters:\n  - {{ name: application, original_destination: {{}} }}\n",
        );
        let mut injected = node.inject(&[]);
        injected.environment = vec![("PILLION_CONFIG".to_owned(), text)];
        let proxy = injected.begin(&pod);
        wait::until("its readiness", SOON, || {
            let ready = pod.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, probes)).is_ok())
                && pod.enter(|| client::get((Ipv4Addr::LOCALHOST, probes).into(), "/readyz")).status == 200;
            ready.then_some(())
        });
        proxy
    };
    let mut before = start(15000, 15020);
    let app = application(&pod, 8080);
    let [to, _] = at(&pod, 8080);
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), before.stderr());
    let load = other.enter(|| Load::gets(to, 4, Duration::from_millis(2)));
    load.await_more(50);
    let after = start(15030, 15040);
    load.await_more(50);
    before.signal(Signal::TERM);
    assert_eq!(before.wait(SOON).code(), Some(0), "{}", before.stderr());
    load.await_more(50);
    let figures = load.stop();
    assert!(figures.failed.is_empty(), "{:?}\n{}\n{}", figures.failed, before.stderr(), after.stderr());
    assert_eq!(figures.refused, 0);
    assert!(reachable(&other, to), "{}\n{}", agent.stderr(), after.stderr());
    let page = pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15040).into(), "/metrics")).text();
    assert!(page.contains("pillion_accept_connections_total{listener=\"inbound\"}"), "{page}");
    assert!(app.requests() > 150);
}
