//! Sockets as the data path sees them: what carries bytes, where connections come from and how they are made.
//!
//! Beside the path. Two of the four seams live here, because two implementations of each exist: [`Accept`]
//! (a listening socket, an in-memory queue) and [`Dial`] (TCP, scripted by a test).

mod gone;
pub mod h2_pump;
mod own;
mod pace;
mod received;
mod redirectable;
mod seams;
mod settling;
mod socket;
pub mod tls;

pub(crate) use gone::{FLAGS, KIND, Marker, NOTHING};
pub use gone::{Gone, Hold};
pub use own::{Entry, Own};
pub(crate) use pace::Measured;
pub use pace::Pace;
#[cfg(test)]
pub(crate) use pace::Stride;
pub(crate) use received::Received;
pub use redirectable::{BRIEF, RedirectSwitch, Redirectable};
pub use seams::{Accept, Dial, DialOptions, Listening, Tcp};
pub use settling::{Outgoing, Settling};
pub use socket::{Look, Socket};
