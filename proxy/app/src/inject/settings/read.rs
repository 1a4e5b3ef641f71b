//! How the values of settings are read: each of these says what would be right.

use super::{Ports, Quantity, Upstream};
use std::time::Duration;

pub(super) fn word<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is not one of {}", words.join(", "))
    })
}

/// Elements between commas; nothing at all is none.
pub(super) fn each<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    elements.map(|element| read(element).map_err(|words| format!("{element:?}: {words}"))).collect()
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "a port is a whole number from 1 to 65535".to_owned())
}

pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let ports = Ports(port(from)?, port(to)?);
    if ports.0 > ports.1 { Err(format!("write the smaller one first: {}-{}", ports.1, ports.0)) } else { Ok(ports) }
}

/// Each of them becomes a rule.
pub(super) fn few(ports: Vec<Ports>) -> Result<Vec<Ports>, String> {
    let many = ports.iter().map(|ports| u32::from(ports.1 - ports.0) + 1).sum::<u32>() > 256;
    if many { Err("more than 256 ports".to_owned()) } else { Ok(ports) }
}

pub(super) fn cidr(text: &str) -> Result<String, String> {
    let remedy = || "write an address or a network, as 10.0.0.0/8 or 2001:db8::/32".to_owned();
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: std::net::IpAddr = address.parse().map_err(|_| remedy())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(most), str::parse::<u8>).ok().filter(|length| *length <= most).ok_or_else(remedy)?;
    Ok(format!("{address}/{length}"))
}

pub(super) fn upstream(text: &str) -> Result<Upstream, String> {
    let remedy =
        || "write NAME.NAMESPACE:PORT, as api.shop:8080; =spiffe://… behind it names who it must be".to_owned();
    let (place, identity) =
        text.split_once('=').map_or((text, None), |(place, id)| (place, Some(id.trim().to_owned())));
    let parts: Vec<&str> = place.trim().split(':').collect();
    let (local, host, at) = match parts[..] {
        [host, at] => (None, host, at),
        [local, host, at] => (Some(port(local)?), host, at),
        _ => return Err(remedy()),
    };
    let (service, namespace) = host.split_once('.').ok_or_else(remedy)?;
    if namespace.contains('.') {
        return Err(remedy());
    }
    Ok(Upstream { local, service: name(service)?, namespace: name(namespace)?, port: port(at)?, identity })
}

/// RFC 1123, as Kubernetes names its objects.
pub(super) fn name(text: &str) -> Result<String, String> {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(word) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no name: write lower-case letters, digits, - and ."))
}

/// What may also be nobody's choice: empty text takes back what was chosen before, as by the flags of an injector.
pub(super) fn unless_empty<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// More than any node has.
const MOST_CORES: f64 = 1024.0;

/// An amount of CPU, which is not one of memory at the wrong place.
pub(super) fn cpu(text: &str) -> Result<Quantity, String> {
    let amount: Quantity = text.parse()?;
    if amount.amount() <= MOST_CORES && !text.ends_with(['i', 'k', 'M', 'G', 'T', 'P', 'E']) {
        return Ok(amount);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let meant = format!("{number}m").parse().ok().filter(|meant: &Quantity| meant.amount() <= MOST_CORES);
    let meant = meant.map_or_else(|| "10m".to_owned(), |meant| meant.to_string());
    Err(format!(
        "{text:?} is {} cores of CPU, which is written as a number of them or with m, milli: {meant}?",
        amount.amount()
    ))
}

/// Whole seconds or milliseconds, as `5s`, `500ms`, `1m30s`.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = rest.split_at(digits);
        let known = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let found = known.iter().find(|(name, _)| unit.starts_with(name) && (*name != "m" || !unit.starts_with("ms")));
        let value =
            found.and_then(|(name, millis)| Some((name.len(), number.parse::<u64>().ok()?.checked_mul(*millis)?)));
        let Some((length, millis)) = value else {
            return Err(format!("{text:?} is no duration: write whole numbers with units, as 5s or 1m30s"));
        };
        total = total.saturating_add(millis);
        rest = &unit[length..];
    }
    let fits = !text.is_empty() && total <= 86_400_000;
    fits.then(|| Duration::from_millis(total)).ok_or_else(|| format!("{text:?}: write a duration up to 24h, as 5s"))
}

/// Memory that a program of this size starts within, and what cannot be meant: a slip of the unit.
pub(super) const LEAST_LIMIT: &str = "16Mi";
pub(super) const LEAST_REQUEST: &str = "1Mi";

/// An amount of memory, of at least so much.
pub(super) fn memory(text: &str, least: &str) -> Result<Quantity, String> {
    let enough = |amount: &Quantity| least.parse::<Quantity>().is_ok_and(|least| amount.amount() >= least.amount());
    let amount: Quantity = text.parse()?;
    if enough(&amount) {
        return Ok(amount);
    }
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let meant = format!("{number}Mi").parse().ok().filter(enough);
    let meant = meant.map_or_else(|| least.to_owned(), |meant: Quantity| meant.to_string());
    let milli = if text.ends_with('m') { "m is milli; " } else { "" };
    Err(format!("{text:?} is {} bytes, and the proxy needs {least} at least: {milli}{meant}?", amount.amount()))
}
