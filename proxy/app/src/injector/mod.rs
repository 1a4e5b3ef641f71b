//! `pillion injector`: the admission webhook that puts the proxy into pods as they are made.
//!
//! ```text
//!  API server ─TLS─► accept (bounded) ─► read (bounded, timed) ─► review::answer (pure) ─► JSON
//!                        ▲ certificates: files read again, or our own renewed       kubelet, Prometheus ─► livez, readyz, metrics
//!                        └ bundle: our authority in our own webhook configurations
//! ```
//!
//! One thread. It has no state of a cluster and no side effects, so that a dry run is a review like any other.

mod bundle;
mod certificates;
mod pulse;
pub mod review;
mod serve;
mod tally;

use crate::{
    inject::{
        self,
        pod::{NO_NODE_AGENT, NodeAgent},
        settings::{Capture, Settings},
    },
    kube::Access,
    signals::{Asked as Told, Signals},
};
use certificates::{Certificates, Presented};
use serve::Server;
use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    time::{Duration, SystemTime},
};
use tally::Tally;
use tokio::{net::TcpListener, runtime::Builder, task::LocalSet, time::sleep};

/// Time between two looks at certificate files, and at our authority in the webhook configurations.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_AT_BUNDLE: Duration = Duration::from_secs(60);
/// Time between two attempts to publish our authority.
const AGAIN: Duration = Duration::from_secs(2);
/// Time for reviews that are being answered when the process is asked to leave.
const LAST_REVIEWS: Duration = Duration::from_secs(10);
/// Connections are accepted that long after readiness failed: Services forget an endpoint with a delay.
const LINGER: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Where reviews are taken.
    pub listen: SocketAddr,
    /// Where health and metrics are served, in the clear.
    pub probes: SocketAddr,
    /// Files, or our own.
    pub source: Source,
    /// What holds unless a pod's annotations say otherwise.
    pub settings: Settings,
    /// Whether pods may want to be captured by their node.
    pub node_agent: NodeAgent,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Chain and key.
    Files(std::path::PathBuf, std::path::PathBuf),
    /// Made here for these names; the webhook configuration to tell.
    Own(Vec<String>, Option<String>),
}

/// What the tasks of the injector share.
struct Shared {
    settings: Settings,
    node_agent: NodeAgent,
    presented: RefCell<Presented>,
    ready: RefCell<Result<(), String>>,
    tally: Tally,
}

/// Runs it until a signal.
#[must_use]
pub fn run(request: Request) -> ExitCode {
    // What no pod could have would otherwise be denied of each, by failurePolicy Fail of all of them.
    let mut faults = inject::faults(&request.settings);
    if request.settings.capture == Capture::Node && request.node_agent == NodeAgent::Absent {
        faults.push(format!("--capture: {NO_NODE_AGENT}"));
    }
    faults.iter().for_each(|words| eprintln!("{words}"));
    if !faults.is_empty() {
        return ExitCode::FAILURE;
    }
    let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pillion: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = LocalSet::new().block_on(&runtime, live(request));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("pillion: {words}");
            ExitCode::FAILURE
        }
    }
}

async fn live(request: Request) -> Result<(), String> {
    let Request { listen, probes, source, settings, node_agent } = request;
    let mut signals = Signals::install().map_err(|error| format!("cannot start: {error}"))?;
    let (certificates, publish) = match source {
        Source::Files(chain, key) => (Certificates::Files { chain, key }, None),
        Source::Own(names, publish) => (Certificates::own(names)?, publish),
    };
    let presented = certificates.present()?;
    let waiting =
        publish.as_ref().map_or(Ok(()), |_| Err("our authority is not in the webhook configuration yet".to_owned()));
    let shared = Rc::new(Shared {
        settings,
        node_agent,
        presented: RefCell::new(presented),
        ready: RefCell::new(waiting),
        tally: Tally::default(),
    });
    let reviews = bind(listen).await?;
    let health = bind(probes).await?;
    tracing::info!(reviews = %address(&reviews), probes = %address(&health), "injector served");
    let server = Server::new(Rc::clone(&shared));
    let serving = tokio::task::spawn_local(server.clone().reviews(reviews));
    let _health = tokio::task::spawn_local(server.clone().health(health));
    let authority = certificates.bundle();
    let _renewing = tokio::task::spawn_local(renew(certificates, Rc::clone(&shared)));
    if let (Some(name), Some(authority)) = (publish, authority) {
        let access = Access::of_environment().map_err(|error| error.to_string())?;
        tokio::task::spawn_local(publish_for_ever(access, name, authority, Rc::clone(&shared)));
    }
    while signals.next().await != Told::Leave {}
    *shared.ready.borrow_mut() = Err("leaving".to_owned());
    tokio::select! {
        _ = signals.next() => {}
        () = sleep(LINGER) => {}
    }
    serving.abort();
    server.finish(LAST_REVIEWS).await;
    tracing::info!("gone");
    Ok(())
}

async fn bind(at: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(at).await.map_err(|error: io::Error| format!("cannot listen on {at}: {error}"))
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
}

/// Presents what is new: connections made before go on, and none is refused in between.
async fn renew(certificates: Certificates, shared: Rc<Shared>) {
    let mut last_error = String::new();
    loop {
        sleep(LOOK).await;
        let due = shared.presented.borrow().renew_at;
        if due.is_some_and(|at| SystemTime::now() < at) {
            continue;
        }
        match certificates.present() {
            Ok(new) if new.content == shared.presented.borrow().content => last_error.clear(),
            Ok(new) => {
                *shared.presented.borrow_mut() = new;
                shared.tally.renewal(true);
                last_error.clear();
                tracing::info!("another certificate is presented from now on");
            }
            // Half-written files are whole a moment later; the one before stays.
            Err(words) if words == last_error => {}
            Err(words) => {
                shared.tally.renewal(false);
                tracing::warn!("the certificate cannot be used, the one before stays: {words}");
                last_error = words;
            }
        }
    }
}

/// Whoever applies the manifest again takes our authority out, so it is looked at for as long as we live.
async fn publish_for_ever(access: Access, name: String, authority: String, shared: Rc<Shared>) {
    loop {
        match bundle::publish(&access, &name, &authority).await {
            Ok(()) => {
                let waiting = shared.ready.borrow().as_ref().is_err_and(|words| words != "leaving");
                if waiting {
                    *shared.ready.borrow_mut() = Ok(());
                }
                sleep(LOOK_AT_BUNDLE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "our authority cannot be published");
                sleep(AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
