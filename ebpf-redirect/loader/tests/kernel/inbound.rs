//! What comes into a pod's network namespace is given to its proxy, which has no privileges: pods are namespaces with a file, a
//! cgroup, and a cable to somebody outside.

use crate::ground::{Ground, accept, address_v6, connect, ip, talk, wait_for};
use redirect::{
    Counter, Proxy,
    inbound::{Change, Claim, Namespaces, claim},
};
use rustix::thread::{LinkNameSpaceType, Uid, gettid, move_into_link_name_space, set_thread_res_uid};
use socket2::{Domain, Socket, Type};
use std::{
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
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

    /// Somebody outside connects, and is accepted by this listener.
    fn pair(&self, to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to: SocketAddr = to.parse().unwrap();
        let client = self.outside(|| connect(to));
        let server = accept(listener);
        assert_eq!(server.peer_addr().unwrap().port(), client.local_addr().unwrap().port());
        (client, server)
    }
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

#[test]
fn who_connects_from_outside_reaches_the_proxy_and_it_learns_where_they_wanted_to_go() {
    let Some((ground, folder, outside)) = ground() else { return };
    let mut agent = agent(&ground, &folder);
    let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
    let application = pod.application("[::]:8080");
    let (client, server) = pod.pair(&format!("{V4}:{APP}"), &application);
    talk(&client, &server, b"before there is a proxy");
    let proxy = pod.proxy("[::]:15006");
    await_captured(&mut agent, 1);
    talk(&client, &server, b"what was there before goes on");
    for to in [format!("{V4}:{APP}"), format!("[{V6}]:{APP}"), format!("{V4}:1234"), format!("[{V6}]:{PROXY}")] {
        let (client, server) = pod.pair(&to, &proxy);
        let local = server.local_addr().unwrap();
        assert_eq!((local.ip().to_canonical().to_string(), local.port()), {
            let to: SocketAddr = to.parse().unwrap();
            (to.ip().to_string(), to.port())
        });
        talk(&client, &server, b"captured");
    }
    assert_eq!(ground.count(Counter::InboundCaptured), 4);
}
