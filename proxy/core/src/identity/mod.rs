//! Who we are to peers, whom we believe, and how that is proved.
//!
//! ```text
//!  files, Workload API ─► Secrets (control thread) ─┬─► TlsServer (one for each listener) ─► downstream::tls
//!   (the app reads)        parsed, shared           └─► TlsClient (one for each cluster)  ─► upstream::tls
//!                                                              │ judged by
//!                                                              ▼
//!                                         verify: chain (webpki), key usage, SPIFFE ID, names
//! ```
//!
//! Beside the path. What a listener or cluster presents and believes is replaced whole when it changes; what was made
//! before goes on, until its peer is not believed any more. It reads no file and opens no socket; where the secrets come
//! from is the app's business.

mod certificate;
mod client;
mod der;
mod failure;
mod material;
mod own;
mod provider;
mod server;
mod subject;
mod tickets;
mod verifier;
mod verify;

pub use certificate::{Authority, Facts, KeyUsage};
pub use client::{Dialling, Speaks, TlsClient};
pub use failure::{Alert, Cause, Failure};
pub use material::{Bundles, Certificate, MaterialError, Roots, Secrets, Svid};
pub use own::believable;
pub use server::{Serving, TlsServer, Updated, is_of_the_mesh, protocol_of};
pub use verify::{Judge, Refusal, Side, spiffe_id, still_valid, verify};
