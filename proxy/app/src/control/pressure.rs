//! Looking at memory: what it demands of all, and what may be taken of it until it is looked at again.

use super::Control;
use crate::{
    assembly::Plane,
    cgroup::{Pressure, Thresholds},
    memory,
    worker::Order,
};
use pillion_config::model::ProcessLimits;
use pillion_wasm::census::Room;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Time between two machines of filters that are given back: pages go back to the kernel in pieces, and memory is looked at several
/// times before the next one has to go.
const GIVES_BACK_EVERY: Duration = Duration::from_secs(1);

/// Time between two attempts to have freed memory given back where there is no pressure yet: each costs a worker the pages that it
/// would have used again.
const TIDIES_EVERY: Duration = Duration::from_secs(1);

/// How long workers take for that: some ten microseconds, and their turn.
const TIDYING: Duration = Duration::from_millis(20);

impl<P: Plane> Control<P> {
    pub(super) fn look_at_memory(&mut self) {
        let config = self.state.config.borrow().as_ref().map(Arc::clone);
        match config {
            Some(config) => self.look_at_memory_within(&config.limits),
            // Looked at before anything is served.
            None => self.memory_at = Some(Instant::now() + Duration::from_secs(1)),
        }
    }

    /// Looks at memory, if it is limited, under these limits.
    pub(super) fn look_at_memory_within(&mut self, limits: &ProcessLimits) {
        let Some(meter) = &self.state.meter else { return };
        let before_look = self.plane.before_look();
        let Some(usage) = meter.read() else {
            self.plane.allow_growth(Room { growth: u64::MAX, starts: u64::MAX, machines: 1 }, u64::MAX, before_look);
            self.memory_at = Some(Instant::now() + Duration::from_secs(1));
            return;
        };
        let thresholds = Thresholds::of(limits);
        let before = self.state.pressure.get();
        if thresholds.is_full(usage) {
            self.full_at = Some(Instant::now());
        }
        let full_ago = self.full_at.map_or(Duration::MAX, |at| at.elapsed());
        let pressure = thresholds.judge(before, full_ago, usage);
        if pressure != before {
            self.state.pressure.set(pressure);
            self.plane.pressure(pressure);
            tracing::warn!(?pressure, used = usage.used, limit = usage.limit, "memory pressure changed");
        }
        let workers = self.state.workers.max(1) as u64;
        self.plane.allow_unfinished(&|held| thresholds.unfinished(usage, held) / workers);
        // Before the first configuration is in force nobody is served beside what starts.
        let starts = if self.in_force.borrow().is_some() { thresholds.starts(usage) } else { u64::MAX };
        let room = Room { growth: thresholds.growth(usage), starts, machines: self.state.workers };
        self.plane.allow_growth(room, thresholds.storable(usage), before_look);
        self.plane.allow_requests(&|in_flight| thresholds.requests(usage, in_flight));
        if pressure >= Pressure::Shrink {
            self.workers.hint(Order::CloseIdle);
        }
        let mut next_look = thresholds.next_look(usage);
        if pressure == Pressure::Normal && thresholds.is_tight(usage) && is_over(self.tidied, TIDIES_EVERY) {
            self.tidied = Some(Instant::now());
            self.workers.hint(Order::GiveBackHeap);
            memory::give_back_heap();
            // Nobody is to be refused for what has been given back.
            next_look = TIDYING;
        }
        let mut gives_back = false;
        if pressure == Pressure::Refuse || thresholds.must_give_back(usage) {
            // What has grown beyond bounds goes before those who are served, what is only tried before that, and its effect is waited for.
            if self.plane.end_trials() {
                gives_back = true;
                self.given_back = Some(Instant::now());
            } else if is_over(self.given_back, GIVES_BACK_EVERY)
                && let Some(machine) = self.plane.most_grown(usage.worth_giving_back())
            {
                gives_back = true;
                self.given_back = Some(Instant::now());
                self.workers.hint(Order::GiveBack(machine));
            }
        }
        if pressure == Pressure::Refuse && !gives_back && thresholds.must_cut(usage, meter.own()) {
            self.workers.hint(Order::Relieve);
        }
        self.memory_at = Some(Instant::now() + next_look);
    }
}

/// Whether so much time has passed since something was done, or it never was.
fn is_over(last: Option<Instant>, wait: Duration) -> bool {
    last.is_none_or(|at| at.elapsed() >= wait)
}
