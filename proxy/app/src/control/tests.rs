//! Whole proxies on threads of this process, asked over a Unix admin socket. Signals are tested with processes
//! (`tests/process.rs`), because a signal would reach every proxy here.

use super::passthrough::Passthrough;
use super::*;
use crate::{
    admin::client::{Address, Answer},
    assembly::ClusterStatus,
    cgroup::Pressure,
    sockets::Handed,
    worker::{Order, Run},
};
use bytes::Bytes;
use pillion_config::{
    Loaded,
    model::{AdminAddress, ClusterIndex, Config, EndpointAddress, Listener, Name},
    simple,
};
use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
};

/// How long a thing that should happen at once may take on a machine that is busy with other work.
const SOON: Duration = Duration::from_secs(30);

struct Proxy {
    config: Arc<Mutex<Result<Config, String>>>,
    admin: Address,
    thread: JoinHandle<Exit>,
}

impl Proxy {
    fn start<P: Plane>(config: Config, plane: impl FnOnce() -> P + Send + 'static) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillion-control-{}-{number}.sock", std::process::id()));
        let mut config = config;
        config.admin.address = Some(AdminAddress::Unix(path.clone()));
        let config = Arc::new(Mutex::new(Ok(config)));
        let read = Arc::clone(&config);
        let thread = thread::spawn(move || {
            let source: Source = Box::new(move || {
                let config = read.lock().unwrap().clone().map_err(Rejected)?;
                Ok(Loaded { config, warnings: Vec::new(), files: Vec::new() })
            });
            run(plane(), source, Hooks::default())
        });
        let proxy = Self { config, admin: Address::Unix(path), thread };
        proxy.until("ready", || proxy.try_get("/ready").is_some_and(|answer| answer.status == 200));
        proxy
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let last = Instant::now() + SOON;
        while !holds() {
            assert!(Instant::now() < last, "not {what} in time");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        self.admin.ask("GET", path, SOON).ok()
    }

    fn get(&self, path: &str) -> Answer {
        self.try_get(path).expect("an answer")
    }

    fn post(&self, path: &str) -> Answer {
        self.admin.ask("POST", path, SOON).expect("an answer")
    }

    fn change(&self, change: impl FnOnce(&mut Config)) -> Answer {
        change(self.config.lock().unwrap().as_mut().unwrap());
        self.post("/reload")
    }

    /// The address of a listener.
    fn listener(&self, name: &str) -> Option<SocketAddr> {
        let text = self.get("/listeners").body;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("::")?.parse().ok())
    }

    fn exit(self) -> Exit {
        self.thread.join().unwrap()
    }

    fn path(&self) -> PathBuf {
        match &self.admin {
            Address::Unix(path) => path.clone(),
            Address::Tcp(_) => unreachable!("tests use sockets"),
        }
    }
}

/// A server that sends everything back.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            thread::spawn(move || std::io::copy(&mut socket.try_clone().unwrap(), &mut socket));
        }
    });
    address
}

fn config() -> Config {
    simple("127.0.0.1:0".parse().unwrap(), &echo().to_string()).unwrap()
}

fn another_listener(config: &Config, name: &str, address: SocketAddr) -> Arc<Listener> {
    Arc::new(Listener { name: Name(name.into()), address, ..Listener::clone(&config.listeners[0]) })
}

fn first_name(config: &Config) -> String {
    config.listeners[0].name.to_string()
}

fn speak(socket: &mut TcpStream, word: &[u8]) -> std::io::Result<()> {
    socket.set_read_timeout(Some(SOON))?;
    socket.write_all(word)?;
    let mut back = vec![0; word.len()];
    socket.read_exact(&mut back)?;
    assert_eq!(back, word);
    Ok(())
}

#[test]
fn what_is_in_flight_is_finished_and_the_socket_file_goes() {
    let config = config();
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let address = proxy.listener(&name).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    speak(&mut client, b"before").unwrap();
    // Accepted by the kernel alone, perhaps; it is served all the same.
    let mut queued = TcpStream::connect(address).unwrap();
    assert_eq!(proxy.post("/quitquitquit").status, 200);
    assert_eq!(proxy.post("/quitquitquit").status, 200, "asking twice is no second signal");
    assert_eq!(proxy.get("/ready").status, 503);
    assert_eq!(proxy.get("/livez").status, 200);
    speak(&mut client, b"during").unwrap();
    speak(&mut queued, b"queued").unwrap();
    proxy.until("closed", || TcpStream::connect(address).is_err());
    assert_eq!(proxy.post("/reload").status, 409);
    drop((client, queued));
    let path = proxy.path();
    assert_eq!(proxy.exit(), Exit::Drained);
    assert!(!path.exists());
}

#[test]
fn what_does_not_finish_is_cut_at_the_deadline() {
    let mut config = config();
    config.drain.deadline = Duration::from_millis(200);
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let mut client = TcpStream::connect(proxy.listener(&name).unwrap()).unwrap();
    speak(&mut client, b"word").unwrap();
    proxy.post("/quitquitquit");
    assert_eq!(proxy.exit(), Exit::Cut);
    assert!(!matches!(client.read(&mut [0; 1]), Ok(1..)));
}

#[test]
fn connections_are_accepted_until_balancers_look_away() {
    let mut config = config();
    // Enough for a busy machine to ask twice meanwhile.
    config.drain.delay = Duration::from_secs(3);
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let address = proxy.listener(&name).unwrap();
    let began = Instant::now();
    proxy.post("/quitquitquit");
    assert_eq!(proxy.get("/ready").status, 503);
    speak(&mut TcpStream::connect(address).unwrap(), b"late").unwrap();
    assert_eq!(proxy.exit(), Exit::Drained);
    assert!(began.elapsed() >= Duration::from_secs(3), "idle or not");
}

#[test]
fn listeners_can_be_drained_while_the_process_stays() {
    let config = config();
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let address = proxy.listener(&name).unwrap();
    assert_eq!(proxy.post("/drain_listeners").status, 200);
    proxy.until("closed", || TcpStream::connect(address).is_err());
    assert_eq!(proxy.get("/ready").status, 503);
    assert_eq!(proxy.get("/listeners").body, "");
    proxy.post("/quitquitquit");
    assert_eq!(proxy.exit(), Exit::Drained);
}

#[test]
fn listeners_come_and_go_and_connections_stay() {
    let config = config();
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let address = proxy.listener(&name).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    speak(&mut client, b"before").unwrap();

    let answer = proxy.change(|config| {
        let second = another_listener(config, "second", "127.0.0.1:0".parse().unwrap());
        config.listeners.push(second);
    });
    assert_eq!(answer.body, "reloaded: listeners +second\n");
    let second = proxy.listener("second").unwrap();
    assert_eq!(proxy.listener(&name), Some(address), "its socket was carried over");
    speak(&mut TcpStream::connect(second).unwrap(), b"second").unwrap();
    speak(&mut client, b"after").unwrap();

    assert_eq!(proxy.post("/reload").body, "unchanged\n");
    assert_eq!(proxy.change(|config| drop(config.listeners.remove(1))).status, 200);
    proxy.until("closed", || TcpStream::connect(second).is_err());
    speak(&mut client, b"still").unwrap();
    drop(client);
    proxy.post("/quitquitquit");
    assert_eq!(proxy.exit(), Exit::Drained);
}

#[test]
fn what_cannot_be_put_in_force_changes_nothing() {
    let config = config();
    let name = first_name(&config);
    let proxy = Proxy::start(config, Passthrough::default);
    let address = proxy.listener(&name).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();

    let answer = proxy.change(|config| {
        let second = another_listener(config, "second", taken);
        config.listeners = vec![another_listener(config, "renamed", "127.0.0.1:0".parse().unwrap()), second];
    });
    assert_eq!((answer.status, answer.body.contains("in use")), (409, true), "{}", answer.body);
    assert_eq!(proxy.get("/listeners").body, format!("{name}::{address}\n"));
    speak(&mut TcpStream::connect(address).unwrap(), b"word").unwrap();

    *proxy.config.lock().unwrap() = Err("pillion.yaml:1:1: nonsense".to_owned());
    let answer = proxy.post("/reload");
    assert_eq!((answer.status, answer.body.as_str()), (409, "pillion.yaml:1:1: nonsense\n"));
    let dump: serde_json::Value = serde_json::from_str(&proxy.get("/config_dump").body).unwrap();
    assert_eq!((&dump["reload"]["rejected"], &dump["reload"]["last"]["outcome"]), (&2.into(), &"rejected".into()));
    proxy.post("/quitquitquit");
    assert_eq!(proxy.exit(), Exit::Drained);
}

#[test]
fn the_admin_and_probe_ports_move_with_the_configuration() {
    let proxy = Proxy::start(config(), Passthrough::default);
    // Bound and given up, at an address of the loopback network where nobody else's sockets are.
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let probes = TcpListener::bind(SocketAddr::from(([127, 64 | a & 63, b, c], 0))).unwrap().local_addr().unwrap();
    assert_eq!(proxy.change(|config| config.admin.probes = Some(probes)).status, 200);
    let at = Address::Tcp(probes);
    assert_eq!(at.ask("GET", "/readyz", SOON).unwrap().status, 200);
    assert_eq!(at.ask("POST", "/quitquitquit", SOON).unwrap().status, 404);
    assert_eq!(proxy.change(|config| config.admin.probes = None).status, 200);
    proxy.until("closed", || at.ask("GET", "/readyz", Duration::from_secs(1)).is_err());
    proxy.post("/quitquitquit");
    assert_eq!(proxy.exit(), Exit::Drained);
}

/// A plane whose workers die of a second configuration.
struct Doomed;

struct DoomedRun(Cell<u32>);

impl Plane for Doomed {
    type Snapshot = ();
    type Run = DoomedRun;
    type Filters = ();

    fn maker(&self) -> impl FnOnce(usize) -> DoomedRun + Send + 'static {
        |_| DoomedRun(Cell::new(0))
    }

    fn pressure(&self, _: Pressure) {}

    fn allow_unfinished(&self, _: &dyn Fn(u64) -> u64) {}

    fn allow_requests(&self, _: &dyn Fn(u64) -> u64) {}

    fn compile(&self, _: &Arc<Config>, _: Option<&Arc<()>>, _: Option<()>) -> Result<Arc<()>, Rejected> {
        Ok(Arc::new(()))
    }

    fn update_tls(&self, _: &Self::Snapshot, _: &pillion_core::identity::Secrets) -> pillion_core::snapshot::TlsState {
        pillion_core::snapshot::TlsState::default()
    }

    fn in_force(&self, _: &Self::Snapshot) {}

    fn resolved(&self, (): &(), _: ClusterIndex, _: &EndpointAddress, _: &[IpAddr]) {}

    fn clusters(&self, (): &()) -> Vec<ClusterStatus> {
        Vec::new()
    }

    fn connections(&self) -> usize {
        0
    }

    fn lost(&self) -> usize {
        0
    }

    fn metrics(&self) -> Box<dyn Iterator<Item = Bytes>> {
        Box::new(std::iter::empty())
    }

    fn reopen_logs(&self) {}

    fn flush_logs(&self) {}
}

impl Run for DoomedRun {
    type Snapshot = ();

    fn apply(&self, _: Arc<()>, _: Vec<Handed>) -> io::Result<()> {
        assert_eq!(self.0.replace(1), 0, "the second configuration");
        Ok(())
    }

    fn order(&self, _: Order) {}

    fn poll_idle(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[test]
fn a_dead_worker_ends_the_process() {
    let proxy = Proxy::start(config(), || Doomed);
    proxy.config.lock().unwrap().as_mut().unwrap().drain.delay += Duration::from_secs(1);
    // It may die before it answers.
    proxy.admin.ask("POST", "/reload", SOON).ok();
    assert_eq!(proxy.exit(), Exit::Died);
}

#[test]
fn a_configuration_that_is_refused_is_no_start() {
    let source: Source = Box::new(|| Err(Rejected("nonsense".to_owned())));
    assert_eq!(run(Passthrough::default(), source, Hooks::default()), Exit::NotStarted);
}

#[test]
fn it_leaves_when_its_time_is_up() {
    let source: Source = Box::new(|| Ok(Loaded { config: config(), warnings: Vec::new(), files: Vec::new() }));
    let source: Source = Box::new(move || {
        let mut loaded = source()?;
        loaded.config.admin.address = None;
        Ok(loaded)
    });
    let hooks = Hooks { on_live: None, exit_after: Some(Duration::from_millis(100)) };
    assert_eq!(run(Passthrough::default(), source, hooks), Exit::Drained);
}
