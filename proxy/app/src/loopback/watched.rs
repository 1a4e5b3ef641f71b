//! What the thread has attached: one instance that is wanted, and those before it whose last connections have not ended.
//!
//! What was detached is looked at until its maps are empty, so that its counters go on, and then removed.

use super::{metrics::Metrics, words::ANOTHER_ROOM};
use redirect::{Detached, Occupancy, Options, Standing, Tidied, Watch};
use std::{os::fd::BorrowedFd, path::PathBuf};

/// All of it.
pub(super) struct All {
    metrics: Metrics,
    attached: Option<Watched>,
    draining: Vec<Watched>,
    /// Why attaching was declined last, so that it is said once.
    declined: Option<String>,
}

/// An instance, and where it is attached.
struct Watched {
    instance: String,
    cgroup: PathBuf,
    watch: Watch,
    fullness: Fullness,
    /// What was said of how it stands, so that it is said once.
    said: Standing,
}

/// Instances that may drain at once: each has another name, which a configuration gave it. The oldest is left to `detach` by hand.
const MOST_DRAINING: usize = 8;

impl All {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, attached: None, draining: Vec::new(), declined: None }
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.attached.is_none() && self.draining.is_empty()
    }

    pub(super) fn attach(&mut self, options: &Options) {
        // Neither another instance nor another cgroup takes the place of the one that is there.
        let same = |there: &Watched| there.instance == options.instance && there.cgroup == options.cgroup;
        if self.attached.as_ref().is_some_and(|there| !same(there)) {
            self.detach();
        }
        match redirect::attach(options) {
            Ok(done) => {
                self.declined = None;
                self.metrics.attached(done.load_time);
                let waived = done.report.outcomes.iter().filter(|outcome| outcome.failure.is_some());
                tracing::info!(
                    cgroup = %options.cgroup.display(),
                    replaced = done.replaced,
                    waived = ?waived.map(|outcome| outcome.property.name()).collect::<Vec<_>>(),
                    on = done.on,
                    "redirect attached"
                );
                if !done.on {
                    tracing::warn!("the redirect was switched off and stays so; POST /redirect?switch=on puts it back");
                }
                tell_let_go(done.let_go);
                tell_room(options.sockets, done.room);
                self.watch(options);
            }
            Err(error) => {
                self.metrics.declined(error.reason());
                let state = if self.attached.is_some() { "the one before stays" } else { "plain TCP is used" };
                let words = format!("redirect declined, {state}: {error}");
                if self.declined.as_ref() != Some(&words) {
                    tracing::warn!("{words}");
                    self.declined = Some(words);
                }
            }
        }
    }

    /// Watches what was attached. The one before, which holds the events, goes on; so does one that was about to go.
    fn watch(&mut self, options: &Options) {
        if let Some(there) = &mut self.attached {
            there.said = Standing::Anew;
            return;
        }
        if let Some(at) = self.draining.iter().position(|before| before.instance == options.instance) {
            let before = self.draining.remove(at);
            self.attached = Some(Watched { cgroup: options.cgroup.clone(), said: Standing::Anew, ..before });
            return;
        }
        match Watch::new(&options.instance) {
            Ok(watch) => {
                self.attached = Some(Watched {
                    instance: options.instance.clone(),
                    cgroup: options.cgroup.clone(),
                    watch,
                    fullness: Fullness::default(),
                    said: Standing::There,
                });
            }
            Err(error) => tracing::error!("the redirect cannot be watched: {error}"),
        }
    }

    pub(super) fn detach(&mut self) {
        let Some(mut there) = self.attached.take() else { return };
        match redirect::detach(&there.instance) {
            Ok(Detached::Draining(ends)) => {
                tracing::info!(ends, "redirect detached, connections go on through TCP");
                there.said = Standing::Detached;
                self.draining.push(there);
                if self.draining.len() > MOST_DRAINING {
                    self.draining.remove(0);
                }
            }
            Ok(Detached::Gone | Detached::Absent | Detached::Claimed(_) | Detached::Foreign { .. }) => {
                there.last_look(&self.metrics);
                tracing::info!("redirect detached");
            }
            Err(error) => tracing::error!("the redirect cannot be detached: {error}"),
        }
    }

    pub(super) fn switch(&self, on: bool) -> Result<(), String> {
        match &self.attached {
            Some(there) => redirect::switch(&there.instance, on).map_err(|error| error.to_string()),
            None => Err("the redirect is not attached".to_owned()),
        }
    }

    /// What is readable when ends of connections wait to be taken.
    pub(super) fn ring(&self) -> Option<BorrowedFd<'_>> {
        self.attached.as_ref().and_then(|there| there.watch.ring())
    }

    /// Takes them.
    pub(super) fn take(&mut self) {
        if let Some(there) = &mut self.attached {
            there.watch.take(|event| self.metrics.ended(event));
        }
    }

    /// Looks at all there is.
    pub(super) fn look(&mut self) {
        let mut on = false;
        let mut occupancy = Vec::new();
        if let Some(mut there) = self.attached.take() {
            match there.look(&self.metrics) {
                Ok(look) => {
                    on = look.on;
                    occupancy.push(look.reading.occupancy);
                    self.attached = Some(there);
                }
                Err(error) => tracing::error!("the redirect cannot be watched: {error}"),
            }
        }
        let metrics = &self.metrics;
        self.draining.retain_mut(|before| match before.look(metrics) {
            // Somebody else has removed it.
            Ok(look) if look.standing == Standing::Gone => {
                metrics.gone(&before.instance);
                false
            }
            Ok(look) if look.reading.occupancy.sockets > 0 => {
                occupancy.push(look.reading.occupancy);
                true
            }
            Ok(_) => match redirect::tidy(&before.instance) {
                Ok(Tidied::Draining) => true,
                Ok(Tidied::Gone) => {
                    before.last_look(metrics);
                    tracing::info!("the last redirected connection has ended, nothing of the redirect is left");
                    false
                }
                // By another hand, whose it is from now on.
                Ok(Tidied::Attached) => false,
                Err(error) => {
                    tracing::error!("what is left of the redirect cannot be removed: {error}");
                    false
                }
            },
            Err(_) => false,
        });
        self.metrics.stands(on, occupancy.into_iter());
    }
}

impl Watched {
    fn look(&mut self, metrics: &Metrics) -> Result<redirect::Look, redirect::AttachError> {
        let look = self.watch.look(|event| metrics.ended(event))?;
        if let Some(alarm) = look.alarm {
            metrics.alarm(alarm);
            tracing::error!(
                alarm = alarm.word(),
                "redirect switched off: connections go on through TCP; POST /redirect?switch=on tries again"
            );
        }
        metrics.looked(&self.instance, &look);
        self.fullness.look(&look, "`redirect.sockets`");
        tell(look.standing, &mut self.said, || {
            tracing::warn!("the redirect was detached by somebody else: plain TCP is used");
        });
        Ok(look)
    }

    /// What its maps say before they go, which are held here when nobody can find them any more.
    fn last_look(&mut self, metrics: &Metrics) {
        if let Ok(look) = self.watch.look(|event| metrics.ended(event)) {
            metrics.looked(&self.instance, &look);
        }
        metrics.gone(&self.instance);
    }
}

/// Says once how an instance stands that others have had to do with: by `detached` that they have detached it.
pub(super) fn tell(now: Standing, said: &mut Standing, detached: impl FnOnce()) {
    let before = std::mem::replace(said, now);
    match now {
        _ if now == before => {}
        Standing::Detached | Standing::Gone if !is_attached(before) => {}
        Standing::Detached | Standing::Gone => detached(),
        Standing::There if is_attached(before) => {}
        Standing::There | Standing::Anew => tracing::info!("the redirect is attached again, by somebody else"),
        Standing::Severed => tracing::warn!("the redirect is attached to a cgroup that has gone: plain TCP is used"),
    }
}

/// Says that another size of the map of sockets waits for its end.
pub(super) fn tell_room(asked: u32, room: u64) {
    if room != u64::from(asked) {
        tracing::warn!(asked, room, "{ANOTHER_ROOM}");
    }
}

/// Says once that the map of sockets is full, until that has been otherwise for good.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    said: bool,
}

impl Fullness {
    /// `remedy`: what gives it more room.
    pub(super) fn look(&mut self, look: &redirect::Look, remedy: &str) {
        let Occupancy { sockets, room, .. } = look.reading.occupancy;
        if look.no_room > 0 && !self.said {
            self.said = true;
            tracing::warn!(
                sockets,
                room,
                no_room = look.no_room,
                "the redirect's map of sockets is full: connections beyond it go through TCP, and are served. {remedy} gives it room for \
                 more, once it is made anew"
            );
        } else if sockets * 2 < room {
            self.said = false;
        }
    }
}

/// Says that proxies have claimed what comes in, which was not to be captured when this was attached.
pub(super) fn tell_let_go(namespaces: usize) {
    if namespaces > 0 {
        tracing::warn!(
            namespaces,
            "attached without --capture-inbound: what comes into network namespaces that proxies have claimed is let go, past them to the \
             applications"
        );
    }
}

const fn is_attached(standing: Standing) -> bool {
    !matches!(standing, Standing::Detached | Standing::Gone)
}
