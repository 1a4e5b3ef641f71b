//! The binary as a process: signals, exit codes, files. Bytes pass through whatever data path it has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

const PILLION: &str = env!("CARGO_BIN_EXE_pillion");

/// How long a thing that should happen at once may take on a machine that is busy with other work. Only a test that
/// fails ever waits for it.
const SOON: Duration = Duration::from_secs(30);

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pillion-process-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

struct Proxy {
    child: Child,
    listen: SocketAddr,
    admin: String,
}

impl Proxy {
    fn start(arguments: &[&str], listen: SocketAddr, admin: String) -> Self {
        let child = Command::new(PILLION).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, listen, admin }
    }

    /// Before `upstream`, with addresses on the command line.
    fn simple(directory: &Directory, upstream: SocketAddr) -> Self {
        let (listen, admin) = (free(), format!("unix:{}", directory.file("admin.sock")));
        let arguments =
            ["run", "--listen", &listen.to_string(), "--upstream", &upstream.to_string(), "--admin", &admin];
        let proxy = Self::start(&arguments, listen, admin.clone());
        assert!(proxy.ask("wait").status.success());
        proxy
    }

    fn ask(&self, what: &str) -> Output {
        Command::new(PILLION).args([what, "--admin", &self.admin, "--timeout", "30s"]).output().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit and everything it said.
    fn end(mut self) -> (ExitStatus, String) {
        let last = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > last {
                self.child.kill().unwrap();
                panic!("it did not end");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A test that failed must not leave it running. One that has ended is not there to be killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Free, and nobody else's: an address of 127.0.0.0/8 that this process alone makes up, so that neither another test nor
/// an outgoing connection, which begins at 127.0.0.1, takes the port before the proxy binds it.
fn free() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 64 | a & 63, b, c), 0)).unwrap().local_addr().unwrap()
}

/// A server that answers each connection's first line with `word` and keeps the connection.
fn server(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            thread::spawn(move || {
                let mut socket = socket.unwrap();
                let mut head = [0; 4096];
                while socket.read(&mut head).is_ok_and(|length| length > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len());
                    if socket.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A connection through the proxy on which a request has been answered.
fn request(address: SocketAddr) -> Option<(TcpStream, String)> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.windows(4).any(|window| window == b"\r\n\r\n") || !text.ends_with(b"!") {
        let length = socket.read(&mut buffer).ok().filter(|length| *length > 0)?;
        text.extend(&buffer[..length]);
    }
    Some((socket, String::from_utf8(text).unwrap()))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let last = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < last, "not {what} in time");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sigterm_and_sigint_drain() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = Directory::new();
        let proxy = Proxy::simple(&directory, server("hello!"));
        let (client, _) = request(proxy.listen).expect("an answer");
        drop(client);
        proxy.signal(signal);
        let (status, said) = proxy.end();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("draining by=\"a signal\" delay=0s deadline=25s"), "{said}");
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let directory = Directory::new();
    // A server that never answers: the connection stays in flight.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::simple(&directory, silent.local_addr().unwrap());
    let mut client = TcpStream::connect(proxy.listen).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let _held = silent.accept().unwrap();
    proxy.signal(Signal::TERM);
    // Two signals at once would be one to the kernel.
    until("draining", || says_draining(&proxy));
    proxy.signal(Signal::TERM);
    let (status, said) = proxy.end();
    assert_eq!(status.code(), Some(3), "{said}");
}

fn says_draining(proxy: &Proxy) -> bool {
    let wait = Command::new(PILLION).args(["wait", "--admin", &proxy.admin, "--timeout", "500ms"]).output().unwrap();
    String::from_utf8(wait.stderr).unwrap().contains("DRAINING")
}

#[test]
fn quit_waits_until_it_has_gone() {
    let directory = Directory::new();
    let proxy = Proxy::simple(&directory, server("hello!"));
    assert!(proxy.ask("quit").status.success());
    assert!(TcpStream::connect(proxy.listen).is_err());
    let again = proxy.ask("quit");
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().contains("--admin"));
    assert_eq!(proxy.end().0.code(), Some(0));
}

#[test]
fn a_second_instance_is_refused() {
    let directory = Directory::new();
    let proxy = Proxy::simple(&directory, server("hello!"));
    let listen = proxy.listen.to_string();
    let second = Command::new(PILLION)
        .args(["run", "--listen", &listen, "--upstream", "127.0.0.1:1", "--admin", "none"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&listen) && said.contains("in use by another process"), "{said}");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.end().0.code(), Some(0));
}

fn document(listen: SocketAddr, admin: &str, endpoint: &str, more: &str) -> String {
    let admin = admin.strip_prefix("unix:").unwrap_or(admin);
    format!(
        "admin: {{ address: \"unix:{admin}\" }}\n{more}\
         listeners:\n  - name: web\n    address: {listen}\n    routes:\n      - match: {{ prefix: / }}\n        cluster: site\n\
         clusters:\n  - name: site\n    endpoints: [\"{endpoint}\"]\n"
    )
}

#[test]
fn the_file_is_read_again_when_it_changes_and_on_sighup() {
    let directory = Directory::new();
    let (one, two, three) = (server("one!"), server("two!"), server("three!"));
    let (listen, admin, file) =
        (free(), format!("unix:{}", directory.file("admin.sock")), directory.file("pillion.yaml"));
    let write = |name: &str, endpoint: SocketAddr| {
        fs::write(directory.file(name), document(listen, &admin, &endpoint.to_string(), "")).unwrap();
    };
    write("pillion.yaml", one);
    assert!(Command::new(PILLION).args(["check", "--config", &file]).status().unwrap().success());
    let proxy = Proxy::start(&["run", "--config", &file], listen, admin.clone());
    assert!(proxy.ask("wait").status.success());
    let says = |word: &str| request(listen).is_some_and(|(_, text)| text.ends_with(word));
    assert!(says("one!"));

    write("next", two);
    fs::rename(directory.file("next"), &file).unwrap();
    until("reloaded", || says("two!"));

    fs::write(&file, "listeners: [").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(says("two!"), "the last good one stays");

    write("pillion.yaml", three);
    proxy.signal(Signal::HUP);
    until("reloaded", || says("three!"));
    proxy.signal(Signal::USR1);
    proxy.signal(Signal::TERM);
    let (status, said) = proxy.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("configuration reloaded changes=\"clusters ~site\""), "{said}");
    assert!(said.contains("configuration refused, the one before stays in force") && said.contains("pillion.yaml:"));
}

#[test]
fn what_was_written_just_before_is_no_news_and_what_is_not_read_any_more_is_said_once() {
    let directory = Directory::new();
    let (listen, admin, file) =
        (free(), format!("unix:{}", directory.file("admin.sock")), directory.file("pillion.yaml"));
    let write = |endpoint: &str| fs::write(&file, document(listen, &admin, endpoint, "")).unwrap();
    write("127.0.0.1:1");
    let proxy = Proxy::start(&["run", "--config", &file], listen, admin.clone());
    assert!(proxy.ask("wait").status.success());
    thread::sleep(Duration::from_millis(300));
    proxy.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(300));
    let mut admin_port = std::os::unix::net::UnixStream::connect(directory.file("admin.sock")).unwrap();
    admin_port.write_all(b"POST /drain_listeners HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    admin_port.read_to_string(&mut String::new()).unwrap();
    for port in [2, 3] {
        write(&format!("127.0.0.1:{port}"));
        thread::sleep(Duration::from_millis(300));
    }
    proxy.signal(Signal::TERM);
    let (status, said) = proxy.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("configuration unchanged").count(), 1, "that of the signal: {said}");
    assert_eq!(said.matches("the configuration is not read again").count(), 1, "{said}");
}

#[test]
fn a_signal_works_while_names_are_looked_up() {
    let directory = Directory::new();
    // A name server that never answers, for longer than the test waits.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (listen, admin, file) =
        (free(), format!("unix:{}", directory.file("admin.sock")), directory.file("pillion.yaml"));
    let dns = format!("dns: {{ servers: [\"{}\"], timeout: 5m }}\n", silent.local_addr().unwrap());
    fs::write(&file, document(listen, &admin, "app.example:80", &dns)).unwrap();
    let proxy = Proxy::start(&["run", "--config", &file], listen, admin);
    // On a busy machine the last question before the time is up may stay without an answer.
    until("told that it is starting", || {
        let wait =
            Command::new(PILLION).args(["wait", "--admin", &proxy.admin, "--timeout", "500ms"]).output().unwrap();
        String::from_utf8(wait.stderr).unwrap().contains("INITIALIZING")
    });
    TcpStream::connect(listen).expect("connections queue meanwhile");
    proxy.signal(Signal::TERM);
    let (status, said) = proxy.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_bad_configuration_says_where() {
    let directory = Directory::new();
    let file = directory.file("pillion.yaml");
    fs::write(&file, "listners: []\n").unwrap();
    for command in ["check", "run"] {
        let output = Command::new(PILLION).args([command, "--config", &file]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("pillion.yaml:1:1") && said.contains("listeners"), "{command}: {said}");
    }
    assert_eq!(Command::new(PILLION).args(["run"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn the_schema_is_json() {
    let output = Command::new(PILLION).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["listeners"].is_object());
}

#[test]
fn the_demo_runs_and_ends() {
    let output = Command::new(PILLION).args(["demo", "--exit-after", "200ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("curl -i http://127.0.0.1:80"));
}

#[test]
fn a_configuration_may_come_by_standard_input() {
    for (document, fits) in [
        ("listeners: [{ name: l, address: '127.0.0.1:0', routes: [{ match: {}, respond: { status: 204 } }] }]\n", true),
        ("listeners: [{ nam: l }]\n", false),
    ] {
        let mut child = Command::new(PILLION)
            .args(["check", "--config", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), fits, "{words}");
        assert!(fits || words.contains("/dev/stdin:1:"), "{words}");
    }
}
