//! Differential tests: for each malformed or ambiguous message, what Pillion answers and what reached the other side,
//! byte for byte. Nothing ambiguous is ever forwarded.
//!
//! ```text
//!   requests.txt, generated.rs ─► raw client ─► Pillion ─► recorder (a strict reader that keeps what it cannot read)
//!   bridged.rs                 ─► raw frames ─►   ″     ─►    ″
//!   responses.txt              raw client ◄── Pillion ◄── a server that says exactly this
//! ```
//!
//! Rows run one after another through one proxy, so that a connection left in doubt by a row spoils the rows after it.

mod bridged;
mod generated;
mod recorder;
mod requests;
mod responses;
mod table;
