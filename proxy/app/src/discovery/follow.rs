//! Following one service: a list of its EndpointSlices, then a watch that goes on where it broke off.
//!
//! ```text
//!           ┌──────────────── pause ◄──────────────┐
//!           ▼                                      │ failed
//!  start ► list ──► watch ──► … ──► watch          │
//!           ▲         ▲  ended, broken │ ──────────┘
//!           │         └───── pause ────┘
//!           └──── too old (410), too new (504), or not understood
//! ```
//!
//! What is known is replaced by a whole list or changed by an event, and by nothing else: no failure takes an endpoint away.

use super::{
    Here,
    lines::{Lines, TooLong},
    schedule,
    service::Service,
    slices::{Kept, Slices},
    wire::{self, Event, WireError},
};
use crate::kube::{self, Access, CallError, PATIENCE};
use http::Method;
use http_body_util::BodyExt as _;
use pillion_core::{telemetry::metrics::DiscoveryMetrics, upstream::Random};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout, timeout_at},
};

/// Slices of a page: with 100 endpoints each some 2 MiB.
const PAGE: usize = 50;
/// Pages of a list: more than a service's slices need, one on each.
const MAX_PAGES: usize = super::slices::MAX_SLICES;
/// How long a watch may outlive the time it was asked to last.
const GRACE: Duration = Duration::from_secs(30);
/// A watch that lasted as long, or told something, was a good one.
const GOOD: Duration = Duration::from_secs(1);

/// What is known of a service.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its slices.
    pub(super) slices: Slices,
    /// The names of its ports, where they were asked for.
    pub(super) ports: BTreeMap<u16, Box<str>>,
    /// The ports that the slices had when the service was last asked for those: others now may be called otherwise there.
    pub(super) asked_at: BTreeSet<(Box<str>, u16)>,
    /// Whether there ever was a whole list.
    pub(super) listed: bool,
}

/// Something was heard of a service.
#[derive(Debug, Clone)]
pub struct Update {
    /// Of which.
    pub service: Service,
    /// Whether it may have other endpoints now.
    pub news: News,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something about its endpoints.
    Changed,
    /// That nothing happened.
    Nothing,
}

/// What all followers share.
pub(super) struct Common {
    /// How the API server is spoken to.
    pub(super) access: Access,
    /// Where we are.
    pub(super) here: Here,
    /// Lists at once: a start with hundreds of services is no flood.
    pub(super) lists: Semaphore,
    /// The series.
    pub(super) metrics: Rc<DiscoveryMetrics>,
    /// Where news go; who does not read them is waited for.
    pub(super) news: mpsc::Sender<Update>,
}

/// Follows a service.
pub(super) struct Follower {
    pub(super) service: Service,
    pub(super) common: Rc<Common>,
    pub(super) known: Rc<RefCell<Known>>,
    pub(super) random: Random,
    /// In a row.
    pub(super) failures: u32,
    pub(super) last_words: String,
    /// Slices changed and nobody was told, since the service could not be asked for its ports.
    pub(super) untold: bool,
}

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the API server's answer cannot be used: {0}")]
    Wire(#[from] WireError),
    #[error("the API server's answer cannot be used: {0}")]
    TooLong(#[from] TooLong),
    #[error("the API server ended the watch with {0}: {1}")]
    Status(u16, String),
    #[error("the list has no end")]
    Endless,
    #[error("the list has no end: the API server names a page as the next one that was had already")]
    Repeated,
}

/// How a watch ended.
enum End {
    /// As watches do.
    Over,
    /// What came after the version it began at is forgotten.
    TooOld,
    /// It goes on at the same version.
    Failed(Failure),
    /// Something may have been missed.
    Lost(Failure),
}

impl Follower {
    /// Follows it for ever. Dropping the future ends it.
    pub(super) async fn follow(mut self) {
        loop {
            let mut version = loop {
                match self.list().await {
                    Ok(version) => break version,
                    Err(failure) => self.failed(&failure).await,
                }
            };
            loop {
                let begun = Instant::now();
                let mut told = false;
                let end = self.watch(&mut version, &mut told).await;
                if told || begun.elapsed() >= GOOD {
                    self.failures = 0;
                    self.last_words.clear();
                }
                match end {
                    End::Over if told || begun.elapsed() >= GOOD => self.rest(None).await,
                    End::Over => {
                        self.failures = self.failures.saturating_add(1);
                        self.rest(None).await;
                    }
                    End::TooOld => {
                        tracing::debug!(service = %self.service, "the watch is too far behind: listing anew");
                        self.common.metrics.failure("expired");
                        self.rest(None).await;
                        self.failures = self.failures.saturating_add(1);
                        break;
                    }
                    End::Failed(failure) => self.failed(&failure).await,
                    End::Lost(failure) => {
                        self.failed(&failure).await;
                        break;
                    }
                }
            }
        }
    }

    async fn failed(&mut self, failure: &Failure) {
        self.failures = self.failures.saturating_add(1);
        self.common.metrics.failure(failure.reason());
        let words = failure.words(&self.service);
        if words == self.last_words {
            tracing::debug!(service = %self.service, failures = self.failures, "{words}");
        } else {
            let known = self.known.borrow().slices.count();
            tracing::warn!(service = %self.service, known, "{words}; what is known stays");
            self.last_words = words;
        }
        self.rest(failure.wish()).await;
    }

    async fn rest(&self, wish: Option<Duration>) {
        sleep(schedule::pause(self.failures, wish, self.random.next())).await;
    }

    async fn say(&self, news: News) {
        // The receiver lives as long as what holds this task.
        self.common.news.send(Update { service: self.service.clone(), news }).await.ok();
    }

    /// Lists all slices, page by page, and takes them for all there are. Where a watch goes on.
    async fn list(&mut self) -> Result<String, Failure> {
        let common = Rc::clone(&self.common);
        // Never closed.
        let _turn = common.lists.acquire().await;
        let (mut limit, mut whole) = (PAGE, false);
        let (slices, version) = loop {
            match self.pages((!whole).then_some(limit)).await {
                // The list changed so much between two pages that the next one cannot be had: all of it at once, then.
                Err(Failure::Call(CallError::Refused { status: 410, .. })) if !whole => whole = true,
                Err(Failure::Call(CallError::TooLarge(_))) if !whole && limit > 1 => limit = (limit / 4).max(1),
                other => break other?,
            }
        };
        // Behind the slices: what they call ports now the service has called so before.
        let ports = self.ports(slices.count() == 0).await?;
        {
            let mut known = self.known.borrow_mut();
            tracing::info!(service = %self.service, slices = slices.count(), "listed");
            let asked_at = self.named(&slices);
            *known = Known { slices, ports, asked_at, listed: true };
        }
        self.untold = false;
        self.say(News::Changed).await;
        Ok(version)
    }

    async fn pages(&self, limit: Option<usize>) -> Result<(Slices, String), Failure> {
        let mut slices = Slices::default();
        let mut next: Option<String> = None;
        let mut had = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            let path = self.service.list(limit, next.as_deref());
            let page = async {
                let answer = kube::begin(&self.common.access, Method::GET, &path, None).await?;
                self.common.metrics.request("list");
                kube::read(answer).await
            };
            let bytes = timeout(PATIENCE, page).await.map_err(|_| CallError::Slow(PATIENCE))??;
            let page = wire::page(&bytes)?;
            for slice in &page.items {
                if slices.set(slice, &self.common.here) == Kept::Cut {
                    self.cut();
                }
            }
            next = page.next.map(std::borrow::Cow::into_owned);
            match &next {
                None => return Ok((slices, page.version.into_owned())),
                // The page behind it was had: all others would be, for ever.
                Some(token) if !had.insert(token.clone()) => return Err(Failure::Repeated),
                Some(_) => {}
            }
        }
        Err(Failure::Endless)
    }

    /// Watches from `version` on and moves it along.
    async fn watch(&mut self, version: &mut String, told: &mut bool) -> End {
        // Whoever changes a service's ports is seen here at the latest.
        match self.ask_for_ports().await {
            Ok(true) => self.tell().await,
            Ok(false) if self.untold => self.tell().await,
            Ok(false) => {}
            Err(failure) => return End::of_service(failure),
        }
        let seconds = schedule::watch_seconds(self.random.next());
        let path = self.service.watch(version, seconds);
        let begin = kube::begin(&self.common.access, Method::GET, &path, None);
        let mut answer = match timeout(PATIENCE, begin).await {
            Err(_) => return End::Failed(CallError::Slow(PATIENCE).into()),
            Ok(Err(error)) => return End::of(error),
            Ok(Ok(answer)) => answer,
        };
        self.common.metrics.request("watch");
        let deadline = Instant::now() + Duration::from_secs(seconds) + GRACE;
        let mut lines = Lines::default();
        loop {
            let piece = match timeout_at(deadline, answer.body.frame()).await {
                Ok(Some(Ok(frame))) => frame.into_data(),
                // A connection that broke ended the watch as its end would.
                Ok(None | Some(Err(_))) | Err(_) => return End::Over,
            };
            let Ok(piece) = piece else { continue };
            let mut news = None;
            let fed = lines.feed(&piece, |line| {
                let event = wire::event(line)?;
                news = Some(self.apply(event, version)?.max(news.unwrap_or(News::Nothing)));
                Ok::<_, Failure>(())
            });
            if let Some(news) = news {
                *told = true;
                // The service has other names for its ports than it had: what they were would find nothing in the slices.
                let renamed = news == News::Changed && {
                    let known = self.known.borrow();
                    self.named(&known.slices) != known.asked_at
                };
                if renamed && let Err(failure) = self.ask_for_ports().await {
                    self.untold = true;
                    return End::of_service(failure);
                }
                self.say(news).await;
            }
            match fed {
                Ok(()) => {}
                Err(Failure::Status(410, _)) => return End::TooOld,
                Err(Failure::Status(504, words)) if is_ahead(&words) => return End::Lost(Failure::Status(504, words)),
                Err(failure @ Failure::Status(..)) => return End::Failed(failure),
                Err(failure) => return End::Lost(failure),
            }
        }
    }

    fn apply(&self, event: Event<'_>, version: &mut String) -> Result<News, Failure> {
        let slices = &mut self.known.borrow_mut().slices;
        let metrics = &self.common.metrics;
        let (kept, at) = match event {
            Event::Set(slice, at) => {
                metrics.event("set");
                (slices.set(&slice, &self.common.here), at)
            }
            Event::Gone(name, at) => {
                metrics.event("gone");
                (slices.remove(&name), at)
            }
            Event::Bookmark(at) => {
                metrics.event("bookmark");
                (Kept::Same, at)
            }
            Event::Error(code, message) => {
                metrics.event("error");
                return Err(Failure::Status(code, message.into_owned()));
            }
        };
        version.clear();
        version.push_str(&at);
        if kept == Kept::Cut {
            self.cut();
        }
        Ok(if kept == Kept::Same { News::Nothing } else { News::Changed })
    }

    fn cut(&self) {
        self.common.metrics.failure("too_many");
        tracing::warn!(service = %self.service, "it has more endpoints than are kept; some are not used");
    }

    /// The ports of slices, where their names are needed.
    fn named(&self, slices: &Slices) -> BTreeSet<(Box<str>, u16)> {
        if self.service.numbers { slices.ports() } else { BTreeSet::new() }
    }

    /// Asks the service for its ports, and whether they are others than they were.
    async fn ask_for_ports(&self) -> Result<bool, Failure> {
        let (none, asked_at) = {
            let known = self.known.borrow();
            (known.slices.count() == 0, self.named(&known.slices))
        };
        let ports = self.ports(none).await?;
        let mut known = self.known.borrow_mut();
        let changed = known.ports != ports;
        (known.ports, known.asked_at) = (ports, asked_at);
        Ok(changed)
    }

    async fn tell(&mut self) {
        self.untold = false;
        self.say(News::Changed).await;
    }

    /// The names of the service's ports, where they are needed. `none`: it has no slices; if there is no service either, it was
    /// taken away, or is still to come.
    async fn ports(&self, none: bool) -> Result<BTreeMap<u16, Box<str>>, Failure> {
        if !self.service.numbers {
            return Ok(BTreeMap::new());
        }
        let service = match kube::get(&self.common.access, &self.service.itself()).await {
            Err(error @ CallError::Refused { status: 404, .. }) if none => {
                let failure = Failure::Call(error);
                tracing::warn!(service = %self.service, "{}", failure.words(&self.service));
                return Ok(BTreeMap::new());
            }
            answer => answer?,
        };
        if service.str("kind") != Some("Service") {
            return Err(CallError::Unusable("it is no Service".to_owned()).into());
        }
        let tcp = service.at(&["spec"]).map(|spec| spec.list("ports")).unwrap_or_default().iter();
        let tcp = tcp.filter(|port| port.str("protocol").is_none_or(|protocol| protocol == "TCP"));
        Ok(tcp
            .filter_map(|port| {
                Some((u16::try_from(port.get("port")?.as_int()?).ok()?, port.str("name").unwrap_or_default().into()))
            })
            .collect())
    }
}

impl End {
    /// Of a watch whose service could not be asked.
    fn of_service(failure: Failure) -> Self {
        match failure {
            // Taken away: only a list tells what is left of it.
            Failure::Call(CallError::Refused { status: 404, .. }) => Self::Lost(failure),
            _ => Self::Failed(failure),
        }
    }

    fn of(error: CallError) -> Self {
        match error {
            CallError::Refused { status: 410, .. } => Self::TooOld,
            CallError::Refused { status: 504, ref message, .. } if is_ahead(message) => Self::Lost(error.into()),
            // The version is not to its taste.
            CallError::Refused { status: 400 | 404 | 422, .. } => Self::Lost(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

/// Whether a server tells by a timeout that it has not come to our version, and may never: another one, or an etcd from a backup.
/// Like client-go, by its words, since not all that say it say a cause (apimachinery, `IsTooLargeResourceVersion`).
fn is_ahead(message: &str) -> bool {
    message.contains("Too large resource version")
}

impl Failure {
    /// Its name in metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Call(CallError::Unreachable(_)) => "unreachable",
            Self::Call(CallError::Refused { status: 401 | 403, .. }) | Self::Status(401 | 403, _) => "denied",
            Self::Call(CallError::Refused { .. }) | Self::Status(..) => "refused",
            Self::Call(CallError::Slow(_)) => "timeout",
            Self::Call(CallError::Access(_)) => "service_account",
            Self::Call(CallError::TooLarge(_)) | Self::TooLong(_) | Self::Endless | Self::Repeated => "too_large",
            Self::Call(CallError::Unusable(_)) | Self::Wire(_) => "unusable",
        }
    }

    /// What happened, and what can be done about it.
    fn words(&self, service: &Service) -> String {
        let Service { namespace, name, numbers } = service;
        match self {
            Self::Call(CallError::Refused { status: 403, .. }) => {
                let also = if *numbers { ", and get services" } else { "" };
                format!(
                    "{self}; the pod's service account must be allowed to list and watch endpointslices \
                     (discovery.k8s.io) in the namespace {namespace}{also}"
                )
            }
            Self::Call(CallError::Refused { status: 404, .. }) if *numbers => {
                format!("{self}; is there a service {name} in the namespace {namespace}?")
            }
            _ => self.to_string(),
        }
    }

    /// When the server wants to be asked again.
    fn wish(&self) -> Option<Duration> {
        match self {
            Self::Call(CallError::Refused { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

impl News {
    fn max(self, other: Self) -> Self {
        if self == Self::Changed { self } else { other }
    }
}
