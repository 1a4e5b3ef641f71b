//! Shared queues: messages between machines of any worker, and whose turn it is when one comes.

use crate::{abi::Status, census};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Bytes of a queue's name: it is kept as long as the queue.
pub const MOST_NAME: usize = 1024;

/// Queues over all vm_ids.
pub const MOST_QUEUES: usize = 1_000;

/// Messages in one queue; an enqueue beyond is refused.
pub const MOST_ITEMS: usize = 10_000;

/// Bytes of messages in one queue.
pub const MOST_QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of messages in all queues: as much as shared data may have.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A machine that registered a queue is told that something is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The root context that registered it.
    pub root: u32,
    /// The queue.
    pub queue: u32,
}

/// All queues. Shared by all workers: one fills what another empties.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    by_name: HashMap<(Box<str>, Box<[u8]>), u32>,
    queues: HashMap<u32, Queue>,
    /// Of all messages.
    bytes: usize,
    last: u32,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Bytes>,
    bytes: usize,
    /// Who is told. One of them, in turn, once for each message: any may take it.
    listeners: Vec<Listener>,
    turn: usize,
}

#[derive(Debug)]
struct Listener {
    root: u32,
    ready: mpsc::Sender<Ready>,
}

impl Queues {
    /// The queue of that name, made if there is none; `root` of the machine behind `ready` is told of its messages.
    ///
    /// # Errors
    ///
    /// [`Status::InternalFailure`] when there are too many, or its name is longer than 1 KiB.
    pub fn register(&self, vm_id: &str, name: &[u8], root: u32, ready: &mpsc::Sender<Ready>) -> Result<u32, Status> {
        if name.len() > MOST_NAME {
            return Err(Status::InternalFailure);
        }
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = store.by_name.get(&(vm_id.into(), name.into()) as &(Box<str>, Box<[u8]>)).copied();
        let id = match known {
            Some(id) => id,
            None if store.queues.len() >= MOST_QUEUES => return Err(Status::InternalFailure),
            None => {
                store.last = store.last.checked_add(1).ok_or(Status::InternalFailure)?;
                let id = store.last;
                store.by_name.insert((vm_id.into(), name.into()), id);
                id
            }
        };
        let listeners = &mut store.queues.entry(id).or_default().listeners;
        listeners.retain(|listener| !listener.ready.is_closed());
        if !listeners.iter().any(|listener| listener.root == root && listener.ready.same_channel(ready)) {
            listeners.push(Listener { root, ready: ready.clone() });
        }
        Ok(id)
    }

    /// A root context of the machine behind `ready` is gone: what it would be told of, others are.
    pub fn leave(&self, root: u32, ready: &mpsc::Sender<Ready>) {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in store.queues.values_mut() {
            queue.listeners.retain(|listener| listener.root != root || !listener.ready.same_channel(ready));
        }
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
    /// [`Status::NotFound`] for a number that is no queue, [`Status::InternalFailure`] when it is full, or all of them are, or
    /// memory is short.
    pub fn enqueue(&self, id: u32, message: &[u8]) -> Result<(), Status> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *store;
        let queue = store.queues.get_mut(&id).ok_or(Status::NotFound)?;
        if queue.items.len() >= MOST_ITEMS
            || queue.bytes + message.len() > MOST_QUEUE_BYTES
            || store.bytes + message.len() > MOST_BYTES
            || !census::store(message.len())
        {
            return Err(Status::InternalFailure);
        }
        queue.bytes += message.len();
        store.bytes += message.len();
        queue.items.push_back(Bytes::copy_from_slice(message));
        for _ in 0..queue.listeners.len() {
            queue.turn = (queue.turn + 1) % queue.listeners.len();
            let listener = &queue.listeners[queue.turn];
            // A machine that is told of more than it can take is behind anyway; another may be quicker.
            if listener.ready.try_send(Ready { root: listener.root, queue: id }).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// Takes the oldest message.
    ///
    /// # Errors
    ///
    /// [`Status::NotFound`] for a number that is no queue, [`Status::Empty`].
    pub fn dequeue(&self, id: u32) -> Result<Bytes, Status> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *store;
        let queue = store.queues.get_mut(&id).ok_or(Status::NotFound)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        queue.bytes -= item.len();
        store.bytes -= item.len();
        Ok(item)
    }

    /// Bytes of messages in a vm_id's queues.
    #[must_use]
    pub fn bytes(&self, vm_id: &str) -> usize {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let its = store.by_name.iter().filter(|((of, _), _)| **of == *vm_id);
        its.filter_map(|(_, id)| store.queues.get(id)).map(|queue| queue.bytes).sum()
    }

    /// Forgets a vm_id's queues.
    pub fn forget(&self, vm_id: &str) {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *store;
        let (queues, bytes) = (&mut store.queues, &mut store.bytes);
        store.by_name.retain(|(of, _), id| {
            let keep = **of != *vm_id;
            if !keep {
                *bytes -= queues.remove(id).map_or(0, |queue| queue.bytes);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_order_and_each_is_told_once() {
        let queues = Queues::default();
        let (ready, mut told) = mpsc::channel(8);
        let id = queues.register("v", b"q", 1, &ready).unwrap();
        assert_eq!(queues.register("v", b"q", 1, &ready), Ok(id), "idempotent");
        assert_eq!(queues.resolve("v", b"q"), Some(id));
        assert_eq!(queues.resolve("w", b"q"), None);
        queues.enqueue(id, b"a").unwrap();
        queues.enqueue(id, b"b").unwrap();
        assert_eq!(told.try_recv(), Ok(Ready { root: 1, queue: id }));
        assert_eq!(told.try_recv(), Ok(Ready { root: 1, queue: id }));
        assert!(told.try_recv().is_err());
        assert_eq!(queues.dequeue(id).as_deref(), Ok(&b"a"[..]));
        assert_eq!(queues.dequeue(id).as_deref(), Ok(&b"b"[..]));
        assert_eq!(queues.dequeue(id), Err(Status::Empty));
        assert_eq!(queues.dequeue(id + 1), Err(Status::NotFound));
        assert_eq!(queues.enqueue(id + 1, b""), Err(Status::NotFound));
    }

    #[test]
    fn a_full_queue_refuses_and_a_dead_machine_is_passed_over() {
        let queues = Queues::default();
        let (dead, gone) = mpsc::channel(8);
        let (ready, mut told) = mpsc::channel(8);
        let id = queues.register("v", b"q", 1, &dead).unwrap();
        queues.register("v", b"q", 4, &ready).unwrap();
        drop(gone);
        queues.enqueue(id, &vec![0; MOST_QUEUE_BYTES]).unwrap();
        assert_eq!(told.try_recv(), Ok(Ready { root: 4, queue: id }));
        assert_eq!(queues.enqueue(id, b"x"), Err(Status::InternalFailure));
        queues.forget("v");
        assert_eq!(queues.dequeue(id), Err(Status::NotFound));
    }

    /// As after a reload: the machine lives on with another root.
    #[test]
    fn a_root_that_is_gone_is_told_nothing() {
        let queues = Queues::default();
        let (ready, mut told) = mpsc::channel(8);
        let id = queues.register("v", b"q", 1, &ready).unwrap();
        queues.register("v", b"q", 2, &ready).unwrap();
        queues.leave(1, &ready);
        for _ in 0..4 {
            queues.enqueue(id, b"a").unwrap();
            assert_eq!(told.try_recv(), Ok(Ready { root: 2, queue: id }));
        }
        queues.leave(2, &ready);
        queues.enqueue(id, b"a").unwrap();
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_name_is_short() {
        let queues = Queues::default();
        let (ready, _told) = mpsc::channel(8);
        let name = [b'q'; MOST_NAME + 1];
        assert_eq!(queues.register("v", &name, 1, &ready), Err(Status::InternalFailure));
        assert_eq!(queues.resolve("v", &name), None);
        let id = queues.register("v", &name[1..], 1, &ready).unwrap();
        assert_eq!(queues.resolve("v", &name[1..]), Some(id));
    }

    #[test]
    fn all_queues_have_one_bound_and_what_is_forgotten_gives_room() {
        let queues = Queues::default();
        let (ready, _told) = mpsc::channel(8);
        let message = vec![0; MOST_QUEUE_BYTES];
        let fill = |vm_id: &str, name: u8| {
            let id = queues.register(vm_id, &[name], 1, &ready).unwrap();
            queues.enqueue(id, &message).map(|()| id)
        };
        let most = u8::try_from(MOST_BYTES / MOST_QUEUE_BYTES).unwrap();
        let first = fill("w", 0).unwrap();
        for name in 1..most {
            fill("v", name).unwrap();
        }
        assert_eq!(fill("v", most), Err(Status::InternalFailure));
        assert_eq!((queues.bytes("w"), queues.bytes("v")), (MOST_QUEUE_BYTES, MOST_BYTES - MOST_QUEUE_BYTES));
        queues.dequeue(first).unwrap();
        assert_eq!(queues.bytes("w"), 0);
        fill("w", 0).unwrap();
        queues.forget("v");
        assert!((1..most).all(|name| fill("w", name).is_ok()));
    }
}
