//! Names that need no server: `localhost` and what `/etc/hosts` says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of `name` in a text of the form of hosts(5), or those of the loopback interface for `localhost` and
/// names below it (RFC 6761 §6.3). `None`: a server must be asked.
#[must_use]
pub fn known(name: &str, hosts: &str) -> Option<Vec<IpAddr>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut addresses = Vec::new();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() && is_localhost(name) {
        addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    (!addresses.is_empty()).then_some(addresses)
}

fn is_localhost(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "# the usual\n127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n10.0.0.7  API.example api # x\n\
                         not-an-address api\n10.0.0.8 api\n10.0.0.8 api\n10.0.0.9 #api";

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let known = |name| known(name, HOSTS).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(known("api"), Some(vec!["10.0.0.7".into(), "10.0.0.8".into()]));
        assert_eq!(known("api.EXAMPLE."), Some(vec!["10.0.0.7".into()]));
        assert_eq!(known("localhost"), Some(vec!["127.0.0.1".into(), "::1".into()]));
        assert_eq!(known("x"), None);
    }

    #[test]
    fn localhost_needs_no_file() {
        assert!(known("app.localhost", "").is_some_and(|found| found.iter().all(IpAddr::is_loopback)));
        assert_eq!(known("localhost.example", ""), None);
    }
}
