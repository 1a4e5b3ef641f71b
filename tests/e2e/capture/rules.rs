//! `pillion redirect rules` against the real kernel, by each program that there is.

use super::{UID, rules};
use pillion_tests::{
    namespaces::{Pod, Switch},
    need,
    proxy::program,
    some_or_return,
};
use std::process::{Command, Stdio};

/// Everything the kernel has, as its own programs show it.
fn everything(pod: &Pod) -> String {
    let mut all = pod.run("nft", &["list", "ruleset"]);
    for (program, table) in [
        ("iptables-legacy-save", "nat"),
        ("iptables-legacy-save", "mangle"),
        ("ip6tables-legacy-save", "nat"),
        ("ip6tables-legacy-save", "mangle"),
    ] {
        all.push_str(&pod.run(program, &["-t", table]));
    }
    all = all + &pod.run("ip", &["rule", "show"]) + &pod.run("ip", &["-6", "rule", "show"]);
    // Without the time, and without the counters of the kernel's own chains.
    let lines = all.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" [").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn act(pod: &Pod, arguments: &str) -> (bool, String) {
    let output = rules(pod, arguments);
    let words = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}

#[test]
fn rules_are_installed_recognised_repaired_and_removed() {
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("iptables-legacy-save", "iptables")] {
        let _there = some_or_return!(need::program(program, package));
    }
    for backend in ["nft", "iptables-nft", "iptables-legacy"] {
        for mode in ["", "--mark 1337 --inbound-mode tproxy"] {
            let pod = switch.pod();
            let common =
                format!("--uid {UID} --backend {backend} --exclude-outbound-cidrs 169.254.0.0/16,fe80::/10 {mode}");
            let (check, install) = (format!("check {common}"), format!("install {common}"));
            assert_eq!(act(&pod, &check), (false, "not installed\n".to_owned()), "{backend} {mode}");
            let (good, words) = act(&pod, &install);
            assert!(good && words.starts_with("installed"), "{backend} {mode}: {words}");
            assert_eq!(act(&pod, &check), (true, format!("installed ({backend})\n")), "{backend} {mode}");
            let whole = everything(&pod);
            let (good, words) = act(&pod, &install);
            assert!(good && words.starts_with("already installed"), "{words}");
            assert_eq!(everything(&pod), whole, "nothing was touched");
            // Half of it goes; it is seen, and repaired.
            match backend {
                "nft" => {
                    pod.run("nft", &["flush", "chain", "inet", "pillion_redirect", "outbound"]);
                }
                kind => {
                    pod.run(&kind.replace("iptables", "ip6tables"), &["-t", "nat", "-F", "PILLION_OUTBOUND"]);
                }
            }
            let (good, words) = act(&pod, &check);
            assert!(!good && words.starts_with("partly installed"), "{backend}: {words}");
            let (good, words) = act(&pod, &install);
            assert!(good && words.starts_with("installed"), "{backend}: {words}");
            assert_eq!(act(&pod, &check).1, format!("installed ({backend})\n"));
            // So is what stands under our comments and is not ours, what stands before, and a route that leads elsewhere.
            let mut wrongs = match backend {
                "nft" => vec![renamed_rule(&pod)],
                kind => vec![
                    format!("{kind} -t nat -I OUTPUT -j ACCEPT"),
                    format!("{} -t nat -I OUTPUT -j ACCEPT", kind.replace("ip", "ip6")),
                ],
            };
            if !mode.is_empty() {
                wrongs.push("ip rule add fwmark 1338 lookup main prio 5".to_owned());
                wrongs.push(
                    "ip -6 route replace local fd00::/8 dev lo table 1338; ip -6 route del local default table 1338"
                        .to_owned(),
                );
            }
            for wrong in wrongs {
                pod.run("sh", &["-c", &wrong]);
                let (good, words) = act(&pod, &check);
                assert!(!good && words.starts_with("partly installed"), "{backend} {mode}: after {wrong}: {words}");
                let (good, words) = act(&pod, &install);
                assert!(good && words.starts_with("installed"), "{backend} {mode}: after {wrong}: {words}");
                assert_eq!(act(&pod, &check).1, format!("installed ({backend})\n"), "after {wrong}");
            }
            pod.run("sh", &["-c", "while ip rule del fwmark 1338 lookup main; do :; done 2>/dev/null; true"]);
            // Other settings replace it.
            let (good, words) = act(&pod, &format!("{install} --exclude-users 65534"));
            assert!(good, "{words}");
            let (good, words) = act(&pod, &check);
            assert!(!good && words.starts_with("partly"), "{words}");
            let (good, words) = act(&pod, "remove");
            assert!(good && words.contains("removed"), "{words}");
            let left = everything(&pod).to_lowercase();
            assert!(!left.contains("pillion") && !left.contains("0x53a"), "{backend} {mode}: {left}");
            assert_eq!(act(&pod, "remove"), (true, "nothing was installed\n".to_owned()));
        }
    }
}

/// What stands there and does nothing is not installed; what others do to connections is told.
#[test]
fn a_table_that_sleeps_is_woken_and_rules_that_hide_connections_are_told_of() {
    let switch = some_or_return!(Switch::new());
    let _nft = some_or_return!(need::program("nft", "nftables"));
    let pod = switch.pod();
    let with = |act: &str| format!("{act} --uid {UID} --backend nft");
    assert!(act(&pod, &with("install")).0);
    pod.run("nft", &["add", "table", "inet", "pillion_redirect", "{ flags dormant; }"]);
    let (good, words) = act(&pod, &with("check"));
    assert!(!good && words.contains("the table is dormant"), "{words}");
    assert!(act(&pod, &with("install")).0);
    assert_eq!(act(&pod, &with("check")), (true, "installed (nft)\n".to_owned()));
    pod.run("nft", &["add", "table", "ip", "other"]);
    pod.run("nft", &["add chain ip other output { type filter hook output priority raw; }"]);
    pod.run("nft", &["add rule ip other output udp dport 53 notrack"]);
    assert_eq!(act(&pod, &with("check")), (true, "installed (nft)\n".to_owned()));
    pod.run("nft", &["add rule ip other output tcp dport 80 notrack"]);
    let (good, words) = act(&pod, &with("check"));
    assert!(good && words.contains("untracked") && words.contains("tcp dport 80 notrack"), "{words}");
    pod.run("nft", &["add set inet pillion_redirect names { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }"]);
    let (good, words) = act(&pod, &with("check"));
    assert!(!good && words.contains("partly installed: `set names` in our table"), "{words}");
    assert!(act(&pod, &with("install")).0);
    pod.run("nft", &["delete table ip other"]);
    pod.run("nft", &["add table ip other"]);
    pod.run("nft", &["add chain ip other ahead { type nat hook output priority -101; }"]);
    assert_eq!(act(&pod, &with("check")), (true, "installed (nft)\n".to_owned()));
    pod.run("nft", &["add rule ip other ahead tcp dport 5432 redirect to :1"]);
    let (good, words) = act(&pod, &with("check"));
    assert!(
        good && words.contains("before ours") && words.contains("table ip other: tcp dport 5432 redirect to :1"),
        "{words}"
    );
}

/// A command that puts another rule under the comment of the last one of the outbound chain.
fn renamed_rule(pod: &Pod) -> String {
    let listing = pod.run("nft", &["-a", "list", "chain", "inet", "pillion_redirect", "outbound"]);
    let last = listing.lines().rfind(|line| line.contains("redirect to :15001")).expect("it redirects");
    let (rule, handle) = last.rsplit_once(" # handle ").expect("rules have handles");
    let comment = rule.split('"').nth_back(1).expect("a comment");
    format!(
        "nft replace rule inet pillion_redirect outbound handle {handle} tcp dport 1 redirect to :1 comment '\"{comment}\"'"
    )
}

/// An init container that is run anew beside the first, a unit that is started twice.
#[test]
fn who_installs_at_once_takes_turns_and_all_succeed() {
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("iptables-legacy-save", "iptables")] {
        let _there = some_or_return!(need::program(program, package));
    }
    for backend in ["nft", "iptables-nft", "iptables-legacy"] {
        let pod = switch.pod();
        let with = |act: &str| format!("{act} --uid {UID} --backend {backend}");
        for round in 0..3 {
            let started: Vec<_> = pod.enter(|| {
                let start = |_| {
                    let mut command = Command::new(program());
                    command.args(["redirect", "rules"]).args(with("install").split_whitespace());
                    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
                };
                (0..4).map(start).collect()
            });
            let mut installed = 0;
            for child in started {
                let output = child.wait_with_output().expect("it ends");
                let words = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
                assert!(output.status.success(), "{backend}, {round}: {words}");
                installed += usize::from(words.starts_with("installed"));
            }
            assert_eq!(installed, 1, "the others find it done");
            assert_eq!(act(&pod, &with("check")), (true, format!("installed ({backend})\n")), "{round}");
            assert!(act(&pod, "remove").0);
        }
    }
}

/// Rules of two backends would send a connection through both.
#[test]
fn rules_of_another_backend_are_seen_and_give_way() {
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("iptables-legacy-save", "iptables")] {
        let _there = some_or_return!(need::program(program, package));
    }
    let backends = ["nft", "iptables-nft", "iptables-legacy"];
    let pairs = backends.into_iter().flat_map(|first| backends.map(|second| (first, second)));
    for (first, second) in pairs.filter(|(first, second)| first != second) {
        let pod = switch.pod();
        let with = |act: &str, backend: &str| format!("{act} --uid {UID} --backend {backend}");
        assert!(act(&pod, &with("install", first)).0);
        let (good, words) = act(&pod, &with("check", second));
        assert!(!good && words.contains(first) && words.contains("rules install"), "{first}, {second}: {words}");
        assert!(!words.contains("before ours"), "they are ours: {first}, {second}: {words}");
        let (good, words) = act(&pod, &with("install", second));
        assert!(good && words.contains("removed those of another backend"), "{first}, {second}: {words}");
        assert_eq!(act(&pod, &with("check", second)), (true, format!("installed ({second})\n")), "{first}, {second}");
        assert_eq!(act(&pod, "remove").1.lines().count(), 1, "one backend's alone were there");
    }
}

#[test]
fn who_may_not_look_is_told_so_and_not_that_there_is_nothing() {
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("setpriv", "util-linux")] {
        let _there = some_or_return!(need::program(program, package));
    }
    let pod = switch.pod();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", UID, "--regid", UID, "--clear-groups"]).arg(program());
    command.args(["redirect", "rules", "remove"]);
    let output = pod.enter(|| command.output().expect("it runs"));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("CAP_NET_ADMIN"), "{output:?}");
}

/// nft sees no rules of iptables-legacy, which needs CAP_NET_RAW beside CAP_NET_ADMIN.
#[test]
fn without_the_capabilities_nothing_is_said_to_be_removed() {
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("iptables-legacy-save", "iptables"), ("setpriv", "util-linux")] {
        let _there = some_or_return!(need::program(program, package));
    }
    for backend in ["nft", "iptables-nft", "iptables-legacy"] {
        let pod = switch.pod();
        assert!(act(&pod, &format!("install --uid {UID} --backend {backend}")).0);
        let whole = everything(&pod);
        let mut refused = vec!["-net_admin,-net_raw", "-net_admin"];
        if backend == "iptables-legacy" {
            refused.push("-net_raw");
        }
        for dropped in refused {
            let (code, words) = without(&pod, dropped, "remove");
            assert_eq!(code, Some(1), "{backend} {dropped}: {words}");
            // The remedy, once.
            assert_eq!(words.matches("this needs CAP_NET_ADMIN, and CAP_NET_RAW").count(), 1, "{backend}: {words}");
            assert_eq!(everything(&pod), whole, "{backend} {dropped}: nothing was touched");
        }
        let (good, words) = act(&pod, "remove");
        assert!(good && words.starts_with("removed"), "{backend}: {words}");
    }
}

/// What an act says without these capabilities.
fn without(pod: &Pod, dropped: &str, act: &str) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command.args([format!("--bounding-set={dropped}"), format!("--inh-caps={dropped}")]).arg(program());
    command.args(["redirect", "rules"]).args(act.split_whitespace());
    let output = pod.enter(|| command.output().expect("it runs"));
    (output.status.code(), String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
}

/// Only nft can look then, and what iptables-legacy has would not be seen.
#[test]
fn rules_that_may_be_hidden_are_told_of() {
    const HIDDEN: &str = "whether iptables-legacy has rules here cannot be told";
    let switch = some_or_return!(Switch::new());
    for (program, package) in [("nft", "nftables"), ("iptables-legacy-save", "iptables"), ("setpriv", "util-linux")] {
        let _there = some_or_return!(need::program(program, package));
    }
    let with = |act: &str, backend: &str| format!("{act} --uid {UID} --backend {backend}");
    let pod = switch.pod();
    assert!(act(&pod, &with("install", "iptables-legacy")).0);
    let (code, words) = without(&pod, "-net_raw", &with("check", "nft"));
    assert!(code == Some(1) && words.starts_with("not installed\n") && words.contains(HIDDEN), "{words}");
    let (code, words) = without(&pod, "-net_raw", &with("install", "nft"));
    assert!(code == Some(0) && words.starts_with("installed (nft)\n") && words.contains(HIDDEN), "{words}");
    let (code, words) = without(&pod, "-net_raw", &with("check", "nft"));
    assert!(code == Some(1) && words.starts_with("installed (nft)\n") && words.contains(HIDDEN), "{words}");
    // Who may look sees both.
    let (good, words) = act(&pod, &with("check", "nft"));
    assert!(!good && words.contains("those of iptables-legacy are there beside those of nft"), "{words}");
    let (good, words) = without(&pod, "-net_raw", "remove");
    assert!(good == Some(1) && words.starts_with("removed (nft)\n") && words.contains(HIDDEN), "{words}");
    assert_eq!(act(&pod, "remove"), (true, "removed (iptables-legacy)\n".to_owned()));
    // Tables that hold nothing of ours whatever they hold are no reason to doubt.
    let other = switch.pod();
    other.run("iptables-legacy-save", &["-t", "filter"]);
    assert!(act(&other, &with("install", "nft")).0);
    let found = without(&other, "-net_raw", &with("check", "nft"));
    assert_eq!(found, (Some(0), "installed (nft)\n".to_owned()));
}

#[test]
fn a_dry_run_prints_and_changes_nothing() {
    let switch = some_or_return!(Switch::new());
    let pod = switch.pod();
    let _nft = some_or_return!(need::program("nft", "nftables"));
    for backend in ["nft", "iptables"] {
        let (good, words) = act(&pod, &format!("install --uid {UID} --backend {backend} --dry-run"));
        assert!(good && words.contains("15001") && words.contains("15099"), "{words}");
    }
    assert_eq!(pod.run("nft", &["list", "ruleset"]), "");
    let (good, words) = act(&pod, "install");
    assert!(!good && words.contains("--uid, --mark or both"), "{words}");
}
