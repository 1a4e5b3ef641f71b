//! The source filter in the kernel: crafted frames that go nowhere, then connections over veth between two namespaces.

use crate::ground::{SOON, accept, await_v6, ip, is_root, listen_at, talk, wait_for, within};
use redirect::filter::{Action, FilterError, Mode, Rule, Rules, SourceFilter};
use rustix::event::{PollFd, PollFlags};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    env, fs, io,
    net::{IpAddr, SocketAddr, TcpStream},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process,
    sync::mpsc,
    thread,
};

const PORT: u16 = 18080;

/// The program under test: the embedded one, or the one beside the object that `REDIRECT_OBJECT` names.
fn load() -> SourceFilter {
    let object =
        env::var_os("REDIRECT_OBJECT").map(|file| fs::read(Path::new(&file).with_file_name("filter.o")).unwrap());
    SourceFilter::load(object).unwrap_or_else(|error| panic!("{error}"))
}

fn rule(name: &str, action: Action, prefixes: &[&str]) -> Rule {
    let prefix = |text: &&str| {
        let (address, bits) = text.split_once('/').unwrap();
        (address.parse::<IpAddr>().unwrap(), bits.parse().unwrap())
    };
    Rule { name: name.into(), action, prefixes: prefixes.iter().map(prefix).collect() }
}

fn rules(rules: Vec<Rule>) -> Rules {
    Rules { rules, otherwise: Action::Pass, malformed: Action::Pass, ports: None }
}

fn frames(filter: &SourceFilter, name: &str) -> u64 {
    let counts = filter.counts().unwrap();
    counts.iter().find(|count| count.rule.as_deref().unwrap_or(count.kind) == name).map_or(0, |count| count.frames)
}

/// TCP to a port, with a VLAN tag or without.
fn frame(source: IpAddr, port: u16, tagged: bool) -> Vec<u8> {
    let mut frame = vec![2; 12];
    if tagged {
        frame.extend([0x81, 0, 0, 7]);
    }
    let mut tcp = [0xc0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    match source {
        IpAddr::V4(v4) => {
            frame.extend([8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0]);
            frame.extend(v4.octets());
            frame.extend([198, 51, 100, 1]);
        }
        IpAddr::V6(v6) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend(v6.octets());
            frame.extend([9; 16]);
        }
    }
    frame.extend(tcp);
    frame
}

#[test]
fn the_longest_prefix_decides_live_and_is_counted_by_rule() {
    if !is_root() {
        return;
    }
    let mut filter = load();
    let judge = |filter: &SourceFilter, source: &str| {
        let source = source.parse().unwrap();
        let verdicts = [false, true].map(|tagged| filter.try_out(&frame(source, PORT, tagged), 1).unwrap().0);
        assert_eq!(verdicts[0], verdicts[1], "a tag changes nothing");
        verdicts[0]
    };
    assert_eq!(judge(&filter, "10.1.2.3"), Action::Pass, "it has no rules yet");
    let bad = rule("bad", Action::Drop, &["10.0.0.0/8", "2001:db8::/32", "::ffff:192.0.2.0/120"]);
    let good = rule("good", Action::Pass, &["10.1.0.0/16", "2001:db8:1::/48"]);
    filter.apply(&rules(vec![bad.clone(), good.clone()])).unwrap();
    for (source, verdict) in [
        ("10.2.0.1", Action::Drop),
        ("10.1.0.1", Action::Pass),
        ("11.0.0.1", Action::Pass),
        ("192.0.2.255", Action::Drop),
        ("2001:db8:2::1", Action::Drop),
        ("2001:db8:1::1", Action::Pass),
        ("2001:db9::1", Action::Pass),
    ] {
        assert_eq!(judge(&filter, source), verdict, "{source}");
    }
    assert_eq!((frames(&filter, "bad"), frames(&filter, "good"), frames(&filter, "unmatched")), (6, 4, 4));
    // Others, and the one that stays goes on counting.
    let mut all = rules(vec![rule("worse", Action::Drop, &["11.0.0.0/8"]), good]);
    all.otherwise = Action::Drop;
    filter.apply(&all).unwrap();
    for (source, verdict) in [
        ("10.2.0.1", Action::Drop),
        ("10.1.0.1", Action::Pass),
        ("11.0.0.1", Action::Drop),
        ("2001:db8:2::1", Action::Drop),
        ("2001:db8:1::1", Action::Pass),
    ] {
        assert_eq!(judge(&filter, source), verdict, "{source}");
    }
    assert_eq!((frames(&filter, "worse"), frames(&filter, "good"), frames(&filter, "unmatched")), (2, 8, 8));
    // What does not fit changes nothing.
    let error = filter.apply(&rules(vec![rule("no", Action::Pass, &["10.0.0.0/40"])])).unwrap_err();
    assert_eq!(error.to_string(), "rule no: 10.0.0.0/40 is no prefix");
    assert_eq!(judge(&filter, "11.0.0.1"), Action::Drop);
}

#[test]
fn only_what_goes_to_a_listener_is_looked_at_where_that_is_wanted() {
    if !is_root() {
        return;
    }
    let mut filter = load();
    let mut wanted = rules(vec![rule("bad", Action::Drop, &["10.0.0.0/8", "fd00::/8"])]);
    wanted.ports = Some(BTreeSet::from([PORT]));
    filter.apply(&wanted).unwrap();
    for source in ["10.0.0.1", "fd00::1"] {
        let source = source.parse().unwrap();
        let verdict = |frame: &[u8]| filter.try_out(frame, 1).unwrap().0;
        assert_eq!(verdict(&frame(source, PORT, false)), Action::Drop);
        assert_eq!(verdict(&frame(source, PORT + 1, false)), Action::Pass);
        let mut udp = frame(source, PORT, false);
        udp[if source.is_ipv4() { 23 } else { 20 }] = 17;
        assert_eq!(verdict(&udp), Action::Pass);
    }
    // A later fragment has no port; without its first it never becomes whole.
    let mut later = frame("10.0.0.1".parse().unwrap(), PORT, false);
    later[21] = 9;
    assert_eq!(filter.try_out(&later, 1).unwrap().0, Action::Pass);
    assert_eq!(frames(&filter, "other"), 5);
}

#[test]
fn truncated_and_malformed_frames_pass_or_are_dropped_as_configured() {
    if !is_root() {
        return;
    }
    let mut filter = load();
    for malformed in [Action::Pass, Action::Drop] {
        let mut wanted = rules(vec![rule("bad", Action::Drop, &["10.0.0.0/8", "fd00::/8"])]);
        wanted.malformed = malformed;
        wanted.ports = Some(BTreeSet::from([PORT]));
        filter.apply(&wanted).unwrap();
        for source in ["10.0.0.1", "fd00::1", "192.0.2.1"] {
            for tagged in [false, true] {
                let whole = frame(source.parse().unwrap(), PORT, tagged);
                let before = frames(&filter, "malformed");
                // The kernel tries nothing shorter than Ethernet's own header.
                for length in 14..whole.len() {
                    assert_eq!(filter.try_out(&whole[..length], 1).unwrap().0, malformed, "{source} {length}");
                }
                assert_eq!(frames(&filter, "malformed") - before, whole.len() as u64 - 14);
            }
        }
    }
}

/// The program and the parser over a slice say the same of whatever comes.
#[test]
fn the_program_reads_frames_as_the_parser_does() {
    use redirect_common::packet::{self, Frame, Port, Seen};
    struct Bytes<'a>(&'a [u8]);
    impl Frame for Bytes<'_> {
        fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
            self.0.get(at as usize..at as usize + N)?.try_into().ok()
        }
        fn length(&self) -> u32 {
            self.0.len() as u32
        }
    }
    if !is_root() {
        return;
    }
    let mut filter = load();
    let mut wanted = rules(vec![rule("all", Action::Drop, &["0.0.0.0/0", "::/0"])]);
    wanted.ports = Some((0..=255).map(|low| 0x4600 | low).collect());
    filter.apply(&wanted).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let mut seen_of = [0; 4];
    for _ in 0..20_000 {
        let source: IpAddr = if random(2) == 0 { [10, 0, 0, 1].into() } else { [0xfd; 16].into() };
        let mut bytes = frame(source, 0x4600 | random(300) as u16, random(3) == 0);
        for _ in 0..random(4) {
            let at = 12 + random(bytes.len() - 12);
            bytes[at] = [random(256), 0, 6, 44, 60, 43, 51, 0x45, 0x60, 0x81][random(10)] as u8;
        }
        bytes.truncate(14.max(bytes.len() - [0, 0, 0, random(40)][random(4)]));
        let parsed = Bytes(&bytes);
        let seen = packet::source(&parsed);
        let port = match &seen {
            Seen::V4(inner) => packet::port_v4(&parsed, inner),
            Seen::V6(inner) => packet::port_v6(&parsed, inner),
            Seen::Other | Seen::Malformed => Port::None,
        };
        let (slot, verdict) = match (seen, port) {
            (Seen::Malformed, _) | (_, Port::Malformed) => ("malformed", Action::Pass),
            (_, Port::Tcp(port)) if port >> 8 == 0x46 => ("all", Action::Drop),
            _ => ("other", Action::Pass),
        };
        seen_of[["malformed", "all", "other"].iter().position(|name| *name == slot).unwrap()] += 1;
        let before = frames(&filter, slot);
        assert_eq!(filter.try_out(&bytes, 1).unwrap().0, verdict, "{slot}: {bytes:02x?}");
        assert_eq!(frames(&filter, slot), before + 1, "{slot}: {bytes:02x?}");
    }
    assert!(seen_of[..3].iter().all(|count| *count > 500), "{seen_of:?}");
}

type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// The other side of a veth pair: a namespace in which things are done.
pub(crate) struct Outside(mpsc::Sender<Job<'static>>);

impl Outside {
    pub(crate) fn run<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.0.send(Box::new(move || drop(done.send(run())))).unwrap();
        result.recv_timeout(SOON).unwrap()
    }

    /// A connection from one of its addresses, on its way.
    fn begin(&self, from: &str, to: &str) -> Socket {
        let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        self.run(move || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            drop(socket.connect(&to.into()));
            socket
        })
    }
}

/// A namespace with the interface `edge` (192.0.2.1, fd00::1), and one behind it (192.0.2.2, .66, fd00::2, ::66).
pub(crate) fn edge(run: impl FnOnce(&Outside) + Send) {
    within(None, || {
        let (jobs, taken) = mpsc::channel::<Job<'static>>();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                within(None, move || {
                    tell.send(gettid().as_raw_nonzero()).unwrap();
                    while let Ok(job) = taken.recv() {
                        job();
                    }
                });
            });
            let outside = Outside(jobs);
            let thread = told.recv_timeout(SOON).unwrap();
            ip(&format!("link add edge type veth peer name wire netns {thread}"));
            ip("address add 192.0.2.1/24 dev edge");
            ip("address add fd00::1/64 dev edge nodad");
            ip("link set edge up");
            outside.run(|| {
                for address in ["192.0.2.2/24", "192.0.2.66/24"] {
                    ip(&format!("address add {address} dev wire"));
                }
                for address in ["fd00::2/64", "fd00::66/64"] {
                    ip(&format!("address add {address} dev wire nodad"));
                }
                ip("link set wire up");
                ["fd00::2", "fd00::66"].into_iter().for_each(await_v6);
            });
            await_v6("fd00::1");
            run(&outside);
        });
    });
}

fn to(address: &str) -> String {
    format!("{address}:{PORT}")
}

#[test]
fn connections_from_denied_sources_end_at_the_interface_in_either_mode() {
    if !is_root() {
        return;
    }
    for mode in [Some(Mode::Native), Some(Mode::Generic), None] {
        edge(|outside| {
            let mut filter = load();
            let taken = filter.attach("edge", mode).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(Some(taken), mode.or(Some(Mode::Native)), "veth takes it in its driver");
            assert_eq!(filter.attached().collect::<Vec<_>>(), [("edge", taken)]);
            let mut wanted = rules(vec![rule("bad", Action::Drop, &["192.0.2.64/26", "fd00::66/128"])]);
            wanted.ports = Some(BTreeSet::from([PORT]));
            filter.apply(&wanted).unwrap();
            for (good, bad, here) in [("192.0.2.2", "192.0.2.66", "192.0.2.1"), ("fd00::2", "fd00::66", "[fd00::1]")] {
                let listener = listen_at(to(here).parse().unwrap());
                let client = outside.begin(good, &to(here));
                let server = accept(&listener);
                client.set_nonblocking(false).unwrap();
                let client = TcpStream::from(client);
                talk(&client, &server, &[7; 100_000]);
                let before = frames(&filter, "bad");
                let denied = outside.begin(bad, &to(here));
                wait_for("a SYN to be dropped", || frames(&filter, "bad") > before);
                listener.set_nonblocking(true).unwrap();
                assert!(listener.accept().is_err());
                // Let in, live: the SYN that comes again gets through.
                filter.apply(&rules(Vec::new())).unwrap();
                listener.set_nonblocking(false).unwrap();
                let server = accept(&listener);
                denied.set_nonblocking(false).unwrap();
                talk(&TcpStream::from(denied), &server, b"now");
                filter.apply(&wanted).unwrap();
            }
            // Not filtered any more when it is dropped.
            drop(filter);
            let listener = listen_at("192.0.2.1:18081".parse().unwrap());
            let client = outside.begin("192.0.2.66", "192.0.2.1:18081");
            let server = accept(&listener);
            client.set_nonblocking(false).unwrap();
            talk(&TcpStream::from(client), &server, b"let be");
        });
    }
}

/// As in `admit`: what comes from loopback addresses is this machine's own and never asked; what comes over loopback from its
/// other addresses is asked like anybody.
#[test]
fn on_loopback_the_machines_own_pass_whatever_the_rules_say() {
    if !is_root() {
        return;
    }
    for prefixes in [&["192.0.2.0/24"][..], &["127.0.0.0/8", "::1/128", "0.0.0.0/0", "::/0"]] {
        within(None, || {
            ip("address add 192.0.2.1/32 dev lo");
            let mut filter = load();
            assert_eq!(filter.attach("lo", None).unwrap(), Mode::Generic, "its driver takes none");
            let mut wanted = rules(vec![rule("bad", Action::Drop, prefixes)]);
            wanted.otherwise = Action::Drop;
            wanted.ports = Some(BTreeSet::from([PORT]));
            filter.apply(&wanted).unwrap();
            for here in ["127.0.0.1", "127.3.2.1", "[::1]"] {
                let listener = listen_at(to(here).parse().unwrap());
                let client = crate::ground::connect(to(here).parse::<SocketAddr>().unwrap());
                talk(&client, &accept(&listener), b"its own");
            }
            assert_eq!((frames(&filter, "bad"), frames(&filter, "unmatched")), (0, 0));
            let _listener = listen_at(to("192.0.2.1").parse().unwrap());
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            drop(socket.connect(&to("192.0.2.1").parse::<SocketAddr>().unwrap().into()));
            wait_for("a SYN to be dropped", || frames(&filter, "bad") > 0);
        });
    }
}

#[test]
fn an_interface_that_is_not_there_taken_or_made_anew_is_told() {
    if !is_root() {
        return;
    }
    edge(|_| {
        let (mut one, mut other) = (load(), load());
        let error = one.attach("nowhere", None).unwrap_err();
        assert!(error.to_string().contains("no network interface \"nowhere\""), "{error}");
        one.attach("edge", None).unwrap();
        assert!(matches!(other.attach("edge", None).unwrap_err(), FilterError::Taken(_)));
        // Another mode replaces the one before.
        assert_eq!(one.attach("edge", Some(Mode::Generic)).unwrap(), Mode::Generic);
        // And where the choice is left to it again, the better one is tried again.
        assert_eq!(one.attach("edge", None).unwrap(), Mode::Native);
        assert_eq!(one.attach("edge", Some(Mode::Native)).unwrap(), Mode::Native);
        ip("link delete edge");
        assert_eq!(one.attached().count(), 0);
        ip("link add edge type veth peer name wire2");
        assert_eq!(one.attached().count(), 0);
        assert_eq!(one.attach("edge", None).unwrap(), Mode::Native);
        one.detach("edge");
        other.attach("edge", None).unwrap();
    });
}

/// Runs something while a process of this one's stands between fork and exec: whatever another thread starts holds all
/// descriptors for that moment.
fn beside_a_fork(run: impl FnOnce()) {
    let ((forked, tell), (wait, go)) = (io::pipe().unwrap(), io::pipe().unwrap());
    thread::scope(|scope| {
        let mut command = process::Command::new("true");
        let held = move || {
            rustix::io::write(&tell, b"1")?;
            let limit = rustix::event::Timespec::try_from(SOON).map_err(io::Error::other)?;
            rustix::event::poll(&mut [PollFd::new(&wait, PollFlags::IN)], Some(&limit))?;
            Ok(())
        };
        // SAFETY: two system calls on descriptors that it owns, and no memory is asked for.
        unsafe { command.pre_exec(held) };
        let starting = scope.spawn(move || command.status().unwrap());
        rustix::io::read(&forked, &mut [0]).unwrap();
        run();
        rustix::io::write(&go, b"1").unwrap();
        assert!(starting.join().unwrap().success());
    });
}

#[test]
fn an_interface_is_left_at_once_whoever_else_holds_descriptors() {
    if !is_root() {
        return;
    }
    edge(|_| {
        let (mut one, mut other) = (load(), load());
        one.attach("edge", None).unwrap();
        beside_a_fork(|| {
            assert_eq!(one.attach("edge", Some(Mode::Generic)).unwrap(), Mode::Generic);
        });
        beside_a_fork(|| {
            one.detach("edge");
            other.attach("edge", None).unwrap();
        });
        beside_a_fork(|| {
            drop(other);
            one.attach("edge", None).unwrap();
        });
    });
}

/// Its descriptors go with the process, and with them the program's place.
#[test]
fn a_process_killed_with_9_leaves_nothing_attached() {
    // This very test again, as the process that is killed.
    if env::var_os("FILTER_HOLDER").is_some() {
        within(None, || {
            let mut filter = load();
            assert_eq!(filter.attach("lo", None).unwrap(), Mode::Generic, "its driver takes none");
            println!("attached in {}", gettid().as_raw_nonzero());
            thread::sleep(SOON);
        });
        return;
    }
    if !is_root() {
        return;
    }
    use std::io::{BufRead, BufReader};
    let mut holder = process::Command::new(env::current_exe().unwrap())
        .args(["--exact", "filter::a_process_killed_with_9_leaves_nothing_attached", "--nocapture"])
        .env("FILTER_HOLDER", "1")
        .stdout(process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let tid = lines.find_map(|line| line.unwrap().split_once("attached in ").map(|(_, tid)| tid.to_owned())).unwrap();
    // The namespace outlives it here.
    let namespace = fs::File::open(format!("/proc/{}/task/{tid}/ns/net", holder.id())).unwrap();
    let attached = move || {
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                let shown = process::Command::new("ip").args(["link", "show", "lo"]).output().unwrap();
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                assert!(shown.contains("LOOPBACK"), "{shown}");
                shown.contains("prog/xdp")
            });
            looking.join().unwrap()
        })
    };
    assert!(attached());
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_for("the program to go", || !attached());
}

#[test]
#[ignore = "a measurement: some seconds, alone on a quiet machine"]
fn cost_of_a_frame_by_number_of_prefixes() {
    if !is_root() {
        return;
    }
    println!(
        "{:>9} {:>16} {:>16} {:>16} {:>16}",
        "prefixes", "v4 denied ns", "v4 unmatched ns", "v6 denied ns", "v6 unmatched ns"
    );
    let mut base = load();
    let time = |filter: &SourceFilter, source: IpAddr| {
        let frame = frame(source, PORT, false);
        let mut times: Vec<_> = (0..7).map(|_| filter.try_out(&frame, 2_000_000).unwrap().1.as_nanos()).collect();
        times.sort_unstable();
        times[3]
    };
    println!("{:>9} {:>16} (no rules in force)", "-", time(&base, [10, 0, 0, 1].into()));
    for count in [10_u32, 1000, 100_000] {
        let mut prefixes = Vec::new();
        for number in 0..count {
            // Spread over the whole space, of several lengths.
            let spread = number.wrapping_mul(2_654_435_761) | 0x8000_0000;
            let bits = 16 + (number % 17) as u8;
            prefixes.push((IpAddr::from(spread.to_be_bytes()), bits));
            let mut v6 = [0; 16];
            v6[..4].copy_from_slice(&(0x2000_0000 | spread >> 3).to_be_bytes());
            v6[4..8].copy_from_slice(&spread.to_be_bytes());
            prefixes.push((v6.into(), 32 + bits));
        }
        let mut wanted = rules(vec![Rule { name: "bad".into(), action: Action::Drop, prefixes: prefixes.clone() }]);
        wanted.ports = Some(BTreeSet::from([PORT]));
        let begun = std::time::Instant::now();
        base.apply(&wanted).unwrap();
        let took = begun.elapsed();
        let denied = prefixes[prefixes.len() / 2];
        let denied6 = prefixes[prefixes.len() / 2 + 1];
        println!(
            "{count:>9} {:>16} {:>16} {:>16} {:>16}   put in force in {took:.1?}",
            time(&base, denied.0),
            time(&base, [0, 0, 0, 1].into()),
            time(&base, denied6.0),
            time(&base, [0xfe; 16].into()),
        );
    }
}
