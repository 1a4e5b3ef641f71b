//! The server behind every proxy: answers of known sizes that cost as little as possible.

mod bodies;
mod http1;
mod http2;
mod serve;
mod tcp;

use crate::{
    loopback::{self, NotLoopback},
    stdin,
    tls::{self, Identity, TlsSetupError},
};
use bodies::Bodies;
pub use bodies::body;
use serde::{Deserialize, Serialize};
use serve::{Services, Sockets};
use std::{
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    runtime, select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::LocalSet,
    time::sleep,
};

const MOST_THREADS: usize = 64;

/// What `pillion-bench origin` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address to listen on; each service gets a port of its own. Loopback only
    #[arg(long, default_value = "127.0.0.1")]
    pub address: IpAddr,
    /// Threads that serve
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Certificate chain (PEM): serves TLS too, HTTP/1.1 or HTTP/2 as ALPN says
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// Authorities (PEM) that clients must have a certificate of
    #[arg(long, requires = "cert")]
    pub client_ca: Option<PathBuf>,
    /// Stop when standard input ends, as it does with the parent process
    #[arg(long)]
    pub stop_with_stdin: bool,
    /// Stop after so many seconds whatever happens
    #[arg(long, default_value_t = 3600)]
    pub lifetime: u64,
}

impl Args {
    /// One thread, no TLS, until dropped.
    #[must_use]
    pub fn plain(address: IpAddr) -> Self {
        Self { address, threads: 1, cert: None, key: None, client_ca: None, stop_with_stdin: false, lifetime: 3600 }
    }
}

/// Where it listens: one line of JSON on standard output, before anything is served.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listening {
    /// HTTP/1.1. The path's last segment chooses the body: `empty`, `1k`, `16k`, `64k`, `1m`; any other: 16 bytes.
    pub http1: SocketAddr,
    /// HTTP/2 with prior knowledge, the same bodies; a gRPC request (any method) gets its message back.
    pub http2: SocketAddr,
    /// Either of them over TLS, by ALPN; there if a certificate was given.
    pub tls: Option<SocketAddr>,
    /// TCP: sends back what it gets.
    pub tcp_echo: SocketAddr,
    /// TCP: reads and forgets.
    pub tcp_discard: SocketAddr,
    /// TCP: sends zeros until the client leaves.
    pub tcp_source: SocketAddr,
}

/// Why nothing is served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// An address elsewhere.
    #[error("--address: {0}")]
    Address(#[from] NotLoopback),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// Sockets, threads or standard output.
    #[error("origin: {0}")]
    Io(#[from] io::Error),
}

/// Listens, prints [`Listening`] and serves until stopped: by `--lifetime`, SIGTERM, SIGINT or, with
/// `--stop-with-stdin`, the end of standard input.
///
/// # Errors
///
/// When it cannot begin.
pub fn run(args: &Args) -> Result<(), OriginError> {
    let origin = Origin::start(args)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&origin.listening).map_err(io::Error::from)?)?;
    out.flush()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_stopped(args))?;
    Ok(())
}

async fn until_stopped(args: &Args) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    select! {
        () = sleep(Duration::from_secs(args.lifetime)) => {}
        () = stdin::ended(), if args.stop_with_stdin => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// An origin that serves from threads of its own, until dropped.
#[derive(Debug)]
pub struct Origin {
    /// Where.
    pub listening: Listening,
    /// Told to by being dropped.
    _stop: watch::Sender<()>,
}

impl Origin {
    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// When it cannot begin.
    pub fn start(args: &Args) -> Result<Self, OriginError> {
        let address = loopback::only(args.address)?;
        let identity = args.cert.as_deref().zip(args.key.as_deref()).map(|(cert, key)| Identity { cert, key });
        let tls = identity.map(|identity| tls::server(identity, args.client_ca.as_deref())).transpose()?;
        let (stop, stopped) = watch::channel(());
        let bodies = Arc::new(Bodies::new());
        let first = Sockets::bind(address, tls.is_some())?;
        let listening = first.listening()?;
        let others = (1..args.threads.clamp(1, MOST_THREADS)).map(|_| first.again());
        let mut each = others.collect::<io::Result<Vec<_>>>()?;
        each.push(first);
        for (index, mine) in each.into_iter().enumerate() {
            let services = Services { bodies: Arc::clone(&bodies), tls: tls.clone() };
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let stopped = stopped.clone();
            thread::Builder::new().name(format!("origin-{index}")).spawn(move || {
                LocalSet::new().block_on(&runtime, serve::all(mine, services, stopped));
            })?;
        }
        Ok(Self { listening, _stop: stop })
    }
}
