//! When modules from URLs are fetched on the control thread, and how often; one attempt is [`get`]'s.

use super::get::{self, Failed};
use crate::{assembly::Patience, backoff};
use pillion_config::model::{Dns, Name, WasmUrl};
use pillion_core::upstream::Random;
use pillion_wasm::{
    Fault, Fetch,
    loader::shown,
    metrics::{self, Fetched},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

/// The longest pause where somebody waits for the module.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest where nobody does.
const LONGEST_BEHIND: Duration = Duration::from_secs(30);
/// Attempts under way at once: each may bring a module of 64 MiB, and one server may have them all.
const AT_ONCE: usize = 4;
/// Attempts of a reload, for which somebody waits who may well be told no.
const ATTEMPTS: u32 = 3;

/// How the filters of a configuration are loaded.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// How names are resolved.
    pub(super) dns: Dns,
    pub(super) patience: Patience,
    /// When it began.
    pub(super) began: Instant,
}

/// The modules that are waited for, by the filter that has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Rc<RefCell<BTreeMap<Name, Note>>>);

#[derive(Debug)]
struct Note {
    url: String,
    attempts: u32,
    last: String,
    /// When it is given up.
    until: Option<Instant>,
}

/// Takes a filter's note away with it.
struct Noted<'a>(&'a Awaited, &'a Name);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.0.borrow_mut().remove(self.1);
    }
}

impl Awaited {
    /// What is waited for, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(filter, Note { url, attempts, last, until }): (&Name, &Note)| {
            let then = match until {
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now()).as_secs();
                    format!("the start waits for it, and fails in {left} s (fetch_retry_for)")
                }
                None => "the configuration that has it is not in force, and will be when this succeeds".to_owned(),
            };
            format!("filter {filter}: cannot fetch {url}: {last} (attempt {attempts}); {then}")
        };
        self.0.borrow().iter().map(line).collect()
    }
}

/// How the loader fetches, on the terms at that time; who waits is noted.
pub(super) fn fetch(terms: &Rc<RefCell<Option<Terms>>>, awaited: &Awaited) -> Fetch {
    let (terms, awaited, random) = (Rc::clone(terms), awaited.clone(), Rc::new(Random::from_system()));
    let places = Rc::new(Semaphore::new(AT_ONCE));
    Rc::new(move |filter: &Name, url: &WasmUrl| {
        let (filter, url, terms, awaited) = (filter.clone(), url.clone(), terms.borrow().clone(), awaited.clone());
        let (random, places) = (Rc::clone(&random), Rc::clone(&places));
        Box::pin(async move {
            let terms = terms.ok_or_else(|| "no configuration says how names are resolved".to_owned())?;
            patiently(&filter, &url, &terms, &awaited, &random, &places).await
        })
    })
}

async fn patiently(
    filter: &Name,
    url: &WasmUrl,
    terms: &Terms,
    awaited: &Awaited,
    random: &Random,
    places: &Semaphore,
) -> Result<Vec<u8>, Fault> {
    let shown = shown(&url.url);
    let until = (terms.patience == Patience::Start).then_some(terms.began + url.retry_for);
    let mut said = String::new();
    let _noted = Noted(awaited, filter);
    for attempt in 1.. {
        // Held for an attempt alone: who waits for a server that is away is in nobody's way.
        let place = places.acquire().await;
        let outcome = timeout(url.timeout, get::follow(&url.url, &terms.dns, url.timeout)).await;
        drop(place);
        let (words, wish) = match outcome {
            Ok(Ok(bytes)) => {
                if attempt > 1 {
                    tracing::info!(%filter, url = shown, attempts = attempt, "the module was fetched");
                }
                return Ok(bytes);
            }
            Ok(Err(Failed::Now(words, wish))) => (words, wish),
            Ok(Err(Failed::ForGood(words))) => {
                metrics::fetch(filter, Fetched::Failure);
                let words = format!("{shown}: {words}: it is not tried again; see what the URL leads to");
                return Err(Fault::from(words));
            }
            Err(_) => (format!("no whole answer within {:?} (fetch_timeout)", url.timeout), None),
        };
        metrics::fetch(filter, Fetched::Failure);
        let longest = if terms.patience == Patience::Behind { LONGEST_BEHIND } else { LONGEST };
        let pause = backoff::pause(attempt, longest, wish, random.next());
        let pause = match terms.patience {
            Patience::Start => until.map(|until| until.saturating_duration_since(Instant::now()).min(pause)),
            Patience::Reload => Some(pause).filter(|_| attempt < ATTEMPTS),
            Patience::Behind => Some(pause),
        };
        let Some(pause) = pause.filter(|pause| !pause.is_zero()) else {
            let after = terms.began.elapsed().as_secs();
            let remedy = match terms.patience {
                Patience::Start => {
                    "; see whether the server is there and may be reached, or write a longer fetch_retry_for"
                }
                Patience::Reload | Patience::Behind => "",
            };
            let words = format!("{shown}: {words} ({attempt} attempts in {after} s){remedy}");
            return Err(Fault { away: true, ..Fault::from(words) });
        };
        if terms.patience != Patience::Behind && words != said {
            tracing::warn!(%filter, url = shown, attempt, "cannot fetch the module, it is tried again: {words}");
        } else {
            tracing::debug!(%filter, url = shown, attempt, "cannot fetch the module, it is tried again: {words}");
        }
        said.clone_from(&words);
        let note = Note { url: shown.clone(), attempts: attempt, last: words, until };
        awaited.0.borrow_mut().insert(filter.clone(), note);
        sleep(pause).await;
    }
    Err(Fault { away: true, ..Fault::from(format!("{shown}: it was tried too often")) })
}

#[cfg(test)]
mod tests;
