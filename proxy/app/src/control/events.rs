//! What can happen to a running proxy, and what is done about it.

use super::{
    Control, Exit,
    commit::Failure,
    state::{Action, Request, Stage},
};
use crate::{
    application::WAITED_FOR,
    assembly::{NotLoaded, Plane},
    discovery::{self, News},
    dns::{Outcome, Update},
    drain::{Drain, Phase, Step, Until},
    log, memory,
    reload::Reason,
    signals::Asked,
    worker::{Death, Order},
};
use pillion_config::model::Direction;
use std::{
    future::pending,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Time that workers get to close their listeners when a second signal asks to leave at once and nobody is connected: they
/// need none but to be scheduled.
const CLOSING: Duration = Duration::from_secs(2);

/// Something that happened.
pub(super) enum Event<F> {
    Signal(Asked),
    Request(Request),
    Death(Death),
    Name(Update),
    Service(discovery::Update),
    Files(Reason),
    Filters(Result<F, NotLoaded>),
    /// What a configuration waited for came, or something else is wrong with it.
    Behind(Result<F, NotLoaded>),
    Secrets(Reason),
    Expiry,
    Idle,
    Memory,
    Tidy,
    /// Tell the node's agent again of who waits for it.
    Claim,
    /// What comes in is captured no more.
    Lost,
    TimeIsUp,
    /// Look whether the application has ended.
    Application,
    /// Look again at what is due.
    Tick,
}

impl<P: Plane> Control<P> {
    /// Waits for the next event. Cancel-safe.
    pub(super) async fn event(&mut self) -> Event<P::Filters> {
        let leaving = self.drain.is_some();
        let due = self.drain.as_ref().map_or_else(|| self.due(), Drain::due);
        let time_is_up = self.hooks.exit_after.filter(|_| !leaving).map(|after| self.state.started + after);
        let config = self.state.config.borrow().clone();
        let expiry = config.and_then(|config| self.keeper.expiry_due(&config)).map(|left| Instant::now() + left);
        tokio::select! {
            asked = self.signals.next() => Event::Signal(asked),
            Some(request) = self.requests.recv() => Event::Request(request),
            Some(death) = self.deaths.recv() => Event::Death(death),
            filters = Self::filters(&mut self.prepared), if !leaving => Event::Filters(filters),
            filters = Self::behind(&mut self.behind), if !leaving => Event::Behind(filters),
            update = self.names.next() => Event::Name(update),
            update = self.services.next() => Event::Service(update),
            reason = self.watcher.changed(), if !leaving => Event::Files(reason),
            reason = self.keeper.changed() => Event::Secrets(reason),
            () = at(expiry) => Event::Expiry,
            () = self.workers.idle() => Event::Idle,
            () = at(self.memory_at) => Event::Memory,
            () = at(self.tidy_at) => Event::Tidy,
            () = at(self.claiming.due()), if !leaving => Event::Claim,
            () = self.proof.lost(), if !leaving => Event::Lost,
            () = at(time_is_up) => Event::TimeIsUp,
            () = at(self.application.due()), if !leaving || self.by_absence => Event::Application,
            () = at(due) => Event::Tick,
        }
    }

    /// Deals with an event; an exit when it is the last one.
    pub(super) async fn handle(&mut self, event: Event<P::Filters>) -> Option<Exit> {
        match event {
            Event::Signal(Asked::Leave) => {
                self.asked_to_leave += 1;
                if self.asked_to_leave > 1 {
                    tracing::warn!("asked to leave a second time: leaving at once");
                    if self.has_nothing_to_cut().await {
                        return Some(Exit::Drained);
                    }
                    return Some(self.cut().await);
                }
                self.leave("a signal");
            }
            Event::Signal(Asked::Reload) => {
                self.watcher.look();
                self.reload(Vec::new(), Reason::Changed).await;
            }
            Event::Files(reason) => self.reload(Vec::new(), reason).await,
            Event::Behind(filters) => self.caught_up(filters).await,
            Event::Filters(filters) => {
                if let Err(Failure(words)) = self.filters_loaded(filters) {
                    eprintln!("pillion: {words}");
                    return Some(Exit::NotStarted);
                }
            }
            Event::Signal(Asked::Reopen) => self.plane.reopen_logs(),
            Event::Request(request) => self.carry_out(request).await,
            Event::Death(death) => {
                tracing::error!(%death, "fatal");
                return Some(Exit::Died);
            }
            Event::Name(update) => self.heard(&update),
            Event::Service(update) => self.told(&update),
            Event::Secrets(reason) => drop(self.renew(reason).await),
            Event::Expiry => {
                let config = self.state.config.borrow().clone();
                if let Some(config) = config {
                    self.keeper.look_at_expiry(&config);
                    self.note_identity(&config);
                }
            }
            Event::Idle => self.idle = true,
            Event::Memory => self.look_at_memory(),
            Event::Tidy => {
                self.tidy_at = None;
                memory::give_back_heap();
            }
            Event::Claim => self.claim_again().await,
            Event::Lost => self.claim_anew().await,
            Event::TimeIsUp => self.leave("its time"),
            Event::Application => self.look_at_application(),
            Event::Tick => {}
        }
        None
    }

    async fn carry_out(&mut self, Request { action, done }: Request) {
        let words = match action {
            Action::Reload => {
                self.watcher.look();
                return self.reload(vec![done], Reason::Changed).await;
            }
            Action::Redirect(on) => {
                let answer = match self.loopback.switch(on) {
                    Ok(answer) => answer.await.unwrap_or_else(|_| Err("the redirect's thread has ended".to_owned())),
                    Err(words) => Err(words),
                };
                let words = if on { "redirecting" } else { "everything goes through TCP" };
                // Whoever asked may have gone.
                done.send(answer.map(|()| words.to_owned())).ok();
                return;
            }
            Action::Quit(caller) => {
                self.application.near_its_end(caller);
                self.leave("an operator");
                let mut words = "draining, then exiting".to_owned();
                let others = self.application.waited_for();
                if !others.is_empty() {
                    words += WAITED_FOR;
                    words += &others.join(", ");
                }
                words
            }
            Action::DrainInbound => {
                self.announce();
                "inbound listeners are closing; outbound ones stay until the proxy is told to leave".to_owned()
            }
            Action::DrainListeners => {
                self.close_listeners().await;
                "listeners are closing".to_owned()
            }
        };
        // Whoever asked may have gone.
        done.send(Ok(words)).ok();
    }

    /// Takes the way out, once.
    fn leave(&mut self, by: &'static str) {
        let now = Instant::now();
        // Whoever else asks means it.
        self.by_absence = false;
        let watched = self.application.may_send();
        if let Some(drain) = &mut self.drain {
            if drain.until() == Until::Told {
                tracing::info!(by, "leaving");
                if watched { drain.watch(now) } else { drain.told(now) }
            }
            return;
        }
        let Some(config) = self.state.config.borrow().clone() else {
            tracing::info!(by, "leaving before anything was served");
            self.idle = true;
            self.closed = true;
            self.drain = Some(already_gone());
            return;
        };
        let until = if watched { Until::Absent } else { Until::Closed };
        let mut drain = Drain::begin(now, &config.drain, until);
        if self.closed {
            drain.skip_delay(now);
        }
        tracing::info!(
            by,
            delay = log::time(config.drain.delay),
            deadline = log::time(config.drain.deadline),
            "draining"
        );
        self.drain = Some(drain);
        self.prepared = None;
        self.state.stage.set(Stage::Draining);
    }

    /// Whether nobody is connected, nor has come while the listeners closed.
    async fn has_nothing_to_cut(&mut self) -> bool {
        if self.plane.connections() > 0 {
            return false;
        }
        self.close_listeners().await;
        self.idle = self.idle || timeout(CLOSING, self.workers.idle()).await.is_ok();
        self.idle
    }

    /// Cuts what is open. A connection that rests is nobody's loss, and what a Job's application left open when it ended was its
    /// own to lose: a failure of ours would be the Job's, which has succeeded.
    async fn cut(&mut self) -> Exit {
        let before = self.plane.lost();
        self.close_listeners().await;
        // Connections that are told know who cut them and what is lost, and say so in their records.
        self.workers.order(Order::Abort).await;
        self.idle = self.idle || timeout(CLOSING, self.workers.idle()).await.is_ok();
        let lost = self.plane.lost() - before;
        if self.idle && lost == 0 {
            tracing::info!("nothing was in flight on what was closed");
            return Exit::Drained;
        }
        tracing::warn!(lost, "cut what was in flight");
        if self.application.left_a_job() {
            tracing::warn!("what was cut is what the application left open when it ended");
            return Exit::Drained;
        }
        Exit::Cut
    }

    /// Begins a drain of what comes in; what goes out is carried until the process is told to leave.
    fn announce(&mut self) {
        let Some(config) = self.state.config.borrow().clone().filter(|_| self.drain.is_none() && !self.closed) else {
            return;
        };
        tracing::info!(delay = log::time(config.drain.delay), "draining what comes in");
        self.drain = Some(Drain::begin(Instant::now(), &config.drain, Until::Told));
        self.prepared = None;
        self.state.stage.set(Stage::Draining);
    }

    async fn close_inbound(&mut self) {
        let Some(config) = self.state.config.borrow().clone() else { return };
        let inbound: Vec<_> = config
            .listeners
            .iter()
            .filter(|listener| listener.direction == Direction::Inbound)
            .map(|listener| listener.name.clone())
            .collect();
        // Ours first, as in `close_listeners`.
        self.sockets.release_some(&inbound);
        self.state.listeners.borrow_mut().retain(|(name, _)| !inbound.contains(name));
        self.workers.order(Order::DrainInbound).await;
        tracing::info!("inbound listeners closed");
    }

    /// Leaves when an application that was seen is seen no more, and stays when it comes back while everything is still open.
    fn look_at_application(&mut self) {
        let now = Instant::now();
        let ended = self.application.has_ended(now);
        if !self.by_absence {
            if ended {
                self.leave("the application's end");
                self.by_absence = self.drain.is_some();
            }
            return;
        }
        let open = !self.closed && self.drain.as_ref().is_some_and(|drain| drain.phase() == Phase::Announced);
        if !open {
            self.by_absence = false;
        } else if !ended {
            tracing::info!("the application is back: not leaving");
            self.by_absence = false;
            self.drain = None;
            self.state.stage.set(Stage::Live);
            self.state.note_ready();
        }
    }

    async fn close_listeners(&mut self) {
        self.state.stage.set(Stage::Draining);
        if !self.closed && self.state.config.borrow().is_some() {
            self.closed = true;
            self.prepared = None;
            // Ours first: the kernel must queue nothing more behind a worker that has accepted the last.
            self.sockets.release();
            self.state.listeners.replace(Vec::new());
            self.workers.drain().await;
            tracing::info!("listeners closed");
        }
    }

    /// Does what the drain demands now; an exit at its end.
    pub(super) async fn step(&mut self) -> Option<Exit> {
        loop {
            let drain = self.drain.as_mut()?;
            match drain.step(Instant::now(), self.idle) {
                Step::WaitUntil(_) => return None,
                Step::CloseInbound => self.close_inbound().await,
                Step::Look => drain.saw(self.application.presence()),
                Step::CloseListeners => self.close_listeners().await,
                Step::Abort => {
                    tracing::info!("the drain's deadline has passed: closing what is open");
                    return Some(self.cut().await);
                }
                Step::Finished => return Some(Exit::Drained),
            }
        }
    }

    fn heard(&self, update: &Update) {
        self.metrics.dns.lookup();
        match &update.outcome {
            Outcome::Changed => {
                let addresses = self.names.addresses(&update.host);
                tracing::info!(host = %update.host, ?addresses, "name resolved");
                let config = self.state.config.borrow().clone();
                if let (Some(config), Some(snapshot)) = (config, &*self.in_force.borrow()) {
                    self.deliver(&update.host, &config, snapshot);
                    self.say_in_the_clear(&config);
                }
            }
            Outcome::Same => {}
            Outcome::Failed(failure) => {
                let known = self.names.addresses(&update.host).len();
                tracing::warn!(host = %update.host, %failure, known, "name not resolved, what is known stays");
                self.metrics.dns.failure(failure.name());
            }
        }
    }

    fn told(&self, update: &discovery::Update) {
        let config = self.state.config.borrow().clone();
        if let (Some(config), Some(snapshot)) = (config, &*self.in_force.borrow()) {
            match update.news {
                News::Changed => {
                    self.deliver_service(&update.service, &config, snapshot);
                    self.say_in_the_clear(&config);
                }
                News::Nothing => self.note_heard(&update.service, &config),
            }
        }
    }
}

/// A drain of nothing.
fn already_gone() -> Drain {
    let none = pillion_config::model::Drain { delay: std::time::Duration::ZERO, deadline: std::time::Duration::ZERO };
    Drain::begin(Instant::now(), &none, Until::Closed)
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => pending().await,
    }
}
