//! [`Holding`]: what the calls of an instance hold in memory, within a bound.
//!
//! ```text
//!  call ── pairs, body, messages ─► Holding ─► the bytes themselves ─► written, answered, given up: dropped
//!  answer ── as it comes ─────────► Holding ─► what the instance gets ─► read: dropped
//! ```
//!
//! Bytes are held as long as anybody has them: what an upstream leaves unread counts until it is written, whoever has given
//! the call up meanwhile.

use bytes::Bytes;
use std::{fmt, sync::Arc};

/// Bounds what calls hold. Shared by threads, as bytes are let go wherever they are written.
pub trait Bound: Send + Sync + fmt::Debug {
    /// So many bytes more are to be held.
    ///
    /// # Errors
    ///
    /// They may not be.
    fn take(&self, bytes: usize, what: Holds) -> Result<(), NoRoom>;

    /// So many are not held any more.
    fn give_back(&self, bytes: usize);
}

/// What calls hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// What is said to clusters.
    Request,
    /// What they answer.
    Answer,
}

/// Calls hold as much as they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the filter's calls hold as much as they may")]
pub struct NoRoom;

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub(super) struct Holding {
    /// `None`: nobody counts.
    bound: Option<Arc<dyn Bound>>,
    bytes: usize,
}

/// Bytes with what they count for.
struct Counted {
    data: Bytes,
    _holding: Holding,
}

impl Holding {
    /// Nothing yet.
    pub(super) fn nothing(bound: Option<&Arc<dyn Bound>>) -> Self {
        Self { bound: bound.map(Arc::clone), bytes: 0 }
    }

    /// So many bytes of a request.
    pub(super) fn request(bound: Option<&Arc<dyn Bound>>, bytes: usize) -> Result<Self, NoRoom> {
        let mut holding = Self::nothing(bound);
        holding.take(bytes, Holds::Request)?;
        Ok(holding)
    }

    /// So many bytes more.
    pub(super) fn take(&mut self, more: usize, what: Holds) -> Result<(), NoRoom> {
        if let Some(bound) = self.bound.as_ref().filter(|_| more > 0) {
            bound.take(more, what)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// So many of its bytes, or all where they are fewer, count by themselves from now on.
    pub(super) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { bound: self.bound.clone(), bytes }
    }

    /// It counts as long as these bytes, or any slice of them, are there.
    pub(super) fn of(self, data: Bytes) -> Bytes {
        if self.bytes == 0 || data.is_empty() {
            return data;
        }
        Bytes::from_owner(Counted { data, _holding: self })
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(bound) = self.bound.as_ref().filter(|_| self.bytes > 0) {
            bound.give_back(self.bytes);
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
