//! Each peer's own check takes what the templates become, and every peer tells the origin the same.

use pillion_bench::compare::{
    peers::{
        Peer, find,
        setup::{Forwarding, Place, Setup, SetupError, plan},
    },
    world,
};
use pillion_tests::{envoy, need, proxy};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const SETUPS: [Setup; 11] = [
    Setup::Http1(Forwarding::Told),
    Setup::Http1(Forwarding::Bare),
    Setup::Http2,
    Setup::Grpc,
    Setup::Mutual,
    Setup::Tls,
    Setup::Large,
    Setup::Tcp,
    Setup::Messages,
    Setup::Routes(12),
    Setup::Reload,
];

/// A directory of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("pillion-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The program of a peer, or a loud skip, which fails in CI.
fn program(peer: Peer) -> Option<PathBuf> {
    if let Some(named) = env::var_os(format!("{}_BIN", peer.key().to_ascii_uppercase())) {
        return Some(named.into());
    }
    match peer {
        Peer::Pillion => {
            let built = Some(proxy::program()).filter(|path| path.is_file());
            if built.is_none() {
                need::skip("Pillion is not built: cargo build -p pillion-tests --bins, or name one by PILLION_BIN");
            }
            built
        }
        // One for all tests.
        Peer::Envoy => find::on_path(peer.key()).or_else(envoy::program),
        Peer::Direct | Peer::Nginx | Peer::Haproxy => need::program(peer.key(), peer.key()),
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound")
}

/// Writes a peer's files; the arguments to start and to check it.
fn prepare(
    peer: Peer,
    setup: Setup,
    folder: &Path,
    listen: SocketAddr,
    origin: SocketAddr,
) -> Option<[Vec<String>; 2]> {
    let (modules, certificates) = (find::nginx_modules(), folder.join("certificates"));
    let place = Place {
        listen,
        origin,
        http1_origin: origin,
        directory: folder,
        certificates: &certificates,
        modules: &modules,
        descriptors: 8_000,
    };
    match plan(peer, setup, place, 0) {
        Ok(plan) => {
            for (name, text) in &plan.files {
                fs::write(folder.join(name), text).expect("the directory can be written");
            }
            Some([plan.start, plan.check])
        }
        Err(SetupError::Cannot(_)) => None,
        Err(error) => panic!("{peer} {setup:?}: {error}"),
    }
}

fn accepted_by(peer: Peer) {
    let Some(program) = program(peer) else { return };
    let folder = Folder::new(peer.key());
    world::write_certificates(&folder.0.join("certificates")).expect("certificates can be written");
    for setup in SETUPS {
        if peer == Peer::Nginx
            && matches!(setup, Setup::Tcp | Setup::Messages)
            && !find::nginx_modules().join("ngx_stream_module.so").is_file()
        {
            continue;
        }
        let Some([_, check]) = prepare(peer, setup, &folder.0, free(), free()) else { continue };
        let output = Command::new(&program).args(&check).current_dir(&folder.0).output().expect("the program starts");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{peer} {setup:?}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn nginx_takes_its_templates() {
    accepted_by(Peer::Nginx);
}

#[test]
fn haproxy_takes_its_templates() {
    accepted_by(Peer::Haproxy);
}

#[test]
fn envoy_takes_its_templates() {
    accepted_by(Peer::Envoy);
}

#[test]
fn pillion_takes_its_templates() {
    let folder = Folder::new("pillion");
    for setup in SETUPS {
        if prepare(Peer::Pillion, setup, &folder.0, free(), free()).is_none() {
            continue;
        }
        for entry in fs::read_dir(&folder.0).unwrap() {
            let file = entry.unwrap().path();
            pillion_config::load(&file).unwrap_or_else(|errors| panic!("{setup:?}: {errors}"));
            fs::remove_file(file).unwrap();
        }
    }
}

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The names of the fields that a peer sends to the origin for a bare GET with a Host and one field of the client's.
fn told(peer: Peer, program: &Path, forwarding: Forwarding) -> Vec<String> {
    let folder = Folder::new(&format!("told-{}-{forwarding:?}", peer.key()));
    let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let (listen, address) = (free(), origin.local_addr().expect("it is bound"));
    let [start, _] =
        prepare(peer, Setup::Http1(forwarding), &folder.0, listen, address).expect("every proxy does HTTP/1.1");
    let mut command = Command::new(program);
    command.args(start).current_dir(&folder.0).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    if peer == Peer::Nginx {
        // One process: a killed master would leave its worker.
        command.args(["-g", "master_process off;"]);
    }
    let _running = Killed(command.spawn().expect("the program starts"));
    let end = Instant::now() + Duration::from_secs(30);
    let mut client = loop {
        match TcpStream::connect(listen) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < end, "{peer}: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    client.write_all(b"GET /small HTTP/1.1\r\nHost: bench\r\nX-Mine: 1\r\n\r\n").expect("it reads");
    let (mut request, _) = origin.accept().expect("it connects");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(request.read(&mut byte).expect("it sends"), 1, "{peer} closed within its request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let mut names: Vec<String> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    names.sort();
    names
}

#[test]
fn every_peer_tells_the_origin_the_same() {
    for peer in Peer::PROXIES {
        let Some(program) = program(peer) else { continue };
        let mut fields = told(peer, &program, Forwarding::Told);
        // Envoy has no way not to say this beside the client's address.
        fields.retain(|name| peer != Peer::Envoy || name != "x-envoy-external-address");
        let all = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-mine", "x-request-id"];
        assert_eq!(fields, all, "{peer}");
        let mut fields = told(peer, &program, Forwarding::Bare);
        // Envoy has no way not to say it.
        fields.retain(|name| peer != Peer::Envoy || name != "x-forwarded-proto");
        assert_eq!(fields, ["host", "x-mine"], "{peer}");
    }
}
