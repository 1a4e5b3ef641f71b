//! What of a listener's HTTP connections that are not HTTP would get round, in words. Pure.

use super::filter::Filters;
use crate::model::{Action, Direction, FilterKind, Route};

/// The first thing found; `None`: requests pass as they come. What comes out of the application is kept from nobody by a route that
/// changes headers, answers itself or is missing.
pub(super) fn judge<'r>(
    routes: impl Iterator<Item = &'r Route> + Clone,
    filters: &Filters,
    direction: Direction,
) -> Option<String> {
    let outbound = direction == Direction::Outbound;
    let found = routes.clone().find_map(|route| of_route(route, filters, outbound));
    found.or_else(|| {
        let incomplete = !outbound && !routes.clone().any(|route| route.matcher.takes_all());
        incomplete.then(|| "the answer to requests that no route takes".to_owned())
    })
}

fn of_route(route: &Route, filters: &Filters, outbound: bool) -> Option<String> {
    let mut chain = route.filters.iter().flat_map(|chain| chain.iter()).filter_map(|at| filters.get(*at));
    if let Some(filter) = chain.find(|filter| !(outbound && matches!(filter.kind, FilterKind::Headers(_)))) {
        return Some(format!("the filter {:?}", filter.name));
    }
    if route.authorization.is_some() {
        return Some(format!("authorization of the route {:?}", route.name));
    }
    match route.action {
        _ if outbound => None,
        Action::Respond(_) | Action::Redirect(_) => Some(format!("the answer of the route {:?}", route.name)),
        Action::Forward(_) if route.request_headers.is_empty() => None,
        Action::Forward(_) => Some(format!("the request headers of the route {:?}", route.name)),
    }
}
