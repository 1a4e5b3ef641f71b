//! Filters of Pillion's own.

mod headers;
mod jwt;
mod rate_limit;
mod source;

use super::{Factory, LoadError, Loader, Loading};
use headers::HeaderPolicy;
use pillion_config::model::{self, FilterKind};
use rate_limit::RateLimiter;
use std::sync::Arc;

/// Loads Pillion's own filters; `other` loads the rest, wasm modules.
pub struct Native<'a> {
    /// Who loads what is not native; `None`: nobody can, and such a filter is refused.
    pub other: Option<&'a dyn Loader>,
}

impl Loader for Native<'_> {
    fn load<'a>(&'a self, filter: &'a Arc<model::Filter>, previous: Option<&'a Arc<dyn Factory>>) -> Loading<'a> {
        let factory: Arc<dyn Factory> = match (&filter.kind, self.other, previous) {
            (FilterKind::Wasm(_), Some(other), _) => return other.load(filter, previous),
            (FilterKind::Wasm(_), None, _) => {
                return Box::pin(async {
                    let reason = "this build runs no wasm filters".to_owned();
                    Err(LoadError::of(filter, model::Part::Definition, reason))
                });
            }
            // With it what it has counted.
            (FilterKind::Headers(_) | FilterKind::RateLimit(_) | FilterKind::Jwt(_), _, Some(previous)) => {
                Arc::clone(previous)
            }
            (FilterKind::Headers(rules), _, None) => Arc::new(HeaderPolicy::new(rules)),
            (FilterKind::Jwt(model), _, None) => match jwt::JwtAuth::load(filter, model) {
                Ok(auth) => Arc::new(auth),
                Err(error) => return Box::pin(async { Err(error) }),
            },
            (FilterKind::RateLimit(limit), _, None) => Arc::new(RateLimiter::new(limit)),
        };
        Box::pin(async { Ok(factory) })
    }
}
