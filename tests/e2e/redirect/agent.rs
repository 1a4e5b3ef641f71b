//! The node agent: what it tells of what it sees, and what is said beside it.

use super::{Detached, Unified, WAIVED, instance, is_root, redirect, redirected, redirecting, section, status};
use pillion_tests::{
    client::Client,
    metrics::Metrics,
    need,
    origin::Origin,
    port,
    process::Process,
    proxy::{self, Proxy, Shape},
    response::Response,
    some_or_return, wait,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{net::SocketAddr, path::Path, process::Command, thread, time::Duration};

/// A user that nothing else here runs as.
const UID: &str = "61338";

/// The proxy of this configuration, as that user and without a capability.
fn unprivileged(setpriv: &Path, yaml: &str) -> Proxy {
    Proxy::start_with(yaml, |program| {
        let mut command = Command::new("sh");
        // The file is root's own; the descriptor is not.
        let words = format!(
            "chmod 755 \"$(dirname \"$4\")\" && exec {} --reuid={UID} --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"",
            setpriv.display()
        );
        command.args(["-c", &words]).arg(program);
        command
    })
}

fn agent(arguments: &[&str]) -> Process {
    let mut command = Command::new(proxy::program());
    Process::start(command.args(["redirect", "agent", "--waive", WAIVED]).args(arguments))
}

fn get(at: SocketAddr, method: &str, path: &str) -> Response {
    Client::connect(at).exchange(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// The lines of a watch, as JSON.
fn lines(of: &Process) -> Vec<Value> {
    of.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn watch(instance: &str) -> Process {
    Process::start(Command::new(proxy::program()).args([
        "redirect",
        "status",
        "--watch",
        "--json",
        "--instance",
        instance,
    ]))
}

#[test]
fn it_tells_what_it_sees_and_the_proxy_beside_it_says_who_attaches() {
    let setpriv = some_or_return!(need::program("setpriv", "util-linux"));
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let top = format!("redirect: {{ by: agent, instance: {name} }}");
    let proxy = unprivileged(&setpriv, &Shape { top: &top, ..Shape::default() }.yaml(&[origin.address]));
    let page = || proxy.admin_get("/redirect?format=json").json();
    let before = page();
    assert_eq!(before["by"], "agent", "{before}");
    assert_ne!(before["attached"], true, "{before}");
    let refused = proxy.admin_post("/redirect?switch=off");
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains(&format!("pillion redirect switch --instance {name} --to off")),
        "{}",
        refused.text()
    );

    let metrics = port::free();
    let mut agent = agent(&[
        "--instance",
        &name,
        "--ports",
        &proxy.address.port().to_string(),
        "--proxy-uid",
        UID,
        "--metrics",
        &metrics.to_string(),
    ]);
    wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
    // Whoever watches by hand is in its way neither before it nor after it.
    let watching = watch(&name);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    let shown = || Metrics::parse(&get(metrics, "GET", "/metrics").text());
    wait::until_true("what it counts", || {
        // Should the watch have been there for the first of them.
        assert_eq!(proxy.get("/").status, 200);
        let shown = shown();
        shown.sum("pillion_redirect_on", &[]) == 1.0
            && shown.sum("pillion_redirect_messages_total", &["way=\"redirected\""]) >= 20.0
            && shown.sum("pillion_redirect_closed_total", &[]) >= 20.0
            && shown.sum("pillion_redirect_connection_seconds_count", &[]) >= 20.0
    });
    assert_eq!(shown().sum("pillion_redirect_attaches_total", &["outcome=\"attached\""]), 1.0);
    assert!(shown().sum("pillion_redirect_load_seconds", &[]) > 0.0);
    wait::until_true("the same from the watch", || {
        lines(&watching).last().is_some_and(|line| line["ended"]["in_order"].as_u64() >= Some(10))
    });
    assert!(status(&name).unwrap()["ended"]["lived_seconds"]["count"].as_u64() >= Some(20));

    // What this user may see of it: the names of its pins, where the directories let it.
    let now = page();
    let words = proxy.admin_get("/redirect").text();
    match &now["attached"] {
        Value::Bool(true) => {
            assert!(now["programs"].as_array().is_some_and(|programs| programs.contains(&"enrol".into())), "{now}");
            assert!(words.contains("attached by an agent: ") && words.contains("status --instance"), "{words}");
        }
        Value::Null => assert!(words.contains("may not look into") || words.contains("no bpf file system"), "{words}"),
        _ => panic!("{now}"),
    }
    // Nor has it series of what it cannot see.
    assert!(!proxy.metrics().has("pillion_redirect_on"));

    assert_eq!(get(metrics, "GET", "/readyz").status, 200);
    assert_eq!(get(metrics, "POST", "/metrics").status, 405);
    assert_eq!(get(metrics, "GET", "/config_dump").status, 404);
    assert!(redirect(&["switch", "--to", "off", "--instance", &name]).0);
    wait::until_true("the switch to be seen", || get(metrics, "GET", "/readyz").status == 503);
    assert_eq!(shown().sum("pillion_redirect_on", &[]), 0.0);
    agent.signal(Signal::TERM);
    assert!(agent.wait(wait::SOON).success(), "{}", agent.stderr());
    proxy.assert_healthy();
}

/// Somebody wants it so: it is not attached again behind his back, and who reads the log learns what is missing.
#[test]
fn that_it_was_detached_by_another_hand_is_said_once_with_the_remedy() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let metrics = port::free();
    let mut agent = agent(&["--instance", &name, "--ports", "15001", "--metrics", &metrics.to_string()]);
    let ready = || get(metrics, "GET", "/readyz");
    wait::until_true("the agent", || agent.stderr().contains("redirect attached") && ready().status == 200);
    let errors =
        || agent.stderr().lines().filter(|line| line.contains(" error ")).map(str::to_owned).collect::<Vec<_>>();
    for said in 1..=2 {
        assert!(redirect(&["detach", "--instance", &name]).0);
        wait::until_true("it to be said", || errors().len() == said);
        let words = &errors()[said - 1];
        assert!(words.contains("detached by somebody else") && words.contains("start the agent again"), "{words}");
        let refused = ready();
        assert_eq!(refused.status, 503);
        assert!(refused.text().contains("detached by somebody else: start the agent again"), "{}", refused.text());
        thread::sleep(Duration::from_secs(2));
        assert!(status(&name).is_none(), "it is not attached again by itself");
        let (attached, words) = redirect(&["attach", "--instance", &name, "--ports", "15001", "--waive", WAIVED]);
        assert!(attached, "{words}");
        wait::until_true("it to be attached again", || {
            ready().status == 200 && agent.stderr().matches("attached again, by somebody else").count() == said
        });
        assert_eq!(errors().len(), said, "{}", agent.stderr());
    }
    agent.signal(Signal::TERM);
    assert!(agent.wait(wait::SOON).success(), "{}", agent.stderr());
}

#[test]
fn where_its_metrics_address_is_taken_it_attaches_nothing() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut agent = agent(&["--instance", &name, "--ports", "15001", "--metrics", &address]);
    assert!(!agent.wait(wait::SOON).success());
    assert!(agent.stderr().contains(&format!("--metrics {address}: cannot listen")), "{}", agent.stderr());
    assert!(status(&name).is_none());
}

#[test]
fn a_watch_that_was_there_first_leaves_the_events_to_the_proxy() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let (attached, words) = redirect(&["attach", "--instance", &name, "--ports", "15001", "--waive", WAIVED]);
    assert!(attached, "{words}");
    let watching = watch(&name);
    wait::until_true("its first line", || !lines(&watching).is_empty());
    let origin = Origin::start();
    let proxy = redirecting(&name, origin.address);
    // Within a second of its start the proxy is told of all there is.
    wait::until_true("the proxy to be told", || {
        assert_eq!(proxy.get("/").status, 200);
        proxy.metrics().sum("pillion_redirect_closed_total", &[]) > 0.0
    });
    let told = proxy.metrics().sum("pillion_redirect_connection_seconds_count", &[]);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").status, 200);
    }
    proxy.await_metric("pillion_redirect_connection_seconds_count", &[], |count| count >= told + 20.0);
    wait::until_true("the watch to see them too", || {
        lines(&watching).last().is_some_and(|line| line["ended"]["lived_seconds"]["count"].as_u64() >= Some(20))
    });
}

#[test]
fn the_status_says_that_the_cgroup_has_gone() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let group = some_or_return!(Unified::new(&name));
    let path = group.0.display().to_string();
    let (attached, words) =
        redirect(&["attach", "--instance", &name, "--ports", "15001", "--cgroup", &path, "--waive", WAIVED]);
    assert!(attached, "{words}");
    let words = || redirect(&["status", "--instance", &name]).1;
    assert!(words().contains(&format!("redirect: attached\ncgroup: {path}\n")), "{}", words());
    drop(group);
    wait::until_true("the kernel to let go of it", || words().contains("attached to a cgroup that has gone"));
    let json = status(&name).unwrap();
    assert_eq!((&json["severed"], &json["cgroup_id"]), (&json["programs"], &Value::Null), "{json}");
}

/// Four times as many ends as the ring holds, as fast as four clients bring them about: whoever takes them but once a second drops
/// some.
#[test]
fn ends_of_many_short_connections_are_all_told() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let proxy = redirecting(&name, origin.address);
    let told = |proxy: &Proxy| proxy.metrics().sum("pillion_redirect_closed_total", &[]);
    let before = told(&proxy);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    assert_eq!(proxy.get("/").status, 200);
                }
            });
        }
    });
    wait::until_true("all of them to be told", || told(&proxy) >= before + 8_000.0);
    assert_eq!(proxy.metrics().sum("pillion_redirect_events_dropped_total", &[]), 0.0);
}

/// A kubelet makes the pods' cgroup anew when its driver is changed, and agents live on.
#[test]
fn an_agent_follows_its_cgroup_when_it_is_made_anew() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let group = some_or_return!(Unified::new(&name));
    let path = group.0.display().to_string();
    let mut agent = agent(&["--instance", &name, "--ports", "15001", "--cgroup", &path]);
    wait::until_true("the agent", || agent.stderr().contains("redirect attached"));
    drop(group);
    wait::until_true("the end of the cgroup to be said", || agent.stderr().contains("a cgroup that has gone"));
    let _group = some_or_return!(Unified::new(&name));
    wait::until_true("it to be attached again", || {
        agent.stderr().contains("attached to the cgroup that was made anew")
    });
    let json = status(&name).unwrap();
    assert!(json["attached"] == true && json["severed"].as_array().is_none_or(Vec::is_empty), "{json}");
    agent.signal(Signal::TERM);
    assert!(agent.wait(wait::SOON).success(), "{}", agent.stderr());
    assert!(status(&name).is_none());
}

/// A connection that lives on when its programs have gone, maps that go with the last of them, and others' hands in it: what was
/// counted goes on, and nothing goes backward.
#[test]
fn counters_go_on_over_detaching_and_attaching() {
    if !is_root() {
        return;
    }
    let name = instance();
    let _detached = Detached(name.clone());
    let origin = Origin::start();
    let with = Shape { top: &section(&name), ..Shape::default() }.yaml(&[origin.address]);
    let without = Shape::default().yaml(&[origin.address]);
    let proxy = Proxy::start(&with);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    let mut seen: Vec<f64> = Vec::new();
    let mut onward = |what: &str| {
        let metrics = proxy.metrics();
        let mut now: Vec<f64> =
            ["redirected", "off", "no_peer", "gone", "order", "slow", "large", "unready", "unknown"]
                .iter()
                .map(|way| metrics.sum("pillion_redirect_messages_total", &[&format!("way=\"{way}\"")]))
                .collect();
        now.extend(
            ["ends_total", "bytes_total", "closed_total", "held_total"]
                .map(|of| metrics.sum(&format!("pillion_redirect_{of}"), &[])),
        );
        assert!(seen.iter().zip(&now).all(|(before, now)| before <= now), "{what}: {seen:?}, then {now:?}");
        seen = now;
    };
    let messages = |way: &str| proxy.metrics().sum("pillion_redirect_messages_total", &[&format!("way=\"{way}\"")]);
    let reload = |yaml: &str| {
        proxy.replace_config(yaml);
        let done = proxy.admin_post("/reload");
        assert_eq!(done.status, 200, "{}", done.text());
    };
    let mut kept = proxy.connect();
    assert_eq!(kept.get("/").status, 200);
    assert_eq!(kept.get("/").status, 200);
    wait::until_true("messages to be redirected", || messages("redirected") >= 2.0);
    onward("attached");
    for round in 0..2 {
        // Not wanted any more: what is open goes on through TCP, and is counted so.
        reload(&without);
        wait::until_true("it to be detached", || status(&name).is_some_and(|status| status["attached"] == false));
        let (off, redirected) = (messages("off"), messages("redirected"));
        assert_eq!(kept.get("/").status, 200);
        wait::until_true("what goes through TCP to be counted", || messages("off") > off);
        assert_eq!(messages("redirected"), redirected);
        onward("detached");
        reload(&with);
        proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
        let redirected = messages("redirected");
        assert_eq!(kept.get("/").status, 200);
        assert_eq!(proxy.get("/").status, 200);
        wait::until_true("messages to be redirected again", || messages("redirected") > redirected);
        onward(&format!("attached again, {round}"));
    }
    // The last connection takes the maps with it, and nothing is left; then from new maps on.
    reload(&without);
    drop(kept);
    wait::until_true("nothing to be left", || status(&name).is_none());
    onward("gone");
    reload(&with);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    onward("new maps");
    let before = messages("redirected");
    assert_eq!(proxy.get("/").status, 200);
    wait::until_true("new maps to be counted", || messages("redirected") > before);
    onward("counted in new maps");
    // Others take it away, and put it back.
    wait::until_true("no connection to be left", || status(&name).is_some_and(|now| now["maps"]["sockets"] == 0));
    assert!(redirect(&["detach", "--instance", &name]).0);
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 0.0);
    onward("detached by hand");
    // Each look at what has gone, one a second, sees the same.
    let ends = || proxy.metrics().sum("pillion_redirect_ends_total", &[]);
    let before = ends();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ends(), before, "nothing happened");
    let (port, pid) = (proxy.address.port().to_string(), proxy.pid().to_string());
    let (attached, words) =
        redirect(&["attach", "--instance", &name, "--ports", &port, "--proxy-pid", &pid, "--waive", WAIVED]);
    assert!(attached, "{words}");
    proxy.await_metric("pillion_redirect_on", &[], |on| on == 1.0);
    let before = messages("redirected");
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status, 200);
    }
    assert!(redirected(&name) > 0);
    wait::until_true("what was attached by hand to be counted", || messages("redirected") > before);
    onward("attached by hand");
}
