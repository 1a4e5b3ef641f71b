//! Claims: that what comes into the network namespace be given to a listener, told to the programs of the node's agent.
//!
//! ```text
//!  bind ─► claim ─┬─ taken ─► listen ─► handed to the workers
//!                 └─ no agent ─► bound, and nobody is let in: tried again
//! ```
//!
//! The programs know a listener by the claim that its socket had when it began to listen. So one that cannot be claimed does
//! not listen at all, where what the agent lets by would find it, and one whose claim was forgotten is bound anew.

use super::{Group, Handed, Sockets, Standing, backlog, bind};
use pillion_config::model::{Config, Listener, MOST_EXCLUDED, Name, PortSharing};
use redirect::inbound::Claim;
use rustix::io::Errno;
use socket2::SockRef;
use std::{
    collections::BTreeSet,
    io,
    net::TcpListener,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

// What `check` lets through fits.
const _: () = assert!(MOST_EXCLUDED <= redirect::inbound::MOST_EXCLUDED);

/// Tells the agent's programs of a socket.
pub(super) type Teller = fn(BorrowedFd<'_>, &Claim) -> io::Result<()>;

/// What became of claims.
#[derive(Debug, Default)]
pub struct Claims {
    /// What each worker gets, by its number: the sockets that listen now.
    pub handed: Vec<Vec<Handed>>,
    /// Of the first that was not taken, or whose socket cannot listen: why, and to be tried again.
    pub waiting: Option<Unclaimed>,
}

/// Why a listener does not get what comes in.
#[derive(Debug, thiserror::Error)]
pub enum Unclaimed {
    /// No programs take the claim.
    #[error(
        "listener {0}: no agent of this node captures what comes in for this process: it waits for `pillion redirect agent \
         --capture-inbound`, with the cgroup of this pod and --proxy-uid of this process"
    )]
    NoAgent(Name),
    /// They do not take this process's.
    #[error(
        "listener {0}: the node's agent refuses: what comes in for the node itself cannot be a proxy's own, as that of a pod \
         with hostNetwork would be; nor what comes into a network of a user namespace, as that of one with hostUsers: false"
    )]
    Refused(Name),
    /// They have no room for it.
    #[error(
        "listener {0}: the node's agent has no room for another claim: 1,024 network namespaces of a node can be claimed at a time. \
         It is tried again; move pods to another node"
    )]
    Full(Name),
    /// Anything else the kernel says.
    #[error("listener {name}: cannot listen for what the node's agent captures: {source}")]
    Io {
        /// The listener.
        name: Name,
        /// What it says.
        source: io::Error,
    },
}

impl Sockets {
    /// Claims for the listeners that a node's agent captures for, those of the configuration in force: for what listens, if
    /// what is left out is other than before, and for what waits, which listens and is handed out then.
    pub fn claim(&mut self, config: &Config, workers: NonZeroUsize) -> Claims {
        let mut claims = Claims { handed: (0..workers.get()).map(|_| Vec::new()).collect(), waiting: None };
        let wanted = self.wanted(config);
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let Some(listener) = config.listeners.iter().find(|listener| listener.name == group.name) else { continue };
            let (done, name) = match group.standing {
                Standing::Listening => continue,
                Standing::Claimed if self.claimed == wanted => continue,
                Standing::Claimed => (self.tell(&group.sockets, wanted), listener.name.clone()),
                Standing::Waiting => {
                    let done = self.begin(group, listener, wanted, workers).and_then(|group| {
                        let handed: Vec<_> =
                            (0..workers.get()).map(|worker| group.hand(worker)).collect::<io::Result<_>>()?;
                        claims.handed.iter_mut().zip(handed).for_each(|(all, handed)| all.push(handed));
                        self.groups[at] = Arc::new(group);
                        Ok(())
                    });
                    (done, listener.name.clone())
                }
            };
            match done {
                Ok(()) => self.claimed = wanted,
                Err(source) => {
                    self.claimed = None;
                    claims.waiting.get_or_insert(Unclaimed::of(name, source));
                }
            }
        }
        claims
    }

    /// The agent's programs have forgotten what was claimed, as new ones have in the place of older ones: the listeners are
    /// bound anew, to be claimed for. What listens goes on until then.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says; nothing has changed then.
    pub fn bind_anew(&mut self) -> io::Result<()> {
        let anew = |group: &Arc<Group>| {
            if group.standing != Standing::Claimed {
                return Ok(Arc::clone(group));
            }
            // Only our own are in the way, which are open to others of this user from here on.
            for socket in &*group.sockets {
                SockRef::from(socket).set_reuse_port(true)?;
            }
            let first: TcpListener = bind(group.bound, true)?.into();
            let (name, sockets) = (group.name.clone(), Arc::from([first]));
            Ok(Arc::new(Group { name, asked: group.asked, bound: group.bound, sockets, standing: Standing::Waiting }))
        };
        let groups = self.groups.iter().map(anew).collect::<io::Result<_>>()?;
        (self.groups, self.claimed) = (groups, None);
        Ok(())
    }

    /// What is claimed: everything but the ports that are left out, and the proxy's own that are reached from outside.
    /// `None`: it does not fit, which is told when a configuration is read.
    fn wanted(&self, config: &Config) -> Option<Claim> {
        let settings = &config.capture;
        let mut excluded: BTreeSet<u16> = settings.exclude_inbound_ports.iter().copied().collect();
        excluded.extend(config.admin.probes.map(|probes| probes.port()));
        let reached = self.groups.iter().filter(|group| !group.by_agent() && !group.bound.ip().is_loopback());
        excluded.extend(reached.map(|group| group.bound.port()));
        Claim::new(settings.inbound_probe_port, excluded)
    }

    fn tell(&self, sockets: &[TcpListener], wanted: Option<Claim>) -> io::Result<()> {
        let wanted = wanted.ok_or(Errno::TOOBIG)?;
        sockets.iter().try_for_each(|socket| (self.claim)(socket.as_fd(), &wanted))
    }

    /// A group whose one socket has waited: claimed, and listening with one for each worker.
    fn begin(
        &self,
        group: &Group,
        listener: &Listener,
        wanted: Option<Claim>,
        workers: NonZeroUsize,
    ) -> io::Result<Group> {
        let Some(first) = group.sockets.first() else { return Err(Errno::BADF.into()) };
        let first = first.try_clone()?;
        let begin = |socket: &TcpListener| {
            self.tell(std::slice::from_ref(socket), wanted)?;
            SockRef::from(socket).listen(backlog(listener.backlog))
        };
        begin(&first)?;
        if workers.get() > 1 || listener.port_sharing == PortSharing::Shared {
            SockRef::from(&first).set_reuse_port(true)?;
        }
        let mut sockets = vec![first];
        for _ in 1..workers.get() {
            let more: TcpListener = bind(group.bound, true)?.into();
            begin(&more)?;
            sockets.push(more);
        }
        Ok(Group {
            name: group.name.clone(),
            asked: group.asked,
            bound: group.bound,
            sockets: sockets.into(),
            standing: Standing::Claimed,
        })
    }
}

impl Unclaimed {
    fn of(name: Name, source: io::Error) -> Self {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            // What the kernel says of an option that nobody takes.
            Some(Errno::NOPROTOOPT) => Self::NoAgent(name),
            Some(Errno::PERM) => Self::Refused(name),
            Some(Errno::NOSPC) => Self::Full(name),
            Some(_) | None => Self::Io { name, source },
        }
    }
}
