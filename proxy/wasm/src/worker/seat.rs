//! A plugin's seat in a machine, and what is counted of it.

use super::Slot;
use crate::{
    metrics::Metrics,
    plugin::Plugin,
    vm::{Budget, Cause, Machine, StartError},
};
use pillion_core::exchange::filter::{Failed, Services};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// A plugin's place in a machine.
pub struct Seat {
    /// Another one once it did not start beside others.
    slot: RefCell<Rc<Slot>>,
    plugin: Arc<Plugin>,
    services: Services,
    metrics: Metrics,
    /// Its root context in the machine that runs now; 0: none.
    root: Cell<u32>,
    /// Whether it is among those that sit in its slot's machine.
    up: Cell<bool>,
}

impl Seat {
    /// A seat of this slot, in no machine yet.
    pub(super) fn of(slot: Rc<Slot>, plugin: Arc<Plugin>, services: Services, metrics: Metrics) -> Rc<Self> {
        let slot = RefCell::new(slot);
        Rc::new(Self { slot, plugin, services, metrics, root: Cell::new(0), up: Cell::new(false) })
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// CPU time that a callback of it may take.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget(self.plugin.limits.callback)
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The machine that runs now, and the plugin's root context in it.
    ///
    /// # Errors
    ///
    /// None runs.
    pub fn machine(&self) -> Result<(Rc<Machine>, u32), Failed> {
        match self.slot.borrow().running() {
            Some(machine) if self.root.get() != 0 => Ok((machine, self.root.get())),
            Some(_) | None => Err(Cause::Down.failed()),
        }
    }

    /// What its worker does for it.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Another slot is its now.
    pub(super) fn go_to(&self, slot: Rc<Slot>) {
        self.slot.replace(slot);
    }

    /// Sits down in a machine: it is configured there.
    pub(super) fn sit(&self, machine: &Rc<Machine>) -> Result<(), StartError> {
        self.root.set(0);
        let root = machine.add_root(&self.plugin, Some(self.services.clone()))?;
        self.root.set(root);
        Ok(())
    }

    /// It sits in a machine that runs.
    pub(super) fn up(&self) {
        if !self.up.replace(true) && self.likes().next().is_none() {
            self.metrics.up();
        }
    }

    /// Its machine is dead.
    pub(super) fn leave(&self) {
        self.root.set(0);
        self.down();
    }

    /// It does not sit any more.
    fn down(&self) {
        if !self.up.replace(false) {
            return;
        }
        match self.likes().next() {
            Some(like) => self.metrics.hand_over(&like.metrics),
            None => {
                self.metrics.down();
                self.metrics.memory(0);
            }
        }
    }

    /// Bytes of its machine's memory now, which lives. Called where it has begun or grown, and at the end of each stream and of events: nothing is done where they are known.
    pub fn tell_memory(&self, bytes: usize) {
        if self.metrics.told() == bytes || !self.up.get() {
            return;
        }
        for like in self.likes() {
            like.metrics.hand_over(&self.metrics);
        }
        self.metrics.memory(bytes);
    }

    /// Other configurations of its filter in the same machine: that is one machine of the filter's.
    fn likes(&self) -> impl Iterator<Item = Rc<Self>> {
        let seats = self.slot.borrow().seated();
        seats.into_iter().filter(|seat| {
            !std::ptr::eq(&raw const **seat, self) && seat.up.get() && seat.plugin.name == self.plugin.name
        })
    }
}

impl Drop for Seat {
    /// The plugin is in no configuration any more, and its last stream is over.
    fn drop(&mut self) {
        self.down();
        let running = self.slot.borrow().running();
        if let Some(machine) = running
            && self.root.get() != 0
        {
            machine.retire(self.root.get(), self.budget(), Some(&self.services));
        }
    }
}

/// One plugin of each filter: one that routes configure anew has several in a machine, and that is still one machine of its.
pub(super) fn once_each(seats: &[Rc<Seat>]) -> impl Iterator<Item = &Rc<Seat>> {
    let name = |seat: &Rc<Seat>| seat.plugin.name.clone();
    seats
        .iter()
        .enumerate()
        .filter(move |(at, seat)| !seats[..*at].iter().any(|other| name(other) == name(seat)))
        .map(|(_, seat)| seat)
}
