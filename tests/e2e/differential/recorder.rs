//! The server behind the proxy in these tests: it reads strictly, answers each request with its target, and keeps
//! every request, whole, cut or unreadable.

use pillion_tests::{proxy::Proxy, received::Received, scripted::Scripted, wait};
use std::{
    io::{BufRead as _, Cursor},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What reached the server, in the order in which it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A request.
    Whole(Received),
    /// The beginning of one, and then the end of the connection.
    Cut,
    /// Bytes that a strict reader does not understand.
    Unreadable(String),
}

pub(super) struct Recorder {
    pub(super) server: Scripted,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    /// Requests that have begun and not ended.
    begun: Arc<AtomicUsize>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let begun = Arc::new(AtomicUsize::new(0));
        let (kept, open) = (Arc::clone(&arrivals), Arc::clone(&begun));
        let server = Scripted::start(move |mut peer| {
            let keep = |arrival| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                open.fetch_sub(1, Ordering::SeqCst);
            };
            while peer.waits_for_bytes() {
                open.fetch_add(1, Ordering::SeqCst);
                match peer.request() {
                    Ok(request) => {
                        let target = request.target().to_owned();
                        let is_head = request.method() == "HEAD";
                        keep(Arrival::Whole(request));
                        let body = if is_head { "" } else { target.as_str() };
                        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", target.len()));
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        return keep(Arrival::Unreadable(error.to_string()));
                    }
                    Err(_) => return keep(Arrival::Cut),
                }
            }
        });
        Self { server, arrivals, begun }
    }

    /// What arrived since the last time, once nothing is on its way any more: the proxy has no request in flight, every
    /// connection it made was accepted here, and those it closed were read to their end. It opens and closes its
    /// connections at its own pace, perhaps after the client has its refusal.
    pub(super) fn take_settled(&self, proxy: &Proxy) -> Vec<Arrival> {
        wait::until_true("requests to end at the server", || {
            let metrics = proxy.metrics();
            let told = |name: &str| metrics.sum(name, &[]) as usize;
            told("pillion_exchange_requests_active") == 0
                && told("pillion_connect_attempts_total") == self.server.connections()
                && told("pillion_pool_connections_active") == self.server.open()
                && self.begun.load(Ordering::SeqCst) == 0
        });
        self.take()
    }

    /// What arrived since the last time.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The requests in these bytes, as the recorder would read them.
pub(super) fn read_all(bytes: &[u8]) -> Vec<Received> {
    let mut from = Cursor::new(bytes);
    let mut requests = Vec::new();
    while from.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
        requests.push(Received::read(&mut from).unwrap_or_else(|error| panic!("bad expectation ({error}): {bytes:?}")));
    }
    requests
}

/// A request without what the proxy announces to add, and with its fields in an order that says nothing (RFC 9110 5.3
/// keeps the order of equal names only).
pub(super) fn normal(mut request: Received) -> Received {
    const ADDED: [&str; 7] =
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id", "via", "te"];
    request.headers.retain(|(name, _)| !ADDED.contains(&name.as_str()) && name != "connection");
    for (name, value) in &mut request.headers {
        // The same number: leading zeros carry nothing.
        if name == "content-length" && value.len() > 1 {
            let digits = value.trim_start_matches('0');
            *value = if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
        }
    }
    request.headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    request
}
