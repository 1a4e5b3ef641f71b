//! [`State`]: what a stream's filters tell one another and the access log, as Envoy's filter state.

use super::{
    shared::Shared,
    stream::{MOST_WRITTEN, Refused, Stream},
};
use crate::downstream::{held::LARGE, unfinished::Room};
use bytes::Bytes;

/// Keys of one stream's state at most: they are looked for one after another.
const MOST_KEYS: usize = 1_024;

/// Bytes of all its keys and values at most: as much as filters may write into its heads.
const MOST_BYTES: usize = MOST_WRITTEN;

/// Keys and values, as long as the stream is there.
#[derive(Debug, Default)]
pub(super) struct State {
    pairs: Vec<(Box<[u8]>, Bytes)>,
    bytes: usize,
}

impl State {
    fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.pairs.iter().find(|(known, _)| **known == *key).map(|(_, value)| value)
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets a value, or takes it out; the one before.
    fn put(&mut self, key: &[u8], value: Option<Bytes>) -> Option<Bytes> {
        let weight = |value: &Bytes| key.len() + value.len();
        let at = self.pairs.iter().position(|(known, _)| **known == *key);
        self.bytes += value.as_ref().map_or(0, weight);
        let before = match (at, value) {
            (Some(at), Some(value)) => Some(std::mem::replace(&mut self.pairs[at].1, value)),
            (Some(at), None) => Some(self.pairs.swap_remove(at).1),
            (None, Some(value)) => {
                self.pairs.push((key.into(), value));
                None
            }
            (None, None) => None,
        };
        self.bytes -= before.as_ref().map_or(0, weight);
        before
    }
}

impl Stream {
    /// A value that this stream's filters share.
    #[must_use]
    pub fn state(&self, key: &[u8]) -> Option<Bytes> {
        self.shared.state_of(key)
    }

    /// Sets a value that this stream's filters share; it is copied where there is room for it.
    ///
    /// # Errors
    ///
    /// [`Refused::TooMuch`]: the stream's state would have more than 1,024 keys or 4 MiB, or there is no memory for it. What was there
    /// stays.
    pub fn set_state(&self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        let bytes = {
            let state = self.shared.state.borrow();
            let before = state.get(key);
            if before.is_none() && state.pairs.len() >= MOST_KEYS {
                return Err(Refused::TooMuch);
            }
            state.bytes + key.len() + value.len() - before.map_or(0, |before| key.len() + before.len())
        };
        if bytes > MOST_BYTES {
            return Err(Refused::TooMuch);
        }
        let before = self.shared.state.borrow_mut().put(key, Some(Bytes::copy_from_slice(value)));
        if bytes >= LARGE && self.shared.count_held() == Room::None {
            self.shared.state.borrow_mut().put(key, before);
            self.shared.count_held();
            return Err(Refused::TooMuch);
        }
        Ok(())
    }
}

impl Shared {
    /// A value that the stream's filters share.
    pub(crate) fn state_of(&self, key: &[u8]) -> Option<Bytes> {
        self.state.borrow().get(key).cloned()
    }
}
