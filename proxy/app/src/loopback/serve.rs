//! The agent's own port: its series for Prometheus, and whether it works. Reading only; every connection and second has a bound.

use crate::metrics::{CONTENT_TYPE, Recorder};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{cell::Cell, collections::VecDeque, convert::Infallible, rc::Rc, time::Duration};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};

/// Connections at once; the oldest gives way, so that a hoarder keeps nobody out. Prometheus and a kubelet are two.
const CONNECTIONS: usize = 32;
/// Time for a request's head, silence before it included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is told of it.
#[derive(Debug)]
pub(super) struct Standing {
    /// Why the programs do not what they are attached for; `None`: they do.
    pub(super) amiss: Cell<Option<&'static str>>,
}

impl Default for Standing {
    fn default() -> Self {
        Self { amiss: Cell::new(Some("not attached yet: plain TCP is used")) }
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, recorder: Recorder, standing: Rc<Standing>) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (recorder, standing) = (recorder.clone(), Rc::clone(&standing));
        open.push_back(spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &recorder, &standing);
                async { Ok::<_, Infallible>(answer) }
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_headers(64)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(socket), service);
            // How it ends is of no interest.
            timeout(CONNECTION_TIMEOUT, serving).await.ok();
        }));
        open.retain(|connection| !connection.is_finished());
        while open.len() > CONNECTIONS {
            if let Some(oldest) = open.pop_front() {
                oldest.abort();
            }
        }
    }
}

fn answer(method: &Method, path: &str, recorder: &Recorder, standing: &Standing) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let known = matches!(path, "/metrics" | "/stats/prometheus" | "/livez" | "/healthz" | "/readyz" | "/ready");
    if known && !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused =
            response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this path answers to GET, HEAD only\n".into());
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/metrics" | "/stats/prometheus" => response(StatusCode::OK, CONTENT_TYPE, recorder.scrape().collect()),
        "/livez" | "/healthz" => response(StatusCode::OK, TEXT, "OK\n".into()),
        "/readyz" | "/ready" => match standing.amiss.get() {
            None => response(StatusCode::OK, TEXT, "OK\n".into()),
            Some(why) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /livez and /readyz\n".into()),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
