//! What comes into a pod's network namespace is given to its proxy, which has no privileges: pods are namespaces with a file, a
//! cgroup, and a cable to somebody outside.

use crate::ground::{Ground, SOON, accept, address_v6, connect, ip, patient, talk, wait_for};
use crate::needs::{BPF, PERFMON, needs};
use redirect::{
    AttachError, Counter, Detached, Options, Pins, Proxy,
    inbound::{Change, Claim, Namespaces, Waiting, claim},
};
use rustix::thread::{LinkNameSpaceType, Uid, gettid, move_into_link_name_space, set_thread_res_uid};
use socket2::{Domain, Socket, Type};
use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

/// The proxy's user, and that of nobody else here.
const USER: u32 = 61_338;
/// What the proxy listens on.
const PROXY: u16 = 15_006;
const PROBE: u16 = 15_098;
/// What the application listens on.
const APP: u16 = 8080;
/// What it listens on past the proxy.
const EXCLUDED: u16 = 9090;

/// The pod's addresses.
const V4: &str = "192.0.2.2";
const V6: &str = "2001:db8::2";

/// A directory of network namespaces' files, as a container runtime has one.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("redirect-netns-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The file goes, and the namespace with it when nobody is in it any more.
    fn remove(file: &Path) {
        rustix::mount::unmount(file, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_file(file).unwrap();
    }

    /// A new network namespace with loopback, and its file.
    fn namespace(&self, name: &str) -> PathBuf {
        let file = self.0.join(name);
        File::create(&file).unwrap();
        crate::ground::within(None, || rustix::mount::mount_bind("/proc/thread-self/ns/net", &file).unwrap());
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            rustix::mount::unmount(entry.path(), rustix::mount::UnmountFlags::DETACH).ok();
        }
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Runs something on a thread in the namespace of a file, and in a cgroup.
fn inside<T: Send>(file: &Path, cgroup: Option<&Path>, user: Option<u32>, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if let Some(cgroup) = cgroup {
                fs::write(cgroup.join("cgroup.threads"), gettid().as_raw_nonzero().to_string()).unwrap();
            }
            let namespace = File::open(file).unwrap();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            if let Some(user) = user.map(Uid::from_raw) {
                set_thread_res_uid(user, user, user).unwrap();
            }
            run()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A pod, and somebody at the other end of its cable.
struct Pod {
    cgroup: PathBuf,
    file: PathBuf,
    outside: PathBuf,
}

impl Pod {
    fn new(folder: &Folder, outside: &Folder, cgroup: &Path, name: &str) -> Self {
        let (file, outside) = (folder.namespace(name), outside.namespace(name));
        let pod = Self { cgroup: cgroup.to_owned(), file, outside };
        inside(&pod.file, None, None, || {
            ip(&format!("link add eth0 type veth peer name eth0 netns {}", pod.outside.display()));
            ip(&format!("address add {V4}/24 dev eth0"));
            ip("link set eth0 up");
        });
        pod.outside(|| {
            ip("address add 192.0.2.1/24 dev eth0");
            ip("link set eth0 up");
            address_v6("2001:db8::1/64", "eth0");
        });
        inside(&pod.file, None, None, || address_v6(&format!("{V6}/64"), "eth0"));
        pod
    }

    /// As the application, or as anybody else in the pod.
    fn run<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.file, Some(&self.cgroup), None, run)
    }

    /// As the proxy, that is without privileges.
    fn as_proxy<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.file, Some(&self.cgroup), Some(USER), run)
    }

    fn outside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.outside, None, None, run)
    }

    /// The application: on every address of both families, or of one.
    fn application(&self, at: &str) -> TcpListener {
        self.run(|| TcpListener::bind(at.parse::<SocketAddr>().unwrap()).unwrap())
    }

    /// The proxy's listener, which has claimed.
    fn proxy(&self, at: &str) -> TcpListener {
        self.as_proxy(|| claimed(bound(at), &wanted()).unwrap())
    }

    /// Somebody outside is told that nobody listens.
    fn refuses(&self, to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        let error = self.outside(|| TcpStream::connect_timeout(&to, SOON)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    }

    /// Somebody outside connects, and is accepted by this listener.
    fn pair(&self, to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to: SocketAddr = to.parse().unwrap();
        self.outside(|| connect(to)).accepted(listener)
    }

    /// Somebody within does.
    fn own(&self, to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to: SocketAddr = to.parse().unwrap();
        self.run(|| connect(to)).accepted(listener)
    }
}

trait Accepted: Sized {
    /// The other end, which must be this listener's.
    fn accepted(self, listener: &TcpListener) -> (Self, Self);
}

impl Accepted for TcpStream {
    fn accepted(self, listener: &TcpListener) -> (Self, Self) {
        listener.set_nonblocking(true).unwrap();
        let mut server = None;
        wait_for("the connection at this listener", || {
            server = listener.accept().ok();
            server.is_some()
        });
        let server = patient(server.unwrap().0);
        server.set_nonblocking(false).unwrap();
        assert_eq!(server.peer_addr().unwrap().port(), self.local_addr().unwrap().port());
        assert_eq!(canonical(server.local_addr().unwrap()), self.peer_addr().unwrap(), "where it wanted to go");
        (self, server)
    }
}

/// Without the form that an IPv4 address has at a socket of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn wanted() -> Claim {
    Claim::new(PROBE, [EXCLUDED]).unwrap()
}

/// As `[::]` is here: for IPv4 too.
fn bound(at: &str) -> Socket {
    let at: SocketAddr = at.parse().unwrap();
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(false).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket
}

fn claimed(socket: Socket, wanted: &Claim) -> io::Result<TcpListener> {
    claim(socket.as_fd(), wanted)?;
    socket.listen(64)?;
    Ok(socket.into())
}

/// An instance on a cgroup whose proxies may claim, and where their namespaces are.
fn ground() -> Option<(Ground, Folder, Folder)> {
    let mut ground = Ground::new()?;
    ground.options.ports.insert(PROXY);
    ground.options.proxies = vec![Proxy::User(USER)];
    ground.options.inbound = true;
    ground.attach();
    Some((ground, Folder::new(), Folder::new()))
}

fn agent(ground: &Ground, folder: &Folder) -> Namespaces {
    Namespaces::new(&ground.options, std::slice::from_ref(&folder.0)).unwrap()
}

/// The agent looks until so many namespaces are captured. What it did.
fn await_captured(agent: &mut Namespaces, count: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    wait_for("namespaces to be captured", || {
        changes.extend(agent.look().unwrap());
        agent.captured() == count
    });
    changes
}

fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

#[test]
fn who_connects_from_outside_reaches_the_proxy_which_learns_where_they_wanted_to_go() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let (client, server) = pod.pair(&at(V4, APP), &application);
    talk(&client, &server, b"before there is a proxy");
    let proxy = pod.proxy("[::]:15006");
    let changes = await_captured(&mut agent, 1);
    assert!(matches!(&changes[..], [Change::Captured { file, .. }] if *file == pod.file), "{changes:?}");
    talk(&client, &server, b"what was there before goes on");
    for (address, port) in [(V4, APP), (V6, APP), (V4, 1234), (V6, PROXY)] {
        let (client, server) = pod.pair(&at(address, port), &proxy);
        talk(&client, &server, b"captured");
    }
    assert_eq!(ground.count(Counter::InboundCaptured), 4);
    assert_eq!((ground.status().captured, ground.status().waiting.len()), (1, 0));
    // The kill switch is about the way of bytes.
    redirect::switch(&ground.options.instance, false).unwrap();
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn what_is_excluded_or_the_pods_own_goes_where_it_wanted_and_the_probe_to_the_proxy() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let (application, excluded) = (pod.application("[::]:8080"), pod.application("[::]:9090"));
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    pod.pair(&at(V4, EXCLUDED), &excluded);
    pod.pair(&at(V6, EXCLUDED), &excluded);
    assert_eq!(ground.count(Counter::InboundExcluded), 2);
    for address in ["127.0.0.1", "::1", V4, V6] {
        let (client, server) = pod.own(&at(address, APP), &application);
        talk(&client, &server, b"among themselves");
    }
    // Over loopback from whatever address.
    let client = pod.run(|| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        client.connect(&SocketAddr::from(([127, 0, 0, 1], APP)).into()).unwrap();
        TcpStream::from(client)
    });
    client.accepted(&application);
    assert_eq!(ground.count(Counter::InboundCaptured), 0);
    for address in ["127.0.0.1", "::1"] {
        let to: SocketAddr = at(address, PROBE).parse().unwrap();
        let (client, server) = pod.as_proxy(|| connect(to)).accepted(&proxy);
        talk(&client, &server, b"proven");
    }
    assert_eq!(ground.count(Counter::InboundCaptured), 2);
    // Said again, on a socket that listens, other ports count.
    pod.as_proxy(|| claim(proxy.as_fd(), &Claim::new(0, [APP]).unwrap()).unwrap());
    pod.pair(&at(V4, APP), &application);
    pod.pair(&at(V4, EXCLUDED), &proxy);
    pod.as_proxy(|| TcpStream::connect(("127.0.0.1", PROBE)).unwrap_err());
}

#[test]
fn a_family_that_the_proxy_does_not_take_reaches_nobody() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let _application = pod.application("[::]:8080");
    let proxy = pod.proxy("0.0.0.0:15006");
    await_captured(&mut agent, 1);
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
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
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
    pod.pair(&at(V4, APP), &application);
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
fn without_its_listener_nothing_gets_past_the_proxy_and_the_next_listener_has_it_again() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    let (client, server) = pod.pair(&at(V4, APP), &proxy);
    drop(proxy);
    pod.refuses(&at(V4, APP));
    pod.refuses(&at(V6, APP));
    pod.own(&at("127.0.0.1", APP), &application);
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
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let _application = pod.application("[::]:8080");
    // More than are known at a time.
    let mut listeners: Vec<_> = (0..18).map(|_| pod.proxy("[::]:15006")).collect();
    await_captured(&mut agent, 1);
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

#[test]
fn a_claim_whose_namespace_is_not_seen_waits_and_says_what_would_help() {
    let Some((ground, folder, outside)) = ground() else { return };
    let elsewhere = Folder::new();
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&elsewhere, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    let changes = agent.look().unwrap();
    let inode = u32::try_from(fs::metadata(&pod.file).unwrap().ino()).unwrap();
    let why = Waiting::File { among: vec![folder.0.clone()] };
    assert_eq!(changes, [Change::Waiting { inode, why: why.clone() }]);
    for words in [folder.0.to_str().unwrap(), "mountPropagation", "--namespaces"] {
        assert!(why.to_string().contains(words), "{why}");
    }
    // A name whose mount did not come through.
    File::create(folder.0.join("empty")).unwrap();
    wait_for("the next look", || {
        assert_eq!(agent.look().unwrap(), [], "it is said once");
        agent.waiting().eq([(inode, &why)])
    });
    pod.pair(&at(V4, APP), &application);
    let status = ground.status();
    assert_eq!((status.captured, status.waiting.into_iter().collect::<Vec<_>>()), (0, vec![inode]));
    let file = folder.0.join("late");
    File::create(&file).unwrap();
    rustix::mount::mount_bind(&pod.file, &file).unwrap();
    assert_eq!(await_captured(&mut agent, 1), [Change::Captured { inode, file }]);
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn of_a_namespace_that_has_gone_nothing_is_left() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let inode = u32::try_from(fs::metadata(&pod.file).unwrap().ino()).unwrap();
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    let pins = Pins::of(&ground.options.instance).unwrap();
    let version = pins.directory().join(format!("v{}", redirect_common::LAYOUT));
    let kept = || {
        let pins = |folder: &str| fs::read_dir(version.join(folder)).unwrap().flatten().map(|entry| entry.file_name());
        let programs = pins("programs").filter(|name| name.to_str().unwrap().starts_with("lookup")).count();
        (pins("namespaces").count(), programs)
    };
    assert_eq!(kept(), (1, 1));
    drop(proxy);
    Folder::remove(&pod.file);
    let mut changes = Vec::new();
    wait_for("the namespace to go", || {
        changes.extend(agent.look().unwrap());
        agent.captured() == 0
    });
    assert_eq!(changes, [Change::Gone { inode: Some(inode) }]);
    assert_eq!((kept(), agent.waiting().count()), ((0, 0), 0));
    assert_eq!(ground.status().waiting.len(), 0, "nor is its claim");
}

/// The kernel gives the number of a namespace that has gone to the next one.
#[test]
fn the_claim_of_a_namespace_that_has_gone_is_not_taken_for_one_of_its_inode() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let inode = |file: &Path| fs::metadata(file).unwrap().ino();
    let old = folder.namespace("old");
    let number = inode(&old);
    drop(inside(&old, Some(&ground.cgroup), Some(USER), || claimed(bound("[::]:15006"), &wanted()).unwrap()));
    assert_eq!(ground.count(Counter::Claims), 1);
    Folder::remove(&old);
    let mut tries = 0;
    let pod = loop {
        let pod = Pod::new(&folder, &outside, &ground.cgroup, &format!("pod-{tries}"));
        if inode(&pod.file) == number || inode(&pod.outside) == number {
            break pod;
        }
        tries += 1;
        assert!(tries < 200, "no namespace has the number {number} again");
    };
    if inode(&pod.file) != number {
        // The other end's has it: then that is in the agent's sight.
        rustix::mount::mount_bind(
            &pod.outside,
            File::create(folder.0.join("other")).map(|_| folder.0.join("other")).unwrap(),
        )
        .unwrap();
    }
    let application = pod.application("[::]:8080");
    for _ in 0..3 {
        thread::sleep(std::time::Duration::from_millis(150));
        agent.look().unwrap();
        assert_eq!((agent.captured(), ground.status().captured), (0, 0));
    }
    pod.pair(&at(V4, APP), &application);
    // Its own claim is.
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    pod.pair(&at(V4, APP), &proxy);
}

#[test]
fn what_an_agent_left_the_next_one_has_and_what_was_detached_it_has_again() {
    let Some((ground, folder, outside)) = ground() else { return };
    let instance = &ground.options.instance;
    let mut first = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut first, 1);
    // As one that is killed.
    drop(first);
    pod.pair(&at(V4, APP), &proxy);
    // A pod that came while there was none.
    let other = Pod::new(&folder, &outside, &ground.cgroup, "other");
    let others = other.proxy("[::]:15006");
    ground.attach();
    let mut second = agent(&ground, &folder);
    await_captured(&mut second, 2);
    for _ in 0..10 {
        pod.pair(&at(V4, APP), &proxy);
        other.pair(&at(V4, APP), &others);
    }
    let (client, server) = pod.pair(&at(V4, APP), &proxy);
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Claimed(2));
    pod.pair(&at(V4, APP), &application);
    talk(&client, &server, b"goes on");
    assert_eq!(redirect::tidy(instance).unwrap(), redirect::Tidied::Draining);
    // The agent that watches it does not give it back.
    wait_for("the agent to see it", || second.look().unwrap().is_empty() && second.captured() == 0);
    pod.pair(&at(V4, APP), &application);
    // Nobody takes a claim meanwhile.
    pod.as_proxy(|| claim(proxy.as_fd(), &wanted()).unwrap_err());
    redirect::attach(&ground.options).unwrap();
    await_captured(&mut second, 2);
    pod.pair(&at(V4, APP), &proxy);
    // With the last listener goes all of it.
    assert_eq!(redirect::detach(instance).unwrap(), Detached::Claimed(2));
    drop((proxy, others));
    wait_for("the listeners to leave the map", || redirect::tidy(instance).unwrap() == redirect::Tidied::Gone);
    assert!(!Pins::of(instance).unwrap().exist());
}

#[test]
fn attached_without_it_the_proxy_may_claim_nothing_and_has_nothing_any_more() {
    let Some((mut ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    assert_eq!(ground.status().links, ["claim", "connect4", "connect6", "enrol", "setsockopt"]);
    ground.options.inbound = false;
    ground.attach();
    assert_eq!(ground.status().links, ["connect4", "connect6", "enrol", "setsockopt"]);
    pod.pair(&at(V4, APP), &application);
    let error = pod.as_proxy(|| claim(proxy.as_fd(), &wanted())).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
    wait_for("the agent to see it", || agent.look().unwrap().is_empty() && agent.captured() == 0);
    ground.options.inbound = true;
    ground.attach();
    await_captured(&mut agent, 1);
    pod.pair(&at(V4, APP), &proxy);
}

/// The number of the program that is attached to the one namespace that is captured, which is the one that is kept.
fn in_force(ground: &Ground) -> u32 {
    use aya::programs::{ProgramInfo, links::LinkType, loaded_links};
    let pins = Pins::of(&ground.options.instance).unwrap();
    let programs = pins.directory().join(format!("v{}/programs", redirect_common::LAYOUT));
    let kept: Vec<_> = fs::read_dir(programs)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("lookup-"))
        .map(|entry| ProgramInfo::from_pin(entry.path()).unwrap().id())
        .collect();
    let mut links = loaded_links().flatten().filter(|link| link.link_type().is_ok_and(|kind| kind == LinkType::Netns));
    assert!(kept.len() == 1 && links.any(|link| link.program_id() == kept[0]), "{kept:?}");
    kept[0]
}

/// While programs are exchanged every connection reaches the proxy: none is refused, and none gets past it.
#[test]
fn a_replacement_loses_no_connection_and_one_that_fails_changes_nothing() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    let mut strict: Options = ground.options.clone();
    strict.waived.clear();
    let (ended, made) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let to: SocketAddr = at(V4, APP).parse().unwrap();
            pod.outside(|| {
                while !ended.load(Ordering::Relaxed) {
                    let (client, server) = (connect(to), accept(&proxy));
                    talk(&client, &server, b"to the proxy");
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        let more = || {
            let before = made.load(Ordering::Relaxed);
            wait_for("connections to go on", || made.load(Ordering::Relaxed) > before + 20);
        };
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                more();
                let before = in_force(&ground);
                assert!(redirect::attach(&ground.options).unwrap().replaced);
                assert_ne!(in_force(&ground), before);
                more();
            }
            let before = in_force(&ground);
            // This kernel's splice fails, which is seen before or after the exchange.
            match redirect::attach(&strict) {
                Err(error) => {
                    assert!(matches!(error, AttachError::Declined(_)), "{error}");
                    assert_eq!(in_force(&ground), before);
                }
                Ok(attached) => assert!(attached.replaced),
            }
            more();
        }));
        ended.store(true, Ordering::Relaxed);
        replaced.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    application.set_nonblocking(true).unwrap();
    assert!(application.accept().is_err(), "nobody got past the proxy");
    agent.look().unwrap();
    assert_eq!(agent.captured(), 1);
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

/// The kernel's refusal comes with what its verifier says, when it is attached and not when a pod comes.
#[test]
fn a_program_that_does_not_load_is_declined_when_it_is_attached() {
    let Some(ground) = Ground::new() else { return };
    let mut options = ground.options.clone();
    options.inbound = true;
    // `ingress_ifindex`, which is read beside `local_port` and `family` of its context, becomes a word behind all of that.
    let mut bytes = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../prebuilt/redirect.o")).unwrap();
    // BPF_LDX | BPF_MEM | BPF_W, and from where.
    let word = |instruction: &[u8; 8]| (instruction[0] == 0x61 && instruction[3] == 0).then_some(instruction[2]);
    let instructions = bytes.as_chunks_mut().0;
    let mut changed = 0;
    for at in 0..instructions.len() - 2 {
        let mut words = [0, 1, 2].map(|next| word(&instructions[at + next]));
        words.sort_unstable();
        if words == [8, 60, 64].map(Some) {
            let place = (at..at + 3).find(|at| word(&instructions[*at]) == Some(64)).unwrap();
            instructions[place][2] = 72;
            changed += 1;
        }
    }
    assert!(changed > 0);
    options.object = redirect::Object::of(bytes, "broken");
    let error = redirect::attach(&options).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("program lookup is refused by the kernel") && words.contains("invalid bpf_context access"),
        "{words}"
    );
    assert!(!Pins::of(&options.instance).unwrap().exist(), "nothing is left behind");
}
