//! The two ports that are not traffic: probes (reading only, on the pod's address) and admin (this machine only).
//!
//! Runs on the control thread, so that nothing asked here stops the data path. Bounded: connections, head sizes,
//! deadlines; when too many connections are open, the oldest goes, so that a hoarder cannot keep a kubelet out.
//!
//! ```text
//!  accept ─► [host: who speaks?] ─► route: which page? ─► pages: what it says ─► body, in pieces
//! ```

mod bind;
mod body;
pub mod client;
mod dump;
mod explain;
mod host;
mod pages;
mod route;
#[cfg(test)]
mod tests;

pub use bind::{BindError, Bound};
pub use host::{Sender, judge};
pub use route::{Change, Page, Port, Verdict, help, route};

use crate::{
    app_probes::{AppProbes, NotCarriedOut},
    control::state::State,
};
use bind::Listener;
use body::Body;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{collections::VecDeque, io, net::SocketAddr, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

/// Connections to one port at once. Kubelet, Prometheus and an operator are three.
const CONNECTIONS: usize = 32;
/// Fields in a request's head.
const HEADERS: usize = 64;
/// Bytes of a request's head, and of an answer not yet written.
const BUFFER: usize = 16 * 1024;
/// Time for a request's head, silence before it included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole connection: an answer that is not read for so long is not wanted. Longer where a probe may take longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port being served; dropping it closes the socket and lets open connections finish.
#[derive(Debug)]
pub struct Served {
    accepting: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves a port within the current `LocalSet`.
#[must_use]
pub fn serve(bound: Bound, state: Rc<State>) -> Served {
    Served { accepting: spawn_local(accept(bound, state)) }
}

async fn accept(bound: Bound, state: Rc<State>) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        let accepted: io::Result<JoinHandle<()>> = match &bound.listener {
            Listener::Tcp(listener) => {
                let accepted = listener.accept().await;
                accepted.and_then(|(socket, _)| {
                    let at = Some(socket.local_addr()?);
                    Ok(spawn_local(connection(socket, bound.port, at, Rc::clone(&state))))
                })
            }
            Listener::Unix { listener, .. } => {
                let accepted = listener.accept().await;
                // The file's mode has judged already who may speak.
                accepted.map(|(socket, _)| spawn_local(connection(socket, bound.port, None, Rc::clone(&state))))
            }
        };
        match accepted {
            Ok(connection) => open.push_back(connection),
            Err(error) => {
                tracing::warn!(%error, address = %bound, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        open.retain(|connection| !connection.is_finished());
        while open.len() > CONNECTIONS {
            if let Some(oldest) = open.pop_front() {
                oldest.abort();
            }
        }
    }
}

/// Serves a connection; `at` is its own address, where it came by TCP.
async fn connection(socket: impl AsyncRead + AsyncWrite + Unpin, port: Port, at: Option<SocketAddr>, state: Rc<State>) {
    let patience = CONNECTION_TIMEOUT.max(state.app_probes.longest() + HEADER_TIMEOUT);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let state = Rc::clone(&state);
        async move {
            let (head, _body) = request.into_parts();
            state.answering.set(state.answering.get() + 1);
            let _answering = Answering(&state);
            respond(&head, port, at, &state).await
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    // How a connection to an operator ends is of no interest.
    timeout(patience, serving).await.ok();
}

/// Counts an answer as being made until it is; hyper writes a short one in the same turn of its task.
struct Answering<'a>(&'a State);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get() - 1);
    }
}

/// Answers one request, unless its connection must end without an answer. `at` is the address of ours that was asked.
async fn respond(
    head: &http::request::Parts,
    port: Port,
    at: Option<SocketAddr>,
    state: &Rc<State>,
) -> Result<Response<Body>, NotCarriedOut> {
    // Over loopback TCP a browser could have been made to send it.
    if at.is_some() && port == Port::Admin {
        match judge(head.version, &head.uri, &head.headers) {
            Sender::Local => {}
            Sender::ForeignHost => {
                let words = "the admin address answers to loopback names only: use localhost, 127.0.0.1 or [::1]\n";
                return Ok(pages::text(StatusCode::FORBIDDEN, words.into()));
            }
            Sender::WebPage => {
                let words = "the admin address does not serve web pages\n";
                return Ok(pages::text(StatusCode::FORBIDDEN, words.into()));
            }
        }
    }
    if let (Port::Probes, Some(at)) = (port, at)
        && AppProbes::has(head.uri.path())
    {
        return state.app_probes.carry_out(head.uri.path(), &head.headers, at).await.map(pages::probed);
    }
    Ok(pages::answer(route(port, &head.method, head.uri.path()), port, head.uri.query(), state).await)
}
