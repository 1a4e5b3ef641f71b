//! The server behind every proxy: answers of known sizes that cost as little as possible.

use serde::{Deserialize, Serialize};
use std::{io, net::SocketAddr, path::PathBuf};

/// What `pillion-bench origin` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address to listen on; each service gets a port of its own. Loopback only
    #[arg(long, default_value = "127.0.0.1")]
    pub address: std::net::IpAddr,
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

/// Serves until stopped.
pub fn run(_args: Args) -> io::Result<()> {
    Err(io::Error::other("not built yet"))
}
