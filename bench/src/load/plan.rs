//! What was asked for, checked: from [`Args`] to something that can be run without a further question.

use super::{Args, Direction, Protocol, request::Request};
use crate::{
    loopback::{self, NotLoopback},
    tls::{self, Groups, Identity, TlsSetupError},
};
use http::{HeaderName, HeaderValue};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// Load stops by itself, whatever was asked for.
const LONGEST: f64 = 3600.0;
const LONGEST_GRACE: f64 = 60.0;
/// More than a process may have descriptors for, and less than loopback has ports for.
const MOST_CONNECTIONS: usize = 25_000;
const MOST_STREAMS: usize = 10_000;
const MOST_RATE: f64 = 5_000_000.0;
const LARGEST_BODY: usize = 64 << 20;
const MOST_THREADS: usize = 64;

/// Options that make no run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A target elsewhere.
    #[error("--target: {0}")]
    Target(#[from] NotLoopback),
    /// A number out of its range.
    #[error("--{option}: {value} is not within {least} to {most}")]
    Range {
        /// Which option.
        option: &'static str,
        /// What it was.
        value: f64,
        /// The least it may be.
        least: f64,
        /// The most.
        most: f64,
    },
    /// Options that do not go together, and what to do.
    #[error("{0}")]
    Together(&'static str),
    /// Not `name: value`.
    #[error("--header {0:?}: `name: value` is wanted")]
    Header(String),
    /// A path or host that no request can have.
    #[error("--path {0:?} or --host: {1}")]
    Uri(String, http::Error),
    /// A body that cannot be read.
    #[error("--body-file {0}: {1}")]
    Body(PathBuf, io::Error),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

/// What is spoken, TLS aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Application {
    Http1,
    Http2,
    Grpc,
    Messages,
    Stream(Direction),
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    KeepAlive,
    NewConnection,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) application: Application,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Duration,
    pub(crate) warmup: Duration,
    pub(crate) grace: Duration,
    pub(crate) reuse: Reuse,
    /// Sent in turn.
    pub(crate) requests: Vec<Request>,
    pub(crate) idle: Option<usize>,
    pub(crate) threads: usize,
}

impl Plan {
    /// Checks what was asked for.
    pub(crate) fn new(args: &Args) -> Result<Self, PlanError> {
        loopback::only(args.target.ip())?;
        range("connections", args.connections, MOST_CONNECTIONS)?;
        range("streams", args.streams, MOST_STREAMS)?;
        range("threads", args.threads, MOST_THREADS)?;
        within("duration", args.duration, 0.001, LONGEST)?;
        within("warmup", args.warmup, 0.0, LONGEST)?;
        within("grace", args.grace, 0.0, LONGEST_GRACE)?;
        if let Some(rate) = args.rate {
            within("rate", rate, 0.001, MOST_RATE)?;
        }
        if let Some(idle) = args.idle {
            range("idle", idle, MOST_CONNECTIONS)?;
        }
        for bytes in &args.body_bytes {
            within("body-bytes", *bytes as f64, 0.0, LARGEST_BODY as f64)?;
        }
        let application = application(args)?;
        let reuse = if args.new_connection_per_request { Reuse::NewConnection } else { Reuse::KeepAlive };
        let plan = Self {
            target: args.target,
            application,
            tls: tls(args)?,
            connections: args.connections,
            streams: args.streams,
            rate: args.rate,
            duration: Duration::from_secs_f64(args.duration),
            warmup: Duration::from_secs_f64(args.warmup),
            grace: Duration::from_secs_f64(args.grace),
            reuse,
            requests: requests(args, application, reuse)?,
            idle: args.idle,
            threads: args.threads,
        };
        plan.options_agree()?;
        Ok(plan)
    }

    fn options_agree(&self) -> Result<(), PlanError> {
        let wrong = |what| Err(PlanError::Together(what));
        let is_http2 = matches!(self.application, Application::Http2 | Application::Grpc);
        let is_stream = matches!(self.application, Application::Stream(_));
        if self.streams > 1 && !is_http2 {
            return wrong("--streams: only HTTP/2 has several requests at once on a connection; use --connections");
        }
        if self.streams > 1 && self.reuse == Reuse::NewConnection {
            return wrong("--streams and --new-connection-per-request: one or the other");
        }
        if is_stream && (self.rate.is_some() || self.reuse == Reuse::NewConnection || self.idle.is_some()) {
            return wrong("tcp-stream has no requests: leave out --rate, --new-connection-per-request and --idle");
        }
        if self.application == Application::Messages && self.requests.iter().any(|request| request.sent == 0) {
            return wrong("tcp-small needs --body-bytes N: how long a message is");
        }
        if self.idle.is_some() && (self.rate.is_some() || self.threads > 1) {
            return wrong("--idle sends one request on each connection: leave out --rate and --threads");
        }
        if self.connections < self.threads {
            return wrong("--threads: more than there are connections");
        }
        Ok(())
    }
}

fn range(option: &'static str, value: usize, most: usize) -> Result<(), PlanError> {
    within(option, value as f64, 1.0, most as f64)
}

fn within(option: &'static str, value: f64, least: f64, most: f64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(PlanError::Range { option, value, least, most }) }
}

fn application(args: &Args) -> Result<Application, PlanError> {
    Ok(match args.protocol {
        Protocol::Http1 | Protocol::TlsHttp1 => Application::Http1,
        Protocol::Http2 | Protocol::TlsHttp2 => Application::Http2,
        Protocol::Grpc | Protocol::TlsGrpc => Application::Grpc,
        Protocol::TcpStream => Application::Stream(args.direction),
        Protocol::TcpSmall => Application::Messages,
    })
}

fn tls(args: &Args) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, PlanError> {
    let alpn: &[u8] = match args.protocol {
        Protocol::TlsHttp1 => b"http/1.1",
        Protocol::TlsHttp2 | Protocol::TlsGrpc => b"h2",
        _ => return Ok(None),
    };
    let ca = args.ca.as_deref().ok_or(TlsSetupError::NoAuthority)?;
    let identity = args.cert.as_deref().zip(args.key.as_deref()).map(|(cert, key)| Identity { cert, key });
    let name = ServerName::try_from(args.server_name.clone());
    let name = name.map_err(|_| TlsSetupError::Name(args.server_name.clone()))?;
    let groups = if args.ml_kem { Groups::MlKem } else { Groups::X25519 };
    Ok(Some((tls::client(ca, identity, alpn, args.resume, groups)?, name)))
}

/// Paths and bodies are each taken in turn: as many requests as it takes until both begin anew.
fn requests(args: &Args, application: Application, reuse: Reuse) -> Result<Vec<Request>, PlanError> {
    let written = written(args)?;
    let (paths, bodies) = (args.path.len().max(1), written.len());
    let expected = args.expect_bytes.len();
    if expected > 1 && expected != paths {
        return Err(PlanError::Together("--expect-bytes: give it once, or once for each --path"));
    }
    let host = args.host.clone().unwrap_or_else(|| args.target.to_string());
    let headers = args.header.iter().map(|text| header(text)).collect::<Result<Vec<_>, _>>()?;
    let (mut a, mut b) = (paths, bodies);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let scheme = if matches!(args.protocol, Protocol::TlsHttp2 | Protocol::TlsGrpc) { "https" } else { "http" };
    (0..paths / a * bodies)
        .map(|i| {
            let path = args.path.get(i % paths).map_or("/", String::as_str);
            let body = written.get(i % bodies).map_or(&[][..], Vec::as_slice);
            let expect = args.expect_bytes.get(i % paths).or(args.expect_bytes.first()).copied();
            let (host, headers, same_bytes) = (host.as_str(), headers.as_slice(), args.same_bytes);
            let spec =
                super::request::Spec { application, reuse, scheme, host, path, headers, body, expect, same_bytes };
            Request::new(spec).map_err(|error| PlanError::Uri(path.into(), error))
        })
        .collect()
}

/// The bodies to send; at least one, which may be empty.
fn written(args: &Args) -> Result<Vec<Vec<u8>>, PlanError> {
    if args.body_file.is_empty() {
        let pattern = |length: &usize| (0..*length).map(|i| (i % 251) as u8).collect();
        let lengths = if args.body_bytes.is_empty() { &[0][..] } else { &args.body_bytes };
        return Ok(lengths.iter().map(pattern).collect());
    }
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(|error| PlanError::Body(path.clone(), error))?;
        within("body-file", bytes.len() as f64, 1.0, LARGEST_BODY as f64)?;
        Ok(bytes)
    };
    args.body_file.iter().map(read).collect()
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), PlanError> {
    let wrong = || PlanError::Header(text.into());
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = ["load"].into_iter().chain(line.split_whitespace());
        Plan::new(&Line::try_parse_from(words).unwrap().args)
    }

    #[test]
    fn paths_and_bodies_are_taken_in_turn() {
        let plan = plan(
            "--target 127.0.0.1:1 --protocol http1 --duration 1 --path /a --path /b --body-bytes 0 --body-bytes 1 \
             --body-bytes 2 --expect-bytes 7 --expect-bytes 8",
        )
        .unwrap();
        let seen: Vec<_> = plan.requests.iter().map(|r| (r.http1[5], r.sent, r.expect)).collect();
        let turns = [(b'a', 0, 7), (b'b', 1, 8), (b'a', 2, 7), (b'b', 0, 8), (b'a', 1, 7), (b'b', 2, 8)];
        // A GET's path begins a byte earlier than a POST's.
        for ((_, sent, expect), (_, body, bytes)) in seen.iter().zip(turns) {
            assert_eq!((*sent, *expect), (body, Some(bytes)));
        }
        assert_eq!(seen.len(), turns.len());
    }

    #[test]
    fn a_body_is_sent_as_it_was_written() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let line = format!("--target 127.0.0.1:1 --protocol http1 --duration 1 --body-file {file}");
        let plan = plan(&line).unwrap();
        let written = fs::read(file).unwrap();
        let [request] = &plan.requests[..] else { panic!("one body, one request") };
        assert_eq!((&request.body[..], request.sent), (&written[..], written.len() as u64));
        assert!(request.http1.starts_with(b"POST ") && request.http1.ends_with(&written));
    }

    #[test]
    fn what_makes_no_run_is_refused_with_its_remedy() {
        for (line, says) in [
            ("--target 10.0.0.1:80 --protocol http1 --duration 1", "loopback"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 4000", "--duration: 4000 is not within 0.001 to 3600"),
            ("--target 127.0.0.1:1 --protocol http1 --duration NaN", "--duration"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --rate 0", "--rate"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --connections 0", "--connections"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --streams 2", "--connections"),
            ("--target 127.0.0.1:1 --protocol tcp-small --duration 1", "--body-bytes"),
            ("--target 127.0.0.1:1 --protocol tcp-stream --duration 1 --rate 5", "leave out --rate"),
            ("--target 127.0.0.1:1 --protocol tls-http1 --duration 1", "--ca"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --header x", "name: value"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --threads 2", "--threads"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --body-file /nowhere", "--body-file /nowhere: "),
            (
                "--target 127.0.0.1:1 --protocol http1 --duration 1 --body-file /dev/null",
                "--body-file: 0 is not within 1",
            ),
            ("--target 127.0.0.1:1 --protocol http2 --duration 1 --path http:// --host x", "--path"),
            ("--target 127.0.0.1:1 --protocol http1 --duration 1 --expect-bytes 1 --expect-bytes 2", "--expect-bytes"),
        ] {
            let error = plan(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
