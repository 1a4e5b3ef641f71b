//! Shared queues: messages between machines of any worker, and whose turn it is when one comes.

use super::refused::{self, Bound, First, Refused};
use crate::{abi::Status, census};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::sync::mpsc;

/// Bytes of a queue's name: it is kept as long as the queue.
pub const MOST_NAME: usize = 1024;

/// Queues of a vm_id.
pub const MOST_QUEUES: usize = 1_000;

/// Messages in one queue; an enqueue beyond is refused.
pub const MOST_ITEMS: usize = 10_000;

/// Bytes of messages in one queue.
pub const MOST_QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Places that an emptied queue keeps.
const FEW: usize = 16;

/// Bytes that a message counts beside its own: its place in the queue, beside which one may be free, and an allocation.
pub const MESSAGE: usize = 64;

/// Bytes of messages in a vm_id's queues, with [`MESSAGE`] for each: as much as its shared data may have.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A machine that registered this queue is told that something is in it; [`Queues::whose`] says which of its roots is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(pub u32);

/// All queues. Shared by all workers: one fills what another empties.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    by_name: HashMap<(Box<str>, Box<[u8]>), u32>,
    queues: HashMap<u32, Queue>,
    /// What each vm_id has in all.
    of: HashMap<Box<str>, Arc<Its>>,
    last: u32,
    /// Messages of which nobody was told, of all queues that somebody registered.
    untold: usize,
    /// The queue of which one was told last that had waited.
    turn: u32,
}

/// A vm_id's queues together. Shared by its queues, so that a message needs no look-up for it; written under the store's lock.
#[derive(Debug)]
struct Its {
    vm_id: Box<str>,
    queues: AtomicUsize,
    /// Of messages, and [`MESSAGE`] for each.
    bytes: AtomicUsize,
    refused: Refused,
}

impl Store {
    /// Tells whoever has room for it of what nobody was told of: of one message of each queue in turn, so that none waits for another that is filled
    /// faster than emptied.
    fn tell_rest(&mut self) {
        if self.untold == 0 {
            return;
        }
        let mut behind: Vec<_> =
            self.queues.iter().filter(|(_, queue)| queue.waiting() > 0).map(|(id, _)| *id).collect();
        behind.sort_unstable_by_key(|id| id.wrapping_sub(self.turn).wrapping_sub(1));
        while !behind.is_empty() {
            behind.retain(|id| {
                let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.untold > 0) else { return false };
                let told = queue.tell(*id);
                if told {
                    (queue.untold, self.untold, self.turn) = (queue.untold - 1, self.untold - 1, *id);
                }
                told
            });
        }
    }
}

#[derive(Debug)]
struct Queue {
    of: Arc<Its>,
    items: VecDeque<Bytes>,
    bytes: usize,
    /// Who is told. One of them, in turn, once for each message: any may take it.
    listeners: Vec<Listener>,
    turn: usize,
    /// Messages of which none was told, since each was behind with those before, or there was none yet, or no more. No more than there are messages.
    untold: usize,
}

#[derive(Debug)]
struct Listener {
    /// The machine's roots that registered the queue, in the order in which they last did; one at least. The last is told.
    roots: Vec<u32>,
    ready: mpsc::Sender<Ready>,
    /// Messages that it was told of and has not looked at.
    behind: usize,
}

impl Queues {
    /// The queue of that name, made if there is none; `root` of the machine behind `ready` is told of its messages, also of those that others
    /// who registered it are behind with, or that came while nobody did: of what filters put in while they are tried, whose machines hear
    /// nothing, the first that serves is told. What was to be told to machines that are dead, all of them, is told to nobody, as in Envoy: a message
    /// on which they die would have them die as often as there are messages. Of several roots of one machine the last that registers it is
    /// told, as in Envoy.
    ///
    /// # Errors
    ///
    /// [`Status::InternalFailure`] when the vm_id has too many, or its name is longer than 1 KiB.
    pub fn register(&self, vm_id: &str, name: &[u8], root: u32, ready: &mpsc::Sender<Ready>) -> Result<u32, Status> {
        if name.len() > MOST_NAME {
            return Err(Status::InternalFailure);
        }
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *guard;
        let known = store.by_name.get(&(vm_id.into(), name.into()) as &(Box<str>, Box<[u8]>)).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let its = Its::of(&mut store.of, vm_id);
                if its.queues.load(Relaxed) >= MOST_QUEUES {
                    let first = its.refused.count(Bound::Queues);
                    drop(guard);
                    its.say(first, Bound::Queues);
                    return Err(Status::InternalFailure);
                }
                store.last = store.last.checked_add(1).ok_or(Status::InternalFailure)?;
                let id = store.last;
                store.by_name.insert((vm_id.into(), name.into()), id);
                its.queues.fetch_add(1, Relaxed);
                store.queues.insert(id, Queue::of(its));
                id
            }
        };
        let Some(queue) = store.queues.get_mut(&id) else { return Err(Status::InternalFailure) };
        if ready.is_closed() {
            // It is tried, and hears nothing.
            return Ok(id);
        }
        let had = !queue.listeners.is_empty();
        queue.listeners.retain(|listener| !listener.ready.is_closed());
        if !had {
            store.untold += queue.untold;
        } else if queue.listeners.is_empty() {
            store.untold -= mem::take(&mut queue.untold);
        }
        match queue.listeners.iter_mut().find(|listener| listener.ready.same_channel(ready)) {
            Some(listener) => {
                listener.roots.retain(|known| *known != root);
                listener.roots.push(root);
            }
            None => queue.listeners.push(Listener { roots: vec![root], ready: ready.clone(), behind: 0 }),
        }
        store.tell_rest();
        Ok(id)
    }

    /// The root context that a machine, the one behind `ready`, is to tell of a message that it was told of and looks at now: of its roots one
    /// may have gone meanwhile, another come. `None`: all that registered the queue have gone.
    #[must_use]
    pub fn whose(&self, told: Ready, ready: &mpsc::Sender<Ready>) -> Option<u32> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listeners = &mut store.queues.get_mut(&told.0)?.listeners;
        let listener = listeners.iter_mut().find(|listener| listener.ready.same_channel(ready))?;
        listener.behind = listener.behind.saturating_sub(1);
        listener.roots.last().copied()
    }

    /// A root context of the machine behind `ready` is gone: what it would be told of, the one is that registered before it, or other machines
    /// are, also of what this one is behind with, if it lives.
    pub fn leave(&self, root: u32, ready: &mpsc::Sender<Ready>) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *guard;
        for queue in store.queues.values_mut() {
            let Some(at) = queue.listeners.iter().position(|listener| listener.ready.same_channel(ready)) else {
                continue;
            };
            let listener = &mut queue.listeners[at];
            listener.roots.retain(|known| *known != root);
            if listener.roots.is_empty() {
                let behind = if ready.is_closed() { 0 } else { listener.behind };
                queue.listeners.remove(at);
                let before = queue.untold;
                queue.untold = queue.items.len().min(before + behind);
                // Nobody is told of what is in a queue that nobody listens to.
                store.untold = store.untold + queue.waiting() - before;
            }
        }
        store.tell_rest();
    }

    /// The queue of that name.
    #[must_use]
    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        if name.len() > MOST_NAME {
            return None;
        }
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.by_name.get(&(vm_id.into(), name.into()) as &(Box<str>, Box<[u8]>)).copied()
    }

    /// Puts a message in and tells a machine that registered the queue.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`] for a number that is no queue, [`Status::InternalFailure`] when it is full, or its vm_id's are, or memory is
    /// short and those hold more than their part.
    pub fn enqueue(&self, id: u32, message: &[u8]) -> Result<(), Status> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = guard.queues.get_mut(&id).ok_or(Status::NotFound)?;
        let more = message.len() + MESSAGE;
        let bytes = queue.of.bytes.load(Relaxed) + more;
        let bound = if queue.items.len() >= MOST_ITEMS || queue.bytes + message.len() > MOST_QUEUE_BYTES {
            Some(Bound::Queue)
        } else if bytes > MOST_BYTES {
            Some(Bound::Bytes)
        } else {
            (!census::store(more, more, bytes)).then_some(Bound::Memory)
        };
        if let Some(bound) = bound {
            let its = Arc::clone(&queue.of);
            let first = its.refused.count(bound);
            drop(guard);
            its.say(first, bound);
            return Err(Status::InternalFailure);
        }
        queue.bytes += message.len();
        queue.of.bytes.store(bytes, Relaxed);
        queue.items.push_back(Bytes::copy_from_slice(message));
        if !queue.tell(id) && !queue.is_of_the_dead() {
            queue.untold += 1;
            let waits = usize::from(!queue.listeners.is_empty());
            guard.untold += waits;
        }
        Ok(())
    }

    /// A machine has looked at what it was told of: somebody is told of what there was no room for.
    pub fn tell_rest(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tell_rest();
    }

    /// Takes the oldest message.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`] for a number that is no queue, [`Status::Empty`].
    pub fn dequeue(&self, id: u32) -> Result<Bytes, Status> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *guard;
        let queue = store.queues.get_mut(&id).ok_or(Status::NotFound)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        queue.bytes -= item.len();
        queue.of.bytes.fetch_sub(item.len() + MESSAGE, Relaxed);
        census::unstore(item.len() + MESSAGE);
        queue.give_room_back();
        let before = queue.waiting();
        queue.untold = queue.untold.min(queue.items.len());
        store.untold = store.untold + queue.waiting() - before;
        Ok(item)
    }

    /// Bytes of messages in a vm_id's queues, and [`MESSAGE`] for each.
    #[must_use]
    pub fn bytes(&self, vm_id: &str) -> usize {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.of.get(vm_id).map_or(0, |its| its.bytes.load(Relaxed))
    }

    /// How often a vm_id was refused, by [`Bound`].
    pub(super) fn refused(&self, vm_id: &str) -> [u64; Bound::ALL.len()] {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.of.get(vm_id).map_or_else(Default::default, |its| its.refused.all())
    }

    /// Forgets a vm_id's queues.
    pub fn forget(&self, vm_id: &str) {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *store;
        if let Some(its) = store.of.remove(vm_id) {
            census::unstore(its.bytes.load(Relaxed));
        }
        store.by_name.retain(|(of, _), _| **of != *vm_id);
        store.queues.retain(|_, queue| *queue.of.vm_id != *vm_id);
        store.untold = store.queues.values().map(Queue::waiting).sum();
    }
}

impl Its {
    /// Those of a vm_id.
    fn of(all: &mut HashMap<Box<str>, Arc<Self>>, vm_id: &str) -> Arc<Self> {
        let its = all.entry(vm_id.into()).or_insert_with(|| {
            let (queues, bytes, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), Refused::default());
            Arc::new(Self { vm_id: vm_id.into(), queues, bytes, refused })
        });
        Arc::clone(its)
    }

    /// Says the first time that it was refused.
    fn say(&self, first: First, bound: Bound) {
        if first == First::Yes {
            refused::say("a shared queue", &self.vm_id, bound, self.bytes.load(Relaxed));
        }
    }
}

impl Queue {
    fn of(of: Arc<Its>) -> Self {
        Self { of, items: VecDeque::new(), bytes: 0, listeners: Vec::new(), turn: 0, untold: 0 }
    }

    /// Tells one of those that registered it of a message; `false`: each is gone, or was told of more than it has looked at.
    fn tell(&mut self, id: u32) -> bool {
        (0..self.listeners.len()).any(|_| {
            self.turn = (self.turn + 1) % self.listeners.len();
            let listener = &mut self.listeners[self.turn];
            let told = listener.ready.try_send(Ready(id)).is_ok();
            listener.behind += usize::from(told);
            told
        })
    }

    /// Messages of which somebody is to be told.
    fn waiting(&self) -> usize {
        if self.listeners.is_empty() { 0 } else { self.untold }
    }

    /// Whether the machines that registered it are dead, all of them.
    fn is_of_the_dead(&self) -> bool {
        !self.listeners.is_empty() && self.listeners.iter().all(|listener| listener.ready.is_closed())
    }

    /// One that was full for once does not keep places for as many messages: they count with their messages alone.
    fn give_room_back(&mut self) {
        let (used, room) = (self.items.len(), self.items.capacity());
        if room > FEW && used <= room / 4 {
            self.items.shrink_to(used * 2);
        }
    }
}

#[cfg(test)]
mod tests;
