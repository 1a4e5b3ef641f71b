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

use crate::{app_probes::AppProbes, control::state::State};
use bind::Listener;
use body::Body;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{collections::VecDeque, convert::Infallible, io, rc::Rc, time::Duration};
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
                accepted.map(|(socket, _)| spawn_local(connection(socket, bound.port, true, Rc::clone(&state))))
            }
            Listener::Unix { listener, .. } => {
                let accepted = listener.accept().await;
                // The file's mode has judged already who may speak.
                accepted.map(|(socket, _)| spawn_local(connection(socket, bound.port, false, Rc::clone(&state))))
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

async fn connection(socket: impl AsyncRead + AsyncWrite + Unpin, port: Port, over_tcp: bool, state: Rc<State>) {
    let judged = over_tcp && port == Port::Admin;
    let patience = CONNECTION_TIMEOUT.max(state.app_probes.longest() + HEADER_TIMEOUT);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let state = Rc::clone(&state);
        async move {
            let (head, _body) = request.into_parts();
            state.answering.set(state.answering.get() + 1);
            let _answering = Answering(&state);
            Ok::<_, Infallible>(respond(&head, port, judged, &state).await)
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

/// Answers one request. `judged`: it came over loopback TCP, where a browser could have been made to send it.
async fn respond(head: &http::request::Parts, port: Port, judged: bool, state: &Rc<State>) -> Response<Body> {
    if judged {
        match judge(head.version, &head.uri, &head.headers) {
            Sender::Local => {}
            Sender::ForeignHost => {
                let words = "the admin address answers to loopback names only: use localhost, 127.0.0.1 or [::1]\n";
                return pages::text(StatusCode::FORBIDDEN, words.into());
            }
            Sender::WebPage => {
                return pages::text(StatusCode::FORBIDDEN, "the admin address does not serve web pages\n".into());
            }
        }
    }
    if port == Port::Probes && AppProbes::has(head.uri.path()) {
        return pages::probed(state.app_probes.carry_out(head.uri.path(), &head.headers).await);
    }
    pages::answer(route(port, &head.method, head.uri.path()), port, head.uri.query(), state).await
}
