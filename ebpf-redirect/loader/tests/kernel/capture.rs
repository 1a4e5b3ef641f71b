//! Outbound connections taken to the proxy by the connect hook.

use crate::ground::{Ground, accept, connect, listen_at, talk, wait_for};
use redirect::{Capture, Counter, Proxy};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

const PROXY: u16 = 18080;
const PROBE: u16 = 18099;
/// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const ORIGINAL_DST: i32 = 80;

/// What netfilter would be asked.
fn original(socket: &TcpStream, level: i32) -> io::Result<Vec<u8>> {
    let mut room = [0_u8; 28];
    let mut length = libc::socklen_t::try_from(room.len()).unwrap();
    // SAFETY: the buffer and its length live through the call.
    let failed =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, ORIGINAL_DST, room.as_mut_ptr().cast(), &raw mut length) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(room[..length as usize].to_vec())
}

fn ground() -> Option<Ground> {
    let mut ground = Ground::new()?;
    ground.options.ports.insert(PROXY);
    ground.options.capture = Some(Capture {
        port: PROXY,
        exclude: vec![("198.51.100.0".parse().unwrap(), 24), ("2001:db8:1::".parse().unwrap(), 48)],
        exclude_ports: BTreeSet::from([22]),
        probe: Some(PROBE),
    });
    ground.attach();
    Some(ground)
}

#[test]
fn a_captured_connection_reaches_the_proxy_and_both_ends_learn_where_it_wanted_to_go() {
    let Some(ground) = ground() else { return };
    ground.pod(|| {
        let before = ground.count(Counter::RedirectedMessages);
        let mapped = "[::ffff:192.0.2.9]:81";
        for (to, at) in
            [("192.0.2.9:80", "127.0.0.1:18080"), (mapped, "127.0.0.1:18080"), ("[2001:db8::9]:443", "[::1]:18080")]
        {
            let listener = listen_at(at.parse().unwrap());
            let to: SocketAddr = to.parse().unwrap();
            let client = connect(to);
            let server = accept(&listener);
            assert_eq!(client.peer_addr().unwrap(), to, "the client sees what it asked for");
            let told = original(&server, if at.starts_with('[') { libc::SOL_IPV6 } else { libc::SOL_IP }).unwrap();
            assert_eq!(told[2..4], to.port().to_be_bytes());
            match to.ip().to_canonical() {
                std::net::IpAddr::V4(v4) => assert_eq!((told.len(), &told[4..8]), (16, &v4.octets()[..])),
                std::net::IpAddr::V6(v6) => assert_eq!((told.len(), &told[8..24]), (28, &v6.octets()[..])),
            }
            talk(&client, &server, b"captured");
        }
        assert_eq!(ground.count(Counter::RedirectedMessages) - before, 6);
        assert_eq!(ground.count(Counter::Captured), 3);
        assert_eq!(ground.count(Counter::OriginalsTold), 3);
    });
    wait_for("the original destinations to go", || ground.status().occupancy.originals == 0);
}

#[test]
fn what_is_excluded_or_on_loopback_goes_where_it_wanted_and_the_kill_switch_changes_nothing_of_it() {
    let Some(ground) = ground() else { return };
    ground.pod(|| {
        crate::ground::ip("address add 198.51.100.3/32 dev lo");
        crate::ground::ip("address add 192.0.2.3/32 dev lo");
        crate::ground::address_v6("2001:db8:1::3/128", "lo");
        for to in ["198.51.100.3:80", "[2001:db8:1::3]:80", "192.0.2.3:22", "127.0.0.1:80", "[::1]:80"] {
            let to: SocketAddr = to.parse().unwrap();
            let listener = listen_at(to);
            let (client, server) = (connect(to), accept(&listener));
            assert_eq!(server.local_addr().unwrap(), to);
            let error = original(&server, libc::SOL_IP).unwrap_err();
            assert!(matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOPROTOOPT | libc::EINVAL)), "{error}");
            talk(&client, &server, b"left alone");
        }
        assert_eq!(ground.count(Counter::Captured), 0);
        redirect::switch(&ground.options.instance, false).unwrap();
        let redirected = ground.count(Counter::RedirectedMessages);
        // Past the proxy would be past what it refuses.
        let to: SocketAddr = "192.0.2.3:80".parse().unwrap();
        let proxy = listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, PROXY)));
        let (client, server) = (connect(to), accept(&proxy));
        assert_eq!(client.peer_addr().unwrap(), to);
        assert_eq!(original(&server, libc::SOL_IP).unwrap()[4..8], [192, 0, 2, 3]);
        talk(&client, &server, b"captured, through TCP");
        assert_eq!(ground.count(Counter::Captured), 1);
        assert_eq!(ground.count(Counter::RedirectedMessages), redirected);
    });
}

/// A socket that was captured in vain may be connected again, to where nothing is captured.
#[test]
fn a_socket_that_connects_anew_is_told_what_it_asked_for_last() {
    let Some(ground) = ground() else { return };
    ground.pod(|| {
        crate::ground::ip("address add 198.51.100.3/32 dev lo");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let captured: SocketAddr = "192.0.2.9:80".parse().unwrap();
        let error = socket.connect(&captured.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "no proxy is there: {error}");
        let excluded: SocketAddr = "198.51.100.3:80".parse().unwrap();
        let listener = listen_at(excluded);
        socket.connect(&excluded.into()).unwrap();
        let (client, server) = (TcpStream::from(socket), accept(&listener));
        assert_eq!(client.peer_addr().unwrap(), excluded);
        assert!(original(&server, libc::SOL_IP).is_err());
        assert_eq!(ground.status().occupancy.originals, 0);
    });
}

#[test]
fn a_probe_of_the_proxys_own_is_captured_and_nothing_else_of_it() {
    let Some(mut ground) = ground() else { return };
    ground.options.proxies = vec![Proxy::Process(std::process::id())];
    ground.attach();
    ground.pod(|| {
        crate::ground::ip("address add 192.0.2.3/32 dev lo");
        for (at, probe) in [("127.0.0.1:18080", "127.0.0.1:18099"), ("[::1]:18080", "[::1]:18099")] {
            let listener = listen_at(at.parse().unwrap());
            let probe: SocketAddr = probe.parse().unwrap();
            let (client, server) = (connect(probe), accept(&listener));
            assert_eq!(client.peer_addr().unwrap(), probe);
            let told = original(&server, if at.starts_with('[') { libc::SOL_IPV6 } else { libc::SOL_IP }).unwrap();
            assert_eq!(told[2..4], PROBE.to_be_bytes());
            talk(&client, &server, b"proven");
        }
        assert_eq!(ground.count(Counter::Captured), 2);
        for to in ["192.0.2.3:80", "127.0.0.1:80"] {
            let to: SocketAddr = to.parse().unwrap();
            let listener = listen_at(to);
            let (_client, server) = (connect(to), accept(&listener));
            assert_eq!(server.local_addr().unwrap(), to);
        }
        assert_eq!(ground.count(Counter::Captured), 2);
    });
}

/// A captured connection that came to nothing, or was not enrolled, says nothing of the next one from its port.
#[test]
fn a_later_connection_from_the_same_port_is_not_told_where_another_wanted_to_go() {
    let Some(ground) = ground() else { return };
    let instance = &ground.options.instance;
    ground.pod(|| {
        let from = |port: u16| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
            // Ends by a reset: its port can be had again at once.
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            socket
        };
        let to: SocketAddr = "192.0.2.9:80".parse().unwrap();
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, PROXY));
        let direct = |port: u16| {
            let listener = listen_at(proxy);
            let client = from(port);
            client.connect(&proxy.into()).unwrap();
            let server = accept(&listener);
            let told = original(&server, libc::SOL_IP);
            assert!(told.is_err(), "port {port}: {told:?}");
        };
        from(41_000).connect(&to.into()).unwrap_err();
        wait_for("one that was refused to be forgotten", || ground.status().occupancy.originals == 0);
        direct(41_000);
        for (port, client_first) in [(41_001, true), (41_002, false)] {
            redirect::switch(instance, false).unwrap();
            let listener = listen_at(proxy);
            let client = from(port);
            client.connect(&to.into()).unwrap();
            let server = accept(&listener);
            // Asked late, and twice, it knows.
            for _ in 0..2 {
                assert_eq!(original(&server, libc::SOL_IP).unwrap()[4..8], [192, 0, 2, 9]);
            }
            SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
            if client_first {
                drop(client);
                assert_eq!(original(&server, libc::SOL_IP).unwrap()[4..8], [192, 0, 2, 9], "its client is gone");
                drop(server);
            } else {
                drop(server);
                drop(client);
            }
            redirect::switch(instance, true).unwrap();
            wait_for("one that was not enrolled to be forgotten", || ground.status().occupancy.originals == 0);
            drop(listener);
            direct(port);
        }
    });
}
