//! Values of options: how a person writes them, and what is said when they are written wrongly.

use crate::{
    admin::client::{Address, NotAnAddress},
    log,
};
use redirect::Property;
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

pub(super) fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    // `:8080` is how many other tools write "every address".
    let text = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    text.parse().map_err(|_| "write an address and a port, as 0.0.0.0:8080 or [::]:8080")
}

pub(super) fn level(text: &str) -> Result<log::Level, log::UnknownLevel> {
    text.parse()
}

pub(super) fn address(text: &str) -> Result<Address, NotAnAddress> {
    text.parse()
}

/// `300ms`, `5s`, `2m`, `1h`, or seconds without a unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed.ok_or("write a number and a unit, as 500ms, 5s or 2m")
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "write a number")
}

pub(super) fn cgroup(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('/') { Ok(text.into()) } else { Err("write the whole path of its directory") }
}

/// Ports, with commas between.
pub(super) fn list(text: &str) -> Result<Vec<u16>, &'static str> {
    text.split(',')
        .map(|port| port.trim().parse().ok().filter(|port| *port != 0))
        .collect::<Option<_>>()
        .ok_or("write ports with commas between, as 15001,15006")
}

/// Entries of the redirect's map of sockets: a million of them take some hundred megabytes when it is full.
pub(super) fn sockets(text: &str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|sockets| (64..=1 << 20).contains(sockets)).ok_or("write a number from 64 to 1048576")
}

/// Numbers of processes, with commas between.
pub(super) fn processes(text: &str) -> Result<BTreeSet<u32>, &'static str> {
    text.split(',')
        .map(|process| process.trim().parse().ok().filter(|process| *process > 1))
        .collect::<Option<_>>()
        .ok_or("write numbers of processes with commas between, as 12,15")
}

/// `/run/netns,/var/run/netns`.
pub(super) fn folders(text: &str) -> Result<Vec<PathBuf>, &'static str> {
    let folders: Vec<PathBuf> = text.split(',').map(|folder| folder.trim().into()).collect();
    if folders.iter().all(|folder| folder.is_absolute()) {
        Ok(folders)
    } else {
        Err("write absolute paths with commas between, as /run/netns,/var/run/netns")
    }
}

/// `10.0.0.0/8,fd00::/8`; an address alone is itself.
pub(super) fn prefixes(text: &str) -> Result<Vec<(IpAddr, u8)>, &'static str> {
    let prefix = |text: &str| {
        let (address, bits) =
            text.trim().split_once('/').map_or((text.trim(), None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some((address, bits))
    };
    text.split(',')
        .map(prefix)
        .collect::<Option<_>>()
        .ok_or("write prefixes with commas between, as 10.0.0.0/8,fd00::/8")
}

pub(super) fn properties(text: &str) -> Result<Vec<Property>, String> {
    text.split(',')
        .map(|name| {
            Property::named(name.trim()).filter(|property| property.may_be_waived()).ok_or_else(|| {
                let all = redirect::PROPERTIES.iter().filter(|property| property.may_be_waived());
                let known: Vec<_> = all.map(|property| property.name()).collect();
                format!("{name:?} cannot be waived; {} can", known.join(", "))
            })
        })
        .collect()
}

/// `64KiB`, `1MiB`, or bytes without a unit.
pub(super) fn size(text: &str) -> Result<u32, &'static str> {
    let units = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1_u32)];
    let read = units.iter().find_map(|(unit, bytes)| text.strip_suffix(unit)?.parse::<u32>().ok()?.checked_mul(*bytes));
    read.ok_or("write a size, as 64KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("300ms", 300), ("5s", 5000), ("2m", 120_000), ("1h", 3_600_000), ("1.5", 1500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 s", "soon", "infs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
