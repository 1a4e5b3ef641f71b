//! The load generator: sends requests, open or closed loop, and tells what came of them.

pub mod outcome;

pub use outcome::{Held, Latency, Outcome};

use std::{io, net::SocketAddr, path::PathBuf};

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
    /// A new connection for each request
    #[arg(long)]
    pub new_connection_per_request: bool,
    /// Path to ask for; several are taken in turn
    #[arg(long, default_value = "/small")]
    pub path: Vec<String>,
    /// Bytes of the request's body or message; several are taken in turn. 0 is a GET
    #[arg(long, default_value = "0")]
    pub body_bytes: Vec<usize>,
    /// Bytes that an answer's body must have; one for all paths, or one for each
    #[arg(long)]
    pub expect_bytes: Vec<u64>,
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

/// Sends the load and prints what came of it: an [`Outcome`], or [`Held`] twice with `--idle`.
pub fn run(_args: Args) -> io::Result<()> {
    Err(io::Error::other("not built yet"))
}
