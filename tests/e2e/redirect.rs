//! Loopback traffic past TCP with the real program: loaded by itself, by an agent, or declined; with peers as users have them.

mod agent;
mod inbound;
mod pipelining;

use pillion_tests::{
    client::Client,
    need,
    nginx::Nginx,
    origin::{Origin, checksum, pattern},
    process::Process,
    proxy::{self, Proxy, Shape},
    python, some_or_return,
    tempdir::TempDir,
    wait,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

/// What no kernel known passes; the peers of these tests do without.
pub(crate) const WAIVED: &str = "splice,duplex,wait_all";

/// A name for the pins, so that tests do not meet.
pub(crate) fn instance() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("e2e-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        need::skip("loading BPF programs needs root");
    }
    root
}

fn section(instance: &str) -> String {
    format!("redirect: {{ instance: {instance}, waive: [{WAIVED}] }}")
}

/// A proxy before this origin whose connections go past TCP.
fn redirecting(instance: &str, origin: SocketAddr) -> Proxy {
    let proxy = Shape { top: &section(instance), ..Shape::default() }.start(origin);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    proxy
}

/// `pillion redirect …`: its exit code's success, and what it said.
fn redirect(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(proxy::program()).arg("redirect").args(arguments).output().expect("the program runs");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}

/// What there is of an instance: it may be attached, or have been, with maps that are kept.
fn status(instance: &str) -> Option<Value> {
    let (attached, words) = redirect(&["status", "--json", "--instance", instance]);
    let status: Value = serde_json::from_str(&words).ok()?;
    assert_eq!(attached, status["attached"] == true, "the exit code tells whether it is attached: {status}");
    status.get("counters").is_some().then_some(status)
}

pub(crate) fn counted(instance: &str, counter: &str) -> u64 {
    status(instance).and_then(|status| status["counters"][counter].as_u64()).unwrap_or(0)
}

pub(crate) fn redirected(instance: &str) -> u64 {
    counted(instance, "redirected_messages")
}

/// Detaches at the end, whatever happened; the maps go when the last connection has.
pub(crate) struct Detached(pub(crate) String);

impl Drop for Detached {
    fn drop(&mut self) {
        for _ in 0..100 {
            if !redirect(&["detach", "--instance", &self.0]).1.contains("go on through TCP") {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Sends back what comes, and its end.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut room = vec![0; 65_536];
                while let Ok(count @ 1..) = stream.read(&mut room) {
                    if stream.write_all(&room[..count]).is_err() {
                        return;
                    }
                }
                drop(stream.shutdown(Shutdown::Write));
            });
        }
    });
    address
}

#[test]
fn curl_to_nginx_is_redirected_on_both_legs_and_switched_live() {
    let curl = some_or_return!(need::program("curl", "curl"));
    let nginx = some_or_return!(Nginx::start(1000));
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let proxy = redirecting(&name, nginx.address);
    let fetch = |path: &str, count: usize| {
        let url = format!("http://{}{path}", proxy.address);
        let output =
            Command::new(&curl).args(["-sS", "--fail", "--max-time", "30"]).args(vec![url; count]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(fetch("/", 50), b"hello from nginx\n".repeat(50));
    // Fifty requests on each of two legs, and fifty answers.
    proxy.await_metric("pillion_redirect_messages_total", &["way=\"redirected\""], |count| count >= 150.0);
    assert!(checksum(&fetch("/big.bin", 1)) == checksum(&pattern(0, pillion_tests::nginx::BIG)));
    assert_eq!(proxy.admin_post("/redirect").status, 400);
    assert_eq!(proxy.admin_post("/redirect?switch=off").status, 200);
    let off = redirected(&name);
    assert_eq!(fetch("/", 20), b"hello from nginx\n".repeat(20));
    assert_eq!(redirected(&name), off);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 0.0);
    assert!(proxy.admin_get("/redirect").text().contains("switched off"));
    assert_eq!(proxy.admin_post("/redirect?switch=on").status, 200);
    assert_eq!(fetch("/", 20), b"hello from nginx\n".repeat(20));
    assert!(redirected(&name) > off);
    proxy.await_metric("pillion_redirect_closed_total", &[], |count| count > 0.0);
    assert_eq!(proxy.metrics().sum("pillion_redirect_alarms_total", &[]), 0.0);
}

/// A server whose answers are a head, in a message of its own, and a body that is too large to be redirected. Each is written
/// when the test says so.
fn server_in_two_writes(go: mpsc::Receiver<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy connects");
        let mut room = vec![0; 65_536];
        while go.recv().is_ok() {
            let asked = stream.read(&mut room).expect("the proxy sends");
            assert!(room[..asked].ends_with(b"\r\n\r\n"), "a whole head");
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())
                .expect("the proxy is there");
            stream.write_all(&vec![b'x'; LARGE]).expect("the proxy is there");
        }
    });
    address
}

/// Beyond the `large_messages` that go with it, and one message to the kernel.
const LARGE: usize = 20_000;

#[test]
fn a_head_that_was_redirected_does_not_hide_a_body_that_was_not() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let (go, told) = mpsc::channel();
    let server = server_in_two_writes(told);
    let top = format!("redirect: {{ instance: {name}, waive: [{WAIVED}], large_messages: 8KiB }}");
    let proxy = Shape { top: &top, ..Shape::default() }.start(server);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    let mut client = proxy.connect();
    for round in 1..=3 {
        // From client and proxy, where the proxy had accepted the client before it spoke; else through TCP to the proxy.
        let sent = || redirected(&name) + counted(&name, "passed_unready");
        let before = sent() + 2;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        wait::until_true("the request to reach the server", || sent() == before);
        let (before, large) = (redirected(&name), counted(&name, "passed_large"));
        proxy.signal(Signal::STOP);
        go.send(()).unwrap();
        // Both lie before the proxy when it looks again: the head in one queue, the body in the other.
        wait::until_true("the answer to be written", || {
            redirected(&name) > before && counted(&name, "passed_large") > large
        });
        proxy.signal(Signal::CONT);
        let answer = client.receive();
        assert_eq!((answer.status, answer.body.len()), (200, LARGE), "round {round}");
    }
}

#[test]
fn what_programs_do_with_sockets_works_through_a_redirecting_tunnel() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let echo = echo();
    let proxy = Proxy::start(&format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\nlisteners:\n  - {{ name: db, address: {{listen}}, tcp: {{ cluster: echo }} \
         }}\nclusters:\n  - {{ name: echo, endpoints: [\"{echo}\"] }}\n",
        section(&name)
    ));
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    let port = proxy.address.port().to_string();
    let output = some_or_return!(python::run("sockets_client", &["127.0.0.1", &port]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // One message at a time: the client's and the echo's are redirected, each of them, and the proxy's own go through TCP, since a
    // tunnel does not end soon.
    let mut client = TcpStream::connect(proxy.address).unwrap();
    let mut exchange = |size| {
        let (sent, mut got) = (pattern(0, size), vec![0; size]);
        client.write_all(&sent).unwrap();
        client.read_exact(&mut got).unwrap();
        assert!(got == sent, "other bytes come back");
    };
    // What comes before the proxy has accepted the connection goes through TCP.
    exchange(1);
    let before = redirected(&name);
    (1..=250).for_each(&mut exchange);
    assert_eq!(redirected(&name) - before, 500, "{:?}", status(&name));
    // A bulk stream both ways. How much of it is redirected is a matter of who is behind.
    let sent = pattern(0, 32 << 20);
    let mut writer = client.try_clone().unwrap();
    let copy = sent.clone();
    let sending = thread::spawn(move || {
        // In sizes of both kinds.
        for (number, piece) in copy.chunks(97_001).enumerate() {
            let (small, large) = piece.split_at(piece.len().min(number % 700 + 1));
            writer.write_all(small).unwrap();
            writer.write_all(large).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (mut got, mut room) = (Vec::with_capacity(sent.len()), vec![0; 100_000]);
    client.set_read_timeout(Some(wait::SOON)).unwrap();
    while got.len() < sent.len() {
        match client.read(&mut room) {
            Ok(0) => panic!("the end comes after {} bytes", got.len()),
            Ok(count) => got.extend_from_slice(&room[..count]),
            // A thread beside it sends: this kernel's `duplex`, as in the self-test.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
    sending.join().unwrap();
    assert!(got == sent);
    drop(client);
    wait::until_true("no socket in the map", || status(&name).is_some_and(|status| status["maps"]["sockets"] == 0));
}

#[test]
fn where_splice_is_not_waived_the_proxy_declines_and_a_splicing_haproxy_works() {
    let haproxy = some_or_return!(need::program("haproxy", "haproxy"));
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let top = format!("redirect: {{ instance: {name}, waive: [duplex, wait_all] }}");
    let proxy = Shape { top: &top, ..Shape::default() }.start(origin.address);
    wait::until_true("the redirect's verdict", || proxy.stderr().contains("redirect "));
    if proxy.stderr().contains("redirect attached") {
        return; // A kernel on which splice works.
    }
    assert!(
        proxy.stderr().contains("redirect declined, plain TCP is used: the self-test failed: splice"),
        "{}",
        proxy.stderr()
    );
    proxy.await_metric("pillion_redirect_attaches_total", &["outcome=\"splice\""], |count| count == 1.0);
    assert!(status(&name).is_none(), "nothing is left behind");
    let dir = TempDir::new();
    let front = pillion_tests::port::free();
    let file = dir.write(
        "haproxy.cfg",
        format!(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  option splice-auto\n  option splice-request\n  option splice-response\n  \
             timeout connect 5s\n  timeout client 30s\n  timeout server 30s\nlisten f\n  bind {front}\n  server s {}\n",
            proxy.address
        ),
    );
    let _haproxy = Process::start(Command::new(haproxy).arg("-db").arg("-f").arg(file));
    wait::until_true("haproxy", || TcpStream::connect(front).is_ok());
    let mut client = Client::connect(front);
    assert_eq!(client.get(&format!("/bytes/{}", 8 << 20)).status, 200);
    proxy.assert_healthy();
}

#[test]
fn killed_with_9_it_starts_clean_and_connections_live_on() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let section = section(&name);
    let shape = Shape { top: &section, ..Shape::default() };
    let mut first = shape.start(origin.address);
    first.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    assert_eq!(first.get("/").status, 200);
    first.signal(Signal::KILL);
    first.wait(wait::SOON);
    let left = status(&name).expect("what it attached outlives it");
    assert_eq!(left["attached"], true);
    let second = shape.start(origin.address);
    second.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    assert!(second.stderr().contains("replaced=true"), "{}", second.stderr());
    let before = redirected(&name);
    for _ in 0..10 {
        assert_eq!(second.get("/").status, 200);
    }
    assert!(redirected(&name) >= before + 20);
    assert_eq!(status(&name).unwrap()["ports"], serde_json::json!([second.address.port()]));
}

#[test]
fn without_privileges_it_runs_as_ever_and_says_so_once() {
    let setpriv = some_or_return!(need::program("setpriv", "util-linux"));
    if !is_root() {
        return;
    }
    let name = instance();
    let origin = Origin::start();
    let section = section(&name);
    let yaml = Shape { top: &section, ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start_with(&yaml, |program| {
        let mut command = Command::new(&setpriv);
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(program);
        command
    });
    wait::until_true("the redirect's verdict", || proxy.stderr().contains("redirect declined, plain TCP is used"));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    // Nor again with each configuration that asks for it.
    for size in ["8KiB", "16KiB"] {
        let large = format!("redirect: {{ instance: {name}, waive: [{WAIVED}], large_messages: {size} }}");
        proxy.replace_config(&Shape { top: &large, ..Shape::default() }.yaml(&[origin.address]));
        assert_eq!(proxy.admin_post("/reload").status, 200);
    }
    proxy.await_metric("pillion_redirect_attaches_total", &[], |attempts| attempts == 3.0);
    assert_eq!(proxy.stderr().matches("redirect declined").count(), 1, "{}", proxy.stderr());
    assert_eq!(proxy.metrics().sum("pillion_redirect_on", &[]), 0.0);
    // Who does not ask for it has neither thread nor series of it.
    let plain = Proxy::to(origin.address);
    assert!(plain.threads() < proxy.threads(), "{} and {} threads", plain.threads(), proxy.threads());
    assert!(!plain.metrics().has("pillion_redirect_on"));
}

#[test]
fn an_agent_serves_a_proxy_without_privileges_and_may_be_killed() {
    let setpriv = some_or_return!(need::program("setpriv", "util-linux"));
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    // A user that nothing else here runs as.
    let uid = "61337";
    let yaml = Shape { top: "redirect: { by: agent }", ..Shape::default() }.yaml(&[origin.address]);
    let proxy = Proxy::start_with(&yaml, |program| {
        let mut command = Command::new("sh");
        // The file is root's own; the descriptor is not.
        command
            .args(["-c", &format!("chmod 755 \"$(dirname \"$4\")\" && exec {} --reuid={uid} --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"", setpriv.display())])
            .arg(program);
        command
    });
    let port = proxy.address.port().to_string();
    let agent = || {
        let mut command = Command::new(proxy::program());
        command.args([
            "redirect",
            "agent",
            "--instance",
            &name,
            "--ports",
            &port,
            "--proxy-uid",
            uid,
            "--waive",
            WAIVED,
        ]);
        let agent = Process::start(&mut command);
        wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
        agent
    };
    let talk = || {
        let before = redirected(&name);
        // A fresh connection each, so that both legs are made anew now and then.
        for _ in 0..10 {
            assert_eq!(proxy.get("/").status, 200);
        }
        redirected(&name) - before
    };
    let mut first = agent();
    assert!(talk() >= 20);
    first.kill().unwrap();
    first.wait(wait::SOON);
    assert!(talk() >= 20, "what it attached works on without it");
    let mut second = agent();
    assert!(second.stderr().contains("replaced=true"), "{}", second.stderr());
    assert!(talk() >= 20);
    second.signal(Signal::TERM);
    second.wait(wait::SOON);
    assert_eq!(talk(), 0);
    proxy.assert_healthy();
}

#[test]
fn a_watched_status_tells_each_second_what_has_changed() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let proxy = Shape { top: "redirect: { by: agent }", ..Shape::default() }.start(origin.address);
    let (port, pid) = (proxy.address.port().to_string(), proxy.pid().to_string());
    let (attached, words) =
        redirect(&["attach", "--instance", &name, "--ports", &port, "--proxy-pid", &pid, "--waive", WAIVED]);
    assert!(attached, "{words}");
    let watch = |form: &[&str]| {
        let mut command = Command::new(proxy::program());
        Process::start(command.args(["redirect", "status", "--watch", "--instance", &name]).args(form))
    };
    // Whoever takes the events: all see what they tell.
    let mut told = watch(&["--json"]);
    let lines =
        |of: &Process| of.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>();
    wait::until_true("the first line", || !lines(&told).is_empty());
    let (mut second, mut text) = (watch(&["--json"]), watch(&[]));
    wait::until_true("the others' first lines", || !lines(&second).is_empty() && text.stdout().contains('\n'));
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    let sum =
        |of: &Process, counter: &str| lines(of).iter().filter_map(|line| line["since"][counter].as_u64()).sum::<u64>();
    // Each request's connection ends at both its ends.
    wait::until_true("the ends of connections", || {
        [&told, &second]
            .iter()
            .all(|of| lines(of).last().is_some_and(|line| line["ended"]["in_order"].as_u64() >= Some(20)))
    });
    wait::until_true("all messages of both", || [&told, &second].iter().all(|of| sum(of, "redirected_messages") >= 20));
    let last = lines(&told).pop().unwrap();
    assert!(last["ended"]["lived_seconds"]["count"].as_u64() >= Some(20), "{last}");
    assert_eq!(last["ended"]["malformed_events"], 0, "{last}");
    wait::until_true("the same in words", || text.stdout().contains("  redirected_messages +"));
    assert!(text.stdout().lines().all(|line| line.starts_with("sockets ")), "{}", text.stdout());
    // What has gone is said at the end: nothing hangs on a watch.
    for watching in [&mut told, &mut second, &mut text] {
        watching.signal(Signal::TERM);
        watching.wait(wait::SOON);
    }
    proxy.assert_healthy();
}

/// A cgroup of version 2 for one test; removed on drop.
pub(crate) struct Unified(pub(crate) PathBuf);

impl Unified {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the kernel tells of its mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let made = mounts.find(|mount| mount.get(2) == Some(&"cgroup2")).map(|mount| Path::new(mount[1]).join(name));
        match made.filter(|made| fs::create_dir(made).is_ok()) {
            Some(made) => Some(Self(made)),
            None => {
                need::skip("no cgroup of version 2 can be made");
                None
            }
        }
    }
}

impl Drop for Unified {
    fn drop(&mut self) {
        // Its last process may be about to go.
        wait::until_true("the cgroup to be empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// With nothing but `outbound`, no rule and no setting beside it: the proxy's own probe is what the hook takes.
#[test]
fn it_proves_that_the_connect_hook_captures() {
    if !is_root() {
        return;
    }
    let (origin, instance) = (Origin::start(), instance());
    let group = some_or_return!(Unified::new(&instance));
    let _detached = Detached(instance.clone());
    let port = pillion_tests::port::free().port();
    let yaml = format!(
        "admin: {{ address: {{admin}} }}\nworkers: 1\nredirect: {{ instance: {instance}, waive: [{WAIVED}], cgroup: {0}, \
         outbound: {{ port: {port} }} }}\nlisteners:\n  - {{ name: out, address: \"127.0.0.1:{port}\", direction: outbound, \
         capture: redirect, tcp: {{ cluster: origin }} }}\nclusters:\n  - {{ name: origin, endpoints: [\"{1}\"] }}\n",
        group.0.display(),
        origin.address
    );
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.0.display());
    let mut proxy = Proxy::start_with(&yaml, |program| {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&enter).arg(program);
        command
    });
    wait::until_true("the proof to be told", || proxy.stderr().contains("connections are captured"));
    assert!(counted(&instance, "captured") >= 1, "by the hook");
    proxy.stop();
}

#[test]
fn what_is_counted_is_the_traffic_and_not_the_self_test() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let section = section(&name);
    let proxy = Shape { top: &section, ..Shape::default() }.start(origin.address);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    let series = ["ends_total", "messages_total", "bytes_total", "held_total", "closed_total"];
    for of in series {
        assert_eq!(proxy.metrics().sum(&format!("pillion_redirect_{of}"), &[]), 0.0, "{of}");
    }
    let counters = status(&name).expect("it is attached")["counters"].clone();
    let counters = counters.as_object().expect("counters have names");
    assert!(!counters.is_empty() && counters.values().all(|count| count == 0), "{counters:?}");
    let (_, words) = redirect(&["status", "--instance", &name]);
    assert!(words.lines().any(|line| line.starts_with("redirected_bytes") && line.ends_with(" 0")), "{words}");
    assert_eq!(proxy.get("/").status, 200);
    // A client's end and a server's, of each leg.
    wait::until_true("four ends", || status(&name).is_some_and(|status| status["counters"]["eligible"] == 4));
    proxy.await_metric("pillion_redirect_ends_total", &["event=\"eligible\""], |ends| ends == 4.0);
}

#[test]
fn to_attach_for_nobody_is_refused_in_words() {
    for verb in ["attach", "agent"] {
        let (good, words) = redirect(&[verb, "--instance", &instance()]);
        assert!(
            !good && words.contains("which connections are redirected") && words.contains("--ports"),
            "{verb}: {words}"
        );
    }
}
