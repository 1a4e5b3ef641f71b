//! Whether the application beside a sidecar is still there.
//!
//! A sidecar must not leave before the application it serves, and must leave when a Job has ended. What is seen of an
//! application from another container is the network namespace they share (its sockets) and, where the pod shares it, the
//! process namespace. Configured by the environment variable that the injection wrote; without it nothing is looked at.
//!
//! No socket does not mean no application: one that works on something has none and may send the outcome at its end. So sockets
//! tell that it has gone only of an application that listened before, since whoever serves listens as long as it lives, or is
//! finishing what it accepted. Of one that was never seen to listen they tell nothing, and the drain's deadline decides.

mod caller;
mod ids;
mod processes;
mod record;
mod restarts;
mod sockets;

pub use caller::Caller;
pub use record::{Record, VARIABLE as RECORD_VARIABLE};
pub use restarts::Restarts;

use restarts::{Absence, Look};
use sockets::Sight;
use std::{
    collections::BTreeSet,
    env,
    str::FromStr,
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
    Job {
        /// What becomes of containers that failed.
        restarts: Restarts,
        /// How many there are beside ours.
        containers: usize,
    },
}

/// The words of the variable. Those of a Job are followed by a colon and the number of its containers; without it there is one.
const SOCKETS: &str = "sockets";
const PROCESSES: &str = "processes";
const JOB: &str = "job";
const JOB_ON_FAILURE: &str = "job-on-failure";

/// How an answer to who asks the proxy to leave goes on, where it waits for somebody: their numbers and names.
pub const WAITED_FOR: &str = ", when these have gone: ";

/// What a pod is, as far as it decides by what its application is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// It must come to an end.
    pub job: bool,
    /// Its containers see each other's processes, and no others.
    pub shares_processes: bool,
    /// A kubelet starts a container anew that failed.
    pub restarts: bool,
    /// Its containers beside ours.
    pub containers: usize,
}

/// The variable's word for a pod. Pure.
#[must_use]
pub fn word_for(kind: Kind) -> String {
    match kind {
        Kind { job: true, restarts, containers, .. } => {
            let word = if restarts { JOB_ON_FAILURE } else { JOB };
            if containers > 1 { format!("{word}:{containers}") } else { word.to_owned() }
        }
        Kind { shares_processes: true, .. } => PROCESSES.to_owned(),
        Kind { .. } => SOCKETS.to_owned(),
    }
}

impl FromStr for Watch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
        let containers = number.map_or(Some(1), |number| number.parse().ok().filter(|number| *number > 0));
        match (word, number, containers) {
            (SOCKETS, None, _) => Ok(Self::Sockets),
            (PROCESSES, None, _) => Ok(Self::Processes),
            (JOB, _, Some(containers)) => Ok(Self::Job { restarts: Restarts::Never, containers }),
            (JOB_ON_FAILURE, _, Some(containers)) => Ok(Self::Job { restarts: Restarts::OnFailure, containers }),
            _ => Err(format!(
                "{VARIABLE}: {text:?} is not one of {SOCKETS}, {PROCESSES}, {JOB} and {JOB_ON_FAILURE}, of which the last two \
                 may have the number of containers behind a colon, as {JOB}:2"
            )),
        }
    }
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
const LOOK: Duration = Duration::from_secs(1);
/// The same while containers are counted: making one takes a kubelet's runtime about as long, so that few live unseen.
const COUNT: Duration = Duration::from_millis(200);
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
    record: Record,
    /// Who said that its end is near, and is not waited for.
    callers: BTreeSet<u32>,
}

impl Application {
    /// Watches by what the environment says, from now on. `record`: what an earlier proxy has left, and what this one will leave.
    ///
    /// # Errors
    /// A word that is none.
    pub fn of_environment(record: &Record, now: Instant) -> Result<Self, String> {
        let watch = env::var(VARIABLE).map_or(Ok(Watch::Nothing), |text| text.parse())?;
        Ok(Self::new(watch, record.clone(), now))
    }

    fn new(watch: Watch, record: Record, now: Instant) -> Self {
        let (restarts, containers) = match watch {
            Watch::Job { restarts, containers } => (restarts, containers),
            Watch::Nothing | Watch::Sockets | Watch::Processes => (Restarts::Never, 1),
        };
        Self {
            watch,
            due: matches!(watch, Watch::Sockets | Watch::Job { .. }).then_some(now),
            since: now,
            wait: Duration::from_secs(1),
            listened: false,
            absence: Absence::new(restarts, containers, record.earlier(), now),
            last_id: None,
            record,
            callers: BTreeSet::new(),
        }
    }

    /// When [`Self::has_ended`] is to be asked next; `None`: never.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A look while nobody leaves: whether a Job's application has ended.
    pub fn has_ended(&mut self, now: Instant) -> bool {
        match self.watch {
            Watch::Nothing | Watch::Processes => self.due = None,
            Watch::Sockets => {
                self.note(sockets::look());
                // What listened once is known for good.
                self.due = (!self.listened).then(|| now + self.wait);
                self.wait = (self.wait * 2).min(LISTENER);
            }
            Watch::Job { .. } => {
                let complete = self.absence.complete();
                self.due = Some(now + if complete { LOOK } else { self.interval() });
                let before = self.record.before();
                // The hook that lets the application start is a process as well, and not the application's.
                if before.is_none() && now.duration_since(self.since) < HOOK {
                    return false;
                }
                let id = ids::last();
                let from = self.last_id.or(before).or(id);
                self.last_id = id;
                let came = from.zip(id).is_some_and(|(from, to)| ids::of_others(from, to, &ids::own()));
                let there = processes::look(&self.callers) == Presence::There;
                let containers = if there && !complete { processes::containers() } else { BTreeSet::new() };
                let ended = self.absence.ended(Look { there, came, containers }, now);
                if let (false, Some(seen)) = (complete, self.absence.seen()) {
                    self.record.saw(seen);
                }
                return ended;
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
            Watch::Processes | Watch::Job { .. } => processes::look(&self.callers) == Presence::There,
        }
    }

    /// Whether what is open is of nobody any more: a Job's application has gone, as far as its processes tell.
    #[must_use]
    pub fn left_a_job(&self) -> bool {
        matches!(self.watch, Watch::Job { .. }) && processes::look(&self.callers) == Presence::Gone
    }

    /// Whoever asks by hand says that the application's end is near: sockets then tell all there is to know, and of the
    /// processes all but those that wait for the answer.
    pub fn near_its_end(&mut self, caller: Option<Caller>) {
        self.listened = true;
        self.callers.extend(caller.map(Caller::those_not_waited_for).into_iter().flatten());
    }

    /// Who is waited for, as far as processes tell: their numbers and names, a few of them.
    #[must_use]
    pub fn waited_for(&self) -> Vec<String> {
        match self.watch {
            Watch::Nothing | Watch::Sockets => Vec::new(),
            Watch::Processes | Watch::Job { .. } => processes::names(&self.callers),
        }
    }

    /// Whether the application is there, while the process leaves.
    pub fn presence(&mut self) -> Presence {
        match self.watch {
            Watch::Nothing => Presence::Gone,
            Watch::Sockets => {
                let sight = sockets::look();
                self.note(sight)
            }
            Watch::Processes | Watch::Job { .. } => processes::look(&self.callers),
        }
    }

    /// Until the next look at a Job of which not everybody was seen.
    fn interval(&self) -> Duration {
        if matches!(self.watch, Watch::Job { containers: 2.., .. }) { COUNT } else { LOOK }
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
        let mut worker = Application::new(Watch::Sockets, Record::default(), now);
        for sight in [nothing, client, nothing] {
            assert_eq!(worker.note(sight), Presence::There);
        }
        worker.near_its_end(None);
        assert_eq!(worker.note(nothing), Presence::Gone);
        let mut service = Application::new(Watch::Sockets, Record::default(), now);
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
        let kind = |job, shares_processes, restarts, containers| {
            word_for(Kind { job, shares_processes, restarts, containers })
        };
        let job = |restarts, containers| Watch::Job { restarts, containers };
        for (word, written, watch) in [
            (kind(false, false, true, 2), "sockets", Watch::Sockets),
            (kind(false, true, true, 1), "processes", Watch::Processes),
            (kind(true, true, false, 1), "job", job(Restarts::Never, 1)),
            (kind(true, true, false, 3), "job:3", job(Restarts::Never, 3)),
            (kind(true, false, true, 1), "job-on-failure", job(Restarts::OnFailure, 1)),
            (kind(true, true, true, 2), "job-on-failure:2", job(Restarts::OnFailure, 2)),
        ] {
            assert_eq!((&*word, word.parse()), (written, Ok(watch)));
        }
        for wrong in ["", "jobs", "job:", "job:0", "job:-1", "job:2:3", "sockets:1", "processes:"] {
            assert!(wrong.parse::<Watch>().unwrap_err().contains("job:2"), "{wrong}");
        }
    }

    #[test]
    fn looks_for_a_listener_become_rare_and_nothing_is_looked_at_unasked() {
        let now = Instant::now();
        assert_eq!(Application::new(Watch::Nothing, Record::default(), now).due(), None);
        assert_eq!(Application::new(Watch::Processes, Record::default(), now).due(), None);
        let mut worker = Application::new(Watch::Sockets, Record::default(), now);
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
        let record = Record::default();
        let watch = Watch::Job { restarts: Restarts::Never, containers: 2 };
        let mut job = Application::new(watch, record.clone(), now);
        // This machine's processes are there, and are not looked at.
        assert!(!job.has_ended(now + Duration::from_secs(1)));
        assert_eq!(job.last_id, None);
        assert_eq!(job.due(), Some(now + Duration::from_secs(1) + COUNT));
        record.let_go();
        assert!(!job.has_ended(now + Duration::from_secs(2)));
        assert!(job.last_id.is_some());
    }
}
