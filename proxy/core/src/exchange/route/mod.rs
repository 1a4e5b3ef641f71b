//! Which route a request takes, and the target it is forwarded or redirected to.
//!
//! ```text
//! target ─► path::clean ─► RouteTable::find ─► weighted::choose ─► rewrite::target
//!                                        └──► rewrite::location (redirects)
//! ```
//!
//! Everything here decides and nothing acts: no clock, no socket, no randomness of its own. What arrives is
//! hostile, what the table was compiled from is not.

mod conditions;
mod hosts;
mod index;
mod matcher;
pub mod path;
mod regexes;
pub mod rewrite;
mod table;
pub mod weighted;

pub(crate) use conditions::{HeaderConditions, decoded};
pub(crate) use hosts::{ANY, GroupId, Hosts};
pub(crate) use matcher::Matcher;
pub(crate) use path::without_parameters;
pub use table::{Found, RequestView, RouteTable};

/// Why a request has no route, or its route cannot serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing matches.
    #[error("no route matches")]
    NotFound,
    /// The route's clusters weigh nothing.
    #[error("the route's clusters weigh nothing")]
    NoWeight,
    /// CONNECT, which the listener does not serve.
    #[error("CONNECT is not served")]
    ConnectRefused,
    /// Extended CONNECT for a protocol the route does not let through.
    #[error("the protocol is not let through")]
    UpgradeRefused,
    /// The rewritten target is no target.
    #[error("rewrite: {0}")]
    Rewrite(rewrite::RewriteError),
}
