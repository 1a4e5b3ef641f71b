//! Pillion in Kubernetes' pods: `pillion inject` for manifests, `pillion injector` for an API server's admission requests.
//!
//! The decision is one pure function, [`pod::inject`], over a pod as JSON and the [`settings`]; what it returns becomes
//! a JSON Patch ([`diff`]) for the API server, or a splice of the text ([`yaml`]) for people, whose comments stay.
//!
//! ```text
//!  files, stdin ─► manifest (YAML with places, JSON) ─► workload (where are the pods?) ─► pod::inject ─► splice ─► text
//!  AdmissionReview ─► review ──────────────────────────────────────────────────────────► pod::inject ─► diff ─► JSONPatch
//!                                                                                           │
//!                                       settings (flags, annotations) ──────────────────────┤
//!                                       probes (moved to the proxy) · configuration · container
//! ```
//!
//! Nothing here runs, or is resident, in a proxy.

mod amend;
pub mod arguments;
pub mod command;
mod configuration;
mod container;
pub mod diff;
mod goodbye;
mod grace;
mod handed;
pub mod manifest;
mod meshes;
mod obstacles;
pub mod pod;
pub mod probes;
mod qos;
pub mod quantity;
pub mod settings;
mod status;
mod uninject;
pub mod value;
mod whole;
mod windows;
pub mod workload;
pub mod yaml;

pub use configuration::faults;
pub use uninject::{Taken, uninject};
