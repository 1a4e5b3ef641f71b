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
    path::PathBuf,
    process::Command,
};

/// A user that nothing else here runs as.
const UID: &str = "61338";
const PROBE: u16 = 15_098;

/// A pod whose proxy may claim, somebody outside, and what an agent attaches to.
struct Node {
    interpreter: PathBuf,
    pod: Pod,
    outside: Pod,
    name: String,
    _detached: Detached,
    group: Unified,
    _switch: Switch,
}

impl Node {
    /// `None`: this machine has not what it takes, which has been said.
    fn new() -> Option<Self> {
        let interpreter = need::program("python3", "python3")?;
        if !is_root() {
            return None;
        }
        let switch = Switch::new()?;
        let (pod, outside) = (switch.pod(), switch.pod());
        let name = instance();
        let group = Unified::new(&name)?;
        let _detached = Detached(name.clone());
        Some(Self { interpreter, pod, outside, name, _detached, group, _switch: switch })
    }

    fn claimant(&self) -> Process {
        self.pod.enter(|| {
            let mut command = Command::new(&self.interpreter);
            command.arg(python::script("claimant")).arg(UID).arg(&self.group.0).args(["15006", &PROBE.to_string()]);
            Process::start(&mut command)
        })
    }

    fn agent(&self, more: &[&str]) -> Process {
        let mut command = Command::new(proxy::program());
        command.args(["redirect", "agent", "--instance", &self.name, "--waive", WAIVED, "--proxy-uid", UID]);
        let agent = Process::start(command.arg("--cgroup").arg(&self.group.0).args(more));
        wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
        agent
    }

    /// Network namespaces that are given to their proxies.
    fn captured(&self) -> u64 {
        status(&self.name).map_or(0, |status| status["namespaces"]["captured"].as_u64().expect("a number"))
    }

    fn words(&self) -> String {
        redirect(&["status", "--instance", &self.name]).1
    }

    /// Where somebody outside wants to go.
    fn to(&self) -> [SocketAddr; 2] {
        [SocketAddr::from((self.pod.ipv4, 8080)), SocketAddr::from((self.pod.ipv6, 81))]
    }

    /// Gets to the proxy.
    fn reached(&self) {
        let [v4, v6] = self.to();
        assert_eq!(told(&self.outside, v4).expect("a proxy"), format!("::ffff:{} 8080", self.pod.ipv4));
        assert_eq!(told(&self.outside, v6).expect("a proxy"), format!("{} 81", self.pod.ipv6));
    }

    /// Gets to nobody.
    fn refused(&self) {
        for to in self.to() {
            assert_eq!(told(&self.outside, to).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}

fn end(agent: &mut Process) {
    agent.signal(Signal::TERM);
    assert!(agent.wait(wait::SOON).success(), "{}", agent.stderr());
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
    let node = some_or_return!(Node::new());
    let mut proxy = node.claimant();
    wait::until_true("the claimant to be told that there is no agent", || proxy.stdout().contains("waits: 92"));
    let metrics = port::free();
    let mut first = node.agent(&["--capture-inbound", "--stay", "--metrics", &metrics.to_string()]);
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
    node.reached();
    assert_eq!(
        told(&node.pod, ([127, 0, 0, 1], PROBE).into()).expect("the probe"),
        format!("::ffff:127.0.0.1 {PROBE}")
    );
    wait::until_true("what it counts", || {
        shown("pillion_redirect_inbound_total", "outcome=\"captured\"").unwrap_or(0.0) == 3.0
    });
    assert_eq!(shown("pillion_redirect_claims_total", "outcome=\"taken\"").expect("metrics"), 1.0);

    end(&mut first);
    assert!(first.stderr().contains("stays attached"), "{}", first.stderr());
    node.reached();
    assert_eq!(node.captured(), 1);
    let mut second = node.agent(&["--capture-inbound"]);
    node.reached();

    proxy.kill().expect("it runs");
    proxy.wait(wait::SOON);
    node.refused();
    let proxy = node.claimant();
    wait::until_true("the next proxy", || proxy.stdout().contains("listens"));
    node.reached();
    end(&mut second);
    assert!(second.stderr().contains("claims are kept for the next agent"), "{}", second.stderr());
    assert!(status(&node.name).is_some_and(|status| status["attached"] == false), "detached, its claims kept");
    assert!(node.words().contains("claims to 1 network namespaces are kept"), "{}", node.words());
}

/// What a detach keeps are maps with claims: by those the agent does not see it.
#[test]
fn an_agent_says_that_another_hand_has_let_go_what_it_captured() {
    let node = some_or_return!(Node::new());
    let mut agent = node.agent(&["--capture-inbound"]);
    let _proxy = node.claimant();
    wait::until_true("the pod", || node.captured() == 1);
    for said in 1..=2 {
        assert!(redirect(&["detach", "--instance", &node.name]).0);
        let detached = "detached by somebody else";
        wait::until_true("it to be said", || agent.stderr().matches(detached).count() == said);
        let log = agent.stderr();
        let words = log.lines().rfind(|line| line.contains(detached)).expect("a line");
        for told in [" error ", "past their proxies", "start the agent again"] {
            assert!(words.contains(told), "{words}");
        }
        end(&mut node.agent(&["--capture-inbound", "--stay"]));
        wait::until_true("what comes in to be given again", || {
            agent.stderr().matches("attached again, by somebody else").count() == said && node.captured() == 1
        });
        node.reached();
    }
    end(&mut agent);
}

#[test]
fn an_agent_that_does_not_capture_says_that_it_lets_go_what_one_before_it_captured() {
    let node = some_or_return!(Node::new());
    let mut before = node.agent(&["--capture-inbound", "--stay"]);
    let _proxy = node.claimant();
    wait::until_true("the pod", || node.captured() == 1);
    end(&mut before);
    node.reached();
    let mut without = node.agent(&["--stay"]);
    let warned = |agent: &Process, told: &[&str]| {
        let log = agent.stderr();
        log.lines().any(|line| line.contains(" warn ") && told.iter().all(|words| line.contains(words)))
    };
    wait::until_true("that to be said", || {
        warned(&without, &["attached without --capture-inbound", "is let go", "namespaces=1"])
    });
    node.refused();
    let words = node.words();
    assert!(words.contains("attached without --capture-inbound: claims to 1 network namespaces"), "{words}");
    end(&mut without);
    // What is not there may come.
    let missing = "/nonexistent/netns";
    let again = node.agent(&["--capture-inbound", "--namespaces", &format!("{missing},/run/netns")]);
    wait::until_true("what is not there to be said", || warned(&again, &["a directory that is not there", missing]));
    assert!(!warned(&again, &["folder=/run/netns"]), "{}", again.stderr());
    wait::until_true("the pod", || node.captured() == 1);
    node.reached();
}
