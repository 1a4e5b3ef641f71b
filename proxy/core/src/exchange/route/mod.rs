<<<<<<< HEAD
//! Being written.
=======
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
pub mod path;
mod regexes;
pub mod rewrite;
mod table;
pub mod weighted;

pub use table::{Found, RequestView, RouteTable};
>>>>>>> route
