//! Shared data: values by vm_id and key, with a number that says which write a value is of.

use super::refused::{self, Bound, First, Refused};
use crate::{abi::Status, census};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Bytes of a vm_id's keys and values, with [`KEY`] for each: what one keeps never denies another one anything. A rate limiter with a key
/// for each client address has room for some 300,000; a million of them would be the guest's leak.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that a key counts beside its own and its value's: its place in the table, which has one part in eight to a half free, and two
/// allocations.
pub const KEY: usize = 128;

/// A value counts whole towards what may be stored, though it is written over another, from here on: what another thread allocated
/// is not to be had again at once.
const LARGE: usize = 4096;

/// Values by vm_id and key. Shared by all workers: that is its purpose.
#[derive(Debug, Default)]
pub struct SharedData(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    /// By vm_id, then by key, so that a look-up needs no key of its own.
    machines: HashMap<Box<str>, Values>,
    /// The number of the last write; one count for all keys, as in Envoy.
    writes: u32,
}

#[derive(Debug, Default)]
struct Values {
    by_key: HashMap<Box<[u8]>, Value>,
    /// Of its keys and values, and [`KEY`] for each.
    bytes: usize,
    refused: Refused,
}

#[derive(Debug)]
struct Value {
    bytes: Bytes,
    write: u32,
}

impl SharedData {
    /// A value and the number of its write.
    #[must_use]
    pub fn get(&self, vm_id: &str, key: &[u8]) -> Option<(Bytes, u32)> {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = store.machines.get(vm_id)?.by_key.get(key)?;
        Some((value.bytes.clone(), value.write))
    }

    /// Writes a value. `cas` 0 writes in any case; another number only if it is still that of the last write.
    ///
    /// # Errors
    ///
    /// [`Status::CasMismatch`], or [`Status::InternalFailure`] beyond the vm_id's bound, or where memory is short and it holds more than its part.
    pub fn set(&self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *guard;
        let known = store.machines.get(vm_id).and_then(|values| values.by_key.get(key));
        if cas != 0 && known.is_some_and(|known| known.write != cas) {
            return Err(Status::CasMismatch);
        }
        let (before, fresh) = match known {
            Some(known) => (known.bytes.len(), false),
            None => (0, true),
        };
        let added = value.len() + if fresh { key.len() + KEY } else { 0 };
        let values = match store.machines.get_mut(vm_id) {
            Some(values) => values,
            None => store.machines.entry(vm_id.into()).or_default(),
        };
        let bytes = values.bytes + added - before;
        let in_place = !fresh && before == value.len();
        let grows = bytes.saturating_sub(values.bytes);
        let writes = match value.len() {
            _ if in_place => 0,
            LARGE.. => added,
            _ => grows,
        };
        let bound = if bytes > MOST_BYTES {
            Some(Bound::Bytes)
        } else {
            (!census::store(grows, writes, bytes)).then_some(Bound::Memory)
        };
        if let Some(bound) = bound {
            let (first, holds) = (values.refused.count(bound), values.bytes);
            drop(guard);
            if first == First::Yes {
                refused::say("shared data", vm_id, bound, holds);
            }
            return Err(Status::InternalFailure);
        }
        store.writes = store.writes.checked_add(1).unwrap_or(1);
        let write = store.writes;
        census::unstore(values.bytes.saturating_sub(bytes));
        values.bytes = bytes;
        match values.by_key.get_mut(key) {
            Some(known) => *known = Value { bytes: over(std::mem::take(&mut known.bytes), value), write },
            None => drop(values.by_key.insert(key.into(), Value { bytes: Bytes::copy_from_slice(value), write })),
        }
        Ok(())
    }

    /// How often a vm_id was refused, by [`Bound`].
    pub(super) fn refused(&self, vm_id: &str) -> [u64; Bound::ALL.len()] {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.machines.get(vm_id).map_or_else(Default::default, |values| values.refused.all())
    }

    /// Bytes of a vm_id's keys and values, and [`KEY`] for each.
    #[must_use]
    pub fn bytes(&self, vm_id: &str) -> usize {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.machines.get(vm_id).map_or(0, |values| values.bytes)
    }

    /// Forgets what a vm_id wrote.
    pub fn forget(&self, vm_id: &str) {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = store.machines.remove(vm_id) {
            census::unstore(values.bytes);
        }
    }
}

/// A value over another: in the same place where it has the same length, and nobody reads that.
fn over(before: Bytes, value: &[u8]) -> Bytes {
    if before.len() == value.len()
        && let Ok(mut place) = before.try_into_mut()
    {
        place.copy_from_slice(value);
        return place.freeze();
    }
    Bytes::copy_from_slice(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_swap_is_envoys() {
        let data = SharedData::default();
        assert_eq!(data.get("v", b"k"), None);
        data.set("v", b"k", b"1", 0).unwrap();
        let (value, cas) = data.get("v", b"k").unwrap();
        assert_eq!((&value[..], cas), (&b"1"[..], 1));
        assert_eq!(data.set("v", b"k", b"2", 7), Err(Status::CasMismatch));
        data.set("v", b"k", b"2", cas).unwrap();
        assert_eq!(data.set("v", b"k", b"3", cas), Err(Status::CasMismatch));
        data.set("v", b"other", b"", 0).unwrap();
        assert_eq!(data.get("v", b"other").unwrap().1, 3, "one count for all keys");
        assert_eq!(data.get("w", b"k"), None, "another machine's");
        assert!(data.set("v", b"new", b"x", 9).is_ok(), "a number without a value is no conflict");
    }

    #[test]
    fn a_vm_ids_bound_is_its_own_and_what_goes_gives_room() {
        let data = SharedData::default();
        let large = vec![0; MOST_BYTES / 2 - 1 - KEY];
        data.set("v", b"a", &large, 0).unwrap();
        data.set("v", b"b", &large, 0).unwrap();
        assert_eq!(data.set("v", b"c", b"", 0), Err(Status::InternalFailure));
        assert_eq!(data.set("v", b"c", b"", 0), Err(Status::InternalFailure));
        data.set("v", b"a", &large, 0).unwrap();
        data.set("w", b"b", &large, 0).unwrap();
        data.set("v", b"a", b"", 0).unwrap();
        assert_eq!((data.bytes("v"), data.bytes("w"), data.bytes("x")), (MOST_BYTES / 2 + KEY + 1, MOST_BYTES / 2, 0));
        data.set("v", b"c", b"", 0).unwrap();
        assert_eq!((data.refused("v"), data.refused("w")), ([2, 0, 0, 0], [0; 4]));
        data.forget("w");
        assert_eq!((data.get("w", b"b"), data.bytes("w")), (None, 0));
    }

    /// What SDKs offer has no delete: a guest that keeps a key for each client fills what it may have, and nobody else's.
    #[test]
    fn keys_of_one_vm_id_deny_another_none() {
        let data = SharedData::default();
        let most = MOST_BYTES / (KEY + 4);
        for key in 0..u32::try_from(most).unwrap() {
            data.set("leaks", &key.to_le_bytes(), b"", 0).unwrap();
        }
        assert_eq!(data.set("leaks", b"more", b"", 0), Err(Status::InternalFailure));
        assert_eq!(data.set("counts", b"more", b"1", 0), Ok(()));
    }
}
