//! Which connections are enrolled, and that no others are.

use crate::ground::{
    Ground, accept, address_v6, connect, ip, listen, listen_at, localhost, pair, patient, skip, talk, wait_for, within,
};
use redirect::{Counter, Proxy, Watch};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpStream},
    process::{self, Command},
    sync::{Barrier, mpsc},
    thread,
};

const PROXY: u16 = 18080;

#[test]
fn both_directions_are_redirected_over_ipv4_ipv6_and_mapped_addresses() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let before = ground.count(Counter::Enrolled);
    ground.pod(|| {
        let dual = || {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_only_v6(false).unwrap();
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PROXY)).into()).unwrap();
            socket.listen(16).unwrap();
            std::net::TcpListener::from(socket)
        };
        let listener = dual();
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:18080".parse().unwrap();
        for address in [localhost(PROXY), (Ipv6Addr::LOCALHOST, PROXY).into(), mapped] {
            let messages = ground.count(Counter::RedirectedMessages);
            let (client, server) = (connect(address), accept(&listener));
            for _ in 0..10 {
                talk(&client, &server, b"one of ten");
            }
            assert_eq!(ground.count(Counter::RedirectedMessages) - messages, 20, "{address}");
        }
    });
    assert_eq!(ground.count(Counter::Enrolled) - before, 6);
    ground.await_empty();
}

#[test]
fn the_upstream_leg_is_known_by_who_opens_it_and_where_it_goes() {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.proxies = vec![Proxy::Process(process::id())];
    ground.attach();
    ground.pod(|| {
        ip("address add 192.0.2.7/32 dev lo");
        let before = ground.count(Counter::RedirectedMessages);
        for address in ["127.0.0.1:3000", "192.0.2.7:3000", "[::1]:3000"] {
            let listener = listen_at(address.parse().unwrap());
            let (client, server) = pair(&listener);
            talk(&client, &server, b"to the application");
        }
        assert_eq!(ground.count(Counter::RedirectedMessages) - before, 6);
    });
}

#[test]
fn connections_past_the_proxy_from_elsewhere_or_by_others_are_never_enrolled() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let before = ground.count(Counter::Eligible);
    // Within the cgroup, not the proxy's port.
    ground.pod(|| {
        let (client, server) = pair(&listen(PROXY + 1));
        talk(&client, &server, b"past the proxy");
        // From the proxy's port number, as a client.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&localhost(PROXY).into()).unwrap();
        let listener = listen(PROXY + 2);
        socket.connect(&localhost(PROXY + 2).into()).unwrap();
        let (client, server) = (TcpStream::from(socket), accept(&listener));
        talk(&client, &server, b"from its port");
    });
    // The proxy's port, outside of the cgroup.
    within(None, || {
        let (client, server) = pair(&listen(PROXY));
        talk(&client, &server, b"in another cgroup");
    });
    assert_eq!(ground.count(Counter::Eligible), before);
    // Half in it: a client outside, the proxy inside.
    within(None, || {
        let (ready, is_ready) = mpsc::channel();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let tid = rustix::thread::gettid().as_raw_nonzero().to_string();
                fs::write(ground.cgroup.join("cgroup.threads"), tid).unwrap();
                let listener = listen(PROXY);
                ready.send(()).unwrap();
                accept(&listener)
            });
            is_ready.recv().unwrap();
            let client = connect(localhost(PROXY));
            talk(&client, &inside.join().unwrap(), b"from outside");
        });
    });
    assert_eq!(ground.count(Counter::Eligible), before);
    assert_eq!(ground.status().occupancy.sockets, 0);
}

#[test]
fn two_pods_with_the_same_tuples_never_mix() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let before = ground.count(Counter::RedirectedMessages);
    let together = Barrier::new(2);
    let pod = |name: u8| {
        ground.pod(|| {
            let listener = listen(PROXY);
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&localhost(40_000).into()).unwrap();
            together.wait();
            socket.connect(&localhost(PROXY).into()).unwrap();
            let (client, server) = (TcpStream::from(socket), accept(&listener));
            together.wait();
            for round in 0..500_u32 {
                let words = [&[name; 64][..], &round.to_ne_bytes()].concat();
                talk(&client, &server, &words);
            }
            together.wait();
        });
    };
    thread::scope(|scope| {
        let one = scope.spawn(|| pod(1));
        let other = scope.spawn(|| pod(2));
        one.join().unwrap();
        other.join().unwrap();
    });
    assert_eq!(ground.count(Counter::RedirectedMessages) - before, 2000);
    ground.await_empty();
}

#[test]
fn a_redirect_rule_hides_no_pair() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    ground.pod(|| {
        ip("address add 192.0.2.1/32 dev lo");
        address_v6("2001:db8::1/128", "lo");
        for rules in [
            "iptables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 18080",
            "ip6tables-nft -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 18080",
        ] {
            let mut words = rules.split(' ');
            let done = Command::new(words.next().unwrap()).args(words).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let before = ground.count(Counter::RedirectedMessages);
        for (to, at) in [("192.0.2.1:80", "127.0.0.1:18080"), ("[2001:db8::1]:80", "[::1]:18080")] {
            let listener = listen_at(at.parse().unwrap());
            let client = connect(to.parse::<SocketAddr>().unwrap());
            let server = accept(&listener);
            assert_eq!(client.peer_addr().unwrap(), to.parse().unwrap());
            assert_eq!(server.local_addr().unwrap(), at.parse().unwrap());
            talk(&client, &server, b"through a rule");
        }
        assert_eq!(ground.count(Counter::RedirectedMessages) - before, 4);
    });
}

/// nft(8) in the namespace of this thread.
fn nft(command: &str) {
    let done = Command::new("nft").args(command.split(' ')).output().unwrap();
    assert!(done.status.success(), "nft {command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn ten_thousand_short_connections_leave_nothing_behind() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    let before = (ground.count(Counter::Enrolled), ground.count(Counter::Closed));
    ground.pod(|| {
        let listener = listen(PROXY);
        for round in 0..10_000_u32 {
            let (mut client, mut server) = pair(&listener);
            client.write_all(&round.to_ne_bytes()).unwrap();
            let mut got = [0; 4];
            server.read_exact(&mut got).unwrap();
            assert_eq!(got, round.to_ne_bytes());
            // Both orders, and resets in between.
            match round % 3 {
                0 => drop(client),
                1 => drop(server),
                _ => socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            }
        }
    });
    ground.await_empty();
    // TCP may have some to finish when the last has left the map.
    wait_for("all ends to be closed", || ground.count(Counter::Closed) - before.1 >= 20_000);
    let status = ground.status();
    assert_eq!((status.occupancy.pairs, status.occupancy.originals), (0, 0));
    assert_eq!(status.totals.get(Counter::Enrolled) - before.0, 20_000);
    assert_eq!(status.totals.get(Counter::Closed) - before.1, 20_000);
    assert_eq!(status.totals.get(Counter::EnrolFailed), 0);
    // Nobody has read the ring of events, which holds some of these ends. Those that it did not hold are counted.
    let (mut watch, mut told) = (Watch::observe(&ground.options.instance).unwrap(), 0);
    watch.look(|_| told += 1).unwrap();
    let dropped = ground.count(Counter::EventsDropped);
    assert_eq!(told + dropped, 20_000);
    assert!(told > 0 && dropped > 0, "{told} told, {dropped} dropped");
}

/// The self-test's programs stand for a moment only: an end that TCP has not finished by then ends where nobody looks.
#[test]
fn the_self_test_leaves_nothing_behind_where_its_connections_outlive_it() {
    let Some(ground) = Ground::new() else { return };
    if Command::new("nft").arg("--version").output().is_err() {
        return skip("no nft");
    }
    within(None, || {
        // The first FIN of each end is lost, and comes again when the test is long over.
        nft("add table ip late");
        nft("add set ip late seen { type inet_service . inet_service ; }");
        nft("add chain ip late output { type filter hook output priority 0 ; }");
        nft(
            "add rule ip late output tcp flags & fin != 0 tcp sport . tcp dport != @seen add @seen { tcp sport . tcp dport } counter drop",
        );
        ground.attach();
        let status = ground.status();
        assert_eq!((status.occupancy.sockets, status.occupancy.pairs), (0, 0));
    });
}

/// A socket that speaks MPTCP; `None`: this kernel does not, which is said.
fn multipath() -> Option<Socket> {
    match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) {
        Ok(socket) => Some(socket),
        Err(error) => {
            skip(&format!("this kernel has no MPTCP: {error}"));
            None
        }
    }
}

#[test]
fn mptcp_is_left_alone_and_what_falls_back_from_it_arrives_whole() {
    let Some(ground) = Ground::attached(PROXY) else { return };
    if multipath().is_none() {
        return;
    }
    ground.pod(|| {
        for (client_has_it, server_has_it) in [(true, true), (true, false), (false, true)] {
            let (skipped, redirected) =
                (ground.count(Counter::SkippedMptcp), ground.count(Counter::RedirectedMessages));
            let listener = if server_has_it {
                let socket = multipath().unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.bind(&localhost(PROXY).into()).unwrap();
                socket.listen(16).unwrap();
                std::net::TcpListener::from(socket)
            } else {
                listen(PROXY)
            };
            let client = if client_has_it {
                let socket = multipath().unwrap();
                socket.connect(&localhost(PROXY).into()).unwrap();
                patient(socket.into())
            } else {
                connect(localhost(PROXY))
            };
            let server = accept(&listener);
            for size in [1, 1000, 60_000, 10] {
                talk(&client, &server, &vec![7; size]);
            }
            let (skipped, redirected) =
                (ground.count(Counter::SkippedMptcp) - skipped, ground.count(Counter::RedirectedMessages) - redirected);
            println!("client {client_has_it}, server {server_has_it}: {skipped} ends skipped, {redirected} redirected");
            if client_has_it && server_has_it {
                assert!(skipped >= 1 && redirected == 0, "{skipped} ends skipped, {redirected} messages redirected");
            }
        }
    });
    ground.await_empty();
}

#[test]
fn what_a_full_map_has_no_room_for_goes_through_tcp() {
    let Some(mut ground) = Ground::new() else { return };
    ground.options.ports.insert(PROXY);
    ground.options.sockets = 64;
    ground.attach();
    let mut larger = ground.options.clone();
    larger.sockets = 128;
    let mut watch = Watch::new(&ground.options.instance).unwrap();
    ground.pod(|| {
        let listener = listen(PROXY);
        let pairs: Vec<_> = (0..200).map(|_| pair(&listener)).collect();
        let full = ground.status().occupancy;
        assert_eq!((full.sockets, full.room, full.is_full()), (64, 64, true));
        for (client, server) in &pairs {
            talk(client, server, b"whole, either way");
        }
        // Of a connection whose client is not taken the server is not asked for.
        assert_eq!((ground.count(Counter::Enrolled), ground.count(Counter::EnrolFailed)), (64, 168));
        assert_eq!(ground.count(Counter::RedirectedMessages), 64, "those that found room are as they were");
        let look = watch.look(|_| {}).unwrap();
        assert_eq!((look.alarm, look.on, look.no_room), (None, true, 168));
        assert_eq!(watch.look(|_| {}).unwrap().no_room, 0);
        // What has closed leaves its room.
        drop(pairs);
        ground.await_empty();
        let (client, server) = pair(&listener);
        talk(&client, &server, b"past TCP again");
        assert_eq!((ground.count(Counter::RedirectedMessages), ground.count(Counter::EnrolFailed)), (66, 168));
        // The map lives on with what is in it, and another one is made when nothing is.
        let attached = redirect::attach(&larger).unwrap();
        assert_eq!((attached.replaced, attached.room), (true, 64));
    });
    ground.await_empty();
    assert_eq!(redirect::detach(&ground.options.instance).unwrap(), redirect::Detached::Gone);
    assert_eq!(redirect::attach(&larger).unwrap().room, 128);
}
