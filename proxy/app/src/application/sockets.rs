//! The sockets of the network namespace.

use std::{collections::HashSet, fs, io};

/// What is seen of sockets that are not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// There are some.
    pub any: bool,
    /// One of them listens.
    pub listening: bool,
}

/// Looks at TCP's. What cannot be read is taken for an application that is there: the drain's deadline ends that.
pub(super) fn look() -> Sight {
    let look = || -> io::Result<Sight> {
        let own = own()?;
        let mut sight = Sight::default();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            match fs::read_to_string(table) {
                Ok(text) => {
                    let seen = of_others(&text, &own);
                    sight = Sight { any: sight.any | seen.any, listening: sight.listening | seen.listening };
                }
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sight)
    };
    look().unwrap_or(Sight { any: true, listening: false })
}

/// The inodes of the sockets that this process holds.
fn own() -> io::Result<HashSet<u64>> {
    let entries = fs::read_dir("/proc/self/fd")?.filter_map(Result::ok);
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect())
}

/// What a table of `/proc/net` has of sockets that somebody else holds. Pure.
///
/// Column 4 is the state, 0A for one that listens; column 10 the inode (proc_net_tcp.rst), 0 where no process holds the socket
/// any more (TIME_WAIT, orphans).
fn of_others(table: &str, own: &HashSet<u64>) -> Sight {
    let mut sight = Sight::default();
    for line in table.lines().skip(1) {
        let mut columns = line.split_ascii_whitespace();
        let (Some(state), Some(inode)) = (columns.nth(3), columns.nth(5)) else { continue };
        if inode.parse().is_ok_and(|inode: u64| inode != 0 && !own.contains(&inode)) {
            sight.any = true;
            sight.listening |= state == "0A";
        }
    }
    sight
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_that_is_not_ours_is_the_applications() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let listens = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2510        0 41 1 0 100 0 0 10 0\n";
        let talks = "1: 0100007F:1F91 0100007F:9C41 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0 20 4 30 10 -1\n";
        let waits = "2: 0100007F:1F90 0100007F:9C40 06 00000000:00000000 03:00000F5B 00000000     0        0 0 3 0\n";
        let table = format!("{head}{listens}{talks}{waits}");
        assert_eq!(of_others(&table, &HashSet::new()), Sight { any: true, listening: true });
        assert_eq!(of_others(&table, &HashSet::from([41])), Sight { any: true, listening: false });
        assert_eq!(of_others(&table, &HashSet::from([41, 42])), Sight::default());
        assert_eq!(of_others("garbage\nand more\n", &HashSet::new()), Sight::default());
    }

    #[test]
    fn our_own_are_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = format!(":{:04X} ", listener.local_addr().unwrap().port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| line.contains(&port) && line.contains(" 0A ")).unwrap();
        assert!(of_others(&format!("head\n{line}"), &HashSet::new()).listening);
        assert!(!of_others(&format!("head\n{line}"), &own().unwrap()).any);
    }
}
