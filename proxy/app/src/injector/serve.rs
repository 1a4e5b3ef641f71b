//! The sockets of the injector: every connection, byte and second of a review has a bound.

use super::{
    Shared,
    pulse::{Ended, IDLE, Noticed, Pulse, Pulses},
    review::{Asked, answer},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::Cell,
    convert::Infallible,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Connections at once. An API server has a handful to each webhook; there are few of them.
const CONNECTIONS: usize = 256;
/// Bytes of one review: twice the largest object that etcd takes, as object and old object.
const MAX_REVIEW: usize = 8 << 20;
/// Bytes of all reviews being read.
const MAX_READING: usize = 64 << 20;
/// Time for a TLS handshake, and for a body. API servers wait 10 s for everything by default.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// What serves.
#[derive(Clone)]
pub(super) struct Server {
    shared: Rc<Shared>,
    /// Connections open, reviews being answered, bytes of reviews being read.
    open: Rc<Pulses>,
    answering: Rc<Cell<usize>>,
    reading: Rc<Cell<usize>>,
}

/// A part of a count, given back on drop.
struct Held<'a>(&'a Cell<usize>, usize);

impl Held<'_> {
    fn grow(&mut self, by: usize) {
        self.0.set(self.0.get() + by);
        self.1 += by;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

impl Server {
    pub(super) fn new(shared: Rc<Shared>) -> Self {
        Self { shared, open: Rc::default(), answering: Rc::default(), reading: Rc::default() }
    }

    /// Takes reviews, by TLS.
    pub(super) async fn reviews(self, listener: TcpListener) {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            let Some((place, evicted)) = self.open.enter(CONNECTIONS) else {
                self.shared.tally.turned_away("connections");
                continue;
            };
            if evicted {
                self.shared.tally.turned_away("evicted");
            }
            let server = self.clone();
            spawn_local(async move { server.connection(socket, &place.pulse).await });
        }
    }

    async fn connection(&self, socket: TcpStream, pulse: &Rc<Pulse>) {
        socket.set_nodelay(true).ok();
        let config = self.shared.presented.borrow().config.clone();
        let stream = match timeout(PATIENCE, TlsAcceptor::from(config).accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "no TLS");
                return self.shared.tally.turned_away("tls");
            }
            Err(_) => return self.shared.tally.turned_away("tls_timeout"),
        };
        pulse.idle();
        let service = service_fn(|request| async {
            pulse.review();
            let answer = self.review(request).await;
            pulse.idle();
            Ok::<_, Infallible>(answer)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            // Its clock begins with the silence before a head: ours tells the two apart.
            .header_read_timeout(None)
            .max_headers(64)
            .serve_connection(TokioIo::new(Noticed(stream, Rc::clone(pulse))), service);
        tokio::select! {
            // How it ends is of no interest: who asked asks again.
            _ = serving => {}
            ended = pulse.end() => match ended {
                Ended::Head => self.shared.tally.turned_away("head_timeout"),
                // Counted where the place was wanted.
                Ended::Idle | Ended::Evicted => {}
            },
        }
    }

    async fn review(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let mut held = Held(&self.answering, 0);
        held.grow(1);
        let asked = match request.uri().path() {
            "/mutate" => Asked::Mutate,
            "/validate" => Asked::Validate,
            _ => return text(StatusCode::NOT_FOUND, "reviews are answered at /mutate and /validate\n"),
        };
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "reviews come by POST\n");
        }
        let json = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if json.and_then(|kind| kind.split(';').next()).map(str::trim) != Some("application/json") {
            self.shared.tally.turned_away("content_type");
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "reviews are application/json\n");
        }
        let mut reading = Held(&self.reading, 0);
        let bytes = match timeout(PATIENCE, self.read(request.into_body(), &mut reading)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err((status, reason))) => {
                self.shared.tally.turned_away(reason);
                return text(status, &format!("{reason}\n"));
            }
            Err(_) => {
                self.shared.tally.turned_away("body_timeout");
                return text(StatusCode::REQUEST_TIMEOUT, "the review did not come in time\n");
            }
        };
        let answer = answer(asked, &bytes, &self.shared.settings, self.shared.node_agent);
        self.shared.tally.review(asked, answer.outcome, began.elapsed());
        tracing::info!(outcome = answer.outcome.name(), "{}", answer.words);
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = if status.is_success() { "application/json" } else { "text/plain; charset=utf-8" };
        response(status, kind, answer.body)
    }

    async fn read(&self, mut body: Incoming, held: &mut Held<'_>) -> Result<Vec<u8>, (StatusCode, &'static str)> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "broken_off"))?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > MAX_REVIEW {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
            }
            if self.reading.get() + data.len() > MAX_READING {
                return Err((StatusCode::SERVICE_UNAVAILABLE, "too_many"));
            }
            held.grow(data.len());
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    }

    /// Serves health and metrics, in the clear: kubelets and Prometheus have no certificates of ours.
    pub(super) async fn health(self, listener: TcpListener) {
        let open = Rc::new(Cell::new(0));
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            if open.get() >= 32 {
                continue;
            }
            let (server, open) = (self.clone(), Rc::clone(&open));
            spawn_local(async move {
                let mut held = Held(&open, 0);
                held.grow(1);
                let service = service_fn(|request: Request<Incoming>| {
                    let answer = server.page(request.uri().path());
                    async { Ok::<_, Infallible>(answer) }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(socket), service);
                timeout(IDLE, serving).await.ok();
            });
        }
    }

    fn page(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/livez" | "/healthz" => text(StatusCode::OK, "OK\n"),
            "/readyz" | "/ready" => match &*self.shared.ready.borrow() {
                Ok(()) => text(StatusCode::OK, "OK\n"),
                Err(words) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{words}\n")),
            },
            "/metrics" => {
                response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.shared.tally.text())
            }
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }

    /// Waits until no review is being answered.
    pub(super) async fn finish(&self, most: Duration) {
        let last = Instant::now() + most;
        while self.answering.get() > 0 && Instant::now() < last {
            sleep(Duration::from_millis(5)).await;
        }
        // hyper writes an answer in the turn after it was made.
        sleep(Duration::from_millis(20)).await;
    }
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", words.to_owned())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
