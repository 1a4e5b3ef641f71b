//! Whether the application beside a sidecar is still there.
//!
//! A sidecar must not leave before the application it serves, and must leave when a Job has ended. What is seen of an
//! application from another container is the network namespace they share (its sockets) and, where the pod shares it, the
//! process namespace. Configured by the environment variable that the injection wrote; without it nothing is looked at.
//!
//! No socket does not mean no application: one that works on something has none and may send the outcome at its end. So sockets
//! tell that it has gone only of an application that listened before, since whoever serves listens as long as it lives, or is
//! finishing what it accepted. Of one that was never seen to listen they tell nothing, and the drain's deadline decides.

mod ids;
mod processes;
mod restarts;
mod sockets;

pub use ids::last as last_process_id;

use restarts::{Absence, Restarts};
use sockets::Sight;
use std::{
    env,
    time::{Duration, Instant},
};

/// The environment variable.
pub const VARIABLE: &str = "PILLION_APPLICATION";

/// By what an application is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nobody looks: the process stands alone, or something else sees to the order of things.
    Nothing,
    /// TCP sockets of the network namespace that are not ours.
    Sockets,
    /// Processes of the process namespace that are not ours.
    Processes,
    /// The same, of a Job: when they have gone, the proxy leaves.
    Job(Restarts),
}

/// The words of the variable.
const WORDS: [(&str, Watch); 5] = [
    ("sockets", Watch::Sockets),
    ("processes", Watch::Processes),
    ("job", Watch::Job(Restarts::Never)),
    ("job-on-failure", Watch::Job(Restarts::One)),
    ("job-on-failure-several", Watch::Job(Restarts::Several)),
];

/// What a pod is, as far as it decides by what its application is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// It must come to an end.
    pub job: bool,
    /// Its containers see each other's processes, and no others.
    pub shares_processes: bool,
    /// A kubelet starts a container anew that failed.
    pub restarts: bool,
    /// It has more than one container beside ours.
    pub several: bool,
}

/// The variable's word for a pod. Pure.
#[must_use]
pub fn word_for(kind: Kind) -> &'static str {
    let watch = match kind {
        Kind { job: true, restarts: false, .. } => Watch::Job(Restarts::Never),
        Kind { job: true, several: false, .. } => Watch::Job(Restarts::One),
        Kind { job: true, .. } => Watch::Job(Restarts::Several),
        Kind { shares_processes: true, .. } => Watch::Processes,
        Kind { .. } => Watch::Sockets,
    };
    WORDS.iter().find(|(_, known)| *known == watch).map_or("sockets", |(word, _)| word)
}

/// An application as it is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there, or may be.
    There,
    /// Nothing of it is seen, which means that it has gone.
    Gone,
}

/// Time between two looks at the processes of a Job.
const JOB: Duration = Duration::from_secs(1);
/// Longest time between two looks for a listener; the first ones are closer together, since most applications have theirs
/// within seconds.
const LISTENER: Duration = Duration::from_secs(64);
/// How long the hook is waited for that starts before the application: longer than it may take.
const HOOK: Duration = Duration::from_secs(130);

/// What is known of an application, by all looks at it.
#[derive(Debug)]
pub struct Application {
    watch: Watch,
    /// When it is looked at next, while nobody leaves.
    due: Option<Instant>,
    since: Instant,
    wait: Duration,
    listened: bool,
    absence: Absence,
    last_id: Option<u32>,
}

impl Application {
    /// Watches by what the environment says, from now on.
    ///
    /// # Errors
    /// A word that is none.
    pub fn of_environment(now: Instant) -> Result<Self, String> {
        let watch = match env::var(VARIABLE) {
            Err(_) => Watch::Nothing,
            Ok(text) => {
                let found = WORDS.iter().find(|(word, _)| *word == text).map(|(_, watch)| *watch);
                found.ok_or_else(|| {
                    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                    format!("{VARIABLE}: {text:?} is not one of {}", words.join(", "))
                })?
            }
        };
        Ok(Self::new(watch, now))
    }

    fn new(watch: Watch, now: Instant) -> Self {
        let restarts = if let Watch::Job(restarts) = watch { restarts } else { Restarts::Never };
        Self {
            watch,
            due: matches!(watch, Watch::Sockets | Watch::Job(_)).then_some(now),
            since: now,
            wait: Duration::from_secs(1),
            listened: false,
            absence: Absence::new(restarts),
            last_id: None,
        }
    }

    /// When [`Self::has_ended`] is to be asked next; `None`: never.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A look while nobody leaves: whether a Job's application has ended. `before` is the last process id that was given out
    /// before anything of the application was started, once that is known.
    pub fn has_ended(&mut self, before: Option<u32>, now: Instant) -> bool {
        match self.watch {
            Watch::Nothing | Watch::Processes => self.due = None,
            Watch::Sockets => {
                self.note(sockets::look());
                // What listened once is known for good.
                self.due = (!self.listened).then(|| now + self.wait);
                self.wait = (self.wait * 2).min(LISTENER);
            }
            Watch::Job(_) => {
                self.due = Some(now + JOB);
                // The hook that lets the application start is a process as well, and not the application's.
                if before.is_none() && now.duration_since(self.since) < HOOK {
                    return false;
                }
                let id = ids::last();
                let from = self.last_id.or(before).or(id);
                self.last_id = id;
                let came = from.zip(id).is_some_and(|(from, to)| ids::of_others(from, to, &ids::own()));
                return self.absence.ended(processes::look(), came, now);
            }
        }
        false
    }

    /// Whether something may still want to send, when the process is asked to leave. Processes that are gone want nothing.
    #[must_use]
    pub fn may_send(&self) -> bool {
        match self.watch {
            Watch::Nothing => false,
            Watch::Sockets => true,
            Watch::Processes | Watch::Job(_) => processes::look() == Presence::There,
        }
    }

    /// Whoever asks by hand says that the application's end is near: sockets then tell all there is to know.
    pub fn near_its_end(&mut self) {
        self.listened = true;
    }

    /// Whether the application is there, while the process leaves.
    pub fn presence(&mut self) -> Presence {
        match self.watch {
            Watch::Nothing => Presence::Gone,
            Watch::Sockets => {
                let sight = sockets::look();
                self.note(sight)
            }
            Watch::Processes | Watch::Job(_) => processes::look(),
        }
    }

    /// What a look at the sockets means, after all those before.
    fn note(&mut self, sight: Sight) -> Presence {
        self.listened |= sight.listening;
        if sight.any || !self.listened { Presence::There } else { Presence::Gone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_who_listened_sockets_tell_that_it_has_gone() {
        let nothing = Sight { any: false, listening: false };
        let client = Sight { any: true, listening: false };
        let server = Sight { any: true, listening: true };
        let now = Instant::now();
        let mut worker = Application::new(Watch::Sockets, now);
        for sight in [nothing, client, nothing] {
            assert_eq!(worker.note(sight), Presence::There);
        }
        worker.near_its_end();
        assert_eq!(worker.note(nothing), Presence::Gone);
        let mut service = Application::new(Watch::Sockets, now);
        for (sight, presence) in [
            (nothing, Presence::There),
            (server, Presence::There),
            // It has closed its listener and finishes.
            (client, Presence::There),
            (nothing, Presence::Gone),
        ] {
            assert_eq!(service.note(sight), presence, "{sight:?}");
        }
    }

    #[test]
    fn a_pod_is_watched_by_what_it_shows() {
        let kind =
            |job, shares_processes, restarts, several| word_for(Kind { job, shares_processes, restarts, several });
        assert_eq!(kind(false, false, true, true), "sockets");
        assert_eq!(kind(false, true, true, false), "processes");
        assert_eq!(kind(true, true, false, true), "job");
        assert_eq!(kind(true, false, true, false), "job-on-failure");
        assert_eq!(kind(true, true, true, true), "job-on-failure-several");
    }

    #[test]
    fn looks_for_a_listener_become_rare_and_nothing_is_looked_at_unasked() {
        let now = Instant::now();
        assert_eq!(Application::new(Watch::Nothing, now).due(), None);
        assert_eq!(Application::new(Watch::Processes, now).due(), None);
        let mut worker = Application::new(Watch::Sockets, now);
        for _ in 0..20 {
            let due = worker.due().expect("no listener was seen");
            worker.due = Some(due + worker.wait);
            worker.wait = (worker.wait * 2).min(LISTENER);
        }
        assert_eq!(worker.wait, LISTENER);
    }

    #[test]
    fn the_hook_is_not_taken_for_the_application() {
        let now = Instant::now();
        let mut job = Application::new(Watch::Job(Restarts::Never), now);
        // This machine's processes are there, and are not looked at.
        assert!(!job.has_ended(None, now + Duration::from_secs(1)));
        assert_eq!(job.last_id, None);
        assert!(!job.has_ended(last_process_id(), now + Duration::from_secs(2)));
        assert!(job.last_id.is_some());
    }
}
