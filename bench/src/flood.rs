//! What a flood of TLS handshakes does to connections that live: their latency without it and within it, and the memory it takes.
//!
//! ```text
//!  load (a process) ── 32 kept TLS connections, open loop ──► Pillion, one worker, a core of its own ──► origin
//!  this program     ── N ClientHellos a second, replayed  ──►   (computes a key, a signature for each)
//!                   ── M connections that say three bytes ──►   (waits for more)
//! ```
//!
//! The attacker computes nothing: one ClientHello is made and sent again on each connection, which is reset when the
//! server's answer has begun. So the flood is as cheap as a flood can be, and its rate does not depend on the machine.

use crate::say::out;
use crate::{
    compare::{
        measure::{
            cores::Role,
            group::{Group, Output},
            interrupt,
        },
        scenario::{Load, SMALL, generator},
        world::{World, last_words},
    },
    load::Outcome,
    tls::{self, TlsSetupError},
};
use rustls::pki_types::ServerName;
use std::{
    cell::Cell,
    error::Error,
    fmt::Write as _,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream as Blocking},
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    runtime,
    task::{LocalSet, spawn_local, yield_now},
    time::{sleep, timeout},
};

/// How long a start may take, on a machine that is busy with other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the first request of those that live to the first that is measured; a third of it is over when the flood comes.
const WARMUP: Duration = Duration::from_secs(3);
/// How often new connections of the flood are begun: as many at once as are due.
const TICK: Duration = Duration::from_millis(2);
/// How long the flood waits for an answer before it lets go.
const ANSWER: Duration = Duration::from_secs(5);
/// Connections of the flood that may wait for an answer.
const MOST_WAITING: u64 = 10_000;

/// What `pillion-bench flood` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The proxy; `pillion` beside this program if not given
    #[arg(long)]
    pub pillion: Option<PathBuf>,
    /// ClientHellos a second, each on a connection of its own
    #[arg(long, default_value_t = 2000.0)]
    pub rate: f64,
    /// Connections that begin a ClientHello and say no more; one that is closed is made anew
    #[arg(long, default_value_t = 5000)]
    pub half_open: u32,
    /// Requests a second on the connections that live
    #[arg(long, default_value_t = 1000.0)]
    pub requests: f64,
    /// Seconds of each of the four phases
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// The flood offers X25519MLKEM768, which costs the server more; otherwise X25519 alone
    #[arg(long)]
    pub ml_kem: bool,
    /// Let the kernel choose cores
    #[arg(long)]
    pub no_pinning: bool,
}

/// What the flood does in a phase.
#[derive(Debug, Clone, Copy)]
struct Phase {
    name: &'static str,
    rate: f64,
    half_open: u32,
}

/// What became of the flood's connections.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    begun: u64,
    answered: u64,
    /// Closed or reset without an answer: shed.
    turned_away: u64,
    /// No connection, or no answer in time.
    failed: u64,
    /// How long it was.
    seconds: f64,
}

/// Measures and prints.
///
/// # Errors
///
/// When it cannot measure, or a request of those that live failed.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let program = match &args.pillion {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("pillion"),
    };
    if !program.is_file() {
        return Err(format!("no proxy at {}: build it (cargo build --release -p pillion)", program.display()).into());
    }
    if !(0.1..=600.0).contains(&args.seconds) || args.rate > 100_000.0 || args.half_open > 20_000 {
        return Err("--seconds is within 0.1 to 600, --rate at most 100000, --half-open at most 20000".into());
    }
    interrupt::install()?;
    let folder = std::env::temp_dir().join(format!("pillion-flood-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(args, &program, &folder);
    fs::remove_dir_all(&folder).ok();
    measured
}

fn measure(args: &Args, program: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let world = World::open(folder, !args.no_pinning)?;
    let hello: Arc<[u8]> = hello(&world.certificates.join("ca.pem"), args.ml_kem)?.into();
    let (proxy, target, admin) = start(program, &world)?;
    out!("{}; {} bytes of ClientHello, {}", world.cores, hello.len(), if args.ml_kem { "ML-KEM" } else { "X25519" });
    out!(
        "| | p50 µs | p99 µs | p99.9 µs | requests, failed | flood: begun/s, answered, turned away, failed | RSS MB |"
    );
    out!("|---|---|---|---|---|---|---|");
    let phases = [
        Phase { name: "nothing else", rate: 0.0, half_open: 0 },
        Phase { name: "half-open", rate: 0.0, half_open: args.half_open },
        Phase { name: "handshakes", rate: args.rate, half_open: 0 },
        Phase { name: "both", rate: args.rate, half_open: args.half_open },
    ];
    let load = Load { protocol: "tls-http1", ..SMALL };
    let mut failed = 0;
    for phase in phases {
        let stop = Arc::new(AtomicBool::new(false));
        let order = generator::Order { load, target, path: None, rate: Some(args.requests), seconds: args.seconds };
        let generator = begin(&world, order)?;
        // They live before it comes.
        thread::sleep(WARMUP / 3);
        let storm = {
            let (stop, hello) = (Arc::clone(&stop), Arc::clone(&hello));
            thread::spawn(move || storm(phase, target, &hello, &stop))
        };
        thread::sleep(WARMUP * 2 / 3 + Duration::from_secs_f64(args.seconds * 0.7));
        let resident = proxy.memory()?.resident;
        let finished = generator.finish(WARMUP + Duration::from_secs_f64(args.seconds) + PATIENCE);
        stop.store(true, Ordering::Relaxed);
        let told = storm.join().map_err(|_| "the flood's thread died")??;
        let (status, text) = finished?;
        if !status.success() {
            return Err(format!("the generator failed: {}", last_words(&world.folder.join("generator.log"))).into());
        }
        let outcome: Outcome = serde_json::from_str(&text)?;
        let errors: u64 = outcome.errors.values().sum();
        failed += errors;
        out!(
            "| {} | {:.0} | {:.0} | {:.0} | {}, {errors} | {:.0}, {}, {}, {} | {:.1} |",
            phase.name,
            outcome.latency.p50_us,
            outcome.latency.p99_us,
            outcome.latency.p999_us,
            outcome.requests,
            told.begun as f64 / told.seconds,
            told.answered,
            told.turned_away,
            told.failed,
            resident as f64 / 1e6,
        );
        // What the flood left is gone before the next phase.
        thread::sleep(Duration::from_secs(1));
    }
    out!("\n{}", counted(admin)?);
    if failed > 0 { Err(format!("{failed} requests of connections that lived failed").into()) } else { Ok(()) }
}

/// Starts the generator; its connections are made, and serve for a while, before anything is measured.
fn begin(world: &World, order: generator::Order<'_>) -> io::Result<Group> {
    let mut command = Command::new(&world.program);
    command.args(generator::arguments(order, &world.certificates));
    command.args(["--warmup", &WARMUP.as_secs_f64().to_string()]);
    Group::start(command, world.cores.of(Role::Generator), &world.folder.join("generator.log"), Output::Piped)
}

/// The first flight of a client.
fn hello(ca: &Path, ml_kem: bool) -> Result<Vec<u8>, TlsSetupError> {
    let groups = if ml_kem { tls::Groups::MlKem } else { tls::Groups::X25519 };
    let config = tls::client(ca, None, b"http/1.1", false, groups)?;
    let name = ServerName::try_from("localhost").map_err(|_| TlsSetupError::Name("localhost".to_owned()))?;
    let mut session = rustls::ClientConnection::new(config, name)?;
    let mut bytes = Vec::new();
    while session.wants_write() {
        // Memory takes what is written to it.
        session.write_tls(&mut bytes).ok();
    }
    Ok(bytes)
}

fn start(program: &Path, world: &World) -> Result<(Group, SocketAddr, SocketAddr), Box<dyn Error>> {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    let (address, admin) = (free()?, free()?);
    let (certificates, origin) = (world.certificates.display(), world.listening.http1);
    let mut yaml = String::new();
    write!(
        yaml,
        "workers: 1\nadmin: {{ address: \"{admin}\" }}\nlimits: {{ connections: 20000 }}\nlisteners:\n  - name: bench\n    \
         address: {address}\n    backlog: 16384\n    connections: 20000\n    tls: {{ certificates: [{{ certificate_chain: \"{certificates}/server.pem\", \
         private_key: \"{certificates}/server.key\" }}], client_certificates: \"off\" }}\n    routes: [{{ match: {{ prefix: / }}, \
         cluster: origin }}]\nclusters: [{{ name: origin, endpoints: [\"{origin}\"] }}]\n"
    )?;
    let config = world.folder.join("pillion.yaml");
    fs::write(&config, yaml)?;
    let mut command = Command::new(program);
    command.args(["run", "--config"]).arg(&config);
    let log = world.folder.join("pillion.log");
    let mut group = Group::start(command, world.cores.of(Role::Proxy), &log, Output::Logged)?;
    let end = Instant::now() + PATIENCE;
    while Blocking::connect(address).is_err() {
        if group.ended()?.is_some() || Instant::now() > end {
            return Err(format!("the proxy did not begin to listen: {}", last_words(&log)).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok((group, address, admin))
}

/// The proxy's own count of handshakes and of those that failed, by reason.
fn counted(admin: SocketAddr) -> io::Result<String> {
    let mut stream = Blocking::connect(admin)?;
    io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let text = io::read_to_string(stream)?;
    let told = text.lines().filter(|line| line.starts_with("pillion_tls_"));
    Ok(told.collect::<Vec<_>>().join("\n"))
}

/// The flood, until it is told to stop.
fn storm(phase: Phase, target: SocketAddr, hello: &Arc<[u8]>, stop: &AtomicBool) -> io::Result<Told> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let told = Rc::<Cell<Told>>::default();
        for number in 0..phase.half_open {
            spawn_local(half_open(target, Arc::clone(hello)));
            if number % 100 == 99 {
                sleep(TICK).await;
            }
        }
        let (begun, waiting) = (Instant::now(), Rc::<Cell<u64>>::default());
        while !stop.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * phase.rate) as u64;
            while told.get().begun < due {
                told.set(Told { begun: told.get().begun + 1, ..told.get() });
                if waiting.get() >= MOST_WAITING {
                    told.set(Told { failed: told.get().failed + 1, ..told.get() });
                    continue;
                }
                waiting.set(waiting.get() + 1);
                let (told, waiting, hello) = (Rc::clone(&told), Rc::clone(&waiting), Arc::clone(hello));
                spawn_local(async move {
                    let came = timeout(ANSWER, knock(target, &hello)).await;
                    waiting.set(waiting.get() - 1);
                    let now = told.get();
                    told.set(match came {
                        Ok(Ok(0)) => Told { turned_away: now.turned_away + 1, ..now },
                        Ok(Ok(_)) => Told { answered: now.answered + 1, ..now },
                        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                            Told { turned_away: now.turned_away + 1, ..now }
                        }
                        Ok(Err(_)) | Err(_) => Told { failed: now.failed + 1, ..now },
                    });
                });
                yield_now().await;
            }
            sleep(TICK).await;
        }
        Ok(Told { seconds: begun.elapsed().as_secs_f64(), ..told.get() })
    })
}

/// A connection whose end is a reset: tens of thousands in TIME_WAIT would leave no ports.
async fn connect(target: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_zero_linger()?;
    socket.connect(target).await
}

/// Sends a ClientHello; how many bytes of an answer came.
async fn knock(target: SocketAddr, hello: &[u8]) -> io::Result<usize> {
    let mut stream = connect(target).await?;
    stream.write_all(hello).await?;
    stream.read(&mut [0; 256]).await
}

/// Begins a ClientHello and waits; once more when it was closed.
async fn half_open(target: SocketAddr, hello: Arc<[u8]>) {
    loop {
        if let Ok(mut stream) = connect(target).await
            && stream.write_all(&hello[..3]).await.is_ok()
        {
            // Closed, reset or told something: either way it is over.
            drop(stream.read(&mut [0; 1]).await);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_not_there_is_told_with_the_remedy() {
        let args = Args {
            pillion: Some("/nowhere/pillion".into()),
            rate: 1.0,
            half_open: 1,
            requests: 1.0,
            seconds: 1.0,
            ml_kem: false,
            no_pinning: true,
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(error.contains("/nowhere/pillion") && error.contains("cargo build"), "{error}");
    }
}
