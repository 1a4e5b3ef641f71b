//! What comes into a pod's network namespace is given to its proxy, which has no privileges, and to nobody else.

mod life;
mod pod;

use crate::{
    ground::{accept, connect, talk},
    needs::{BPF, PERFMON, needs},
};
use pod::{
    APP, Accepted, EXCLUDED, PROBE, PROXY, Pod, Scene, USER, V4, V6, agent, at, await_captured, bound, claimed, ground,
    in_force, inside, wanted,
};
use redirect::{
    Capture, Counter, Pins,
    inbound::{Change, Claim, Waiting, claim},
};
use redirect_common::{Claimed, LAYOUT, MOST_NAMESPACES};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

#[test]
fn who_connects_from_outside_reaches_the_proxy_which_learns_where_they_wanted_to_go() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    let (client, server) = pod.pair(&at(V4, APP), application);
    talk(&client, &server, b"before there is a proxy");
    let proxy = pod.proxy("[::]:15006");
    let changes = await_captured(agent, 1);
    assert!(matches!(&changes[..], [Change::Captured { file, .. }] if *file == pod.file), "{changes:?}");
    talk(&client, &server, b"what was there before goes on");
    for (address, port) in [(V4, APP), (V6, APP), (V4, 1234), (V6, PROXY)] {
        let (client, server) = pod.pair(&at(address, port), &proxy);
        talk(&client, &server, b"captured");
    }
    assert_eq!(ground.count(Counter::InboundCaptured), 4);
    assert_eq!((ground.status().captured, ground.status().waiting.len()), (1, 0));
    // Where the kernel keeps nothing of a SYN, the ACK is looked up as well.
    pod.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").unwrap());
    let (client, server) = pod.pair(&at(V4, APP), &proxy);
    talk(&client, &server, b"by a cookie");
    // The kill switch is about the way of bytes.
    redirect::switch(&ground.options.instance, false).unwrap();
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn what_is_excluded_or_the_pods_own_goes_where_it_wanted_and_the_probe_to_the_proxy() {
    let Some((mut scene, proxy)) = Scene::captured() else { return };
    let Scene { ground, pod, application, .. } = &mut scene;
    let excluded = pod.application("[::]:9090");
    pod.pair(&at(V4, EXCLUDED), &excluded);
    pod.pair(&at(V6, EXCLUDED), &excluded);
    assert_eq!(ground.count(Counter::InboundExcluded), 2);
    for address in ["127.0.0.1", "::1", V4, V6] {
        let (client, server) = pod.own(&at(address, APP), application);
        talk(&client, &server, b"among themselves");
    }
    // Over loopback from whatever address.
    let client = pod.run(|| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        client.connect(&SocketAddr::from(([127, 0, 0, 1], APP)).into()).unwrap();
        TcpStream::from(client)
    });
    client.accepted(application);
    assert_eq!(ground.count(Counter::InboundCaptured), 0);
    for address in ["127.0.0.1", "::1"] {
        let to: SocketAddr = at(address, PROBE).parse().unwrap();
        let (client, server) = pod.as_proxy(|| connect(to)).accepted(&proxy);
        talk(&client, &server, b"proven");
    }
    assert_eq!(ground.count(Counter::InboundCaptured), 2);
    // Said again, on a socket that listens, other ports count.
    pod.as_proxy(|| claim(proxy.as_fd(), &Claim::new(0, [APP]).unwrap()).unwrap());
    pod.pair(&at(V4, APP), application);
    pod.pair(&at(V4, EXCLUDED), &proxy);
    pod.as_proxy(|| TcpStream::connect(("127.0.0.1", PROBE)).unwrap_err());
}

#[test]
fn a_family_that_the_proxy_does_not_take_reaches_nobody() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { agent, pod, .. } = &mut scene;
    let proxy = pod.proxy("0.0.0.0:15006");
    await_captured(agent, 1);
    pod.pair(&at(V4, APP), &proxy);
    pod.refuses(&at(V6, APP));
    // One for each.
    let only_v6 = pod.as_proxy(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_only_v6(true).unwrap();
        socket.bind(&"[::]:15006".parse::<SocketAddr>().unwrap().into()).unwrap();
        claimed(socket, &wanted()).unwrap()
    });
    pod.pair(&at(V6, APP), &only_v6);
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn who_is_not_the_proxy_or_is_not_understood_claims_nothing() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    let unknown = |claimed: io::Result<TcpListener>| {
        let error = claimed.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT), "{error}");
    };
    pod.run(|| unknown(claimed(bound("[::]:15006"), &wanted())));
    pod.as_proxy(|| {
        unknown(claimed(bound("[::]:15006"), &Claim { version: 2, ..wanted() }));
        unknown(claimed(bound("[::]:15006"), &Claim { count: 65, ..wanted() }));
        // Whatever is no listener of TCP.
        let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        assert!(claim(datagrams.as_fd(), &wanted()).is_err());
        // Cut short.
        let socket = bound("[::]:15006");
        let (level, name) = (redirect_common::claim::LEVEL.cast_signed(), redirect_common::claim::NAME.cast_signed());
        let whole = Claim { families: 1, ..wanted() };
        for length in [0, 4, size_of::<Claim>() - 1] {
            // SAFETY: no more is read than there is.
            let done = unsafe {
                libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const whole).cast(), length.try_into().unwrap())
            };
            assert_eq!((done, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ENOPROTOOPT)));
        }
    });
    // In another cgroup nobody hears of it.
    inside(&pod.file, None, Some(USER), || unknown(claimed(bound("[::]:15006"), &wanted())));
    assert_eq!((ground.count(Counter::Claims), ground.count(Counter::ClaimsRefused)), (0, 7));
    agent.look().unwrap();
    assert_eq!((agent.captured(), agent.waiting().count()), (0, 0));
    pod.pair(&at(V4, APP), application);
}

#[test]
fn the_nodes_own_namespace_is_nobodys_to_claim() {
    let Some((ground, folder, _outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let node = Path::new("/proc/thread-self/ns/net");
    let claim = || inside(node, Some(&ground.cgroup), Some(USER), || claimed(bound("127.0.0.1:0"), &wanted()));
    match claim() {
        // The first namespace of the kernel.
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}"),
        // That of a container, which the agent shares with it.
        Ok(_listener) => {
            agent.look().unwrap();
            assert!(agent.waiting().all(|(_, why)| *why == Waiting::Own) && agent.captured() == 0);
        }
    }
}

#[test]
fn networks_that_anybody_can_make_are_nobodys_to_claim() {
    let Some((ground, folder, _outside)) = ground() else { return };
    let _agent = agent(&ground, &folder);
    // What a process without privileges gets where it may make user namespaces: as many as it likes.
    let mut own = Command::new("unshare").args(["--user", "--net", "sleep", "30"]).spawn().unwrap();
    let node = fs::read_link("/proc/self/ns/net").unwrap();
    let file = PathBuf::from(format!("/proc/{}/ns/net", own.id()));
    while fs::read_link(&file).unwrap() == node {
        thread::sleep(Duration::from_millis(10));
    }
    let error = inside(&file, Some(&ground.cgroup), Some(USER), || claimed(bound("127.0.0.1:0"), &wanted()));
    own.kill().unwrap();
    own.wait().unwrap();
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!((ground.count(Counter::Claims), ground.count(Counter::ClaimsRefused)), (0, 1));
}

#[test]
fn where_there_is_no_room_for_a_claim_its_proxy_and_the_agent_are_told() {
    use aya::maps::{HashMap, Map, MapData};
    let Some(mut scene) = Scene::new() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    let pins = Pins::of(&ground.options.instance).unwrap();
    let pinned = pins.directory().join(format!("v{LAYOUT}/CLAIMS"));
    let mut claims: HashMap<_, u64, Claimed> =
        HashMap::try_from(Map::HashMap(MapData::from_pin(pinned).unwrap())).unwrap();
    // Cookies that the kernel does not get to.
    let others = (0..MOST_NAMESPACES as u64).map(|number| u64::MAX - number);
    others.clone().for_each(|cookie| claims.insert(cookie, Claimed { inode: 1, turn: 0, claim: wanted() }, 0).unwrap());
    assert!(agent.look().unwrap().is_empty());
    let claimed_by = || pod.as_proxy(|| claimed(bound("[::]:15006"), &wanted()));
    for tries in 1..=3 {
        let error = claimed_by().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
        assert_eq!(ground.count(Counter::ClaimsFull), tries);
        let said = agent.look().unwrap();
        let full = Change::Full { claims: MOST_NAMESPACES };
        assert_eq!(said, if tries == 1 { vec![full] } else { Vec::new() }, "it is said once");
    }
    assert_eq!((ground.count(Counter::Claims), ground.count(Counter::ClaimsRefused)), (0, 0));
    pod.pair(&at(V4, APP), application);
    // With the first that goes.
    claims.remove(&u64::MAX).unwrap();
    let proxy = claimed_by().unwrap();
    await_captured(agent, 1);
    pod.pair(&at(V4, APP), &proxy);
    // Who has one changes it.
    pod.as_proxy(|| claim(proxy.as_fd(), &Claim::new(0, [APP]).unwrap()).unwrap());
    pod.pair(&at(V4, APP), application);
}

#[test]
fn without_its_listener_nothing_gets_past_the_proxy_and_the_next_listener_has_it_again() {
    let Some((mut scene, proxy)) = Scene::captured() else { return };
    let Scene { ground, agent, pod, application, .. } = &mut scene;
    let (client, server) = pod.pair(&at(V4, APP), &proxy);
    drop(proxy);
    pod.refuses(&at(V4, APP));
    pod.refuses(&at(V6, APP));
    pod.own(&at("127.0.0.1", APP), application);
    talk(&client, &server, b"goes on");
    assert_eq!(ground.count(Counter::InboundRefused), 2);
    // Claimed, it is not there before it listens.
    let socket = pod.as_proxy(|| {
        let socket = bound("[::]:15006");
        claim(socket.as_fd(), &wanted()).unwrap();
        socket
    });
    pod.refuses(&at(V4, APP));
    agent.look().unwrap();
    assert_eq!(agent.captured(), 1);
    socket.listen(64).unwrap();
    let proxy = TcpListener::from(socket);
    pod.pair(&at(V4, APP), &proxy);
    pod.pair(&at(V6, APP), &proxy);
}

#[test]
fn of_listeners_that_share_a_port_each_has_its_part_and_the_last_that_is_left_all() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { agent, pod, .. } = &mut scene;
    // More than are known at a time.
    let mut listeners: Vec<_> = (0..18).map(|_| pod.proxy("[::]:15006")).collect();
    await_captured(agent, 1);
    let to: SocketAddr = at(V4, APP).parse().unwrap();
    let clients: Vec<_> = pod.outside(|| (0..110).map(|_| connect(to)).collect());
    let mut shares = Vec::new();
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
        shares.push(listener.incoming().take_while(Result::is_ok).count());
    }
    assert_eq!(shares.iter().sum::<usize>(), clients.len(), "{shares:?}");
    assert!(shares.iter().filter(|share| **share > 0).count() > 5, "{shares:?}");
    // A new process that fails takes nothing from the one before.
    for left in [5, 3] {
        listeners.truncate(left);
        let clients: Vec<_> = pod.outside(|| (0..40).map(|_| connect(to)).collect());
        let taken: usize = listeners.iter().map(|one| one.incoming().take_while(Result::is_ok).count()).sum();
        assert_eq!(taken, clients.len());
    }
}

#[test]
fn two_pods_with_the_same_addresses_never_mix_and_one_that_claims_nothing_is_left_alone() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pods: Vec<_> = ["a", "b", "c"].iter().map(|name| Pod::new(&folder, &outside, &ground.cgroup, name)).collect();
    let applications: Vec<_> = pods.iter().map(|pod| pod.application("[::]:8080")).collect();
    let proxies = [pods[0].proxy("[::]:15006"), pods[1].proxy("[::]:15006")];
    await_captured(&mut agent, 2);
    for _ in 0..20 {
        for (pod, listener) in pods.iter().zip(proxies.iter().chain(&applications[2..])) {
            let (client, server) = pod.pair(&at(V4, APP), listener);
            talk(&client, &server, b"whose am I?");
        }
    }
    drop(proxies);
    pods[0].refuses(&at(V4, APP));
    pods[2].pair(&at(V4, APP), &applications[2]);
    assert_eq!(ground.count(Counter::InboundCaptured), 40);
}

/// What goes out is taken where the proxy has said that it is there, and nowhere else beneath the cgroup.
#[test]
fn what_goes_out_is_taken_of_who_has_claimed_and_of_nobody_else() {
    const OUTBOUND: u16 = 15_001;
    const OUTBOUND_PROBE: u16 = 15_099;
    const BEYOND: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
    let Some((mut ground, folder, outside)) = ground() else { return };
    ground.options.capture = Some(Capture {
        port: OUTBOUND,
        exclude: Vec::new(),
        exclude_ports: BTreeSet::from([22]),
        probe: Some(OUTBOUND_PROBE),
    });
    ground.attach();
    let [pod, other] = ["a", "b"].map(|name| Pod::new(&folder, &outside, &ground.cgroup, name));
    let listen = |port| TcpListener::bind(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port))).unwrap();
    let beyond = [&pod, &other].map(|pod| pod.outside(|| listen(80)));
    let left_alone = |pod: &Pod, listener: &TcpListener| {
        for address in BEYOND {
            let (client, server) = pod.own(&at(address, 80), listener);
            talk(&client, &server, b"as if nobody was there");
        }
    };
    let refused = |pod: &Pod, to: &str| {
        let error = pod.run(|| TcpStream::connect(to)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{to}: {error}");
    };
    // Before its proxy is there, as its init containers go out.
    left_alone(&pod, &beyond[0]);
    left_alone(&other, &beyond[1]);
    for probe in ["127.0.0.1", "::1"] {
        pod.as_proxy(|| TcpStream::connect((probe, OUTBOUND_PROBE)).unwrap_err());
    }
    assert_eq!((ground.count(Counter::Captured), ground.count(Counter::CaptureUnclaimed)), (0, 6));
    let (inbound, outbound) = (pod.proxy("[::]:15006"), pod.as_proxy(|| listen(OUTBOUND)));
    let taken = |client: TcpStream, to: &str| {
        let server = accept(&outbound);
        assert_eq!(server.local_addr().unwrap().port(), OUTBOUND);
        assert_eq!(client.peer_addr().unwrap(), to.parse().unwrap(), "the client sees what it asked for");
        talk(&client, &server, b"captured");
    };
    for to in BEYOND.map(|address| at(address, 80)) {
        taken(pod.run(|| connect(to.parse::<SocketAddr>().unwrap())), &to);
    }
    for to in ["127.0.0.1", "::1"].map(|address| at(address, OUTBOUND_PROBE)) {
        taken(pod.as_proxy(|| connect(to.parse::<SocketAddr>().unwrap())), &to);
    }
    left_alone(&other, &beyond[1]);
    assert_eq!((ground.count(Counter::Captured), ground.count(Counter::CaptureUnclaimed)), (4, 8));
    let ssh = pod.outside(|| listen(22));
    pod.own(&at(BEYOND[0], 22), &ssh);
    // Without its proxy nobody gets past it, also beneath an agent that comes then.
    drop((inbound, outbound));
    for _ in 0..2 {
        for to in BEYOND {
            refused(&pod, &at(to, 80));
        }
        left_alone(&other, &beyond[1]);
        ground.attach();
    }
    // Without claims there is one proxy for all.
    ground.options.inbound = false;
    ground.attach();
    let unclaimed = ground.count(Counter::CaptureUnclaimed);
    refused(&other, &at(BEYOND[0], 80));
    assert_eq!(ground.count(Counter::CaptureUnclaimed), unclaimed);
}

#[test]
fn giving_a_namespace_to_its_proxy_needs_what_is_documented() {
    let Some((ground, folder, outside)) = ground() else { return };
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let _proxy = pod.proxy("[::]:15006");
    needs("inbound", &[BPF, PERFMON], || {
        let mut agent = agent(&ground, &folder);
        agent.look().map_err(|error| error.to_string())?;
        let waiting = agent.waiting().next().map(|(_, why)| why.to_string());
        waiting.map_or(Ok(()), Err)
    });
    assert_eq!(ground.status().captured, 1);
}

#[test]
#[ignore = "a measurement: some seconds"]
fn cost_of_a_first_packet_by_number_of_excluded_ports() {
    use aya::{
        programs::loaded_programs,
        sys::{Stats, enable_stats},
    };
    const CONNECTIONS: u32 = 5_000;
    let Some((mut scene, proxy)) = Scene::captured() else { return };
    let Scene { ground, pod, .. } = &mut scene;
    let _measured = enable_stats(Stats::RunTime).unwrap();
    let to: SocketAddr = at(V4, APP).parse().unwrap();
    for count in [0, 8, 64] {
        pod.as_proxy(|| claim(proxy.as_fd(), &Claim::new(PROBE, 20_000..20_000 + count).unwrap()).unwrap());
        let number = in_force(ground);
        let ran = || {
            let program = loaded_programs().flatten().find(|program| program.id() == number).unwrap();
            (program.run_time(), program.run_count())
        };
        let before = ran();
        pod.outside(|| (0..CONNECTIONS).for_each(|_| drop((connect(to), accept(&proxy)))));
        let now = ran();
        let each = (now.0 - before.0).as_nanos() as f64 / (now.1 - before.1) as f64;
        println!("{count:>3} excluded ports: {each:.0} ns, {} packets of {CONNECTIONS} connections", now.1 - before.1);
    }
}
