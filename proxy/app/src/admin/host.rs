//! Who may speak to the admin port on loopback: programs of this machine, not web pages in a browser on it.
//!
//! A page of another site reaches a loopback port in two ways: its own name is made to resolve to 127.0.0.1 (DNS
//! rebinding; `Host` betrays it), or it simply posts a form there (`Origin` and `Sec-Fetch-Site` betray it). Pure.

use http::{
    HeaderMap, Uri, Version,
    header::{HOST, ORIGIN},
};
use std::net::IpAddr;

/// Whether a request may have come from a program of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Nothing speaks against it.
    Local,
    /// It was meant for another name, or names none or several.
    ForeignHost,
    /// A web page sent it.
    WebPage,
}

/// Judges a request that came over loopback TCP.
#[must_use]
pub fn judge(version: Version, uri: &Uri, headers: &HeaderMap) -> Sender {
    let mut hosts = headers.get_all(HOST).iter();
    let local = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(names_loopback),
        // Browsers have sent Host for longer than rebinding is known.
        (None, _) => version == Version::HTTP_10,
        (Some(_), Some(_)) => false,
    };
    if !local || uri.authority().is_some_and(|authority| !names_loopback(authority.as_str())) {
        return Sender::ForeignHost;
    }
    let origin = headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().unwrap_or("");
        origin.split_once("://").is_some_and(|(_, host)| names_loopback(host))
    });
    let site = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin" || site == "none");
    if origin && site { Sender::Local } else { Sender::WebPage }
}

/// `host[:port]` with a host that only this machine answers to.
fn names_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if port.is_empty() || is_port(port) => host,
            Some(_) | None => return false,
        },
        None => match authority.rfind(':') {
            Some(at) if is_port(&authority[at..]) => &authority[..at],
            Some(_) => return false,
            None => authority,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(host: &[&str], other: &[(&'static str, &str)]) -> Sender {
        let mut headers = HeaderMap::new();
        for host in host {
            headers.append(HOST, host.parse().unwrap());
        }
        for (name, value) in other {
            headers.append(*name, value.parse().unwrap());
        }
        judge(Version::HTTP_11, &Uri::from_static("/quitquitquit"), &headers)
    }

    #[test]
    fn only_loopback_names_pass() {
        for (host, expected) in [
            ("localhost:15000", Sender::Local),
            ("LOCALHOST", Sender::Local),
            ("localhost.:15000", Sender::Local),
            ("127.0.0.1:15000", Sender::Local),
            ("127.9.9.9", Sender::Local),
            ("[::1]:15000", Sender::Local),
            ("[::1]", Sender::Local),
            ("[::ffff:127.0.0.1]:1", Sender::Local),
            ("evil.example:15000", Sender::ForeignHost),
            ("localhost.evil.example", Sender::ForeignHost),
            ("127.0.0.1.evil.example", Sender::ForeignHost),
            ("evil.example@127.0.0.1", Sender::ForeignHost),
            ("10.0.0.1", Sender::ForeignHost),
            ("[::1", Sender::ForeignHost),
            ("[::1]x", Sender::ForeignHost),
            ("127.0.0.1:", Sender::ForeignHost),
            ("127.0.0.1:99999", Sender::ForeignHost),
            ("", Sender::ForeignHost),
        ] {
            assert_eq!(sender(&[host], &[]), expected, "{host:?}");
        }
        assert_eq!(sender(&[], &[]), Sender::ForeignHost);
        assert_eq!(sender(&["localhost", "localhost"], &[]), Sender::ForeignHost);
        assert_eq!(judge(Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new()), Sender::Local);
    }

    #[test]
    fn the_target_counts_as_well_as_the_header() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        let foreign = Uri::from_static("http://evil.example/quitquitquit");
        assert_eq!(judge(Version::HTTP_11, &foreign, &headers), Sender::ForeignHost);
    }

    #[test]
    fn a_web_page_is_known_by_what_the_browser_adds() {
        for (header, expected) in [
            (("origin", "http://localhost:15000"), Sender::Local),
            (("origin", "https://evil.example"), Sender::WebPage),
            (("origin", "null"), Sender::WebPage),
            (("sec-fetch-site", "none"), Sender::Local),
            (("sec-fetch-site", "same-origin"), Sender::Local),
            (("sec-fetch-site", "cross-site"), Sender::WebPage),
            (("sec-fetch-site", "same-site"), Sender::WebPage),
        ] {
            assert_eq!(sender(&["localhost:15000"], &[header]), expected, "{header:?}");
        }
    }
}
