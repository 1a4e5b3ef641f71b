//! Listening sockets: bound before anything is applied, kept while their address stays.
//!
//! Beside the path. Each listener has one socket for each worker (`SO_REUSEPORT`), so that the kernel spreads
//! connections and no lock is shared. The control thread keeps every socket and hands duplicates to the workers: a
//! listener that is renamed or changed keeps its queue. It never accepts.
//!
//! A second instance is detected without a race: the first socket of a group binds and listens *without*
//! `SO_REUSEPORT`, which the kernel refuses while anybody else listens there; only then is the group opened.
//!
//! What a node's agent captures for is bound as the others are, and listens once the agent's programs have taken its claim
//! (`claims.rs`): only a socket that begins to listen with one is given connections.

mod claims;

pub use claims::{Claims, Unclaimed};

use pillion_config::model::{Capture, Listener, Name, PortSharing};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
};

/// Why a listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error(
        "listener {name}: address {address} is in use by another process (stop it, choose another port, or set \
         share_port: true to allow it)"
    )]
    InUse {
        /// The listener.
        name: Name,
        /// Where it should listen.
        address: SocketAddr,
    },
    /// A port below 1024, usually.
    #[error(
        "listener {name}: not allowed to bind {address} (ports below 1024 need CAP_NET_BIND_SERVICE or the sysctl \
         net.ipv4.ip_unprivileged_port_start)"
    )]
    Denied {
        /// The listener.
        name: Name,
        /// Where it should listen.
        address: SocketAddr,
    },
    /// Capturing by TPROXY is for whoever may change the network.
    #[error(
        "listener {name}: capture: tproxy needs CAP_NET_ADMIN (give it to the process, or write capture: redirect)"
    )]
    NotTransparent {
        /// The listener.
        name: Name,
    },
    /// The address is not of this machine.
    #[error("listener {name}: {address} is not an address of this machine (0.0.0.0 or [::] stand for all of them)")]
    NotLocal {
        /// The listener.
        name: Name,
        /// Where it should listen.
        address: SocketAddr,
    },
    /// Anything else the kernel says.
    #[error("listener {name}: cannot listen on {address}: {source}")]
    Io {
        /// The listener.
        name: Name,
        /// Where it should listen.
        address: SocketAddr,
        /// What it says.
        source: io::Error,
    },
}

/// The listening sockets of the configuration in force.
#[derive(Debug)]
pub struct Sockets {
    groups: Vec<Arc<Group>>,
    /// How the agent's programs are told.
    claim: claims::Teller,
    /// What they were told last.
    claimed: Option<redirect::inbound::Claim>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { groups: Vec::new(), claim: redirect::inbound::claim, claimed: None }
    }
}

/// The sockets of one listener.
#[derive(Debug)]
struct Group {
    name: Name,
    /// As written: port 0 stays 0 here.
    asked: SocketAddr,
    bound: SocketAddr,
    sockets: Arc<[TcpListener]>,
    standing: Standing,
}

/// Whether connections come to the sockets of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// They listen.
    Listening,
    /// They do, and the node's agent knows of it.
    Claimed,
    /// One is bound, and listens when the node's agent has taken its claim.
    Waiting,
}

/// Sockets for a configuration that is not in force yet. Dropping it changes nothing.
#[derive(Debug)]
pub struct Plan {
    next: Vec<Arc<Group>>,
    /// Names of listeners whose sockets the workers do not have yet.
    fresh: Vec<Name>,
}

/// A worker's own socket for a listener. It replaces the one the worker had under that name.
#[derive(Debug)]
pub struct Handed {
    /// The listener.
    pub name: Name,
    /// Listening and non-blocking.
    pub socket: TcpListener,
}

impl Sockets {
    /// Binds what these listeners need and the ones in force do not have.
    ///
    /// # Errors
    ///
    /// The first listener that cannot be bound; what was bound for others is closed again.
    pub fn plan(&self, listeners: &[Arc<Listener>], workers: NonZeroUsize) -> Result<Plan, BindError> {
        let mut next: Vec<Arc<Group>> = Vec::new();
        let mut fresh = Vec::new();
        for listener in listeners {
            let kept = self.groups.iter().find(|group| {
                // A socket that listens cannot be claimed any more, and one that is claimed stays so.
                let same = group.asked == listener.address && group.by_agent() == (listener.capture == Capture::Agent);
                same && !next.iter().any(|taken| taken.holds(group))
            });
            let group = match kept {
                Some(group) => group.carry(listener)?,
                None => self.bind(listener, workers)?,
            };
            if kept.is_none_or(|kept| kept.name != group.name) {
                fresh.push(group.name.clone());
            }
            next.push(Arc::new(group));
        }
        Ok(Plan { next, fresh })
    }

    /// Puts a plan in force and returns what each worker gets, by the worker's number. Sockets that are no longer
    /// wanted stay open in the workers until those have accepted what the kernel queued.
    ///
    /// # Errors
    ///
    /// When descriptors run out; nothing has changed then.
    pub fn commit(&mut self, plan: Plan, workers: NonZeroUsize) -> io::Result<Vec<Vec<Handed>>> {
        let hand = |worker: usize| {
            // Who waits for the agent is handed out when it has come.
            let listens = plan.next.iter().filter(|group| group.standing != Standing::Waiting);
            let fresh = listens.filter(|group| plan.fresh.contains(&group.name));
            fresh.map(|group| group.hand(worker)).collect::<io::Result<Vec<_>>>()
        };
        let handed = (0..workers.get()).map(hand).collect::<io::Result<Vec<_>>>()?;
        self.groups = plan.next;
        Ok(handed)
    }

    /// Binds a listener anew. Where only a socket of our own is in the way (127.0.0.1:80 becomes 0.0.0.0:80), both
    /// exist side by side until the old one is given up.
    fn bind(&self, listener: &Listener, workers: NonZeroUsize) -> Result<Group, BindError> {
        let shared = listener.port_sharing == PortSharing::Shared;
        match Group::bind(listener, workers, shared) {
            Err(BindError::InUse { .. }) if self.open_port(listener.address.port()) => {
                Group::bind(listener, workers, true)
            }
            outcome => outcome,
        }
    }

    /// Opens our own groups on a port to further sockets; whether there are any.
    fn open_port(&self, port: u16) -> bool {
        let ours = self.groups.iter().filter(|group| group.bound.port() == port);
        let sockets = ours.flat_map(|group| group.sockets.iter());
        sockets.filter(|socket| socket2::SockRef::from(*socket).set_reuse_port(true).is_ok()).count() > 0
    }

    /// Lets go of every socket, so that those of the workers are the last.
    pub fn release(&mut self) {
        self.groups.clear();
    }

    /// Lets go of the sockets of these listeners.
    pub fn release_some(&mut self, names: &[Name]) {
        self.groups.retain(|group| !names.contains(&group.name));
    }

    /// Names and the addresses really bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Name, SocketAddr)> {
        self.groups.iter().map(|group| (group.name.clone(), group.bound)).collect()
    }

    /// Those of listeners to which connections come.
    #[must_use]
    pub fn listening(&self) -> Vec<(Name, SocketAddr)> {
        let listen = self.groups.iter().filter(|group| group.standing != Standing::Waiting);
        listen.map(|group| (group.name.clone(), group.bound)).collect()
    }
}

impl Group {
    fn bind(listener: &Listener, workers: NonZeroUsize, share: bool) -> Result<Self, BindError> {
        let group = || -> io::Result<Self> {
            let first = bind(listener.address, share)?;
            let bound = first.local_addr()?.as_socket().unwrap_or(listener.address);
            let group = |sockets: Vec<TcpListener>, standing| Self {
                name: listener.name.clone(),
                asked: listener.address,
                bound,
                sockets: sockets.into(),
                standing,
            };
            if listener.capture == Capture::Agent {
                return Ok(group(vec![first.into()], Standing::Waiting));
            }
            first.listen(backlog(listener.backlog))?;
            transparent(&first, listener)?;
            let mut sockets = vec![TcpListener::from(first)];
            if workers.get() > 1 {
                // From here on the group is open to sockets of this user; alone, it stays closed.
                socket2::SockRef::from(&sockets[0]).set_reuse_port(true)?;
            }
            for _ in 1..workers.get() {
                let more = bind(bound, true)?;
                more.listen(backlog(listener.backlog))?;
                transparent(&more, listener)?;
                sockets.push(more.into());
            }
            Ok(group(sockets, Standing::Listening))
        };
        group().map_err(|source| {
            let (name, address) = (listener.name.clone(), listener.address);
            match source.kind() {
                io::ErrorKind::AddrInUse => BindError::InUse { name, address },
                io::ErrorKind::PermissionDenied if address.port() >= 1024 && listener.capture == Capture::Tproxy => {
                    BindError::NotTransparent { name }
                }
                io::ErrorKind::PermissionDenied => BindError::Denied { name, address },
                io::ErrorKind::AddrNotAvailable => BindError::NotLocal { name, address },
                _ => BindError::Io { name, address, source },
            }
        })
    }

    /// The same sockets for a listener that may have another name, backlog or sharing.
    fn carry(&self, listener: &Listener) -> Result<Self, BindError> {
        // One that waits must not listen yet, and does not capture by TPROXY.
        let listening = if self.standing == Standing::Waiting { &[] } else { &*self.sockets };
        for socket in listening {
            let socket = socket2::SockRef::from(socket);
            // listen(2) on a listening socket only changes its backlog. Neither call can fail on a socket that
            // listens, and if it did, the socket would be as good as before.
            socket.listen(backlog(listener.backlog)).ok();
            if listener.port_sharing == PortSharing::Shared {
                socket.set_reuse_port(true).ok();
            }
            transparent(&socket, listener).map_err(|_| BindError::NotTransparent { name: listener.name.clone() })?;
        }
        Ok(Self {
            name: listener.name.clone(),
            asked: self.asked,
            bound: self.bound,
            sockets: Arc::clone(&self.sockets),
            standing: self.standing,
        })
    }

    fn by_agent(&self) -> bool {
        self.standing != Standing::Listening
    }

    fn holds(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sockets, &other.sockets)
    }

    fn hand(&self, worker: usize) -> io::Result<Handed> {
        Ok(Handed { name: self.name.clone(), socket: self.sockets[worker % self.sockets.len()].try_clone()? })
    }
}

/// Lets a socket take connections to addresses that are not this machine's, if its listener captures so (`IP_TRANSPARENT`,
/// ip(7)). Set anew at each configuration: the kernel looks at it with each connection. One option serves both families of
/// a socket, and it is per socket, not per family, in the kernel.
fn transparent(socket: &Socket, listener: &Listener) -> io::Result<()> {
    let wanted = listener.capture == Capture::Tproxy;
    let six = listener.address.is_ipv6();
    let is = match if six { socket.ip_transparent_v6() } else { socket.ip_transparent_v4() } {
        // gVisor and emulators do not know the option: a socket there is not transparent.
        Err(error) if error.raw_os_error() == Some(Errno::NOPROTOOPT.raw_os_error()) && !wanted => return Ok(()),
        read => read?,
    };
    match (is == wanted, six) {
        (true, _) => Ok(()),
        (false, true) => socket.set_ip_transparent_v6(wanted),
        (false, false) => socket.set_ip_transparent_v4(wanted),
    }
}

/// A bound socket: non-blocking, closed on exec.
fn bind(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` means every address of the machine, IPv4 included, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn backlog(length: u32) -> i32 {
    // The kernel cuts it to net.core.somaxconn anyway.
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
