//! A configuration whose filters are loaded, and one that waits for what they are loaded from.

use super::{
    Control,
    commit::{Failure, Prepared},
};
use crate::{
    assembly::{LoadingFilters, NotLoaded, Patience, Plane, Rejected},
    reload::Reason,
};
use pillion_config::model::Config;
use std::{future::pending, sync::Arc};

/// A configuration that is not in force since something that its filters are loaded from could not be had.
pub(super) struct Behind<P: Plane> {
    config: Arc<Config>,
    filters: LoadingFilters<P::Filters>,
}

/// What an operator is told beside it.
const AGAIN: &str = "what could not be fetched is tried again until it is there, and the configuration comes into force then; or it is \
                     read again";

impl<P: Plane> Control<P> {
    /// Waits until the filters of what is prepared are loaded. Cancel-safe.
    pub(super) async fn filters(prepared: &mut Option<Prepared<P>>) -> Result<P::Filters, NotLoaded> {
        let Some(loading) = prepared.as_mut().and_then(|prepared| prepared.filters.as_mut()) else {
            return pending().await;
        };
        let loaded = loading.await;
        if let Some(prepared) = prepared {
            prepared.filters = None;
        }
        loaded
    }

    /// Its filters are loaded, or cannot be: compiles what is prepared, or drops it.
    ///
    /// # Errors
    ///
    /// When there is none before it that could stay in force.
    pub(super) fn filters_loaded(&mut self, filters: Result<P::Filters, NotLoaded>) -> Result<(), Failure> {
        let Some(mut prepared) = self.prepared.take() else { return Ok(()) };
        let in_force = self.in_force.borrow().clone();
        let compiled = filters.and_then(|filters| {
            let compiled = self.plane.compile(&prepared.config, in_force.as_ref(), Some(filters));
            compiled.map_err(|rejected| NotLoaded { rejected, away: false })
        });
        match compiled {
            Ok(snapshot) => {
                prepared.snapshot = Some(snapshot);
                self.prepared = Some(prepared);
                Ok(())
            }
            Err(NotLoaded { rejected: Rejected(words), .. }) if in_force.is_none() => Err(Failure(words)),
            Err(NotLoaded { rejected: Rejected(words), away }) => {
                let Prepared { config, waiting, .. } = prepared;
                let behind =
                    if away { self.plane.load_filters(&config, in_force.as_ref(), Patience::Behind) } else { None };
                self.reject(waiting, if behind.is_some() { words + AGAIN } else { words });
                self.behind = behind.map(|filters| Behind { config, filters });
                Ok(())
            }
        }
    }

    /// Waits until what a configuration waits for is there. Cancel-safe.
    pub(super) async fn behind(behind: &mut Option<Behind<P>>) -> Result<P::Filters, NotLoaded> {
        match behind {
            Some(behind) => (&mut behind.filters).await,
            None => pending().await,
        }
    }

    /// What a configuration waited for came, or something else is wrong with it.
    pub(super) async fn caught_up(&mut self, filters: Result<P::Filters, NotLoaded>) {
        let Some(Behind { config, .. }) = self.behind.take() else { return };
        match filters {
            Ok(filters) => self.reload_with(Vec::new(), Reason::Changed, Some((config, filters))).await,
            Err(NotLoaded { rejected: Rejected(words), .. }) => self.reject(Vec::new(), words),
        }
    }
}
