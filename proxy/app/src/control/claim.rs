//! Telling the node's agent of the listener that it captures for, and waiting for an agent where there is none.

use super::{
    Control,
    state::{Claim, State},
};
use crate::{
    assembly::Plane,
    sockets::{Handed, Unclaimed},
};
use pillion_config::model::Config;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Time from one try to the next, at first and at most: an agent that is being started is there within seconds, and nobody
/// waits longer than this for one that comes late.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(5);

/// What is known of claims that were not taken.
#[derive(Debug, Default)]
pub(super) struct Claiming {
    due: Option<Instant>,
    tries: u32,
    /// What the log has said: once for each cause.
    said: Option<String>,
}

impl Claiming {
    /// When it is tried again; `None`: nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What became of a try.
    fn note(&mut self, waiting: Option<Unclaimed>, state: &State) {
        let Some(unclaimed) = waiting else {
            if self.said.is_some() {
                tracing::info!("the node's agent knows of the listener for what comes in");
            }
            *self = Self::default();
            state.claim.set(Claim::Made);
            return;
        };
        state.claim.set(match unclaimed {
            Unclaimed::NoAgent(_) => Claim::NoAgent,
            Unclaimed::Refused(_) => Claim::Refused,
            Unclaimed::Full(_) => Claim::Full,
            Unclaimed::Io { .. } => Claim::Failed,
        });
        state.said_ready.set(false);
        let words = unclaimed.to_string();
        if self.said.as_ref() != Some(&words) {
            tracing::warn!("not ready: {words}");
            self.said = Some(words);
        }
        self.due = Some(Instant::now() + wait(self.tries));
        self.tries = self.tries.saturating_add(1);
    }
}

/// How long after a try the next one is.
fn wait(tries: u32) -> Duration {
    FIRST.saturating_mul(1 << tries.min(8)).min(MOST)
}

impl<P: Plane> Control<P> {
    /// Claims as this configuration wants it; the sockets that listen now, by worker.
    pub(super) fn claim(&mut self, config: &Config) -> Vec<Vec<Handed>> {
        let claims = self.sockets.claim(config, self.count);
        self.claiming.note(claims.waiting, &self.state);
        claims.handed
    }

    /// Claims once more for what waits, and lets the workers accept where it was taken.
    pub(super) async fn claim_again(&mut self) {
        let config = self.state.config.borrow().clone();
        let snapshot = self.in_force.borrow().clone();
        let (Some(config), Some(snapshot)) = (config, snapshot) else { return };
        let handed = self.claim(&config);
        // Before anything is waited for: it is not ready by what was proven of the others alone.
        self.seek_proof(&config);
        let fresh = handed.iter().flatten().map(|handed| handed.name.clone()).collect::<Vec<_>>();
        if !fresh.is_empty() {
            if let Err(error) = self.workers.apply(&snapshot, handed).await {
                tracing::error!(%error, "a worker could not take a listener into use");
            }
            let listening = self.sockets.listening();
            for (name, address) in listening.iter().filter(|(name, _)| fresh.contains(name)) {
                tracing::info!(%name, %address, "listening");
            }
            self.state.listeners.replace(listening);
        }
        self.state.note_ready();
    }

    /// What was claimed is forgotten: claims once more, as if the proxy had just begun.
    pub(super) async fn claim_anew(&mut self) {
        if let Err(error) = self.sockets.bind_anew() {
            // What the agent has forgotten it will not remember.
            tracing::error!(%error, "the listener for what comes in cannot be bound anew");
        }
        self.claim_again().await;
    }

    /// Seeks the proof that connections are captured; of what comes in once the agent knows where to.
    pub(super) fn seek_proof(&mut self, config: &Arc<Config>) {
        self.proof.seek(config, &self.state, self.plane.probe_token());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_looked_for_every_second_at_first_and_every_five_later() {
        let waits: Vec<_> = (0..5).map(|tries| wait(tries).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(wait(u32::MAX), MOST);
    }
}
