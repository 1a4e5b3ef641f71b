//! Who is measured: found on the machine, configured for the same work, started, stopped.
//!
//! [`find`] says which programs there are, [`setup`] what each is configured for (files in `bench/peers/`), [`running`]
//! starts one and stops it.

pub mod find;
pub mod running;
pub mod setup;
pub mod template;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Who carries the bytes between the generator and the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// Nobody: the generator speaks to the origin. What the measuring itself costs.
    #[value(skip)]
    Direct,
    /// The proxy of this repository.
    Pillion,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

impl Peer {
    /// The proxies, in the order in which they are measured and shown.
    pub const PROXIES: [Self; 4] = [Self::Pillion, Self::Nginx, Self::Haproxy, Self::Envoy];

    /// Its name as file names and the command line have it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pillion => "pillion",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Pillion => "Pillion",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        })
    }
}
