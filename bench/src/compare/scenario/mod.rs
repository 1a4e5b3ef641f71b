//! What is done to each peer: the scenarios, their byte flows and sizes. Pure; the folder's other files carry them out.
//!
//! [`session`] keeps what is measured and says how far it is; [`generator`] runs the load generator; [`requests`] are
//! the scenarios that send requests, [`states`] those that look at memory, start and reload, [`filters`] those about wasm.

pub mod filters;
pub mod generator;
pub mod requests;
pub mod session;
pub mod sockmap;
pub mod states;

use super::peers::setup::{Forwarding, Setup};
use crate::origin::Listening;
use std::net::SocketAddr;

/// A scenario; its name on the command line and in results is the variant's in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// Small GETs on kept connections
    Http1KeepaliveSmall,
    /// The same, no proxy adding a header
    Http1NoHeaders,
    /// Bodies of 64 KiB on kept connections
    #[value(name = "http1_64k")]
    Http164k,
    /// A connection for each request
    Http1NewConnection,
    /// Small GETs, 16 at once on each of 4 connections
    Http2Multiplexed,
    /// Small gRPC calls, 16 at once on each of 4 connections
    GrpcUnary,
    /// Small GETs over kept TLS connections, mutual TLS to the origin
    Http1Mtls,
    /// A full TLS handshake for each request
    TlsHandshakes,
    /// The same, the client offering X25519MLKEM768
    TlsHandshakesMlKem,
    /// Bytes as fast as they go, from the origin to the client
    TcpStream,
    /// 64 bytes there and back
    TcpSmallMessages,
    /// Memory with thousands of idle connections
    #[value(name = "idle_5000_connections")]
    Idle5000Connections,
    /// Memory, start and speed with 10, 1,000 and 5,000 routes and clusters
    #[value(name = "routes_5000")]
    Routes5000,
    /// Requests while the configuration is changed again and again
    ReloadUnderLoad,
    /// Memory under a modest load, and after a burst of a hundred times the load before it
    MemoryAfterBurst,
    /// From exec to the first answer
    Startup,
    /// Small GETs through no wasm filter, one that does nothing, one that adds headers
    WasmHeaders,
    /// Latency of a listener while a filter on another traps, spins, leaks
    WasmStorms,
    /// Small GETs with the redirect of loopback traffic off, on both legs, on either one
    SockmapOnOff,
}

/// A load that the generator sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// The generator's word for what is spoken.
    pub protocol: &'static str,
    /// Connections.
    pub connections: u32,
    /// Requests at once on a connection.
    pub streams: u32,
    /// What is asked for; nothing for TCP.
    pub path: Option<&'static str>,
    /// Bytes that an answer's body must have.
    pub answer: Option<u32>,
    /// Bytes of the request's body or message.
    pub body: u32,
    /// A connection for each request.
    pub fresh: bool,
    /// TLS: X25519MLKEM768 is offered, and X25519 for who has it not.
    pub ml_kem: bool,
}

/// Small GETs on 32 kept connections.
pub const SMALL: Load = Load {
    protocol: "http1",
    connections: 32,
    streams: 1,
    path: Some("/small"),
    answer: Some(16),
    body: 0,
    fresh: false,
    ml_kem: false,
};

/// How a scenario is carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// The load at its maximum, then at fixed rates.
    Requests(Setup, Load),
    /// The load at its maximum only: it has no requests that a rate could be given.
    Stream(Setup, Load),
    /// Idle connections.
    Idle,
    /// Many routes.
    Routes,
    /// Reloads.
    Reload,
    /// Burst.
    Burst,
    /// Start.
    Startup,
    /// Wasm filters.
    Filters,
    /// The load at its maximum, with the redirect and without.
    Sockmap,
}

impl Scenario {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The way of the bytes.
    #[must_use]
    pub fn flow(self) -> &'static str {
        match self {
            Self::Http1KeepaliveSmall => {
                "32 client connections, kept → GET /small → proxy adds X-Forwarded-For, -Proto, -Host and X-Request-Id → \
                 kept origin connections → 16 bytes back"
            }
            Self::Http1NoHeaders => "as http1_keepalive_small, but no proxy adds a header",
            Self::Http164k => "16 client connections, kept → GET /64k → proxy → origin → 65,536 bytes back",
            Self::Http1NewConnection => {
                "connect → GET /small → proxy → kept origin connections → 16 bytes back → close; 32 clients at once"
            }
            Self::Http2Multiplexed => {
                "4 client connections × 16 streams, HTTP/2 → GET /small → proxy → HTTP/2 to the origin → 16 bytes back"
            }
            Self::GrpcUnary => {
                "4 client connections × 16 calls, HTTP/2 → a message of 64 bytes → proxy → HTTP/2 to the origin → the \
                 message back, trailers"
            }
            Self::Http1Mtls => {
                "32 client connections, kept, TLS 1.3 → GET /small → proxy → kept mutual-TLS connections to the origin → \
                 16 bytes back; P-256 keys"
            }
            Self::TlsHandshakes => {
                "connect → full TLS 1.3 handshake, P-256 → GET /small → proxy → kept clear-text origin connections → 16 \
                 bytes back → close; 16 clients at once"
            }
            Self::TlsHandshakesMlKem => {
                "as tls_handshakes, but the client offers X25519MLKEM768 first; who has it not (nginx and HAProxy with OpenSSL \
                 before 3.5) takes X25519, and does less"
            }
            Self::TcpStream => "4 client connections ← proxy ← bytes of the origin, without end",
            Self::TcpSmallMessages => "16 client connections → 64 bytes → proxy → origin echoes → 64 bytes back",
            Self::Idle5000Connections => {
                "1,000, then 5,000 client connections, one GET /small on each, then silence; 1,000 with TLS; 1,000 of HTTP/2; \
                 the proxy's memory"
            }
            Self::Routes5000 => {
                "10, 1,000, 5,000 prefixes /rN/, each with a cluster of its own (all at one origin); 32 kept connections \
                 ask for /rN/small of the last"
            }
            Self::ReloadUnderLoad => {
                "32 kept connections → GET /small, 2,000 a second → proxy → origin, while a changed configuration is put \
                 in force four times a second"
            }
            Self::MemoryAfterBurst => {
                "1,000 a second on 100 connections; in a fresh process 50 a second on 10 connections, then 5,000 a second \
                 on 1,000 connections, then silence"
            }
            Self::WasmHeaders => {
                "32 client connections, kept → GET /small → proxy with no filter, then a Rust SDK guest that exports every \
                 callback and does nothing, then one that sets a header on request and response → 16 bytes back"
            }
            Self::WasmStorms => {
                "32 kept connections → GET /small, 2,000 a second → one listener → 16 bytes back, while another listener of \
                 the same worker gets 500 a second through a filter that traps, spins or leaks, and fails closed"
            }
            Self::SockmapOnOff => {
                "32 client connections, kept → GET /small → proxy → kept origin connections → 16 bytes back, with TCP on both \
                 legs, and the connections of both, of the client's, of the upstream's leg past TCP"
            }
            Self::Startup => "exec → connect until accepted → GET /small → proxy → origin → 16 bytes back",
        }
    }

    /// How it is carried out.
    #[must_use]
    pub fn kind(self) -> Kind {
        let h2 = Load { protocol: "http2", connections: 4, streams: 16, ..SMALL };
        let tcp = Load {
            protocol: "tcp-small",
            connections: 16,
            streams: 1,
            path: None,
            answer: None,
            body: 64,
            fresh: false,
            ml_kem: false,
        };
        match self {
            Self::Http1KeepaliveSmall => Kind::Requests(Setup::Http1(Forwarding::Told), SMALL),
            Self::Http1NoHeaders => Kind::Requests(Setup::Http1(Forwarding::Bare), SMALL),
            Self::Http164k => {
                let load = Load { connections: 16, path: Some("/64k"), answer: Some(65_536), ..SMALL };
                Kind::Requests(Setup::Large, load)
            }
            Self::Http1NewConnection => Kind::Requests(Setup::Http1(Forwarding::Told), Load { fresh: true, ..SMALL }),
            Self::Http2Multiplexed => Kind::Requests(Setup::Http2, h2),
            Self::GrpcUnary => {
                let path = Some("/bench.Echo/Unary");
                Kind::Requests(Setup::Grpc, Load { protocol: "grpc", path, answer: None, body: 64, ..h2 })
            }
            Self::Http1Mtls => Kind::Requests(Setup::Mutual, Load { protocol: "tls-http1", ..SMALL }),
            Self::TlsHandshakes => {
                Kind::Requests(Setup::Tls, Load { protocol: "tls-http1", connections: 16, fresh: true, ..SMALL })
            }
            Self::TlsHandshakesMlKem => {
                let load = Load { protocol: "tls-http1", connections: 16, fresh: true, ml_kem: true, ..SMALL };
                Kind::Requests(Setup::Tls, load)
            }
            Self::TcpStream => {
                Kind::Stream(Setup::Tcp, Load { protocol: "tcp-stream", connections: 4, body: 0, ..tcp })
            }
            Self::TcpSmallMessages => Kind::Requests(Setup::Messages, tcp),
            Self::Idle5000Connections => Kind::Idle,
            Self::Routes5000 => Kind::Routes,
            Self::ReloadUnderLoad => Kind::Reload,
            Self::MemoryAfterBurst => Kind::Burst,
            Self::Startup => Kind::Startup,
            Self::WasmHeaders | Self::WasmStorms => Kind::Filters,
            Self::SockmapOnOff => Kind::Sockmap,
        }
    }
}

/// The origin's port for a setup.
#[must_use]
pub fn behind(setup: Setup, listening: &Listening) -> Option<SocketAddr> {
    match setup {
        Setup::Http1(_)
        | Setup::Large
        | Setup::Tls
        | Setup::Routes(_)
        | Setup::Reload
        | Setup::Wasm(_)
        | Setup::Storm(_) => Some(listening.http1),
        Setup::Http2 | Setup::Grpc => Some(listening.http2),
        Setup::Mutual => listening.tls,
        Setup::Tcp => Some(listening.tcp_source),
        Setup::Messages => Some(listening.tcp_echo),
    }
}

/// How long and how often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Rounds over all peers.
    pub rounds: u32,
    /// Seconds of one measurement.
    pub window: f64,
    /// Seconds of load before the first measurement of a process.
    pub warmup: f64,
    /// Fixed rates: only the first, or those found from the slowest peer's maximum as well.
    pub rates: Rates,
    /// Starts of a process a round.
    pub starts: u32,
    /// Seconds of load under reloads.
    pub reload: f64,
    /// Seconds between the end of a burst and the look at memory.
    pub after_burst: f64,
    /// Rounds of what takes long and varies little: idle connections, routes, burst.
    pub slow_rounds: u32,
}

/// Which fixed rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rates {
    /// 2,000 a second.
    Fixed,
    /// Also half and 80 % of the slowest peer's maximum.
    AndShares,
}

impl Pace {
    /// The whole measurement.
    #[must_use]
    pub fn full(rounds: u32, window: f64) -> Self {
        Self {
            rounds,
            window,
            warmup: 1.0,
            rates: Rates::AndShares,
            starts: 10,
            reload: 10.0,
            after_burst: 60.0,
            slow_rounds: rounds,
        }
    }

    /// Under five minutes.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 2,
            window: 0.5,
            warmup: 0.2,
            rates: Rates::Fixed,
            starts: 3,
            reload: 2.0,
            after_burst: 10.0,
            slow_rounds: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scenario;
    use clap::ValueEnum as _;

    #[test]
    fn names_are_those_of_the_documents() {
        let names: Vec<String> = Scenario::value_variants().iter().map(|scenario| scenario.name()).collect();
        assert_eq!(
            names,
            [
                "http1_keepalive_small",
                "http1_no_headers",
                "http1_64k",
                "http1_new_connection",
                "http2_multiplexed",
                "grpc_unary",
                "http1_mtls",
                "tls_handshakes",
                "tls_handshakes_ml_kem",
                "tcp_stream",
                "tcp_small_messages",
                "idle_5000_connections",
                "routes_5000",
                "reload_under_load",
                "memory_after_burst",
                "startup",
                "wasm_headers",
                "wasm_storms",
                "sockmap_on_off",
            ]
        );
    }
}
