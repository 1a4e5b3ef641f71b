//! Whether the application beside a sidecar is still there.
//!
//! A sidecar must not leave before the application it serves, and must leave when a Job has ended. What is seen of an
//! application from another container is the network namespace they share (its sockets) and, where the pod shares it, the
//! process namespace. Configured by the environment variable that the injection wrote; without it nothing is looked at.

use std::{
    collections::HashSet,
    env, fs, io,
    time::{Duration, Instant},
};

/// The environment variable: `sockets` or `processes`.
pub const VARIABLE: &str = "PILLION_APPLICATION";

/// By what an application is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nobody looks: the process stands alone, or something else sees to the order of things.
    Nothing,
    /// TCP sockets of the network namespace that are not ours: while there are some, outbound connections are accepted.
    Sockets,
    /// The same, and by the processes of the process namespace: when they have gone, the proxy leaves.
    Processes,
}

/// An application as it is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    There,
    /// Nothing of it is seen.
    Gone,
}

/// How long a Job's application that was seen must not be seen: a kubelet that restarts it waits 10 s the first time, and a
/// container that is made anew is not there at once.
const ABSENCE: Duration = Duration::from_secs(20);

/// What follows from the looks at a Job's processes. Pure.
#[derive(Debug, Default)]
pub struct Absence {
    seen: bool,
    since: Option<Instant>,
}

impl Absence {
    /// Whether the application has ended, by a look at `now`.
    pub fn ended(&mut self, presence: Presence, now: Instant) -> bool {
        match presence {
            Presence::There => {
                self.seen = true;
                self.since = None;
                false
            }
            Presence::Gone => self.seen && now.duration_since(*self.since.get_or_insert(now)) >= ABSENCE,
        }
    }
}

impl Watch {
    /// What the environment says.
    ///
    /// # Errors
    /// A word that is none.
    pub fn of_environment() -> Result<Self, String> {
        match env::var(VARIABLE).as_deref() {
            Err(_) => Ok(Self::Nothing),
            Ok("sockets") => Ok(Self::Sockets),
            Ok("processes") => Ok(Self::Processes),
            Ok(other) => Err(format!("{VARIABLE}: {other:?} is not one of sockets, processes")),
        }
    }

    /// Whether something may still want to send. An application that has no socket at this moment may have one at the next, and
    /// its signal came when ours did: it is looked for a while. Processes that are gone want nothing.
    #[must_use]
    pub fn may_send(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Sockets => true,
            Self::Processes => self.by_processes() == Presence::There,
        }
    }

    /// Whether the application is there, by what tells more.
    #[must_use]
    pub fn presence(self) -> Presence {
        match self {
            Self::Nothing | Self::Sockets => self.by_sockets(),
            Self::Processes => self.by_processes(),
        }
    }

    /// Looks at the sockets. What cannot be read is taken for an application that is there: the drain's deadline ends that.
    #[must_use]
    fn by_sockets(self) -> Presence {
        if self == Self::Nothing {
            return Presence::Gone;
        }
        let look = || -> io::Result<Presence> {
            let own = own_sockets()?;
            for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
                match fs::read_to_string(table) {
                    Ok(text) if others(&text, &own) => return Ok(Presence::There),
                    Ok(_) => {}
                    // A kernel without IPv6.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(Presence::Gone)
        };
        look().unwrap_or(Presence::There)
    }

    /// Looks at the processes: all but ours, the pod's first one (`pause`), and what runs as our own user, as probes do.
    #[must_use]
    pub fn by_processes(self) -> Presence {
        use std::os::unix::fs::MetadataExt as _;
        let us = std::process::id();
        let user = |path: &str| fs::metadata(path).map(|meta| meta.uid()).ok();
        let ours = user("/proc/self");
        let Ok(entries) = fs::read_dir("/proc") else { return Presence::There };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut others = names.filter_map(|name| name.parse::<u32>().ok()).filter(|pid| *pid != 1 && *pid != us);
        let seen = others.any(|pid| user(&format!("/proc/{pid}")).is_some_and(|user| Some(user) != ours));
        if seen { Presence::There } else { Presence::Gone }
    }
}

/// The inodes of the sockets that this process holds.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let entries = fs::read_dir("/proc/self/fd")?.filter_map(Result::ok);
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect())
}

/// Whether a table of `/proc/net` has a socket that somebody else holds. Pure.
///
/// Column 10 is the inode (proc_net_tcp.rst); 0 where no process holds the socket any more (TIME_WAIT, orphans).
fn others(table: &str, own: &HashSet<u64>) -> bool {
    let inodes = table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(9)?.parse::<u64>().ok());
    inodes.into_iter().any(|inode| inode != 0 && !own.contains(&inode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_that_is_not_ours_is_the_applications() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2510        0 41 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:9C40 06 00000000:00000000 03:00000F5B 00000000     0        0 0 3 0\n";
        assert!(others(table, &HashSet::new()));
        assert!(!others(table, &HashSet::from([41])));
        assert!(!others("garbage\nand more\n", &HashSet::new()));
    }

    #[test]
    fn an_application_that_is_restarted_has_not_ended() {
        use Presence::{Gone, There};
        let start = Instant::now();
        let mut absence = Absence::default();
        let mut look = |second: u64, presence| absence.ended(presence, start + Duration::from_secs(second));
        // Still to come, however long that takes.
        assert!(!look(0, Gone) && !look(600, Gone));
        // The first restart, after the kubelet's 10 s and some for a container to be made.
        assert!(!look(601, There) && !look(602, Gone) && !look(617, Gone) && !look(618, There));
        assert!(!look(619, Gone) && !look(638, Gone));
        assert!(look(639, Gone));
        // It came back before anybody left.
        assert!(!look(640, There) && !look(641, Gone));
    }

    #[test]
    fn our_own_are_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = format!(":{:04X} ", listener.local_addr().unwrap().port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| line.contains(&port) && line.contains(" 0A ")).unwrap();
        assert!(others(&format!("head\n{line}"), &HashSet::new()));
        assert!(!others(&format!("head\n{line}"), &own_sockets().unwrap()));
    }
}
