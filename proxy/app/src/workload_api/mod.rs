//! The SPIFFE Workload API as a source of the identity: gRPC over a Unix socket, followed for as long as the proxy runs.
//!
//! ```text
//!  connect ─► FetchX509SVID    ─► stream of identities ─┐
//!     ▲  └──► FetchX509Bundles ─► stream of roots ──────┴─► Svid ─► Keeper ─► handshakes that begin from now on
//!     └── back-off ◄── any end
//! ```
//!
//! Beside the path, on the control thread. It speaks gRPC over the h2 that is linked anyway and reads the two messages by
//! hand ([`wire`]); a gRPC library would add more code than the rest of the control thread has. What was good stays in use
//! whatever the agent does or says, until it ends: agents that have just started refuse those whom they do not know yet, so an identity
//! that is taken back (§5.2.1: clients SHOULD cease to use it) is an error that is told, and no reason to cut everything.

mod complaints;
mod known;
pub mod wire;

pub use known::{Came, Told};

use bytes::{Bytes, BytesMut};
use complaints::{Complaints, Of};
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use known::Known;
use pillion_config::model::{TrustDomain, WorkloadApi};
use pillion_core::{
    identity::MaterialError,
    telemetry::{
        metrics::{IdentityMetrics, IdentityOrigin},
        utc,
    },
};
use std::{cell::RefCell, convert::Infallible, io, path::Path, rc::Rc, time::Duration};
use tokio::{
    net::UnixStream,
    sync::mpsc,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, timeout},
};
use wire::WireError;

/// Time for the agent to take a connection and to begin an answer. It may wait for its server before the first identity.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first rest after a failure, doubled with each further one, up to [`LONGEST_REST`]: an agent that restarts is back
/// within a second, one that is gone is not asked a thousand times.
const FIRST_REST: Duration = Duration::from_millis(100);
/// See [`FIRST_REST`]. Half of this is chance, so that the proxies of a node do not come all at once.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// A stream that lived so long was well: the next failure is the first again. So it is after one that told something new.
const WELL: Duration = Duration::from_secs(30);

/// Follows an agent until it is dropped.
#[derive(Debug)]
pub struct Follower {
    api: WorkloadApi,
    latest: Option<Told>,
    /// One by one, so that each message is judged by itself: one that is refused takes none before it along. While one waits
    /// the next is not read.
    news: mpsc::Receiver<Told>,
    task: JoinHandle<()>,
    taken_back: TakenBack,
}

/// That the agent has taken back the identity in use, for whoever asks whether all is well. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct TakenBack(Rc<RefCell<Option<String>>>);

impl TakenBack {
    /// A line for the operator; `None`: it has not.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    fn is(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn set(&self, words: Option<String>) {
        IdentityMetrics::default().taken_back(words.is_some());
        self.0.replace(words);
    }
}

/// Why there is nothing new from the agent.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no answer within {PATIENCE:?}")]
    Silent,
    #[error("the connection failed: {0}")]
    Http2(#[from] h2::Error),
    #[error("answered with HTTP status {0}: is it a Workload API?")]
    NotGrpc(StatusCode),
    #[error("refused with gRPC status {code}{}{words}{}", if .words.is_empty() { "" } else { ": " }, hint(*.code))]
    Refused { code: u32, words: String },
    #[error("ended its stream")]
    Ended,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("sent no identity{0}")]
    NoIdentity(String),
    #[error("sent an identity that cannot be used: {0}")]
    Material(#[from] MaterialError),
    #[error("sent {0} that is no DER")]
    Der(&'static str),
    #[error("sent an identity whose certificate is not of {0}")]
    OtherId(String),
    #[error("sent roots for {0:?}, which is no trust domain")]
    NotADomain(String),
    #[error("sent a message whose mandatory field `{0}` is empty")]
    Empty(&'static str),
    #[error("sent a message whose mandatory field `bundles` has no roots of {0}, our own trust domain")]
    NoOwnRoots(TrustDomain),
}

fn hint(code: u32) -> &'static str {
    match code {
        // PERMISSION_DENIED
        7 => " (nothing is registered for this workload)",
        _ => "",
    }
}

impl Trouble {
    /// Whether it says that the identity told before is none of ours any more.
    fn takes_back(&self) -> bool {
        // PERMISSION_DENIED
        matches!(self, Self::Refused { code: 7, .. } | Self::NoIdentity(_))
    }
}

impl Follower {
    /// Begins to follow; `taken_back` is told of as long as that is so.
    #[must_use]
    pub fn start(api: WorkloadApi, taken_back: TakenBack) -> Self {
        let (sender, news) = mpsc::channel(1);
        let task = spawn_local(follow(api.clone(), sender, taken_back.clone()));
        Self { api, latest: None, news, task, taken_back }
    }

    /// Whom it follows.
    #[must_use]
    pub fn api(&self) -> &WorkloadApi {
        &self.api
    }

    /// What was told last, as far as it was waited for.
    #[must_use]
    pub fn latest(&self) -> Option<Told> {
        self.latest.clone()
    }

    /// Waits for something new. Cancel-safe.
    pub async fn changed(&mut self) {
        match self.news.recv().await {
            Some(told) => self.latest = Some(told),
            // The task ends only with this.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
        self.taken_back.set(None);
    }
}

/// What outlives a connection to the agent.
struct Following {
    known: Known,
    complaints: Complaints,
    metrics: IdentityMetrics,
    /// The identity was taken back, and no other was told since.
    taken_back: TakenBack,
    /// Before the next connection.
    rest: Duration,
    news: mpsc::Sender<Told>,
}

async fn follow(api: WorkloadApi, news: mpsc::Sender<Told>, taken_back: TakenBack) {
    taken_back.set(None);
    let (known, complaints, metrics) = (Known::default(), Complaints::default(), IdentityMetrics::default());
    let mut following = Following { known, complaints, metrics, taken_back, rest: FIRST_REST, news };
    loop {
        let began = Instant::now();
        let (of, trouble) = match session(&api, &mut following).await {
            Ok(never) => match never {},
            Err((of, trouble)) => {
                following.hear_of_taking_back(of, &trouble, &api);
                (of, trouble.to_string())
            }
        };
        following.metrics.failure(IdentityOrigin::WorkloadApi);
        if began.elapsed() > WELL {
            following.rest = FIRST_REST;
        }
        // The same trouble every ten seconds is told once.
        if following.complaints.is_news(of, &trouble) {
            let socket = api.socket.display();
            if following.known.has_identity() {
                tracing::warn!(%socket, %trouble, "Workload API; what was in use before stays");
            } else {
                tracing::warn!(%socket, %trouble, "Workload API; it has told no identity yet");
            }
        }
        let rest = following.rest;
        sleep(rest / 2 + rest.mul_f64(chance() / 2.0)).await;
        following.rest = (rest * 2).min(LONGEST_REST);
    }
}

/// Between 0 and 1.
fn chance() -> f64 {
    let random = pillion_core::upstream::Random::from_system().next();
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

/// One connection to the agent, to its end. What it tells that is new starts the rest after a failure anew; an agent that
/// only ever tells the same before it fails is asked less and less.
async fn session(api: &WorkloadApi, following: &mut Following) -> Result<Infallible, (Of, Trouble)> {
    let of = |of: Of| move |trouble: Trouble| (of, trouble);
    let (mut requests, connection) = patiently(connect(&api.socket)).await.map_err(of(Of::Connection))?;
    following.complaints.forget(Of::Connection);
    // With this future it is closed.
    let _driven = Driven(spawn_local(async move {
        // Its end is told to both streams.
        drop(connection.await);
    }));
    let mut identities = Stream::open(&mut requests, "FetchX509SVID").map_err(of(Of::Identities))?;
    let mut roots = Stream::open(&mut requests, "FetchX509Bundles").map_err(of(Of::Roots))?;
    let mut roots_come = true;
    loop {
        tokio::select! {
            message = identities.next() => {
                let told = message.and_then(|message| following.known.identity(&message, api));
                following.hear(Of::Identities, told).await?;
                following.known.judge_early_roots().map_err(of(Of::Roots))?;
            }
            message = roots.next(), if roots_come => {
                let told = match message {
                    // Agents that do not know this call send the roots with each identity.
                    Err(Trouble::Refused { code: 12, .. }) => {
                        roots_come = false;
                        Ok(following.known.no_roots_come())
                    }
                    message => message.and_then(|message| following.known.roots(&message)),
                };
                following.hear(Of::Roots, told).await?;
            }
        }
    }
}

impl Following {
    /// Hands on what a stream told, if it is good and new.
    async fn hear(&mut self, of: Of, told: Result<Option<Told>, Trouble>) -> Result<(), (Of, Trouble)> {
        let told = told.map_err(|trouble| (of, trouble))?;
        self.complaints.forget(of);
        if of == Of::Identities && self.taken_back.is() {
            self.taken_back.set(None);
            tracing::info!("the agent tells an identity again");
        }
        if let Some(told) = told {
            self.rest = FIRST_REST;
            // Without a receiver this task is about to be aborted.
            self.news.send(told).await.ok();
        }
        Ok(())
    }

    /// Tells the operator, once, where the stream of identities ended since the one in use is none of ours any more.
    fn hear_of_taking_back(&mut self, of: Of, trouble: &Trouble, api: &WorkloadApi) {
        if of != Of::Identities || self.taken_back.is() || !trouble.takes_back() {
            return;
        }
        let Some((id, ends)) = self.known.identity_ends() else { return };
        let until = utc(ends);
        self.taken_back.set(Some(format!(
            "identity: the agent has taken back {id}: it is used until {until}, and then peers refuse it; register the workload again"
        )));
        let socket = api.socket.display();
        tracing::error!(
            %socket, %id, until, %trouble,
            "the agent takes back the identity in use: it is used until it ends, and then peers refuse it"
        );
    }
}

struct Driven(JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn patiently<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(PATIENCE, work).await.unwrap_or(Err(Trouble::Silent))
}

async fn connect(socket: &Path) -> Result<(SendRequest<Bytes>, h2::client::Connection<UnixStream>), Trouble> {
    let stream = UnixStream::connect(socket).await.map_err(Trouble::Connect)?;
    Ok(h2::client::Builder::new().enable_push(false).handshake(stream).await?)
}

/// A call whose answers come one by one.
struct Stream {
    state: State,
    read: BytesMut,
}

enum State {
    Asked(ResponseFuture),
    Answered(RecvStream),
}

impl Stream {
    fn open(requests: &mut SendRequest<Bytes>, call: &str) -> Result<Self, Trouble> {
        let request = Request::post(format!("http://localhost/SpiffeWorkloadAPI/{call}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            // Without it agents refuse, so that no browser can be tricked into asking.
            .header("workload.spiffe.io", "true")
            .body(())
            .map_err(|_| WireError::Malformed)?;
        let (response, mut body) = requests.send_request(request, false)?;
        // An empty message: no flag, no length.
        body.send_data(Bytes::from_static(&[0; 5]), true)?;
        Ok(Self { state: State::Asked(response), read: BytesMut::new() })
    }

    /// The next message. Cancel-safe: what was read stays.
    async fn next(&mut self) -> Result<Bytes, Trouble> {
        loop {
            let body = match &mut self.state {
                State::Answered(body) => body,
                State::Asked(response) => {
                    let response = response.await?;
                    if response.status() != StatusCode::OK {
                        return Err(Trouble::NotGrpc(response.status()));
                    }
                    if let Some(refused) = status(response.headers()) {
                        return Err(refused);
                    }
                    self.state = State::Answered(response.into_body());
                    continue;
                }
            };
            if let Some(message) = wire::frame(&self.read)? {
                let mut whole = self.read.split_to(message.end);
                return Ok(whole.split_off(message.start).freeze());
            }
            match body.data().await {
                Some(piece) => {
                    let piece = piece?;
                    self.read.extend_from_slice(&piece);
                    body.flow_control().release_capacity(piece.len())?;
                }
                None => {
                    let trailers = body.trailers().await?.unwrap_or_default();
                    return Err(status(&trailers).unwrap_or(Trouble::Ended));
                }
            }
        }
    }
}

/// A gRPC status that is an error.
fn status(headers: &HeaderMap) -> Option<Trouble> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    // A status that is no number is UNKNOWN.
    let code = text("grpc-status").map(|code| code.parse().unwrap_or(2)).filter(|code| *code != 0)?;
    let words = text("grpc-message").unwrap_or_default().chars().take(200).collect();
    Some(Trouble::Refused { code, words })
}
