//! Lines and what is made of them.

use super::*;

fn line(line: &str) -> Result<Command, Stop> {
    parse(line.split_whitespace().map(OsString::from))
}

fn told(text: &str) -> String {
    match line(text) {
        Err(Stop::Wrong(told)) => told,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_line_is_right_or_wrong() {
    for (text, good) in [
        ("run --config p.yaml", true),
        ("run --config=p.yaml", true),
        ("run -c p.yaml", true),
        ("run -cp.yaml", true),
        ("run --listen :8080 --upstream 127.0.0.1:3000", true),
        ("run --listen :8080 --upstream app:3000 --admin none --log-level debug", true),
        ("run", false),
        ("run --log-level debug", false),
        ("run --listen :8080", false),
        ("run --upstream 127.0.0.1:3000", false),
        ("run --admin none", false),
        ("run --config p.yaml --listen :8080 --upstream app:3000", false),
        ("run --config p.yaml --admin none", false),
        ("run --config p.yaml --config q.yaml", false),
        ("run --config p.yaml extra", false),
        ("run --config p.yaml -- extra", false),
        ("run --config", false),
        ("run --config --listen :8080", false),
        ("run --listen 8080 --upstream app:3000", false),
        ("run --config p.yaml --log-level loud", false),
        ("redirect rules install --uid 1337", true),
        ("redirect rules install --mark 0x539 --inbound-mode tproxy --dry-run", true),
        ("redirect rules check --uid 1337,1338 --exclude-outbound-cidrs 10.0.0.1,fe80::/10 --families ipv4", true),
        ("redirect rules remove", true),
        ("redirect", false),
        ("redirect rules", false),
        ("redirect rules instal --uid 1337", false),
        ("redirect rules install", false),
        ("redirect rules install --uid 0", false),
        ("redirect rules install --uid 1337 --inbound-mode tproxy", false),
        ("redirect rules install --uid 1337 --outbound-port none --inbound-port none", false),
        ("redirect rules install --uid 1337 --exclude-users root", false),
        ("redirect rules install --uid 1337 --dry-run yes", false),
        ("redirect rules check --uid 1337 --dry-run", false),
        ("redirect rules remove --uid 1337", false),
        ("check -c p.yaml", true),
        ("check", false),
        ("schema", true),
        ("schema --pretty", false),
        ("demo", true),
        ("demo --exit-after 10s", true),
        ("wait", true),
        ("wait --timeout 5s --admin unix:/run/p.sock", true),
        ("quit --except 12", true),
        ("quit --except 12,15 --timeout 5s", true),
        ("quit --except tail", false),
        ("quit --except 1", false),
        ("quit --except", false),
        ("quit --timeout soon", false),
        ("quit -t 5s", false),
        ("", false),
        ("help me", false),
        ("--config p.yaml run", false),
        ("redirect", false),
        ("redirect prob", false),
        ("redirect probe --json", true),
        ("redirect probe --json yes", false),
        ("redirect attach --ports 15001,15006 --proxy-uid 1337 --waive splice,duplex,wait_all --large 32KiB", true),
        ("redirect attach --capture 15001 --exclude 10.0.0.0/8,fd00::/8,::1 --exclude-ports 22", true),
        ("redirect attach --proxy-pid 7", true),
        ("redirect attach --waive splice", false),
        ("redirect attach --ports 15001 --exclude 10.0.0.0/8", false),
        ("redirect attach --ports 15001 --exclude-ports 22", false),
        ("redirect agent --instance a", false),
        ("redirect agent --proxy-uid 1337 --capture-inbound", true),
        ("redirect agent --proxy-uid 1337 --capture-inbound --namespaces /run/netns,/var/run/netns --stay", true),
        ("redirect agent --proxy-uid 1337 --capture-inbound --namespaces run/netns", false),
        ("redirect agent --proxy-uid 1337 --namespaces /run/netns", false),
        ("redirect agent --ports 15001 --capture-inbound", false),
        ("redirect attach --proxy-uid 1337 --capture-inbound", false),
        ("redirect attach --ports 15001 --sockets 200000", true),
        ("redirect attach --ports 15001 --sockets 12", false),
        ("redirect attach --ports 0", false),
        ("redirect attach --exclude 10.0.0.0/33", false),
        ("redirect attach --waive integrity", false),
        ("redirect agent --proxy-cgroup relative", false),
        ("redirect switch", false),
        ("redirect switch --to maybe", false),
        ("redirect switch --to off --instance a", true),
        ("redirect status --json --watch", true),
    ] {
        let parsed = line(text);
        assert_eq!(parsed.is_ok(), good, "{text}: {parsed:?}");
        assert!(!matches!(parsed, Err(Stop::Asked(_))), "{text}");
    }
}

#[test]
fn values_arrive() {
    let run = Run::Addresses {
        listen: "[::]:8080".parse().unwrap(),
        upstream: "app:3000".to_owned(),
        admin: Some("none".to_owned()),
        log_level: crate::log::Level::Debug,
    };
    assert_eq!(line("run --log-level=debug --admin none --upstream app:3000 --listen :8080"), Ok(Command::Run(run)));
    assert_eq!(line("quit"), Ok(Command::Quit(Quit::default())));
    let except = [12, 15].into();
    assert_eq!(line("quit --except 12,15"), Ok(Command::Quit(Quit { except, ..Quit::default() })));
}

#[test]
fn what_is_wrong_is_told_with_the_remedy() {
    for (text, words) in [
        ("runn", "unrecognized subcommand 'runn'\n\n  tip: a similar subcommand exists: 'run'"),
        ("run --confg p.yaml", "unexpected argument '--confg' found\n\n  tip: a similar argument exists: '--config'"),
        ("run -x", "unexpected argument '-x' found"),
        ("run extra", "unexpected argument 'extra' found"),
        ("run", "the following required arguments were not provided:\n  --config <FILE>"),
        ("run --listen :8080", "the following required arguments were not provided:\n  --upstream <ADDRESS>"),
        ("run --config", "a value is required for '--config <FILE>' but none was supplied"),
        ("run -c p --listen :1", "the argument '--config <FILE>' cannot be used with '--listen <ADDRESS>'"),
        ("check -c a -c b", "the argument '--config <FILE>' cannot be used multiple times"),
        ("wait --timeout soon", "invalid value 'soon' for '--timeout <DURATION>': write a number and a unit"),
    ] {
        let told = told(text);
        assert!(told.starts_with("error: ") && told.contains(words), "{text}: {told}");
        assert!(told.contains("\nUsage: pillion ") && told.ends_with("try '--help'."), "{text}: {told}");
    }
    assert!(told("").contains("Commands:"));
}

#[test]
fn help_names_every_option_and_its_examples_are_right() {
    let Err(Stop::Asked(all)) = line("--help") else { panic!("no help") };
    for verb in VERBS {
        assert!(all.contains(verb.name), "{}", verb.name);
        let Err(Stop::Asked(help)) = line(&format!("{} -h", verb.name)) else { panic!("no help of {}", verb.name) };
        for option in verb.options {
            assert!(help.contains(&option.to_string()) && help.contains(option.about), "{}: {help}", verb.name);
        }
        for example in verb.examples {
            let words = example.split(" >").next().unwrap_or(example);
            assert!(line(words).is_ok(), "{example}");
        }
    }
    for (asked, same) in [("help", "--help"), ("help run", "run --help"), ("help redirect rules", "redirect rules -h")]
    {
        assert!(matches!(line(asked), Err(Stop::Asked(_))), "{asked}");
        assert_eq!(line(asked), line(same));
    }
    for group in ["redirect", "redirect rules"] {
        let Err(Stop::Asked(help)) = line(&format!("{group} --help")) else { panic!("no help of {group}") };
        assert!(help.starts_with(&format!("Usage: pillion {group} <COMMAND>\n")), "{help}");
    }
    assert_eq!(line("-V"), Err(Stop::Asked(format!("pillion {}", env!("CARGO_PKG_VERSION")))));
}
