//! The program under test, started with a configuration of its own.
//!
//! The text of a configuration may hold `{listen}`, `{listen2}`, `{admin}`, `{probes}` (loopback addresses that are
//! free) and `{dir}` (a temporary directory). [`Shape`] writes the usual one: one listener, one route, one cluster.

use crate::{
    client::{self, Client},
    metrics::Metrics,
    port,
    process::Process,
    response::Response,
    tempdir::TempDir,
    wait::{self, SOON},
};
use std::{
    env, fs, io,
    net::{SocketAddr, TcpStream},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

/// A running proxy: ready when made, killed on drop. Its process's figures are reached through it.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    /// The first listener.
    pub address: SocketAddr,
    /// The second listener, where the configuration has one.
    pub second: SocketAddr,
    /// The admin endpoint.
    pub admin: SocketAddr,
    /// The probe port, where the configuration has one.
    pub probes: SocketAddr,
    dir: TempDir,
}

/// The usual configuration and what a test adds to it; each addition is YAML at its own left margin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape<'a> {
    /// Beside `listeners` and `clusters`.
    pub top: &'a str,
    /// In the listener, beside `address`.
    pub listener: &'a str,
    /// In the route, beside `cluster`.
    pub route: &'a str,
    /// In the cluster, beside `endpoints`.
    pub cluster: &'a str,
}

impl Shape<'_> {
    /// The configuration that sends everything to these endpoints.
    #[must_use]
    pub fn yaml(&self, endpoints: &[SocketAddr]) -> String {
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
        format!(
            "admin: {{ address: {{admin}} }}\nworkers: 1\n{}\nlisteners:\n  - name: web\n    address: {{listen}}\n{}    \
             routes:\n      - match: {{ prefix: / }}\n        cluster: origin\n{}clusters:\n  - name: origin\n    \
             endpoints: [{}]\n{}",
            self.top,
            indented(self.listener, 4),
            indented(self.route, 8),
            endpoints.join(", "),
            indented(self.cluster, 4),
        )
    }

    /// Starts a proxy with it before one endpoint.
    #[must_use]
    pub fn start(&self, endpoint: SocketAddr) -> Proxy {
        Proxy::start(&self.yaml(&[endpoint]))
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// Where the program is: `$PILLION_BIN`, or what Cargo built beside the tests.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(named) = env::var_os("PILLION_BIN") {
        return named.into();
    }
    // Tests lie in `TARGET/PROFILE/deps`, binaries in `TARGET/PROFILE`.
    let test = env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie two folders below the target directory");
    folder.join("pillion-under-test")
}

impl Proxy {
    /// Starts the proxy before one endpoint, all else by default.
    #[must_use]
    pub fn to(endpoint: SocketAddr) -> Self {
        Shape::default().start(endpoint)
    }

    /// Starts the proxy and waits until it is ready. Panics with its stderr where that takes longer than [`SOON`].
    #[must_use]
    pub fn start(yaml: &str) -> Self {
        Self::start_with(yaml, Command::new)
    }

    /// The same, with a say in how the program is run: under a limit, with an environment.
    #[must_use]
    pub fn start_with(yaml: &str, command: impl Fn(PathBuf) -> Command) -> Self {
        // A port that was free may be taken by the time it is bound: then all are chosen anew.
        for _ in 0..5 {
            let mut proxy = Self::spawn(yaml, &command);
            match proxy.await_ready() {
                Ok(()) => return proxy,
                Err(words) if words.to_ascii_lowercase().contains("in use") => {}
                Err(words) => {
                    panic!("the proxy did not become ready:\n{words}\nconfiguration:\n{yaml}")
                }
            }
        }
        panic!("five times a port that was free was taken");
    }

    /// Starts the proxy and does not wait.
    pub fn spawn(yaml: &str, command: impl Fn(PathBuf) -> Command) -> Self {
        let dir = TempDir::new();
        let [address, second, admin, probes] = [(); 4].map(|()| port::free());
        let text = fill(yaml, dir.path(), [address, second, admin, probes]);
        let file = dir.write("pillion.yaml", text);
        let mut command = command(program());
        let process = Process::start(command.args(["run", "--config"]).arg(file));
        Self { process, address, second, admin, probes, dir }
    }

    /// Waits until `/ready` says yes; the program's last words where it ends or takes too long.
    pub fn await_ready(&mut self) -> Result<(), String> {
        let end = std::time::Instant::now() + SOON;
        loop {
            if let Some(status) = self.process.ended() {
                std::thread::sleep(std::time::Duration::from_millis(20));
                return Err(format!("ended with {status}: {}{}", self.stderr(), self.stdout()));
            }
            if self.is_ready() {
                return Ok(());
            }
            if std::time::Instant::now() > end {
                return Err(format!("not ready after {SOON:?}: {}{}", self.stderr(), self.stdout()));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Whether `/ready` answers 200 now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.try_admin("GET", "/ready").is_ok_and(|response| response.status == 200)
    }

    /// A new connection to the first listener.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A GET on a connection of its own.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        client::get(self.address, path)
    }

    /// A POST on a connection of its own.
    #[must_use]
    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        client::post(self.address, path, body)
    }

    /// A GET of the admin endpoint.
    #[must_use]
    pub fn admin_get(&self, path: &str) -> Response {
        self.try_admin("GET", path).expect("the admin endpoint answers")
    }

    /// A POST to the admin endpoint.
    #[must_use]
    pub fn admin_post(&self, path: &str) -> Response {
        self.try_admin("POST", path).expect("the admin endpoint answers")
    }

    /// A request to the admin endpoint.
    pub fn try_admin(&self, method: &str, path: &str) -> io::Result<Response> {
        let mut client = Client::over(TcpStream::connect(self.admin)?);
        // A reload compiles what is new.
        client.patience(Duration::from_secs(150));
        client.try_send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.admin
        ))?;
        client.try_receive(method)
    }

    /// A scrape.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let response = self.admin_get("/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        Metrics::parse(&response.text())
    }

    /// Waits until a metric is what the test says. Panics with its name and value after [`SOON`].
    pub fn await_metric(&self, name: &str, labels: &[&str], right: impl Fn(f64) -> bool) {
        let end = std::time::Instant::now() + SOON;
        loop {
            let value = self.metrics().sum(name, labels);
            if right(value) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{name}{labels:?} stays at {value}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its configuration is.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("pillion.yaml")
    }

    /// Puts the addresses of this proxy into a configuration's text.
    #[must_use]
    pub fn filled(&self, yaml: &str) -> String {
        fill(yaml, self.dir.path(), [self.address, self.second, self.admin, self.probes])
    }

    /// Replaces its configuration at once, as `mv` does.
    pub fn replace_config(&self, yaml: &str) {
        let new = self.dir.write("pillion.yaml.new", self.filled(yaml));
        fs::rename(new, self.config_file()).expect("a file can be renamed");
    }

    /// Ends it with SIGTERM and returns how it ended and what it wrote to stderr.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        self.process.signal(rustix::process::Signal::TERM);
        let status = self.process.wait(SOON);
        (status, self.process.stderr())
    }

    /// Panics unless a request on a fresh connection is answered with 200: the end of every attack's test.
    pub fn assert_healthy(&self) {
        let response = wait::until("a healthy answer", SOON, || {
            let mut client = Client::over(TcpStream::connect(self.address).ok()?);
            client.try_send("GET /healthy HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
            client.try_receive("GET").ok()
        });
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

fn fill(yaml: &str, dir: &Path, [listen, listen2, admin, probes]: [SocketAddr; 4]) -> String {
    yaml.replace("{listen}", &listen.to_string())
        .replace("{listen_port}", &listen.port().to_string())
        .replace("{listen2}", &listen2.to_string())
        .replace("{admin}", &admin.to_string())
        .replace("{probes}", &probes.to_string())
        .replace("{dir}", &dir.display().to_string())
}

impl Deref for Proxy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
