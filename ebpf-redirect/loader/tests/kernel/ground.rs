//! A cgroup and a network namespace of a test's own, and an instance attached to that cgroup.
//!
//! Threads enter them alone: the cgroup is a threaded one, and a namespace belongs to a thread. What a thread starts, other
//! threads and programs, is within as well.

use redirect::{Counter, Object, Options, Property, Status};
use rustix::thread::{UnshareFlags, gettid};
use std::{
    env, fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Whether this process may do it; says loudly where not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Says loudly that a test is skipped; fails where `CI=true`.
pub(crate) fn skip(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var("CI").as_deref() != Ok("true"), "{test}: {why}");
    drop(io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()));
    if let Some(path) = env::var_os("PILLION_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        drop(file.and_then(|mut file| writeln!(file, "SKIPPED {test}: {why}")));
    }
}

/// The programs under test: the embedded ones, or those that `REDIRECT_OBJECT` names.
pub(crate) fn object() -> Object {
    match env::var_os("REDIRECT_OBJECT") {
        Some(file) => Object::of(fs::read(&file).unwrap(), "under test"),
        None => Object::default(),
    }
}

/// A cgroup with an instance of its own.
pub(crate) struct Ground {
    pub(crate) cgroup: PathBuf,
    pub(crate) options: Options,
}

impl Ground {
    /// A cgroup; nothing is attached yet. `None`: this process may not, which has been said.
    pub(crate) fn new() -> Option<Self> {
        if !is_root() {
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("redirect-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // What processes that have ended left, whose last threads ended with them.
        for entry in fs::read_dir(redirect::cgroup2().unwrap()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("redirect-test-").and_then(|rest| rest.split('-').next());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                drop(fs::remove_dir(entry.path()));
            }
        }
        let cgroup = redirect::cgroup2().unwrap().join(&name);
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.type"), "threaded").unwrap();
        let mut options = Options::new(name, &cgroup);
        options.object = object();
        options.waived = vec![Property::Splice, Property::Duplex, Property::WaitAll];
        Some(Self { cgroup, options })
    }

    /// The same with an instance that serves one port of the proxy.
    pub(crate) fn attached(port: u16) -> Option<Self> {
        let mut ground = Self::new()?;
        ground.options.ports.insert(port);
        ground.attach();
        Some(ground)
    }

    /// Attaches, and waits until the self-test's own connections have ended. Nothing is counted then: not even what it did.
    pub(crate) fn attach(&self) {
        let attached = redirect::attach(&self.options).unwrap_or_else(|error| panic!("{error}"));
        wait_for("the self-test's connections to end", || self.status().occupancy.sockets == 0);
        if !attached.replaced {
            let counted: Vec<_> = self.status().totals.iter().filter(|(_, count)| *count > 0).collect();
            assert!(counted.is_empty(), "{counted:?}");
        }
    }

    /// Runs something on a thread within the cgroup and a new network namespace with loopback.
    pub(crate) fn pod<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        within(Some(&self.cgroup), run)
    }

    pub(crate) fn status(&self) -> Status {
        redirect::status(&self.options.instance).unwrap().expect("it is attached")
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.status().totals.get(counter)
    }

    /// Waits until no socket is in the map.
    pub(crate) fn await_empty(&self) {
        wait_for("an empty map", || self.status().occupancy.sockets == 0);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let begun = Instant::now();
        while redirect::detach(&self.options.instance).is_ok_and(|done| matches!(done, redirect::Detached::Draining(_)))
            && begun.elapsed() < SOON
        {
            thread::sleep(Duration::from_millis(20));
        }
        // The threads that were in it have ended; the kernel may notice a moment later.
        while fs::remove_dir(&self.cgroup).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            && begun.elapsed() < Duration::from_secs(2)
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs something on a thread in a new network namespace with loopback, and in a cgroup.
pub(crate) fn within<T: Send>(cgroup: Option<&Path>, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            if let Some(cgroup) = cgroup {
                fs::write(cgroup.join("cgroup.threads"), gettid().as_raw_nonzero().to_string()).unwrap();
            }
            // SAFETY: a namespace of the network alone is changed, which holds no memory of this process.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            ip("link set lo up");
            run()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// ip(8) in the namespace of this thread.
pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Gives an interface that is up an address of version 6, and waits for the route to it: the kernel makes that later, when it
/// comes to it between other namespaces' affairs. Until then the network is unreachable.
pub(crate) fn address_v6(address: &str, interface: &str) {
    ip(&format!("address add {address} dev {interface} nodad"));
    await_v6(address);
}

/// Waits for the route to an own address of version 6.
pub(crate) fn await_v6(address: &str) {
    let address = address.split('/').next().unwrap();
    let there = || {
        let done = Command::new("ip").args(["-6", "route", "show", "table", "local", address]).output().unwrap();
        !done.stdout.is_empty()
    };
    wait_for("the route to an address", there);
}

pub(crate) fn wait_for(what: &str, mut right: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !right() {
        assert!(begun.elapsed() < SOON, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn listen(port: u16) -> TcpListener {
    listen_at((Ipv4Addr::LOCALHOST, port).into())
}

pub(crate) fn listen_at(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

pub(crate) fn connect(address: impl Into<SocketAddr>) -> TcpStream {
    patient(TcpStream::connect_timeout(&address.into(), SOON).unwrap())
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().unwrap().0)
}

/// With the two timeouts by which the proxy says that it is ready.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection to a listener, both ends.
pub(crate) fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect(listener.local_addr().unwrap());
    let server = accept(listener);
    assert_eq!(server.peer_addr().unwrap().port(), client.local_addr().unwrap().port());
    (client, server)
}

/// One message each way.
pub(crate) fn talk(client: &TcpStream, server: &TcpStream, words: &[u8]) {
    for (mut from, mut to) in [(client, server), (server, client)] {
        from.write_all(words).unwrap();
        let mut got = vec![0; words.len()];
        to.read_exact(&mut got).unwrap();
        assert!(got == words, "other bytes arrive than were sent");
    }
}

/// Serves one connection after another on threads of its own: whatever comes goes back. Ends with the listener's thread.
pub(crate) fn echo(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream.map(patient) else { return };
            // Whose client rests meanwhile has lost nothing; a message that is lost is what the client's own patience is for.
            stream.set_read_timeout(None).unwrap();
            thread::spawn(move || {
                let mut room = vec![0; 70_000];
                while let Ok(count) = stream.read(&mut room) {
                    if count == 0 || stream.write_all(&room[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

pub(crate) fn localhost(port: u16) -> SocketAddr {
    (IpAddr::from(Ipv4Addr::LOCALHOST), port).into()
}
