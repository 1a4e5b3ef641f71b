//! Settings and the text they become; what is listed and what it is judged to be.

use super::{
    settings::{Families, Family, SettingsError},
    *,
};

fn settings() -> Settings {
    Settings { uids: vec![1337], ..Settings::default() }
}

/// Everything there is.
fn full() -> Settings {
    Settings {
        mark: Some(7),
        inbound_mode: InboundMode::Tproxy,
        exclude_outbound_ports: vec![22, 9100],
        exclude_inbound_ports: vec![15_020],
        exclude_outbound_cidrs: vec!["169.254.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()],
        exclude_inbound_cidrs: vec!["10.0.0.1".parse().unwrap()],
        exclude_users: vec![65_534],
        ..settings()
    }
}

/// The rules of a text without what tells them apart.
fn plain(text: &str) -> Vec<String> {
    let without = |line: &str| match line.split_once(" comment \"") {
        Some((rule, _)) => rule.trim().to_owned(),
        None => match line.split_once("-m comment --comment \"") {
            Some((matches, rest)) => format!("{matches}{}", rest.split_once("\" ").map_or("", |(_, target)| target)),
            None => line.trim().to_owned(),
        },
    };
    text.lines().map(without).collect()
}

#[test]
fn nft_rules_stand_in_their_order() {
    let text = nft::ruleset(&full());
    let expected = "table inet pillion_redirect
delete table inet pillion_redirect
table inet pillion_redirect {
chain outbound {
type nat hook output priority -100; policy accept;
ip daddr 127.0.0.1 tcp dport 15099 redirect to :15001
ip6 daddr ::1 tcp dport 15099 redirect to :15001
meta l4proto != tcp return
meta skuid { 1337 } return
meta mark 7 return
oifname \"lo\" return
fib daddr type local return
ip6 daddr fe80::/10 return
meta skuid { 65534 } return
tcp dport { 22, 9100 } return
ip daddr 169.254.0.0/16 return
ip6 daddr fd00::/8 return
meta l4proto tcp redirect to :15001
}
chain inbound {
type filter hook prerouting priority -150; policy accept;
iifname \"lo\" ip6 saddr fe80::/10 return
iifname \"lo\" meta mark 7 fib saddr type != local ct mark set 1338
iifname \"lo\" return
meta l4proto != tcp return
tcp dport { 15020 } return
ip saddr 10.0.0.1/32 return
ct direction reply return
meta nfproto ipv4 meta l4proto tcp tproxy ip to :15006 meta mark set 1338
meta nfproto ipv6 meta l4proto tcp tproxy ip6 to :15006 meta mark set 1338
}
chain answers {
type route hook output priority -150; policy accept;
ct direction reply ct mark 1338 meta mark set 1338
}
}";
    assert_eq!(plain(&text).join("\n"), expected);
    assert!(text.contains("comment \"pillion 1/13 "), "{text}");
}

#[test]
fn iptables_rules_are_of_one_family() {
    let of = |family| plain(&iptables::text(&iptables::rules(&full(), family), &[])).join("\n");
    let four = of(Family::Ipv4);
    let expected = "*nat
:PILLION_OUTBOUND - [0:0]
-A PILLION_OUTBOUND -d 127.0.0.1/32 -p tcp --dport 15099 -j REDIRECT --to-ports 15001
-A PILLION_OUTBOUND -m owner --uid-owner 1337 -j RETURN
-A PILLION_OUTBOUND -m mark --mark 7 -j RETURN
-A PILLION_OUTBOUND -o lo -j RETURN
-A PILLION_OUTBOUND -m addrtype --dst-type LOCAL -j RETURN
-A PILLION_OUTBOUND -m owner --uid-owner 65534 -j RETURN
-A PILLION_OUTBOUND -p tcp --dport 22 -j RETURN
-A PILLION_OUTBOUND -p tcp --dport 9100 -j RETURN
-A PILLION_OUTBOUND -d 169.254.0.0/16 -j RETURN
-A PILLION_OUTBOUND -p tcp -j REDIRECT --to-ports 15001
-I OUTPUT 1 -p tcp -j PILLION_OUTBOUND
COMMIT
*mangle
:PILLION_INBOUND - [0:0]
:PILLION_ANSWERS - [0:0]
-A PILLION_INBOUND -i lo -p tcp -m mark --mark 7 -m addrtype ! --src-type LOCAL -j CONNMARK --set-mark 1338
-A PILLION_INBOUND -i lo -j RETURN
-A PILLION_INBOUND -p tcp --dport 15020 -j RETURN
-A PILLION_INBOUND -s 10.0.0.1/32 -j RETURN
-A PILLION_INBOUND -m conntrack --ctdir REPLY -j RETURN
-A PILLION_INBOUND -p tcp -j TPROXY --on-port 15006 --tproxy-mark 1338
-I PREROUTING 1 -p tcp -j PILLION_INBOUND
-A PILLION_ANSWERS -p tcp -m conntrack --ctdir REPLY -m connmark --mark 1338 -j MARK --set-mark 1338
-I OUTPUT 1 -p tcp -j PILLION_ANSWERS
COMMIT";
    assert_eq!(four, expected);
    let six = of(Family::Ipv6);
    assert!(six.contains("-d ::1/128") && six.contains("-d fd00::/8") && !six.contains("169.254"), "{six}");
}

/// What is told of a captured destination lacks the interface, without which a link-local address of IPv6 is nowhere.
#[test]
fn link_local_destinations_are_left_alone() {
    assert!(plain(&nft::ruleset(&settings())).contains(&"ip6 daddr fe80::/10 return".to_owned()));
    let of = |family| plain(&iptables::text(&iptables::rules(&settings(), family), &[])).join("\n");
    assert!(of(Family::Ipv6).contains("-d fe80::/10 -j RETURN"));
    assert!(!of(Family::Ipv4).contains("fe80"));
    let four = nft::ruleset(&Settings { families: Families::Ipv4, ..settings() });
    assert!(!four.contains("fe80"), "{four}");
}

/// As `nft list table` shows a set.
fn shown(settings: &Settings) -> String {
    let text = nft::ruleset(settings);
    text.split_once(&format!("delete table inet {}\n", nft::TABLE)).unwrap().1.to_owned()
}

#[test]
fn a_set_is_recognised_and_a_half_installed_one_too() {
    let judged = |listing: &str| judge(&nft::marked(&full()), &nft::listed(listing));
    let whole = shown(&full());
    assert_eq!(judged(&whole), Installed::Whole);
    let lines: Vec<&str> = whole.lines().collect();
    // Without any one line that is a rule or a hook, it is not whole.
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("\t\t")) {
        let less = [&lines[..at], &lines[at + 1..]].concat().join("\n");
        assert!(matches!(judged(&less), Installed::Partly(_)), "without {line}");
    }
    let foreign =
        whole.replace("\tchain inbound {\n", "\tchain other {\n\t\ttcp dport 1 accept\n\t}\n\tchain inbound {\n");
    assert!(matches!(judged(&foreign), Installed::Partly(words) if words.contains("the chain other (without a hook)")));
    for (beside, name) in [
        (
            "\tset names {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n\n",
            "`set names`",
        ),
        ("\tct helper ftp {\n\t\ttype \"ftp\" protocol tcp\n\t}\n", "`ct helper ftp`"),
        ("\tcomment \"mine\"\n", "`comment \"mine\"`"),
    ] {
        let with = whole.replacen("{\n", &format!("{{\n{beside}"), 1);
        assert!(matches!(judged(&with), Installed::Partly(words) if words.contains(name)), "{with}");
        let last = whole.strip_suffix("}\n").unwrap().to_owned() + beside + "}\n";
        assert!(matches!(judged(&last), Installed::Partly(words) if words.contains(name)), "{last}");
    }
    assert!(matches!(judged(&shown(&settings())), Installed::Partly(_)), "other settings");
    assert!(matches!(judged("table inet pillion_redirect {\n}\n"), Installed::Partly(_)), "an empty table");
}

#[test]
fn a_table_that_sleeps_and_rules_that_hide_connections_are_seen() {
    let whole = shown(&full());
    assert!(!nft::is_dormant(&whole));
    let asleep = whole.replacen("{\n", "{\n\tflags dormant\n\n", 1);
    assert!(nft::is_dormant(&asleep) && nft::is_dormant(&whole.replacen("{\n", "{\n\tflags owner,dormant\n", 1)));
    let other = "table ip raw {\n\tchain output {\n\t\ttype filter hook output priority raw; policy accept;\n\t\ttcp dport 80 \
                 notrack\n\t\tudp dport 53 notrack\n\t\tmeta l4proto { tcp, udp } notrack\n\t}\n}\n";
    let found: Vec<String> = nft::untracked(&format!("{whole}{other}")).collect();
    assert_eq!(found, ["tcp dport 80 notrack", "meta l4proto { tcp, udp } notrack"]);
}

#[test]
fn rules_that_send_connections_elsewhere_before_ours_are_seen() {
    let whole = shown(&full());
    let found = |hook: &str, rule: &str, settings: &Settings, tables: &str| {
        let other = format!(
            "table ip nat {{\n\tchain OUTPUT {{\n\t\ttype nat hook {hook}; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
        );
        rivals::rivals(&format!("{whole}{other}"), settings, tables)
    };
    let dnat = "tcp dport 80 dnat to 10.0.0.1:81";
    for (hook, rule) in [
        ("output priority -100", dnat),
        ("output priority dstnat - 10", dnat),
        ("prerouting priority mangle", dnat),
        ("output priority -300", "meta l4proto tcp counter packets 0 bytes 0 xt target \"REDIRECT\""),
        ("output priority -101", "meta l4proto { tcp, udp } redirect to :1"),
    ] {
        assert_eq!(found(hook, rule, &settings(), "nft"), [format!("table ip nat: {rule}")], "{hook}");
        assert!(found(hook, rule, &settings(), "iptables-nft").is_empty(), "there ours stand in it");
    }
    for (hook, rule) in [
        ("output priority dstnat + 1", dnat),
        ("output priority filter", dnat),
        ("postrouting priority -200", dnat),
        ("output priority -100", "udp dport 53 dnat to 10.0.0.1:53"),
        ("output priority -100", "tcp dport 80 return"),
    ] {
        assert!(found(hook, rule, &settings(), "nft").is_empty(), "{hook} {rule}");
    }
    // iptables-legacy has tables of its own: what stands in nft's is another's.
    assert_eq!(found("output priority dstnat", dnat, &settings(), "iptables-legacy").len(), 1);
    // Ours, by iptables-nft: they are told of as installed by another backend.
    let by_iptables = "table ip nat {\n\tchain PILLION_OUTBOUND {\n\t\tmeta l4proto tcp counter packets 0 bytes 0 redirect to \
                       :15001\n\t}\n\n\tchain OUTPUT {\n\t\ttype nat hook output priority dstnat; policy accept;\n\t\tmeta l4proto tcp \
                       counter packets 0 bytes 0 jump PILLION_OUTBOUND\n\t}\n}\n";
    for tables in ["nft", "iptables-legacy"] {
        assert!(rivals::rivals(by_iptables, &settings(), tables).is_empty(), "{tables}");
        let beside = by_iptables.replace("jump PILLION_OUTBOUND", &format!("jump PILLION_OUTBOUND\n\t\t{dnat}"));
        assert_eq!(rivals::rivals(&beside, &settings(), tables), [format!("table ip nat: {dnat}")], "{tables}");
    }
    let inbound_alone = Settings { outbound_port: None, ..settings() };
    assert!(found("output priority -100", dnat, &inbound_alone, "nft").is_empty());
}

#[test]
fn iptables_jumps_are_there_once() {
    let rules = iptables::rules(&full(), Family::Ipv4);
    let text =
        iptables::text(&rules, &[]).replace("-I PREROUTING 1", "-A PREROUTING").replace("-I OUTPUT 1", "-A OUTPUT");
    let judged = |saved: &str| judge(&iptables::marked(&rules), &iptables::listed(saved));
    assert_eq!(judged(&text), Installed::Whole);
    assert_eq!(judged("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j ACCEPT\nCOMMIT\n"), Installed::Absent);
    for line in text.lines().filter(|line| line.starts_with("-A ")) {
        let less = text.replace(&format!("{line}\n"), "");
        assert!(matches!(judged(&less), Installed::Partly(_)), "without {line}");
        let twice = text.replace(line, &format!("{line}\n{line}"));
        assert!(matches!(judged(&twice), Installed::Partly(_)), "twice {line}");
    }
}

#[test]
fn lists_that_say_the_same_are_the_same_set() {
    let set = |uids: &[u32], ports: &[u16], networks: &[&str]| {
        let settings = Settings {
            uids: uids.to_vec(),
            exclude_outbound_ports: ports.to_vec(),
            exclude_inbound_ports: ports.to_vec(),
            exclude_users: uids.to_vec(),
            exclude_outbound_cidrs: networks.iter().map(|network| network.parse().unwrap()).collect(),
            exclude_inbound_cidrs: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..settings()
        };
        nft::ruleset(&settings.validate().unwrap())
    };
    let one = set(&[1337, 1338], &[22, 9100], &["10.0.0.0/8", "0.0.0.0/0", "fd00::/8", "::/0", "10.0.0.1"]);
    let other =
        set(&[1338, 1337, 1338], &[9100, 22], &["::1/0", "10.0.0.1/32", "fd12::7/8", "10.1.2.3/8", "255.1.1.1/0"]);
    assert_eq!(one, other);
    assert!(one.contains("ip daddr 10.0.0.0/8 return") && one.contains("ip6 daddr fd00::/8 return"), "{one}");
    assert_ne!(one, set(&[1337], &[22, 9100], &["10.0.0.0/8"]));
}

#[test]
fn settings_that_do_harm_are_refused() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        settings.validate().map(drop)
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|settings| settings.uids.clear()), Err(SettingsError::NobodyExempt));
    assert_eq!(with(&|settings| settings.uids = vec![0]), Err(SettingsError::RootExempt));
    assert_eq!(with(&|settings| settings.inbound_mode = InboundMode::Tproxy), Err(SettingsError::NoMark));
    assert_eq!(with(&|settings| settings.mark = Some(1338)), Err(SettingsError::MarkTaken));
    assert_eq!(with(&|settings| settings.probe_port = Some(15_001)), Err(SettingsError::SamePorts));
    let nothing = |settings: &mut Settings| (settings.outbound_port, settings.inbound_port) = (None, None);
    assert_eq!(with(&nothing), Err(SettingsError::Nothing));
}
