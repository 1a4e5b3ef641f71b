//! Sources at the edge: dropped by XDP on a pod's interface, or closed when accepted where that cannot be; by the same rules.

use pillion_tests::{
    client::{Client, End},
    namespaces::{Pod, Switch},
    need,
    proxy::Proxy,
    some_or_return,
    wait::{self, SOON},
};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    process::Command,
};

const PORT: u16 = 8080;
const PACKETS: &str = "pillion_source_filter_packets_total";

fn yaml(filter: &str) -> String {
    format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\naccess_log: {{ path: \"{{dir}}/access.log\", format: {{ text: \"%RESPONSE_CODE% \
         %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" }} }}\nsource_filter: {filter}\nlisteners:\n  - name: web\n    address: \
         '[::]:{PORT}'\n    routes: [{{ match: {{}}, respond: {{ status: 200, body: welcome }} }}]\n"
    )
}

/// A rule for all addresses of some pods.
fn rule(name: &str, action: &str, pods: &[&Pod]) -> String {
    let sources: Vec<_> = pods.iter().map(|pod| format!("'{}', '{}'", pod.ipv4, pod.ipv6)).collect();
    format!("{{ name: {name}, action: {action}, sources: [{}] }}", sources.join(", "))
}

fn addresses(pod: &Pod) -> [IpAddr; 2] {
    [pod.ipv4.into(), pod.ipv6.into()]
}

/// A connection on its way, from a pod.
fn begin(pod: &Pod, to: IpAddr) -> Socket {
    pod.enter(|| {
        let to = SocketAddr::from((to, PORT));
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket can be made");
        socket.set_nonblocking(true).expect("a socket can be told");
        drop(socket.connect(&to.into()));
        socket
    })
}

fn client(pod: &Pod, to: IpAddr) -> Client {
    pod.enter(|| Client::connect((to, PORT).into()))
}

#[test]
fn denied_sources_end_at_the_interface_and_rules_change_while_traffic_flows() {
    let switch = some_or_return!(Switch::new());
    let (server, good, bad) = (switch.pod(), switch.pod(), switch.pod());
    let filter = |rules: &[String]| format!("{{ interfaces: [eth0], rules: [{}] }}", rules.join(", "));
    let denied = yaml(&filter(&[rule("scanners", "deny", &[&bad])]));
    let mut proxy = server.enter(|| Proxy::start(&denied));
    server.enter(|| {
        proxy
            .await_metric("pillion_source_filter_attached", &["interface=\"eth0\"", "mode=\"native\""], |on| on == 1.0);
    });
    let reload = |proxy: &Proxy, yaml: &str| {
        server.enter(|| {
            proxy.replace_config(yaml);
            let response = proxy.admin_post("/reload");
            assert_eq!(response.status, 200, "{}", response.text());
        });
    };
    let mut seen = 0.0;
    for to in addresses(&server) {
        let mut kept = client(&good, to);
        assert_eq!(kept.get("/").status, 200);
        let waiting = begin(&bad, to);
        server.enter(|| proxy.await_metric(PACKETS, &["rule=\"scanners\""], |count| count > seen));
        // Let in; the program stays, and so does who is connected.
        reload(&proxy, &yaml(&filter(&[rule("partners", "allow", &[&bad])])));
        waiting.set_nonblocking(false).expect("a socket can be told");
        let mut late = bad.enter(|| Client::over(TcpStream::from(waiting)));
        assert_eq!(late.get("/").status, 200);
        assert_eq!(kept.get("/").status, 200);
        server.enter(|| proxy.await_metric(PACKETS, &["rule=\"partners\""], |count| count > 0.0));
        // Shut out in the midst of it: the proxy lets go too.
        let revoked = || server.enter(|| proxy.metrics().sum("pillion_admit_revoked_total", &["reason=\"source\""]));
        let before = revoked();
        reload(&proxy, &denied);
        wait::until_true("the connection to be let go", || revoked() > before);
        seen = server.enter(|| proxy.metrics().sum(PACKETS, &["rule=\"scanners\""]));
    }
    assert_eq!(proxy.stderr().matches("source filter attached").count(), 1, "{}", proxy.stderr());
    // Not asked for any more, then asked for again.
    let shown = || server.run("ip", &["link", "show", "eth0"]);
    assert!(shown().contains("xdp"), "{}", shown());
    reload(&proxy, &yaml("{ rules: [] }"));
    wait::until_true("the program to go", || !shown().contains("xdp"));
    assert_eq!(client(&bad, server.ipv4.into()).get("/").status, 200);
    reload(&proxy, &denied);
    wait::until_true("the program to come", || shown().contains("xdp"));
    // However the process ends, nothing is left.
    proxy.signal(Signal::KILL);
    proxy.wait(SOON);
    wait::until_true("the program to go with its process", || !shown().contains("xdp"));
}

#[test]
fn without_privileges_accepted_connections_are_held_to_the_same_rules() {
    let switch = some_or_return!(Switch::new());
    let setpriv = some_or_return!(need::program("setpriv", "util-linux"));
    let (server, good, bad) = (switch.pod(), switch.pod(), switch.pod());
    let rules = [rule("partners", "allow", &[&good]), "{ name: all, action: deny, sources: [0.0.0.0/0] }".to_owned()];
    let filter = format!("{{ interfaces: [eth0], otherwise: deny, rules: [{}] }}", rules.join(", "));
    let proxy = server.enter(|| {
        Proxy::start_with(&yaml(&filter), |program| {
            let mut command = Command::new(&setpriv);
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(program);
            command
        })
    });
    wait::until_true("the verdict", || proxy.stderr().contains("source filter declined"));
    for (to, rule) in addresses(&server).into_iter().zip(["all", "none"]) {
        assert_eq!(client(&good, to).get("/").status, 200);
        let end = client(&bad, to).end_within(SOON);
        assert!(matches!(end, End::Closed | End::Reset), "{end:?}");
        wait::until_true("its record", || {
            let log = fs::read_to_string(proxy.dir().join("access.log")).unwrap_or_default();
            log.lines().any(|line| line == format!("0 UAEX source_denied[{rule}]"))
        });
    }
    server.enter(|| {
        // This machine's own are never asked.
        assert_eq!(Client::connect(([127, 0, 0, 1], PORT).into()).get("/").status, 200);
        let labels = ["rule=\"source_filter/all\"", "decision=\"deny\""];
        assert_eq!(proxy.metrics().sum("pillion_admit_decisions_total", &labels), 1.0);
        assert_eq!(proxy.metrics().sum("pillion_source_filter_attached", &[]), 0.0);
    });
    // Other rules are tried again, fail for the same cause, and hold in the proxy.
    server.enter(|| {
        for rules in [rule("others", "allow", &[&good]), rule("all", "deny", &[&good])] {
            proxy.replace_config(&yaml(&format!("{{ interfaces: [eth0], rules: [{rules}] }}")));
            assert_eq!(proxy.admin_post("/reload").status, 200);
        }
    });
    let end = client(&good, server.ipv4.into()).end_within(SOON);
    assert!(matches!(end, End::Closed | End::Reset), "{end:?}");
    assert_eq!(proxy.stderr().matches("source filter declined").count(), 1, "{}", proxy.stderr());
}
