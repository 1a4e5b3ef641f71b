//! settings: what an instance is to do, written into its maps.

use super::{
    error::AttachError,
    options::{Options, Proxy},
};
use crate::{
    maps::{self, Maps},
    mounts,
};
use aya::maps::lpm_trie::Key;
use redirect_common::{Address, Control, Identity, identity, port};
use std::{collections::BTreeMap, net::IpAddr};

/// Writes all of it but the kill switch, which is its puller's; what is on already is never without a setting that it keeps.
pub(super) fn configure(maps: &mut Maps, options: &Options) -> Result<(), AttachError> {
    let probe = options.capture.as_ref().and_then(|capture| capture.probe).map(|number| (number.into(), port::PROBE));
    let listeners = options.ports.iter().map(|number| (u32::from(*number), port::LISTENER));
    // One that is listened on is no probe's.
    maps::make(&mut maps.ports, &probe.into_iter().chain(listeners).collect())?;
    let mut proxies = BTreeMap::new();
    for proxy in &options.proxies {
        let (kind, number) = match proxy {
            Proxy::Process(number) => (identity::PROCESS, u64::from(*number)),
            Proxy::User(number) => (identity::USER, u64::from(*number)),
            Proxy::Cgroup(path) => (identity::CGROUP, mounts::cgroup_number(path)?),
        };
        proxies.insert(Identity { kind, zero: 0, number }, 1);
    }
    maps::make(&mut maps.proxies, &proxies)?;
    let mut capture = 0;
    if let Some(wanted) = &options.capture {
        capture = u32::from(wanted.port);
        maps::make(&mut maps.excluded_ports, &wanted.exclude_ports.iter().map(|port| (u32::from(*port), 1)).collect())?;
        let mut keys = Vec::new();
        for (address, bits) in &wanted.exclude {
            let (address, bits, most) = match address {
                IpAddr::V4(v4) => (Address::v4(u32::from_ne_bytes(v4.octets())), u32::from(*bits) + 96, 128),
                IpAddr::V6(v6) => (Address::v6(words(v6.octets())), u32::from(*bits), 128),
            };
            if bits > most {
                let (address, bits) = wanted.exclude[keys.len()];
                return Err(AttachError::Prefix(address, bits));
            }
            keys.push((bits, address.0));
        }
        for (bits, address) in &keys {
            maps.excluded.insert(&Key::new(*bits, *address), 1, 0)?;
        }
        let gone: Vec<_> = maps
            .excluded
            .keys()
            .filter_map(Result::ok)
            .filter(|key| !keys.contains(&(key.prefix_len(), key.data())))
            .collect();
        for key in gone {
            maps.excluded.remove(&key)?;
        }
    }
    maps.change(|control| Control {
        budget: options.budget,
        large: options.large,
        events: options.events.into(),
        capture,
        claimed_only: options.inbound.into(),
        ..control
    })
}

fn words(octets: [u8; 16]) -> [u32; 4] {
    let word = |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}
