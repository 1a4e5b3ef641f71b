//! A peer at work: its files written, its program started, its answers compared, its configuration changed.

use super::{
    Peer,
    find::{self, Program},
    setup::{self, Place, Plan, Setup, SetupError},
};
use crate::compare::{
    measure::{
        cores::Role,
        group::{Group, Output},
        interrupt::interrupted,
    },
    world::{World, at, last_words},
};
use crate::origin;
use rustix::process::Signal;
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How long a peer may take to answer; Envoy takes some seconds to read thousands of clusters.
const START: Duration = Duration::from_secs(60);

/// A started peer; killed on drop.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// From just before it was started until it had answered its first request (or accepted its first connection, where
    /// the setup is not HTTP/1.1 in clear text).
    pub first_answer: Duration,
    /// Its processes.
    pub group: Group,
    /// Where its files and its log are.
    pub directory: PathBuf,
    peer: Peer,
    setup: Setup,
    place: Ports,
}

/// The ports of a setup.
#[derive(Debug, Clone, Copy)]
struct Ports {
    listen: SocketAddr,
    origin: SocketAddr,
    http1_origin: SocketAddr,
    descriptors: u64,
}

/// Why a peer does not take part.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot do this, by our knowledge or by its own word.
    #[error("can't: {0}")]
    Cannot(String),
    /// It did not come up.
    #[error("did not start: {0}")]
    Failed(String),
    /// The machine did not let us.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks the peer to check its configuration for a setup, without starting it.
pub fn check(program: &Program, setup: Setup, world: &World, origin: SocketAddr) -> Result<(), StartError> {
    // What many routes need, a few need too.
    let few = if let Setup::Routes(routes) = setup { Setup::Routes(routes.min(10)) } else { setup };
    let directory = world.folder.join("peers").join(format!("check-{}", program.peer.key()));
    let ports = ports(world, origin)?;
    let plan = prepare(program.peer, few, world, ports, &directory, 0)?;
    let output = Command::new(&program.path).args(&plan.check).current_dir(&directory).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let complaint = complaint(&String::from_utf8_lossy(&said));
    let remedy = if complaint.contains("ngx_stream_module") {
        format!("; Debian has it in {}, elsewhere NGINX_MODULES names its folder", find::STREAM_MODULE)
    } else {
        String::new()
    };
    Err(StartError::Cannot(complaint + &remedy))
}

/// The line that says what is wrong, of what a check said.
fn complaint(said: &str) -> String {
    let telling =
        |line: &&str| ["emerg", "alert", "error", "rror"].iter().any(|word| line.to_lowercase().contains(word));
    let line = said.lines().find(telling).or_else(|| said.lines().find(|line| !line.trim().is_empty()));
    line.unwrap_or("its check of the configuration failed").trim().chars().take(300).collect()
}

impl Running {
    /// Starts a peer and waits until it answers. `label` names its directory.
    pub fn start(
        program: &Program,
        setup: Setup,
        world: &World,
        origin: SocketAddr,
        label: &str,
    ) -> Result<Self, StartError> {
        let directory = world.folder.join("peers").join(format!("{label}-{}", program.peer.key()));
        let mut died = String::new();
        // The port was free when the kernel named it; another program may have been faster.
        for _ in 0..3 {
            let ports = ports(world, origin)?;
            let plan = prepare(program.peer, setup, world, ports, &directory, 0)?;
            let mut command = Command::new(&program.path);
            command.args(&plan.start).current_dir(&directory);
            let log = directory.join("log");
            let mut group = Group::start(command, world.cores.of(Role::Proxy), &log, Output::Logged)?;
            if wait(&mut group, ports.listen, setup)? {
                let first_answer = group.begun.elapsed();
                return Ok(Self {
                    address: ports.listen,
                    first_answer,
                    group,
                    directory,
                    peer: program.peer,
                    setup,
                    place: ports,
                });
            }
            died = format!("on {}: {}", ports.listen, said_last(program.peer, &directory));
        }
        Err(StartError::Failed(died))
    }

    /// What it said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        said_last(self.peer, &self.directory)
    }

    /// Puts another configuration in force, by the peer's own way; answers carry `x-generation` afterwards.
    pub fn reload(&self, world: &World, generation: u32) -> Result<(), StartError> {
        let plan = plan(self.peer, self.setup, world, self.place, &self.directory, generation)?;
        for (name, text) in &plan.files {
            // Moved into place: Envoy watches for that, and nobody may read half a file.
            let fresh = self.directory.join(format!("{name}.new"));
            fs::write(&fresh, text).map_err(at(&fresh))?;
            fs::rename(&fresh, self.directory.join(name)).map_err(at(&fresh))?;
        }
        match self.peer {
            Peer::Pillion | Peer::Nginx => self.group.signal(Signal::HUP)?,
            Peer::Haproxy => self.group.signal(Signal::USR2)?,
            Peer::Envoy | Peer::Direct => {}
        }
        Ok(())
    }
}

/// The line of a peer's log that tells most: that an address is taken, or else the last.
fn said_last(peer: Peer, directory: &Path) -> String {
    let log = directory.join(if peer == Peer::Nginx { "error.log" } else { "log" });
    let text = fs::read_to_string(&log).unwrap_or_default();
    let taken = text.lines().find(|line| line.contains("in use"));
    taken.map_or_else(|| last_words(&log), |line| line.trim().chars().take(300).collect())
}

fn ports(world: &World, origin: SocketAddr) -> io::Result<Ports> {
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    Ok(Ports { listen, origin, http1_origin: world.listening.http1, descriptors: world.descriptors })
}

fn plan(
    peer: Peer,
    setup: Setup,
    world: &World,
    ports: Ports,
    directory: &Path,
    generation: u32,
) -> Result<Plan, StartError> {
    let modules = find::nginx_modules();
    let place = Place {
        listen: ports.listen,
        origin: ports.origin,
        http1_origin: ports.http1_origin,
        directory,
        certificates: &world.certificates,
        modules: &modules,
        descriptors: ports.descriptors,
    };
    setup::plan(peer, setup, place, generation).map_err(|error| match error {
        SetupError::Cannot(why) => StartError::Cannot(why.to_owned()),
        error @ SetupError::Template { .. } => StartError::Failed(error.to_string()),
    })
}

fn prepare(
    peer: Peer,
    setup: Setup,
    world: &World,
    ports: Ports,
    directory: &Path,
    generation: u32,
) -> Result<Plan, StartError> {
    let plan = plan(peer, setup, world, ports, directory, generation)?;
    fs::create_dir_all(directory).map_err(at(directory))?;
    for (name, text) in &plan.files {
        let file = directory.join(name);
        fs::write(&file, text).map_err(at(&file))?;
    }
    Ok(plan)
}

/// Waits for the first answer; false if the program ended instead.
fn wait(group: &mut Group, address: SocketAddr, setup: Setup) -> io::Result<bool> {
    let end = Instant::now() + START;
    loop {
        let answered = match setup {
            Setup::Http1(_) | Setup::Large | Setup::Reload | Setup::Wasm(_) | Setup::Storm(_) => {
                fetched(address, "/small")?
            }
            Setup::Routes(_) => fetched(address, "/r0/small")?,
            Setup::Http2 | Setup::Grpc | Setup::Mutual | Setup::Tls | Setup::Tcp | Setup::Messages => {
                TcpStream::connect(address).is_ok()
            }
        };
        if answered {
            return Ok(true);
        }
        if interrupted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted by a signal"));
        }
        if group.ended()?.is_some() {
            return Ok(false);
        }
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer on {address} within {START:?}")));
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// Whether there is an answer; an error where it is not the origin's.
fn fetched(address: SocketAddr, path: &str) -> io::Result<bool> {
    // Whoever has taken the port instead may never answer, while the peer has long given up.
    let Ok(answer) = fetch_within(address, path, Duration::from_secs(1)) else { return Ok(false) };
    if answer.body == origin::body(path) { Ok(true) } else { Err(io::Error::other("answers differ from the origin's")) }
}

/// An answer over HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status line and fields.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A field's value; the name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| value(line)).and_then(|line| Some(line.split_once(':')?.1.trim()))
    }
}

/// Asks for a path over HTTP/1.1 in clear text, on a connection of its own. An error unless the answer is a whole 200.
pub fn fetch(address: SocketAddr, path: &str) -> io::Result<Answer> {
    fetch_within(address, path, Duration::from_secs(5))
}

fn fetch_within(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(16 << 20).read_to_end(&mut bytes)?;
    answer(&bytes).ok_or_else(|| io::Error::other("not a whole answer with status 200"))
}

/// Takes an answer with `Content-Length` apart.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let answer = Answer { head, body: bytes[end + 4..].to_vec() };
    let whole = answer.field("content-length")?.parse() == Ok(answer.body.len());
    (whole && answer.head.starts_with("HTTP/1.1 200")).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::{answer, complaint};

    #[test]
    fn answers_are_taken_apart() {
        let text = "HTTP/1.1 200 OK\r\nX-Generation: 7\r\nContent-Length: 2\r\n\r\nok";
        let whole = answer(text.as_bytes()).unwrap();
        assert_eq!((whole.field("x-generation"), whole.body.as_slice()), (Some("7"), &b"ok"[..]));
        assert_eq!(whole.field("x-other"), None);
        for end in 0..text.len() {
            assert_eq!(answer(&text.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(answer(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), None);
    }

    #[test]
    fn a_complaint_is_one_line() {
        let said =
            "2026/11/22 [warn] x\n2026/11/22 07:00:00 [emerg] 1#1: dlopen() failed\nnginx: configuration test failed";
        assert_eq!(complaint(said), "2026/11/22 07:00:00 [emerg] 1#1: dlopen() failed");
        assert_eq!(complaint("\n"), "its check of the configuration failed");
    }
}
