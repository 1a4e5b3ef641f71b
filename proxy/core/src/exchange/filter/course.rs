//! [`Course`]: which filters a request passes, and whose they are.

use crate::{
    error::ProxyError,
    exchange::{
        head::Survey,
        route::{Found, RouteError},
    },
};
use http::request;
use pillion_config::model::{FilterIndex, Listener, Route};
use std::{sync::Arc, time::Duration};

/// For how long a request that no route takes may rest at filters: what a route has that does not say.
const IDLE: Duration = Duration::from_secs(300);

/// What a request goes by from its beginning on: the route that takes it, or, where none does, its listener. As in Envoy, a filter is
/// asked about those, too: it may answer them, or lead them to a route, and logs and counts them.
#[derive(Clone, Copy)]
pub(in crate::exchange) struct Course<'a> {
    /// `None`: no route takes it.
    pub(in crate::exchange) route: Option<&'a Arc<Route>>,
    /// The filters that it passes, in order.
    pub(super) filters: &'a [FilterIndex],
    /// For how long it may rest at them.
    pub(super) idle: Option<Duration>,
    pub(in crate::exchange) survey: Survey,
}

impl<'a> Course<'a> {
    /// The course of a request that was looked for. `None`: it passes no filters.
    #[inline]
    pub(in crate::exchange) fn of(
        found: &Result<(Survey, Found<'a>), ProxyError>,
        listener: &'a Listener,
        head: &request::Parts,
    ) -> Option<Self> {
        match found {
            Ok((survey, Found { route, .. })) => {
                let filters = route.filters.as_deref()?;
                Some(Self { route: Some(route), filters, idle: route.idle_timeout, survey: *survey })
            }
            Err(error) => Self::of_none(error, listener, head),
        }
    }

    /// What may not be asked here at all is answered before its filters.
    #[cold]
    fn of_none(error: &ProxyError, listener: &'a Listener, head: &request::Parts) -> Option<Self> {
        let filters = listener.filters.as_deref()?;
        matches!(error, ProxyError::Route(RouteError::NotFound)).then(|| Self {
            route: None,
            filters,
            idle: Some(IDLE),
            survey: Survey::of(&head.headers),
        })
    }
}
