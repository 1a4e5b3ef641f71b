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
//! whatever the agent does or says.

pub mod wire;

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use pillion_config::model::{SpiffeId, TrustDomain, WorkloadApi};
use pillion_core::{
    identity::{Bundles, Certificate, MaterialError, Roots, Svid},
    telemetry::metrics::{IdentityMetrics, IdentityOrigin},
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    net::UnixStream,
    sync::watch,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, timeout},
};
use wire::{BundlesResponse, SvidResponse, WireError, X509Svid};

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
    latest: watch::Receiver<Option<Svid>>,
    task: JoinHandle<()>,
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
}

fn hint(code: u32) -> &'static str {
    match code {
        // PERMISSION_DENIED
        7 => " (nothing is registered for this workload yet)",
        _ => "",
    }
}

impl Follower {
    /// Begins to follow.
    #[must_use]
    pub fn start(api: WorkloadApi) -> Self {
        let (sender, latest) = watch::channel(None);
        let task = spawn_local(follow(api.clone(), sender));
        Self { api, latest, task }
    }

    /// Whom it follows.
    #[must_use]
    pub fn api(&self) -> &WorkloadApi {
        &self.api
    }

    /// The last good identity.
    #[must_use]
    pub fn latest(&self) -> Option<Svid> {
        self.latest.borrow().clone()
    }

    /// Waits for another identity than the one seen last. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.latest.changed().await.is_err() {
            // The task ends only with this.
            std::future::pending().await
        }
        self.latest.borrow_and_update();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: WorkloadApi, sender: watch::Sender<Option<Svid>>) {
    let metrics = IdentityMetrics::default();
    let mut rest = FIRST_REST;
    let mut told = String::new();
    loop {
        let began = Instant::now();
        let trouble = match session(&api, &sender, &mut rest).await {
            Ok(never) => match never {},
            Err(trouble) => trouble.to_string(),
        };
        metrics.failure(IdentityOrigin::WorkloadApi);
        if began.elapsed() > WELL {
            rest = FIRST_REST;
        }
        // The same trouble every ten seconds is told once.
        if told != trouble {
            let socket = api.socket.display();
            if sender.borrow().is_some() {
                tracing::warn!(%socket, %trouble, "Workload API; what was in use before stays");
            } else {
                tracing::warn!(%socket, %trouble, "Workload API; it has told no identity yet");
            }
            told = trouble;
        }
        sleep(rest / 2 + rest.mul_f64(chance() / 2.0)).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

/// Between 0 and 1.
fn chance() -> f64 {
    let random = pillion_core::upstream::Random::from_system().next();
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

/// One connection to the agent, to its end. What it tells that is new starts the `rest` after a failure anew; an agent that
/// only ever tells the same before it fails is asked less and less.
async fn session(
    api: &WorkloadApi,
    sender: &watch::Sender<Option<Svid>>,
    rest: &mut Duration,
) -> Result<std::convert::Infallible, Trouble> {
    let (mut requests, connection) = patiently(connect(&api.socket)).await?;
    // With this future it is closed.
    let _driven = Driven(spawn_local(async move {
        // Its end is told to both streams.
        drop(connection.await);
    }));
    let mut identities = Stream::open(&mut requests, "FetchX509SVID")?;
    let mut roots = Stream::open(&mut requests, "FetchX509Bundles")?;
    let mut known = Known::default();
    let mut roots_come = true;
    loop {
        let made = tokio::select! {
            message = identities.next() => known.identity(&message?, api),
            message = roots.next(), if roots_come => match message {
                Ok(message) => known.roots(&message),
                // Agents that do not know this call send the roots with each identity.
                Err(Trouble::Refused { code: 12, .. }) => {
                    roots_come = false;
                    continue;
                }
                Err(trouble) => return Err(trouble),
            },
        };
        if let Some(svid) = made? {
            let new = sender.send_if_modified(|latest| {
                let same = latest.as_ref().is_some_and(|latest| {
                    latest.certificate.same_as(&svid.certificate) && latest.bundles.same_as(&svid.bundles)
                });
                if !same {
                    *latest = Some(svid);
                }
                !same
            });
            if new {
                *rest = FIRST_REST;
            }
        }
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

/// What an agent has said so far.
#[derive(Default)]
struct Known {
    certificate: Option<Arc<Certificate>>,
    bundles: Option<Arc<Bundles>>,
}

impl Known {
    fn identity(&mut self, message: &[u8], api: &WorkloadApi) -> Result<Option<Svid>, Trouble> {
        let response = SvidResponse::read(message)?;
        let svid = choose(&response.svids, api.spiffe_id.as_ref())?;
        let chain = wire::elements(svid.chain).ok_or(Trouble::Der("a certificate"))?;
        let certificate = Certificate::from_der(chain, svid.key)?;
        if certificate.id().map(SpiffeId::as_str) != Some(svid.id) {
            return Err(Trouble::OtherId(svid.id.to_owned()));
        }
        let own = certificate.id().map(|id| id.domain().clone());
        let mut bundles = Vec::with_capacity(1 + response.federated.len());
        if let (Some(domain), false) = (own, svid.bundle.is_empty()) {
            bundles.push((domain, roots(svid.bundle)?));
        }
        for (id, der) in response.federated {
            add(&mut bundles, id, der)?;
        }
        self.certificate = Some(Arc::new(certificate));
        self.bundles = Some(Arc::new(sorted(bundles)));
        self.svid()
    }

    fn roots(&mut self, message: &[u8]) -> Result<Option<Svid>, Trouble> {
        let response = BundlesResponse::read(message)?;
        let mut bundles = Vec::with_capacity(response.bundles.len());
        for (id, der) in response.bundles {
            add(&mut bundles, id, der)?;
        }
        self.bundles = Some(Arc::new(sorted(bundles)));
        self.svid()
    }

    /// Who we are, once a certificate and roots are known.
    fn svid(&self) -> Result<Option<Svid>, Trouble> {
        let (Some(certificate), Some(bundles)) = (&self.certificate, &self.bundles) else { return Ok(None) };
        Ok(Some(Svid::new(Arc::clone(certificate), Arc::clone(bundles))?))
    }
}

/// The identity that is wanted, or the agent's default, which comes first.
fn choose<'a, 'm>(svids: &'a [X509Svid<'m>], wanted: Option<&SpiffeId>) -> Result<&'a X509Svid<'m>, Trouble> {
    let chosen = match wanted {
        None => svids.first(),
        Some(id) => svids.iter().find(|svid| svid.id == id.as_str()),
    };
    chosen.ok_or_else(|| Trouble::NoIdentity(wanted.map_or(String::new(), |id| format!(" {id} among {}", svids.len()))))
}

fn add(bundles: &mut Vec<(TrustDomain, Arc<Roots>)>, id: &str, der: &[u8]) -> Result<(), Trouble> {
    let name = id.strip_prefix("spiffe://").unwrap_or(id);
    let domain = TrustDomain::parse(name).ok_or_else(|| Trouble::NotADomain(id.chars().take(80).collect()))?;
    let roots = roots(der)?;
    bundles.retain(|(known, _)| *known != domain);
    bundles.push((domain, roots));
    Ok(())
}

fn roots(der: &[u8]) -> Result<Arc<Roots>, Trouble> {
    let elements = wire::elements(der).ok_or(Trouble::Der("roots"))?;
    Ok(Arc::new(Roots::from_der(elements)?))
}

/// Maps come in any order.
fn sorted(mut bundles: Vec<(TrustDomain, Arc<Roots>)>) -> Bundles {
    bundles.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
    Bundles::new(bundles)
}
