//! The redirect of loopback traffic, where the configuration asks for it: attached, watched, switched and detached.
//!
//! One thread for it, made when it is first asked for and gone with the process; a proxy that is not asked has neither
//! thread nor memory for it. Nothing here is on the path of a request, and nothing waits for it: connections made before
//! it is attached go through TCP, and so does everything where it declines.

mod agent;
mod ear;
mod metrics;
mod page;
mod serve;
mod watched;
mod words;

pub(crate) use agent::run as run_agent;
pub(crate) use metrics::grown;
pub(crate) use page::{Page, beside_agent};
pub(crate) use words::{ANOTHER_ROOM, foreign_json, foreign_text, look_json, look_text, status_json, status_text};

use ear::{Ear, Heard, Mouth};
use metrics::Metrics;
use pillion_config::model::{Config, LoopbackRedirect};
use redirect::{Capture, Options, Property, Proxy};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    process,
    thread::{self, JoinHandle},
    time::Instant,
};

/// The inode of the initial process namespace (PROC_PID_INIT_INO, linux/proc_ns.h).
const FIRST_PROCESSES: u64 = 0xEFFF_FFFC;

/// What the thread may be told.
enum Order {
    Attach(Box<Options>),
    Detach,
    Switch(bool, tokio::sync::oneshot::Sender<Result<(), String>>),
}

/// The control thread's end of it.
#[derive(Default)]
pub struct Loopback {
    thread: Option<(Mouth<Order>, JoinHandle<()>)>,
    /// What is to be attached: with the listeners' ports, and the probe's.
    wanted: Option<(LoopbackRedirect, BTreeSet<u16>, Option<u16>)>,
    /// The instance that an agent attaches.
    by_agent: Option<String>,
}

impl Loopback {
    /// A configuration is in force, whose listeners have these ports.
    pub fn apply(&mut self, config: &Config, ports: BTreeSet<u16>) {
        let by_agent = config.redirect.as_ref().filter(|redirect| redirect.by_agent);
        self.by_agent = by_agent.map(|redirect| redirect.instance.to_string());
        let own = config.redirect.clone().filter(|redirect| !redirect.by_agent);
        let probe = config.listeners.iter().find_map(|listener| listener.probe_port);
        let wanted = own.map(|redirect| (redirect, ports, probe));
        if wanted == self.wanted {
            return;
        }
        let order = match &wanted {
            None => Order::Detach,
            Some((redirect, ports, probe)) => match options(redirect, ports.clone(), *probe) {
                Ok(options) => Order::Attach(Box::new(options)),
                Err(error) => {
                    tracing::warn!("redirect declined, plain TCP is used: {error}");
                    self.wanted = wanted;
                    return;
                }
            },
        };
        self.wanted = wanted;
        self.tell(order);
    }

    /// Pulls the kill switch, or puts it back; the answer comes when it is done.
    ///
    /// # Errors
    ///
    /// Nothing is attached.
    pub fn switch(&self, on: bool) -> Result<tokio::sync::oneshot::Receiver<Result<(), String>>, String> {
        if let Some(instance) = &self.by_agent {
            let to = if on { "on" } else { "off" };
            return Err(format!(
                "an agent attaches it: `pillion redirect switch --instance {instance} --to {to}` beside it"
            ));
        }
        let (done, answer) = tokio::sync::oneshot::channel();
        let (orders, _) = self.thread.as_ref().ok_or("no redirect is configured")?;
        if !orders.tell(Order::Switch(on, done)) {
            return Err("the redirect's thread has ended".to_owned());
        }
        Ok(answer)
    }

    /// Detaches and waits until that is done: at the process's end.
    pub fn end(&mut self) {
        if let Some((orders, thread)) = self.thread.take() {
            drop(orders);
            if thread.join().is_err() {
                tracing::error!("the redirect's thread died of a bug; `pillion redirect detach` cleans up");
            }
        }
    }

    fn tell(&mut self, order: Order) {
        if self.thread.is_none() {
            let made = ear::pair().and_then(|(orders, taken)| {
                Ok((orders, thread::Builder::new().name("redirect".into()).spawn(move || work(&taken))?))
            });
            match made {
                Ok(made) => self.thread = Some(made),
                Err(error) => {
                    tracing::warn!("redirect declined, plain TCP is used: no thread for it: {error}");
                    return;
                }
            }
        }
        if let Some((orders, _)) = &self.thread
            && !orders.tell(order)
        {
            tracing::error!("the redirect's thread has ended; plain TCP is used");
        }
    }
}

fn options(
    redirect: &LoopbackRedirect,
    ports: BTreeSet<u16>,
    probe: Option<u16>,
) -> Result<Options, redirect::MountError> {
    let own = redirect::own_cgroup();
    let cgroup = match &redirect.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => own.as_ref().map_or_else(|_| "/".into(), Clone::clone),
    };
    // Within a namespace of processes the number that the kernel's programs see is another one; there the container's
    // own cgroup says who the proxy is.
    let first = fs::metadata("/proc/self/ns/pid").is_ok_and(|data| data.ino() == FIRST_PROCESSES);
    let proxy = if first { Proxy::Process(process::id()) } else { Proxy::Cgroup(own?) };
    let mut options = Options::new(redirect.instance.as_str(), cgroup);
    options.ports = ports;
    options.proxies = vec![proxy];
    options.large = redirect.large_messages;
    options.sockets = redirect.sockets;
    options.waived = redirect.waived.iter().filter_map(|name| Property::named(name)).collect();
    options.capture = redirect.outbound.as_ref().map(|outbound| Capture {
        port: outbound.port,
        exclude: outbound.exclude.iter().map(|network| (network.address, network.prefix)).collect(),
        exclude_ports: outbound.exclude_ports.iter().copied().collect(),
        probe,
    });
    Ok(options)
}

/// The thread: does what it is told, looks every second, takes the ends of connections before their ring is full, detaches when
/// nobody can tell it anything any more.
fn work(orders: &Ear<Order>) {
    let mut watched = watched::All::new(Metrics::register());
    let mut due = Instant::now();
    // When what is gathered in the ring is taken.
    let mut gathered: Option<Instant> = None;
    loop {
        let heard = if watched.is_empty() {
            orders.listen(None, None)
        } else {
            let ring = watched.ring().filter(|_| gathered.is_none());
            orders.listen(ring, Some(gathered.map_or(due, |gathered| gathered.min(due))))
        };
        match heard {
            Heard::Order(Order::Attach(options)) => watched.attach(&options),
            Heard::Order(Order::Detach) => watched.detach(),
            Heard::Order(Order::Switch(on, done)) => {
                let switched = watched.switch(on);
                if switched.is_ok() {
                    tracing::warn!(on, "redirect switched by an operator's order");
                }
                // Whoever asked may have gone.
                done.send(switched).ok();
            }
            Heard::Ends => {
                gathered = Some(Instant::now() + redirect::GATHER);
                continue;
            }
            Heard::Due if Instant::now() < due => {
                watched.take();
                gathered = None;
                continue;
            }
            Heard::Due => {}
            Heard::Nobody => {
                watched.detach();
                return;
            }
        }
        watched.look();
        (due, gathered) = (Instant::now() + redirect::EVERY, None);
    }
}
