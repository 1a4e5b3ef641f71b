//! The maps of an instance, opened by their pins.

use crate::{
    AttachError,
    pins::{PinError, Pins},
};
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, SockHash};
use redirect_common::{
    COUNTERS, Claimed, Control, Counter, Counts, Endpoint, Identity, LAYOUT, Listener, Original, Pair, PairKey, counts,
    flow, mode,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io::ErrorKind,
};

/// What the programs and their loaders share.
pub(crate) struct Maps {
    pins: Pins,
    control: Array<MapData, Control>,
    pub(crate) ports: HashMap<MapData, u32, u32>,
    pub(crate) proxies: HashMap<MapData, Identity, u32>,
    pub(crate) excluded: LpmTrie<MapData, [u32; 4], u32>,
    pub(crate) excluded_ports: HashMap<MapData, u32, u32>,
    pub(crate) sockets: SockHash<MapData, PairKey>,
    /// Entries of it at most.
    room: u32,
    pairs: HashMap<MapData, PairKey, Pair>,
    originals: HashMap<MapData, Endpoint, Original>,
    claims: HashMap<MapData, u64, Claimed>,
    listeners: SockHash<MapData, Listener>,
    counts: PerCpuArray<MapData, Counts>,
}

/// A sum over all CPUs of each counter, in the order of [`COUNTERS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(Vec<u64>);

impl Totals {
    /// One of them.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn of(counts: &[(Counter, u64)]) -> Self {
        let mut totals = vec![0; COUNTERS.len()];
        for (counter, count) in counts {
            totals[*counter as usize] = *count;
        }
        Self(totals)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> {
        COUNTERS.iter().copied().zip(self.0.iter().copied())
    }
}

/// How full maps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Ends of connections in the socket map.
    pub sockets: u64,
    /// How many it has room for.
    pub room: u64,
    /// Pairs noted.
    pub pairs: u64,
    /// Original destinations noted.
    pub originals: u64,
}

impl Occupancy {
    /// Whether the socket map may not have taken what it should for want of room. Connections that it has no room for are left to
    /// TCP, and so is one of which it took one end.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sockets * 20 > self.room * 19
    }
}

fn data(pins: &Pins, name: &str) -> Result<MapData, MapError> {
    MapData::from_pin(pins.map(name))
}

impl Maps {
    pub(crate) fn open(pins: &Pins) -> Result<Self, MapError> {
        let sockets = data(pins, "SOCKETS")?;
        Ok(Self {
            pins: pins.clone(),
            room: sockets.info()?.max_entries(),
            control: Array::try_from(Map::Array(data(pins, "CONTROL")?))?,
            ports: HashMap::try_from(Map::HashMap(data(pins, "PORTS")?))?,
            proxies: HashMap::try_from(Map::HashMap(data(pins, "PROXIES")?))?,
            excluded: LpmTrie::try_from(Map::LpmTrie(data(pins, "EXCLUDED")?))?,
            excluded_ports: HashMap::try_from(Map::HashMap(data(pins, "EXCLUDED_PORTS")?))?,
            sockets: SockHash::try_from(Map::SockHash(sockets))?,
            pairs: HashMap::try_from(Map::LruHashMap(data(pins, "PAIRS")?))?,
            originals: HashMap::try_from(Map::LruHashMap(data(pins, "ORIGINALS")?))?,
            claims: HashMap::try_from(Map::HashMap(data(pins, "CLAIMS")?))?,
            listeners: SockHash::try_from(Map::SockHash(data(pins, "LISTENERS")?))?,
            counts: PerCpuArray::try_from(Map::PerCpuArray(data(pins, "COUNTS")?))?,
        })
    }

    /// Of an instance that is attached, or about to be.
    pub(crate) fn attached(pins: &Pins, instance: &str) -> Result<Self, AttachError> {
        pins.check()?;
        if !pins.are_there() {
            return Err(PinError::Absent(instance.into()).into());
        }
        let maps = Self::open(pins)?;
        // Detached, with connections that are left.
        if pins.links().is_empty() && maps.control()?.mode != mode::ATTACHING {
            return Err(PinError::Absent(instance.into()).into());
        }
        Ok(maps)
    }

    pub(crate) fn control(&self) -> Result<Control, MapError> {
        self.control.get(&0, 0)
    }

    /// Changes it. Whoever else does so meanwhile, as who pulls the kill switch during a replacement, is not overwritten.
    pub(crate) fn change(&mut self, to: impl FnOnce(Control) -> Control) -> Result<(), AttachError> {
        let _lock = self.pins.lock_control()?;
        let control = Control { layout: LAYOUT, ..to(self.control()?) };
        Ok(self.control.set(0, control, 0)?)
    }

    /// Pulls the kill switch, or puts it back.
    pub(crate) fn set_mode(&mut self, on: bool) -> Result<(), AttachError> {
        self.change(|control| Control { mode: if on { mode::ON } else { mode::OFF }, ..control })
    }

    /// Of connections that somebody uses.
    pub(crate) fn totals(&self) -> Result<Totals, MapError> {
        self.totals_of(counts::TRAFFIC)
    }

    /// Of the self-test's own, in all its runs.
    pub(crate) fn self_test_totals(&self) -> Result<Totals, MapError> {
        self.totals_of(counts::SELF_TEST)
    }

    fn totals_of(&self, whose: u32) -> Result<Totals, MapError> {
        let cpus = self.counts.get(&whose, 0)?;
        let sum = |index: usize| cpus.iter().map(|Counts(counts)| counts[index]).fold(0, u64::wrapping_add);
        Ok(Totals((0..COUNTERS.len()).map(sum).collect()))
    }

    /// Removes the self-test's pairs, whoever made them: one of them at a time is at work over these maps.
    pub(crate) fn forget_self_test(&mut self) -> Result<(), MapError> {
        let is_tests = |pair: &Pair| pair.flags & u64::from(flow::SELF_TEST) != 0;
        let pairs = self.pairs.iter().filter_map(Result::ok);
        let left = pairs.filter(|(_, pair)| is_tests(pair)).map(|(key, _)| key).collect();
        self.forget(left)
    }

    /// Removes the pairs of which neither end is enrolled any more: those closed while no program was attached to see it. Asked
    /// in this order, since an end is enrolled before its pair is noted.
    pub(crate) fn forget_closed(&mut self) -> Result<(), MapError> {
        let mut left: Vec<PairKey> = self.pairs.keys().filter_map(Result::ok).collect();
        let enrolled: HashSet<PairKey> = self.sockets.keys().filter_map(Result::ok).map(PairKey::pair).collect();
        left.retain(|key| !enrolled.contains(key));
        self.forget(left)
    }

    fn forget(&mut self, pairs: Vec<PairKey>) -> Result<(), MapError> {
        for key in pairs {
            match self.pairs.remove(&key) {
                // It ended just now, or gave way.
                Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let count = |keys: &mut dyn Iterator<Item = ()>| keys.count() as u64;
        Occupancy {
            sockets: count(&mut self.sockets.keys().filter_map(Result::ok).map(drop)),
            room: self.room(),
            pairs: count(&mut self.pairs.keys().filter_map(Result::ok).map(drop)),
            originals: count(&mut self.originals.keys().filter_map(Result::ok).map(drop)),
        }
    }

    /// Ends of connections that the socket map has room for.
    pub(crate) fn room(&self) -> u64 {
        self.room.into()
    }

    /// Whether an end of a connection is enrolled still.
    pub(crate) fn has_sockets(&self) -> bool {
        self.sockets.keys().any(|key| key.is_ok())
    }

    /// The network namespaces, by their cookies, whose claimed listeners are there: they live.
    pub(crate) fn listening(&self) -> BTreeSet<u64> {
        self.listeners.keys().filter_map(Result::ok).map(|listener| listener.netns).collect()
    }

    /// What is claimed, by the cookie of the network namespace.
    pub(crate) fn claims(&self) -> BTreeMap<u64, Claimed> {
        self.claims.iter().filter_map(Result::ok).collect()
    }

    /// Forgets a claim: its network namespace has gone.
    pub(crate) fn forget_claim(&mut self, cookie: u64) -> Result<(), MapError> {
        match self.claims.remove(&cookie) {
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The events of an instance. One reader at a time.
pub(crate) fn events(pins: &Pins) -> Result<RingBuf<MapData>, MapError> {
    RingBuf::try_from(Map::RingBuf(data(pins, "EVENTS")?))
}

/// Makes a set of numbers in a map what is wanted, without a moment in which one that stays is missing.
pub(crate) fn make<K: aya::Pod + Ord + Copy>(
    map: &mut HashMap<MapData, K, u32>,
    wanted: &BTreeMap<K, u32>,
) -> Result<(), MapError> {
    for (key, value) in wanted {
        map.insert(*key, *value, 0)?;
    }
    let gone: Vec<K> = map.keys().filter_map(Result::ok).filter(|key| !wanted.contains_key(key)).collect();
    for key in gone {
        map.remove(&key)?;
    }
    Ok(())
}
