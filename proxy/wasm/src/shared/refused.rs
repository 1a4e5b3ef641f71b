//! What a vm_id was refused of what it shares: counted, and the first time said in the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// That of a vm_id's bytes.
    Bytes,
    /// That of a vm_id's queues.
    Queues,
    /// One queue's own.
    Queue,
    /// The container's memory is short, and this vm_id holds more than its part of what is left.
    Memory,
}

impl Bound {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 4] = [Self::Bytes, Self::Queues, Self::Queue, Self::Memory];

    /// As the counter's label has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Queues => "queues",
            Self::Queue => "queue",
            Self::Memory => "memory",
        }
    }
}

/// How often a vm_id was refused, by bound. Shared by all workers, written under the lock of what it is of.
#[derive(Debug, Default)]
pub(super) struct Refused([AtomicU64; Bound::ALL.len()]);

impl Refused {
    /// Once more; whether it is the first time for this bound.
    pub(super) fn count(&self, bound: Bound) -> First {
        if self.0[bound as usize].fetch_add(1, Relaxed) == 0 { First::Yes } else { First::No }
    }

    /// How often, by bound.
    pub(super) fn all(&self) -> [u64; Bound::ALL.len()] {
        std::array::from_fn(|bound| self.0[bound].load(Relaxed))
    }
}

/// Whether something is to be said in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Yes,
    No,
}

/// Says that a vm_id, which holds so many bytes of `what`, is refused more, and what is to be done about it.
#[cold]
pub(super) fn say(what: &'static str, vm_id: &str, bound: Bound, holds: usize) {
    let (which, remedy) = match bound {
        Bound::Bytes => (
            "64 MiB of a vm_id",
            "have its filters keep less (what is stored has no end of its own), or give some of them another vm_id",
        ),
        Bound::Queues => ("1,000 queues of a vm_id", "have its filters register fewer"),
        Bound::Queue => {
            ("10,000 messages or 4 MiB of one queue", "have whoever takes them out be quicker, or put fewer in")
        }
        Bound::Memory => (
            "the container's memory is short, and it holds more than others may still store",
            "have its filters keep less, or raise the container's limit",
        ),
    };
    tracing::warn!(
        vm_id,
        holds,
        bound = bound.word(),
        "{what} refuses a vm_id more ({which}): its guests are answered InternalFailure, of which some die; what other vm_ids store is \
         not touched; {remedy}; this is said once, pillion_wasm_shared_refused_total counts it"
    );
}
