//! The load generator: sends requests, open or closed loop, and tells what came of them.
//!
//! ```text
//!  schedule ──► pacer ──► a sender a connection (or stream) ──► tally ──► outcome
//!  (when)       (who)     http1 | http2 | tcp, over line        (counts)  (JSON)
//! ```
//!
//! *Open loop* (`--rate`): requests are due at moments that do not depend on the answers. One that finds no free
//! connection waits, and its wait is part of its latency, which runs from the moment it was due: a server that stalls
//! is charged for every request that should have been sent meanwhile. *Closed loop*: each connection sends when it was
//! answered; good for the maximum, useless for latency.
//!
//! It never leaves loopback, always ends by itself, and never repairs: what is not the expected answer is an error.

pub mod outcome;

mod crew;
mod fault;
mod http1;
mod http2;
mod idle;
mod line;
mod pacer;
mod plan;
mod request;
mod schedule;
mod tally;
mod tcp;

pub use outcome::{Held, Latency, Outcome};
pub use plan::PlanError;

use crew::Share;
use plan::Plan;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::{
    fmt,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};
use tally::Tally;
use tokio::{runtime, task::LocalSet};

/// What is spoken to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 with prior knowledge
    Http2,
    /// HTTP/1.1 over TLS
    TlsHttp1,
    /// HTTP/2 over TLS
    TlsHttp2,
    /// gRPC unary calls over HTTP/2 with prior knowledge
    Grpc,
    /// gRPC unary calls over TLS
    TlsGrpc,
    /// TCP: bytes as fast as they go, in `--direction`
    TcpStream,
    /// TCP: one message of `--body-bytes` there and back
    TcpSmall,
}

/// Which way the bytes of `tcp-stream` go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// From the target (a source)
    Download,
    /// To the target (which discards them)
    Upload,
    /// There and back (an echo)
    Both,
}

/// What `pillion-bench load` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The server or proxy; a loopback address
    #[arg(long)]
    pub target: SocketAddr,
    /// What is spoken to it
    #[arg(long, value_enum)]
    pub protocol: Protocol,
    /// Connections held open
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// HTTP/2: requests at once on a connection
    #[arg(long, default_value_t = 1)]
    pub streams: usize,
    /// Requests a second, sent whether or not earlier ones were answered (open loop); without it, each connection
    /// sends as soon as it was answered (closed loop)
    #[arg(long)]
    pub rate: Option<f64>,
    /// Seconds measured; at most 3600
    #[arg(long)]
    pub duration: f64,
    /// Seconds of the same load before, not measured
    #[arg(long, default_value_t = 0.0)]
    pub warmup: f64,
    /// Seconds that answers are waited for after the end; those that are not there then are `unanswered` (open loop) or
    /// left out (closed loop)
    #[arg(long, default_value_t = 2.0)]
    pub grace: f64,
    /// A new connection for each request
    #[arg(long)]
    pub new_connection_per_request: bool,
    /// Path to ask for; several are taken in turn
    #[arg(long, default_value = "/small")]
    pub path: Vec<String>,
    /// Bytes of the request's body or message; several are taken in turn. 0 is a GET
    #[arg(long, default_value = "0")]
    pub body_bytes: Vec<usize>,
    /// A file whose bytes are the request's body or message; several are taken in turn
    #[arg(long, conflicts_with = "body_bytes")]
    pub body_file: Vec<PathBuf>,
    /// Bytes that an answer's body must have; one for all paths, or one for each
    #[arg(long)]
    pub expect_bytes: Vec<u64>,
    /// HTTP and gRPC: answers must be the bytes that `pillion-bench origin` sends; of bodies over 4 KiB the first
    /// hundred of each thread are compared
    #[arg(long)]
    pub same_bytes: bool,
    /// Host (authority) of the requests; the target's address if not given
    #[arg(long)]
    pub host: Option<String>,
    /// `name: value` to send with each request
    #[arg(long)]
    pub header: Vec<String>,
    /// Which way `tcp-stream` goes
    #[arg(long, value_enum, default_value = "download")]
    pub direction: Direction,
    /// TLS: authorities (PEM) that the server's certificate must come from
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// TLS: the client's certificate chain (PEM)
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// TLS: its key (PEM)
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// TLS: the name the server must prove and is sent as SNI
    #[arg(long, default_value = "localhost")]
    pub server_name: String,
    /// TLS: resume sessions on new connections (else every one is a full handshake)
    #[arg(long)]
    pub resume: bool,
    /// TLS: offer X25519MLKEM768, and X25519 for who has it not (else X25519 alone)
    #[arg(long)]
    pub ml_kem: bool,
    /// Open so many connections, send one request on each, say so (a line of JSON), and hold them until standard
    /// input ends or `--duration` is over
    #[arg(long)]
    pub idle: Option<usize>,
    /// Threads, each with its share of connections and rate
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Print JSON (else a few lines to read)
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// One kind of request over one connection.
    #[must_use]
    pub fn one(target: SocketAddr, protocol: Protocol, path: &str, body: usize) -> Self {
        Self {
            target,
            protocol,
            connections: 1,
            streams: 1,
            rate: None,
            duration: 1.0,
            warmup: 0.0,
            grace: 2.0,
            new_connection_per_request: false,
            path: vec![path.into()],
            body_bytes: vec![body],
            body_file: Vec::new(),
            expect_bytes: Vec::new(),
            same_bytes: false,
            host: None,
            header: Vec::new(),
            direction: Direction::Download,
            ca: None,
            cert: None,
            key: None,
            server_name: "localhost".into(),
            resume: false,
            ml_kem: false,
            idle: None,
            threads: 1,
            json: false,
        }
    }
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What was asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The process has no threads, descriptors or output left.
    #[error("load: {0}")]
    Io(#[from] io::Error),
}

/// Sends the load and prints what came of it: an [`Outcome`], or [`Held`] twice with `--idle`.
///
/// # Errors
///
/// When nothing could be run. A target that answers nothing is an outcome.
pub fn run(args: &Args) -> Result<(), LoadError> {
    let plan = Arc::new(Plan::new(args)?);
    if let Some(count) = plan.idle {
        let told = idle::hold(plan, count, |held| tell(args.json, held));
        return Ok(LocalSet::new().block_on(&runtime()?, told)?);
    }
    let outcome = execute(&plan)?;
    Ok(tell(args.json, &outcome)?)
}

/// Sends the load.
///
/// # Errors
///
/// As [`run`].
pub fn measure(args: &Args) -> Result<Outcome, LoadError> {
    Ok(execute(&Arc::new(Plan::new(args)?))?)
}

/// Sends so many requests one after another on one connection.
///
/// # Errors
///
/// As [`run`], and at the first request that is not answered as expected.
pub fn exactly(args: &Args, requests: u64) -> Result<(), LoadError> {
    let plan = Arc::new(Plan::new(args)?);
    let sent = LocalSet::new().block_on(&runtime()?, crew::exactly(plan, requests));
    Ok(sent.map_err(|fault| io::Error::other(format!("a request failed: {}", fault.name())))?)
}

fn execute(plan: &Arc<Plan>) -> io::Result<Outcome> {
    let start = Arc::new(Barrier::new(plan.threads + 1));
    let threads = (0..plan.threads).map(|index| {
        let share = Share {
            connections: plan.connections / plan.threads + usize::from(index < plan.connections % plan.threads),
            rate: plan.rate.map(|rate| rate / plan.threads as f64),
            seed: index as u64,
        };
        let (plan, start, runtime) = (Arc::clone(plan), Arc::clone(&start), runtime()?);
        thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || LocalSet::new().block_on(&runtime, crew::run(plan, share, start)))
    });
    let threads = threads.collect::<io::Result<Vec<_>>>()?;
    start.wait();
    thread::sleep(plan.warmup);
    let before = cpu_time();
    thread::sleep(plan.duration);
    let cpu = cpu_time().saturating_sub(before);
    let mut sum: Option<Tally> = None;
    for thread in threads {
        let tally = thread.join().map_err(|_| io::Error::other("a thread panicked"))??;
        match &mut sum {
            Some(sum) => sum.add(&tally),
            None => sum = Some(tally),
        }
    }
    Ok(sum.map(|tally| tally.outcome(cpu)).unwrap_or_default())
}

fn tell(json: bool, told: &(impl Serialize + fmt::Display)) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json { writeln!(out, "{}", serde_json::to_string(told)?) } else { writeln!(out, "{told}") }?;
    out.flush()
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
