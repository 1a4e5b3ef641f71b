//! error: why nothing was attached, or nothing was changed.

use crate::{
    causes::Causes,
    mounts::MountError,
    object::LoadError,
    pins::PinError,
    self_test::{Declined, SelfTestError},
};
use aya::maps::MapError;
use std::{io, net::IpAddr};

/// Why nothing was attached, or nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The build has no programs.
    #[error("this build embeds no programs: build them with ebpf-redirect/build")]
    NoObject,
    /// The cgroup.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The pins.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The maps.
    #[error("a map cannot be used: {}", Causes(.0))]
    Map(#[from] MapError),
    /// The self-test could not be made.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
    /// It failed: this kernel has a fault, and everything stays on plain TCP.
    #[error("the self-test failed: {0}")]
    Declined(Declined),
    /// A prefix that is longer than its address.
    #[error("{0}/{1} is no prefix")]
    Prefix(IpAddr, u8),
    /// The instance serves another cgroup, and would go on doing so.
    #[error(
        "{instance} is attached to {there} and not to {asked}: `pillion redirect detach --instance {instance}` detaches it there; \
         where both are wanted, give one of them another name (`--instance`, `redirect.instance`)"
    )]
    Elsewhere {
        /// Its name.
        instance: String,
        /// The cgroup that it serves.
        there: String,
        /// The one that was asked for.
        asked: String,
    },
    /// A hook of the kernel.
    #[error("{hook}: {error}")]
    Hook {
        /// Which.
        hook: String,
        /// What the kernel said.
        error: io::Error,
    },
}

impl AttachError {
    /// A word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoObject => "no_object",
            Self::Mount(_) => "mount",
            Self::Pin(_) => "pins",
            Self::Load(LoadError::Forbidden { .. } | LoadError::NoMaps(_)) => "forbidden",
            Self::Load(LoadError::Btf(_)) => "btf",
            Self::Load(_) => "load",
            Self::Map(_) => "map",
            Self::SelfTest(_) => "self_test",
            Self::Declined(declined) => declined.outcome.property.name(),
            Self::Prefix(..) => "prefix",
            Self::Elsewhere { .. } => "elsewhere",
            Self::Hook { .. } => "hook",
        }
    }
}

/// Names the hook that the kernel refused.
pub(crate) fn hook(name: &str) -> impl FnOnce(io::Error) -> AttachError {
    let hook = name.to_owned();
    move |error| AttachError::Hook { hook, error }
}
