//! The source filter at the edge, where the configuration asks for it: loaded, attached, kept to the rules in force, counted.
//!
//! One thread for it, made when it is first asked for and gone with the process; a proxy that is not asked has neither thread
//! nor memory for it. Nothing waits for it: `admit` holds the same rules from the first connection on, and alone wherever the
//! kernel does not.

mod metrics;

use metrics::Metrics;
use pillion_config::model::{
    Config, Direction, FilterCovers, FilterMalformed, FilterMode, Name, RuleAction, SourceFilter,
};
use redirect::filter::{self, Action, Mode, Rule, Rules};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often counters are read, and interfaces looked for that were not there.
const EVERY: Duration = Duration::from_secs(1);

/// What the kernel shall do.
struct Wanted {
    interfaces: Vec<String>,
    mode: Option<Mode>,
    rules: Rules,
}

/// The control thread's end of it.
#[derive(Default)]
pub struct Edge {
    thread: Option<(mpsc::Sender<Option<Wanted>>, JoinHandle<()>)>,
    wanted: Option<(Arc<SourceFilter>, BTreeSet<u16>)>,
}

impl Edge {
    /// A configuration is in force, whose listeners are bound at these addresses.
    pub fn apply(&mut self, config: &Config, bound: &[(Name, SocketAddr)]) {
        let inbound = |name: &Name| {
            let listener = config.listeners.iter().find(|listener| listener.name == *name);
            listener.is_some_and(|listener| listener.direction == Direction::Inbound)
        };
        let ports = || bound.iter().filter(|(name, _)| inbound(name)).map(|(_, address)| address.port()).collect();
        let asked = config.source_filter.as_ref().filter(|filter| !filter.interfaces.is_empty());
        let wanted = asked.map(|filter| (Arc::clone(filter), ports()));
        if wanted == self.wanted {
            return;
        }
        self.tell(wanted.as_ref().map(|(filter, ports)| to_kernel(filter, ports)));
        self.wanted = wanted;
    }

    /// Detaches and waits until that is done: at the process's end.
    pub fn end(&mut self) {
        if let Some((orders, thread)) = self.thread.take() {
            drop(orders);
            if thread.join().is_err() {
                tracing::error!("the source filter's thread died of a bug");
            }
        }
    }

    fn tell(&mut self, wanted: Option<Wanted>) {
        if self.thread.is_none() {
            let (orders, taken) = mpsc::channel();
            match thread::Builder::new().name("source-filter".into()).spawn(move || work(&taken)) {
                Ok(thread) => self.thread = Some((orders, thread)),
                Err(error) => {
                    tracing::warn!("{DECLINED}: no thread for it: {error}");
                    return;
                }
            }
        }
        if let Some((orders, _)) = &self.thread
            && orders.send(wanted).is_err()
        {
            tracing::error!("the source filter's thread has ended; accepted connections alone are held to its rules");
        }
    }
}

/// The beginning of what is said where the kernel does not filter.
const DECLINED: &str = "source filter declined, accepted connections alone are held to its rules";

fn to_kernel(filter: &SourceFilter, ports: &BTreeSet<u16>) -> Wanted {
    let action = |action| match action {
        RuleAction::Allow => Action::Pass,
        RuleAction::Deny => Action::Drop,
    };
    let rules = filter.rules.iter().map(|rule| Rule {
        name: rule.name.to_string(),
        action: action(rule.action),
        prefixes: rule.sources.iter().map(|network| (network.address, network.prefix)).collect(),
    });
    Wanted {
        interfaces: filter.interfaces.iter().map(Name::to_string).collect(),
        mode: match filter.mode {
            FilterMode::Auto => None,
            FilterMode::Native => Some(Mode::Native),
            FilterMode::Generic => Some(Mode::Generic),
        },
        rules: Rules {
            rules: rules.collect(),
            otherwise: action(filter.otherwise),
            malformed: match filter.malformed {
                FilterMalformed::Pass => Action::Pass,
                FilterMalformed::Drop => Action::Drop,
            },
            ports: match filter.covers {
                FilterCovers::Listeners => Some(ports.clone()),
                FilterCovers::Interface => None,
            },
        },
    }
}

/// The filter as the thread has it.
struct Held {
    filter: filter::SourceFilter,
    interfaces: Vec<String>,
    mode: Option<Mode>,
    /// What was last said of each interface, so that it is said once.
    said: BTreeMap<String, String>,
}

/// The thread: does what it is told, looks every second, leaves the interfaces alone when nobody can tell it anything any more.
fn work(orders: &mpsc::Receiver<Option<Wanted>>) {
    let metrics = Metrics::register();
    let mut held: Option<Held> = None;
    let mut declined = Declined::default();
    loop {
        let order = match &held {
            Some(_) => orders.recv_timeout(EVERY),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(wanted) => held = follow(held.take(), wanted, &mut declined),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if held.take().is_some() {
                    tracing::info!("source filter detached");
                }
                return;
            }
        }
        if let Some(held) = &mut held {
            held.attach();
            match held.filter.counts() {
                Ok(counts) => metrics.counted(&counts),
                Err(error) => {
                    let words = format!("the source filter's counters cannot be read: {error}");
                    if declined.is_news(&words) {
                        tracing::error!("{words}");
                    }
                }
            }
        }
        metrics.attached(held.iter().flat_map(|held| held.filter.attached()));
    }
}

/// Puts what is wanted in force. What the kernel cannot hold whole it does not hold at all: half of the rules may drop what
/// all of them would not.
fn follow(held: Option<Held>, wanted: Option<Wanted>, declined: &mut Declined) -> Option<Held> {
    let Some(Wanted { interfaces, mode, rules }) = wanted else {
        if held.is_some() {
            tracing::info!("source filter detached");
        }
        return None;
    };
    let filter = match held {
        Some(held) => Ok((held.filter, held.said)),
        None => filter::SourceFilter::load(None).map(|filter| (filter, BTreeMap::new())),
    };
    let applied = filter.and_then(|(mut filter, said)| filter.apply(&rules).map(|()| (filter, said)));
    match applied {
        Ok((mut filter, mut said)) => {
            declined.0 = None;
            let gone: Vec<String> =
                filter.attached().map(|(name, _)| name.to_owned()).filter(|name| !interfaces.contains(name)).collect();
            for interface in gone {
                filter.detach(&interface);
            }
            said.retain(|interface, _| interfaces.contains(interface));
            Some(Held { filter, interfaces, mode, said })
        }
        Err(error) => {
            let words = error.to_string();
            if declined.is_news(&words) {
                tracing::warn!("{DECLINED}: {words}");
            }
            None
        }
    }
}

/// Why the kernel does not filter, as it was said last: each reload tries again, and one that fails for the same cause has said
/// nothing new.
#[derive(Default)]
struct Declined(Option<String>);

impl Declined {
    fn is_news(&mut self, words: &str) -> bool {
        let news = self.0.as_deref() != Some(words);
        if news {
            self.0 = Some(words.to_owned());
        }
        news
    }
}

impl Held {
    /// Attaches to what is there and not filtered yet.
    fn attach(&mut self) {
        for interface in &self.interfaces {
            let attached = self.filter.attach(interface, self.mode);
            let words = match &attached {
                Ok(mode) => mode.word().to_owned(),
                Err(error) => error.to_string(),
            };
            if self.said.get(interface) == Some(&words) {
                continue;
            }
            match attached {
                Ok(mode) => tracing::info!(%interface, mode = mode.word(), "source filter attached"),
                Err(error) => tracing::warn!("{DECLINED}: {error}"),
            }
            self.said.insert(interface.clone(), words);
        }
    }
}
