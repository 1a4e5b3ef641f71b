//! [`Own`]: the connections this process has made, while listeners capture.
//!
//! Beside the path. A rule that should leave the proxy's own traffic alone and does not sends what the proxy connects to
//! back to it, for ever. Such a connection is known by its two ends: no other in the network namespace has the same ones.

use std::{
    cell::Cell,
    collections::HashSet,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The two ends of a connection: ours, and the one we connected to.
type Ends = (SocketAddr, SocketAddr);

/// The connections this process has made. While nothing captures it is not looked at, and empty.
#[derive(Debug, Default)]
pub struct Own {
    /// Set by the control thread with each configuration.
    watched: AtomicBool,
    /// A lock because a connection that comes back may reach another worker. Held for one look-up, a connection each.
    ends: Mutex<HashSet<Ends>>,
}

/// A connection among one's own, until it is dropped.
#[derive(Debug)]
pub struct Entry {
    own: Arc<Own>,
    ends: Cell<Option<Ends>>,
}

impl Own {
    /// Whether connections made from now on are remembered.
    pub fn watch(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    /// A place for a connection that is about to be made; `None` while nobody captures.
    #[must_use]
    pub fn entry(self: &Arc<Self>) -> Option<Rc<Entry>> {
        self.watched.load(Ordering::Relaxed).then(|| Rc::new(Entry { own: Arc::clone(self), ends: Cell::new(None) }))
    }

    /// Whether a connection that `peer` made to `destination` is one of ours.
    #[must_use]
    pub fn made(&self, peer: SocketAddr, destination: SocketAddr) -> bool {
        self.ends().contains(&(plain(peer), plain(destination)))
    }

    fn ends(&self) -> MutexGuard<'_, HashSet<Ends>> {
        // Nothing panics while it is held.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The connection has these ends. To be told as soon as they are known: it may be back before it is established.
    pub fn note(&self, local: SocketAddr, to: SocketAddr) {
        let ends = (plain(local), plain(to));
        self.own.ends().insert(ends);
        self.ends.set(Some(ends));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.get() {
            self.own.ends().remove(&ends);
        }
    }
}

/// IPv4 as such, whatever socket carries it; without what only IPv6 sockets tell.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_while_it_lives() {
        let own = Arc::new(Own::default());
        assert!(own.entry().is_none(), "nobody captures");
        own.watch(true);
        let (a, b): (SocketAddr, SocketAddr) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let entry = own.entry().unwrap();
        entry.note(a, b);
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:40000".parse().unwrap();
        assert!(own.made(mapped, b));
        assert!(!own.made(a, "10.0.0.3:80".parse().unwrap()), "the same port may be used towards somebody else");
        drop(entry);
        assert!(!own.made(a, b));
    }
}
