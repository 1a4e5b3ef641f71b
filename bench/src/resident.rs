//! Resident memory at rest, by what it is memory of: told apart so that a change that makes the proxy heavier shows where.
//!
//! Pillion is read from the disk, started with a configuration of so many routes and clusters, answers a few requests, is left
//! alone, and its `smaps` are read. Unlike time, the figure hardly depends on what else the machine does; with `--bound` it fails
//! where the proxy has grown.

use crate::compare::measure::interrupt::{self, interrupted};
use crate::say::out;
use rustix::fs::{Advice, fadvise};
use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a start may take, on a machine that is busy with other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `pillion-bench resident` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The proxy; `pillion` beside this program if not given
    #[arg(long)]
    pub pillion: Option<PathBuf>,
    /// Routes of the configuration, each with a cluster of its own
    #[arg(long, default_value_t = 1)]
    pub routes: usize,
    /// Requests answered before that, over the last route: their code is in memory then too
    #[arg(long, default_value_t = 3)]
    pub requests: u32,
    /// Seconds of rest before memory is read: the proxy gives back what its start took after one
    #[arg(long, default_value_t = 3.0)]
    pub rest: f64,
    /// Fail above so many KiB
    #[arg(long)]
    pub bound: Option<u64>,
}

/// Why nothing was measured, or too much.
#[derive(Debug, thiserror::Error)]
pub enum ResidentError {
    /// No proxy.
    #[error("no proxy at {}: build it (cargo build --release -p pillion) or name it by --pillion", .0.display())]
    NoProxy(PathBuf),
    /// It ended, or did not begin; its last words.
    #[error("the proxy did not begin to listen: {0}")]
    NotStarted(String),
    /// It did not pass a request on.
    #[error("the proxy answered {0:?}, not 200")]
    NotAnswered(String),
    /// More than allowed.
    #[error("{resident} KiB are resident, {bound} were allowed")]
    Grown {
        /// KiB resident.
        resident: u64,
        /// KiB allowed.
        bound: u64,
    },
    /// A signal.
    #[error("interrupted by a signal; what was started was ended")]
    Interrupted,
    /// Files and processes.
    #[error("resident: {0}")]
    Io(#[from] io::Error),
}

/// What memory is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Code,
    Constants,
    Relocated,
    Libraries,
    Stack,
    Heap,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Code => "the program's code",
            Self::Constants => "its constants",
            Self::Relocated => "its data: relocated, or written to",
            Self::Libraries => "shared libraries",
            Self::Stack => "the main thread's stack",
            Self::Heap => "heaps, other stacks",
        }
    }
}

/// A started proxy; killed on drop.
struct Running {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Running {
    /// A group of its own, which a signal to this command kills.
    fn number(&self) -> i32 {
        self.child.id().try_into().unwrap_or(i32::MAX)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        interrupt::forget(self.number());
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Measures and prints.
///
/// # Errors
///
/// When it cannot measure, or more is resident than `--bound` allows.
pub fn run(args: &Args) -> Result<(), ResidentError> {
    let program = match &args.pillion {
        Some(program) => program.clone(),
        None => env::current_exe()?.with_file_name("pillion"),
    };
    if !program.is_file() {
        return Err(ResidentError::NoProxy(program));
    }
    interrupt::install()?;
    read_anew(&program)?;
    let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let running = start(&program, args.routes, origin.local_addr()?)?;
    // It ends with this process.
    thread::spawn(move || origin.incoming().flatten().for_each(|client| drop(answer(client))));
    for _ in 0..args.requests {
        ask(running.address, args.routes.saturating_sub(1))?;
    }
    let end = Instant::now() + Duration::try_from_secs_f64(args.rest).map_err(io::Error::other)?;
    while Instant::now() < end && !interrupted() {
        thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
    }
    if interrupted() {
        return Err(ResidentError::Interrupted);
    }
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", running.child.id()))?;
    let kinds = by_kind(&smaps, &program.canonicalize()?);
    let resident = kinds.values().sum();
    for (kind, size) in &kinds {
        out!("{size:>8} KiB  {}", kind.words());
    }
    out!("{resident:>8} KiB  resident, {} routes and clusters, {} requests", args.routes, args.requests);
    match args.bound {
        Some(bound) if resident > bound => Err(ResidentError::Grown { resident, bound }),
        _ => Ok(()),
    }
}

/// Has the kernel forget the program's file, so that it is read from the disk as a container's is when it starts. A file that
/// was written a moment ago is in memory in larger pieces, which are mapped whole: up to 1 MB more of the same program
/// would seem resident. What somebody else runs stays.
fn read_anew(program: &Path) -> io::Result<()> {
    let file = fs::File::open(program)?;
    // Only what is on the disk can be forgotten.
    file.sync_all()?;
    Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Answers one request after the other, to the connection's end.
fn answer(mut client: TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    loop {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
}

/// One request for a route, on a connection of its own.
fn ask(proxy: SocketAddr, route: usize) -> Result<(), ResidentError> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /r{route}/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let first = answer.lines().next().unwrap_or_default();
    if first.contains(" 200 ") { Ok(()) } else { Err(ResidentError::NotAnswered(first.to_owned())) }
}

fn start(program: &Path, routes: usize, origin: SocketAddr) -> Result<Running, ResidentError> {
    let folder = env::temp_dir().join(format!("pillion-resident-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    // Free until it is dropped; nobody else is given it so soon.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let config = folder.join("pillion.yaml");
    fs::write(&config, configuration(address, routes, origin))?;
    let words = folder.join("words");
    let log = fs::File::create(&words)?;
    let mut command = Command::new(program);
    command
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let mut running = Running { child: command.spawn()?, address, folder };
    interrupt::register(running.number());
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if running.child.try_wait()?.is_some() || Instant::now() > end {
            return Err(ResidentError::NotStarted(fs::read_to_string(&words)?));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(running)
}

fn configuration(address: SocketAddr, routes: usize, origin: SocketAddr) -> String {
    let mut text = format!("workers: 1\nlisteners:\n  - name: bench\n    address: {address}\n    routes:\n");
    let written = "invariant: a string takes every write";
    for n in 0..routes {
        writeln!(text, "      - {{ match: {{ prefix: /r{n}/ }}, cluster: c{n} }}").expect(written);
    }
    text.push_str("clusters:\n");
    for n in 0..routes {
        writeln!(text, "  - {{ name: c{n}, endpoints: [\"{origin}\"] }}").expect(written);
    }
    text
}

/// KiB resident by kind, of an `smaps` (proc_pid_smaps(5)) of this program.
fn by_kind(smaps: &str, program: &Path) -> BTreeMap<Kind, u64> {
    let program = program.to_string_lossy();
    let mut kinds = BTreeMap::new();
    let (mut kind, mut resident) = (Kind::Heap, 0);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        let size = second.parse().unwrap_or(0);
        match first {
            "Rss:" => resident = size,
            // What of a file's pages is no longer the file's: constants with addresses in them, above all.
            "Anonymous:" if kind == Kind::Constants => {
                *kinds.entry(Kind::Relocated).or_default() += size;
                *kinds.entry(kind).or_default() += u64::saturating_sub(resident, size);
            }
            "Anonymous:" => *kinds.entry(kind).or_default() += resident,
            range if range.contains('-') => kind = kind_of(second, words.nth(3).unwrap_or_default(), &program),
            _ => {}
        }
    }
    kinds
}

fn kind_of(permissions: &str, path: &str, program: &str) -> Kind {
    match (path == program, permissions) {
        (true, "r-xp") => Kind::Code,
        (true, _) => Kind::Constants,
        (false, _) if path.starts_with('/') || path == "[vdso]" => Kind::Libraries,
        (false, _) if path == "[stack]" => Kind::Stack,
        (false, _) => Kind::Heap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_apart() {
        let smaps = "\
55d0-55d9 r--p 00000000 fe:01 42 /bin/pillion
Rss: 8 kB
Anonymous: 0 kB
55d9-56e0 r-xp 00009000 fe:01 42 /bin/pillion
Rss: 64 kB
Anonymous: 0 kB
56e0-56f0 r--p 00019000 fe:01 42 /bin/pillion
Rss: 20 kB
Anonymous: 16 kB
56f0-56f8 rw-p 00000000 00:00 0 [heap]
Rss: 4 kB
Anonymous: 4 kB
7f00-7f10 r-xp 00000000 fe:01 7 /lib/libc.so.6
Rss: 100 kB
Anonymous: 0 kB
7f20-7f30 rw-p 00000000 00:00 0
Rss: 400 kB
Anonymous: 400 kB
7ff0-7ff8 rw-p 00000000 00:00 0 [stack]
Rss: 32 kB
Anonymous: 32 kB
";
        let kinds = by_kind(smaps, Path::new("/bin/pillion"));
        let expected = [
            (Kind::Code, 64),
            (Kind::Constants, 12),
            (Kind::Relocated, 16),
            (Kind::Libraries, 100),
            (Kind::Stack, 32),
            (Kind::Heap, 404),
        ];
        assert_eq!(kinds, BTreeMap::from(expected));
        assert_eq!(kinds.values().sum::<u64>(), 628);
    }

    #[test]
    fn a_proxy_that_is_not_there_is_told_with_the_remedy() {
        let args = Args { pillion: Some("/nowhere/pillion".into()), routes: 1, requests: 0, rest: 0.0, bound: None };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("/nowhere/pillion") && error.contains("cargo build"), "{error}");
    }
}
