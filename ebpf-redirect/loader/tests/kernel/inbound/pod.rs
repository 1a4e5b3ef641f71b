//! A pod: a network namespace with a file, a cgroup, and a cable to somebody outside. Its proxy has no privileges.

use crate::ground::{Ground, SOON, address_v6, connect, ip, patient, wait_for};
use redirect::{
    Pins, Proxy,
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
pub(crate) const USER: u32 = 61_338;
/// What the proxy listens on.
pub(crate) const PROXY: u16 = 15_006;
pub(crate) const PROBE: u16 = 15_098;
/// What the application listens on.
pub(crate) const APP: u16 = 8080;
/// What it listens on past the proxy.
pub(crate) const EXCLUDED: u16 = 9090;

/// The pod's addresses.
pub(crate) const V4: &str = "192.0.2.2";
pub(crate) const V6: &str = "2001:db8::2";

/// A directory of network namespaces' files, as a container runtime has one.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("redirect-netns-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The file goes, and the namespace with it when nobody is in it any more.
    pub(crate) fn remove(file: &Path) {
        rustix::mount::unmount(file, rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_file(file).unwrap();
    }

    /// A new network namespace with loopback, and its file.
    pub(crate) fn namespace(&self, name: &str) -> PathBuf {
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
pub(crate) fn inside<T: Send>(
    file: &Path,
    cgroup: Option<&Path>,
    user: Option<u32>,
    run: impl FnOnce() -> T + Send,
) -> T {
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
pub(crate) struct Pod {
    cgroup: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) outside: PathBuf,
}

impl Pod {
    pub(crate) fn new(folder: &Folder, outside: &Folder, cgroup: &Path, name: &str) -> Self {
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
    pub(crate) fn run<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.file, Some(&self.cgroup), None, run)
    }

    /// As the proxy, that is without privileges.
    pub(crate) fn as_proxy<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.file, Some(&self.cgroup), Some(USER), run)
    }

    pub(crate) fn outside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.outside, None, None, run)
    }

    /// The application: on every address of both families, or of one.
    pub(crate) fn application(&self, at: &str) -> TcpListener {
        self.run(|| TcpListener::bind(at.parse::<SocketAddr>().unwrap()).unwrap())
    }

    /// The proxy's listener, which has claimed.
    pub(crate) fn proxy(&self, at: &str) -> TcpListener {
        self.as_proxy(|| claimed(bound(at), &wanted()).unwrap())
    }

    /// Somebody outside is told that nobody listens.
    pub(crate) fn refuses(&self, to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        let error = self.outside(|| TcpStream::connect_timeout(&to, SOON)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    }

    /// Somebody outside connects, and is accepted by this listener.
    pub(crate) fn pair(&self, to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to: SocketAddr = to.parse().unwrap();
        self.outside(|| connect(to)).accepted(listener)
    }

    /// Somebody within does.
    pub(crate) fn own(&self, to: &str, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to: SocketAddr = to.parse().unwrap();
        self.run(|| connect(to)).accepted(listener)
    }
}

pub(crate) trait Accepted: Sized {
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
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(crate) fn wanted() -> Claim {
    Claim::new(PROBE, [EXCLUDED]).unwrap()
}

/// As `[::]` is here: for IPv4 too.
pub(crate) fn bound(at: &str) -> Socket {
    let at: SocketAddr = at.parse().unwrap();
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(false).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket
}

pub(crate) fn claimed(socket: Socket, wanted: &Claim) -> io::Result<TcpListener> {
    claim(socket.as_fd(), wanted)?;
    socket.listen(64)?;
    Ok(socket.into())
}

/// An instance on a cgroup whose proxies may claim, and where their namespaces are.
pub(crate) fn ground() -> Option<(Ground, Folder, Folder)> {
    let mut ground = Ground::new()?;
    ground.options.ports.insert(PROXY);
    ground.options.proxies = vec![Proxy::User(USER)];
    ground.options.inbound = true;
    ground.attach();
    Some((ground, Folder::new(), Folder::new()))
}

pub(crate) fn agent(ground: &Ground, folder: &Folder) -> Namespaces {
    Namespaces::new(&ground.options, std::slice::from_ref(&folder.0)).unwrap()
}

/// One pod with its application, and the agent. What is declared first goes first.
pub(crate) struct Scene {
    pub(crate) application: TcpListener,
    pub(crate) pod: Pod,
    pub(crate) agent: Namespaces,
    pub(crate) ground: Ground,
    _folders: [Folder; 2],
}

impl Scene {
    pub(crate) fn new() -> Option<Self> {
        let (ground, folder, outside) = ground()?;
        let agent = agent(&ground, &folder);
        let pod = Pod::new(&folder, &outside, &ground.cgroup, "pod");
        let application = pod.application("[::]:8080");
        Some(Self { application, pod, agent, ground, _folders: [folder, outside] })
    }

    /// The same with the pod's proxy, which is given what comes in.
    pub(crate) fn captured() -> Option<(Self, TcpListener)> {
        let mut scene = Self::new()?;
        let proxy = scene.pod.proxy("[::]:15006");
        await_captured(&mut scene.agent, 1);
        Some((scene, proxy))
    }
}

/// The agent looks until so many namespaces are captured. What it did.
pub(crate) fn await_captured(agent: &mut Namespaces, count: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    wait_for("namespaces to be captured", || {
        changes.extend(agent.look().unwrap());
        agent.captured() == count
    });
    changes
}

pub(crate) fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The number of the program that is attached to the one namespace that is captured, which is the one that is kept.
pub(crate) fn in_force(ground: &Ground) -> u32 {
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
