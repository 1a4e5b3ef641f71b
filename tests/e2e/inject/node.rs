//! A pod that its node's agent captures: no init container, no capability, as Pod Security `restricted` has it.

use super::{application, inject, kubelet, pods, reachable, within};
use crate::redirect::{Detached, Unified, WAIVED, instance, is_root};
use pillion_tests::{client, need, process::Process, proxy::program, some_or_return, wait};
use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

#[test]
fn what_goes_out_is_captured_and_what_comes_in_has_ports() {
    if !is_root() {
        return;
    }
    let curl = some_or_return!(need::program("curl", "curl"));
    let (_switch, pod, other) = some_or_return!(pods());
    let instance = instance();
    let group = some_or_return!(Unified::new(&instance));
    let _detached = Detached(instance.clone());
    // As the chart has it.
    let mut agent = Command::new(program());
    agent.args(["redirect", "agent", "--instance", &instance, "--ports", "15001,15006", "--proxy-uid", "2510"]);
    agent.args(["--waive", WAIVED, "--capture", "15001", "--cgroup"]).arg(&group.0);
    let agent = Process::start(&mut agent);
    wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
    let mut injected = inject(&["--capture", "node", "--inbound-ports", "15080:8080", "--drain-delay", "0s"]);
    assert!(injected.rules.is_empty(), "{:?}", injected.rules);
    injected.group = Some(group.0.clone());
    // It is ready once its own probe was captured.
    let proxy = injected.start(&pod);
    let _app = application(&pod, 8080);
    let _other_app = application(&other, 9000);
    let ask = || {
        let url = format!("http://{}:9000/", other.ipv4);
        let mut command = within(Some(&group.0), &curl.display().to_string());
        command.args(["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
        let done = pod.enter(|| command.arg(url).output().expect("curl runs"));
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    assert_eq!(ask(), "200", "{}\n{}", agent.stderr(), proxy.stderr());
    let at = |port| SocketAddr::from((pod.ipv4, port));
    assert!(reachable(&other, at(15080)), "{}", proxy.stderr());
    assert!(!reachable(&other, at(15006)), "nobody says where it was going");
    assert_eq!(pod.enter(|| kubelet(&injected.probe)), Some(200));
    let metrics = pod.enter(|| client::get((Ipv4Addr::LOCALHOST, 15020).into(), "/metrics")).text();
    for listener in ["outbound", "inbound-15080"] {
        let line = format!("pillion_exchange_requests_total{{listener=\"{listener}\",class=\"2xx\"}} 1");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}
