//! What comes into a pod is given by the agent to whoever has claimed it there, and stays so between one agent and the next.

use super::{Detached, Unified, WAIVED, instance, is_root, redirect, status};
use pillion_tests::{
    metrics::Metrics,
    namespaces::{Pod, Switch},
    need, port,
    process::Process,
    proxy, python, some_or_return, wait,
};
use rustix::process::Signal;
use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

/// A user that nothing else here runs as.
const UID: &str = "61338";
const PROBE: u16 = 15_098;

fn claimant(interpreter: &Path, pod: &Pod, group: &Unified) -> Process {
    pod.enter(|| {
        let mut command = Command::new(interpreter);
        command.arg(python::script("claimant")).arg(UID).arg(&group.0).args(["15006", &PROBE.to_string()]);
        Process::start(&mut command)
    })
}

/// What somebody is told who connects.
fn told(from: &Pod, to: SocketAddr) -> io::Result<String> {
    from.enter(|| {
        let mut words = String::new();
        let mut stream = TcpStream::connect_timeout(&to, wait::SOON)?;
        stream.set_read_timeout(Some(wait::SOON))?;
        stream.read_to_string(&mut words)?;
        Ok(words)
    })
}

#[test]
fn an_agent_gives_what_comes_in_to_who_claims_it_and_leaves_it_so_for_the_next() {
    let interpreter = some_or_return!(need::program("python3", "python3"));
    if !is_root() {
        return;
    }
    let switch = some_or_return!(Switch::new());
    let (pod, other) = (switch.pod(), switch.pod());
    let name = instance();
    let group = some_or_return!(Unified::new(&name));
    let _detached = Detached(name.clone());
    let mut proxy = claimant(&interpreter, &pod, &group);
    wait::until_true("the claimant to be told that there is no agent", || proxy.stdout().contains("waits: 92"));
    let agent = |more: &[&str]| {
        let mut command = Command::new(proxy::program());
        command.args(["redirect", "agent", "--instance", &name, "--waive", WAIVED, "--proxy-uid", UID]);
        let agent = Process::start(command.arg("--cgroup").arg(&group.0).arg("--capture-inbound").args(more));
        wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
        agent
    };
    let metrics = port::free();
    let mut first = agent(&["--stay", "--metrics", &metrics.to_string()]);
    let shown = |series: &str, label: &str| {
        let mut body = String::new();
        let mut stream = TcpStream::connect(metrics)?;
        io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n")?;
        stream.read_to_string(&mut body)?;
        let metrics = body.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        io::Result::Ok(Metrics::parse(metrics).sum(series, &[label]))
    };
    let namespaces = "pillion_redirect_namespaces";
    wait::until_true("the pod", || shown(namespaces, "state=\"captured\"").unwrap_or(0.0) == 1.0);
    let to = [SocketAddr::from((pod.ipv4, 8080)), SocketAddr::from((pod.ipv6, 81))];
    let reached = || {
        assert_eq!(told(&other, to[0]).expect("a proxy"), format!("::ffff:{} 8080", pod.ipv4));
        assert_eq!(told(&other, to[1]).expect("a proxy"), format!("{} 81", pod.ipv6));
    };
    reached();
    assert_eq!(told(&pod, ([127, 0, 0, 1], PROBE).into()).expect("the probe"), format!("::ffff:127.0.0.1 {PROBE}"));
    wait::until_true("what it counts", || {
        shown("pillion_redirect_inbound_total", "outcome=\"captured\"").unwrap_or(0.0) == 3.0
    });
    assert_eq!(shown("pillion_redirect_claims_total", "outcome=\"taken\"").expect("metrics"), 1.0);

    first.signal(Signal::TERM);
    assert!(first.wait(wait::SOON).success(), "{}", first.stderr());
    assert!(first.stderr().contains("stays attached"), "{}", first.stderr());
    reached();
    assert_eq!(status(&name).expect("it is attached")["namespaces"]["captured"], 1);
    let mut second = agent(&[]);
    reached();

    proxy.kill().expect("it runs");
    proxy.wait(wait::SOON);
    for to in to {
        assert_eq!(told(&other, to).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
    }
    let proxy = claimant(&interpreter, &pod, &group);
    wait::until_true("the next proxy", || proxy.stdout().contains("listens"));
    reached();
    // By another hand, which keeps the claims as well.
    for said in 1..=2 {
        assert!(redirect(&["detach", "--instance", &name]).0);
        let detached = "detached by somebody else";
        wait::until_true("it to be said", || second.stderr().matches(detached).count() == said);
        let log = second.stderr();
        let words = log.lines().rfind(|line| line.contains(detached)).expect("a line");
        for told in [" error ", "past their proxies", "start the agent again"] {
            assert!(words.contains(told), "{words}");
        }
        // As an agent does that is started again, and ends at once.
        let mut third = agent(&["--stay"]);
        third.signal(Signal::TERM);
        assert!(third.wait(wait::SOON).success(), "{}", third.stderr());
        wait::until_true("what comes in to be given again", || {
            second.stderr().matches("attached again, by somebody else").count() == said
                && status(&name).is_some_and(|status| status["namespaces"]["captured"] == 1)
        });
        reached();
    }
    second.signal(Signal::TERM);
    assert!(second.wait(wait::SOON).success(), "{}", second.stderr());
    assert!(second.stderr().contains("claims are kept for the next agent"), "{}", second.stderr());
    assert!(status(&name).is_some_and(|status| status["attached"] == false), "detached, its claims kept");
    assert!(redirect(&["status", "--instance", &name]).1.contains("claims to 1 network namespaces are kept"));
}
