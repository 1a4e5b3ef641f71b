//! The compiled programs: embedded, loaded into the kernel, verified.

use crate::{
    btf::{Btf, BtfError},
    causes::Causes,
    pins::Pins,
    shapes::MAPS,
    sys::Hook,
};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::MapError,
    programs::{CgroupSockAddr, CgroupSockopt, Program, ProgramError, ProgramFd, SkLookup, SkMsg, SockOps},
};
use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

/// The object that this build embeds, and the digest of the source that it came from.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../prebuilt/redirect.o");
/// In hexadecimal.
const DIGEST: &str = include_str!("../../prebuilt/redirect.digest");

/// Programs of one build.
#[derive(Debug, Clone)]
pub struct Object {
    bytes: Cow<'static, [u8]>,
    digest: Cow<'static, str>,
}

impl Default for Object {
    fn default() -> Self {
        Self { bytes: EMBEDDED.into(), digest: DIGEST.trim().into() }
    }
}

impl Object {
    /// Another build's, as tests and those who build their own use it.
    #[must_use]
    pub fn of(bytes: Vec<u8>, digest: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), digest: digest.into().into() }
    }

    /// The digest of its source, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether this build embeds programs at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Why programs did not come into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Fields that a program reads are not known.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The object or its maps.
    #[error("the object cannot be loaded: {}", Causes(.0))]
    Object(EbpfError),
    /// The kernel refuses to load programs at all.
    #[error("program {name}: {error}: loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root")]
    Forbidden {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// The kernel refuses to make maps at all.
    #[error("maps cannot be made: {0}: loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root")]
    NoMaps(std::io::Error),
    /// The verifier does.
    #[error("program {name} is refused by the kernel: {error}\n--- the end of the verifier's log ---\n{log}")]
    Refused {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        error: std::io::Error,
        /// The verifier's own words.
        log: String,
    },
    /// It is not in the object, or of another kind.
    #[error("program {name}: {}", Causes(.error))]
    Program {
        /// The program.
        name: &'static str,
        /// Why.
        error: ProgramError,
    },
}

/// A program, by its name in the object, and where it is attached.
pub(crate) struct Attachment {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) when: When,
}

/// For what a program is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    /// Where outbound connections are captured.
    Outbound,
    /// Where inbound connections are.
    Inbound,
}

const fn attachment(name: &'static str, hook: Hook, when: When) -> Attachment {
    Attachment { name, hook, when }
}

/// What is attached to the cgroup.
pub(crate) const ATTACHMENTS: &[Attachment] = &[
    attachment("connect4", Hook::Connect4, When::Always),
    attachment("connect6", Hook::Connect6, When::Always),
    attachment("getpeername4", Hook::Getpeername4, When::Outbound),
    attachment("getpeername6", Hook::Getpeername6, When::Outbound),
    attachment("getsockopt", Hook::Getsockopt, When::Outbound),
    attachment(HOLD, Hook::Setsockopt, When::Always),
    // It begins to enrol, and to see who listens.
    attachment(ENROL, Hook::SockOps, When::Always),
    // Last: who makes a claim is seen to listen after it.
    attachment(CLAIM, Hook::Setsockopt, When::Inbound),
];

/// The verdict that the stub calls, and the stub.
pub(crate) const VERDICT: &str = "verdict";
pub(crate) const STUB: &str = "verdict_stub";

const HOLD: &str = "setsockopt";
const ENROL: &str = "enrol";
/// What takes claims.
pub(crate) const CLAIM: &str = "claim";

/// What is attached to network namespaces, a copy of its own to each.
pub(crate) const LOOKUP: &str = "lookup";

/// What the self-test needs on its own cgroup: of these programs those that see its own pairs and no others.
pub(crate) const HOLD_TEST: &str = "setsockopt_test";
pub(crate) const ENROL_TEST: &str = "enrol_test";

/// Programs in the kernel, held by this process until something else holds them.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    /// What reading, relocating and verifying took.
    pub(crate) took: Duration,
}

/// Loads an object over an instance's maps; those that are not pinned yet are made and pinned.
/// What inbound connections are captured by, which asks for a later kernel, only where that is wanted.
/// `sockets`: for how many a map of sockets is made.
pub(crate) fn load(object: &Object, pins: &Pins, inbound: bool, sockets: u32) -> Result<Loaded, LoadError> {
    let begun = Instant::now();
    let btf = Btf::of_kernel()?;
    let fields = [
        ("TCP_WRITE_SEQ", btf.offset("tcp_sock", "write_seq")?),
        ("TCP_COPIED_SEQ", btf.offset("tcp_sock", "copied_seq")?),
        ("SOCK_RMEM_ALLOC", btf.offset("sock", "sk_backlog.rmem_alloc")?),
        ("SOCK_SNDTIMEO", btf.offset("sock", "sk_sndtimeo")?),
        ("SOCK_RCVTIMEO", btf.offset("sock", "sk_rcvtimeo")?),
        // For events only: 0 says unknown.
        ("SOCK_CGROUP", btf.offset("sock", "sk_cgrp_data").unwrap_or(0)),
        ("CGROUP_NODE", btf.offset("cgroup", "kn").unwrap_or(0)),
        ("NODE_ID", btf.offset("kernfs_node", "id").unwrap_or(0)),
        ("SOCK_NET", if inbound { btf.offset("sock", "__sk_common.skc_net")? } else { 0 }),
        ("NET_INODE", if inbound { btf.offset("net", "ns.inum")? } else { 0 }),
        ("NET_OWNER", if inbound { btf.offset("net", "user_ns")? } else { 0 }),
        ("OWNER_LEVEL", if inbound { btf.offset("user_namespace", "level")? } else { 0 }),
    ];
    drop(btf);
    let mut loader = EbpfLoader::new();
    for (name, offset) in &fields {
        loader.override_global(name, offset, true);
    }
    for map in MAPS {
        loader.map_pin_path(map.name, pins.map(map.name));
    }
    loader.map_max_entries("SOCKETS", sockets);
    let mut ebpf = loader.load(&object.bytes).map_err(LoadError::from)?;
    let attached = ATTACHMENTS.iter().filter(|attachment| inbound || attachment.when != When::Inbound);
    for name in [STUB, VERDICT, HOLD_TEST, ENROL_TEST].into_iter().chain(attached.map(|attachment| attachment.name)) {
        let program = program(&mut ebpf, name)?;
        let loaded = match program {
            Program::SkMsg(program) => SkMsg::load(program),
            Program::SockOps(program) => SockOps::load(program),
            Program::CgroupSockAddr(program) => CgroupSockAddr::load(program),
            Program::CgroupSockopt(program) => CgroupSockopt::load(program),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|error| refused(name, error))?;
    }
    Ok(Loaded { ebpf, took: begun.elapsed() })
}

/// Loads what is attached to network namespaces, one copy for each, over an instance's maps, which are there.
pub(crate) struct Lookups<'a> {
    object: &'a Object,
    /// Kept, since aya reads all of the kernel's type information for a new one.
    loader: EbpfLoader<'a>,
}

impl<'a> Lookups<'a> {
    pub(crate) fn new(object: &'a Object, pins: &Pins) -> Self {
        let mut loader = EbpfLoader::new();
        // The program reads no structure of the kernel's.
        loader.btf(None);
        for map in MAPS {
            loader.map_pin_path(map.name, pins.map(map.name));
        }
        Self { object, loader }
    }

    /// The one for the namespace of this cookie.
    pub(crate) fn load(&mut self, cookie: &'a u64) -> Result<Loaded, LoadError> {
        let begun = Instant::now();
        self.loader.override_global("NETNS", cookie, true);
        let mut ebpf = self.loader.load(&self.object.bytes).map_err(LoadError::from)?;
        let loaded = match program(&mut ebpf, LOOKUP)? {
            Program::SkLookup(program) => SkLookup::load(program),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|error| refused(LOOKUP, error))?;
        Ok(Loaded { ebpf, took: begun.elapsed() })
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, LoadError> {
    ebpf.program_mut(name).ok_or(LoadError::Program { name, error: ProgramError::NotLoaded })
}

impl From<EbpfError> for LoadError {
    /// Maps are made in an order that differs from time to time: which one was refused first says nothing.
    fn from(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(MapError::CreateError { io_error, .. })
                if io_error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::NoMaps(io_error)
            }
            error => Self::Object(error),
        }
    }
}

pub(crate) fn refused(name: &'static str, error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = end(&verifier_log.to_string()).to_owned();
            if log.trim().is_empty() && io_error.kind() == std::io::ErrorKind::PermissionDenied {
                LoadError::Forbidden { name, error: io_error }
            } else {
                LoadError::Refused { name, error: io_error, log }
            }
        }
        error => LoadError::Program { name, error },
    }
}

/// What is told of a verifier's log: its end, which has the reason.
const TOLD: usize = 1500;

fn end(log: &str) -> &str {
    let log = log.trim_end();
    let from = log.ceil_char_boundary(log.len().saturating_sub(TOLD));
    // From the beginning of a line.
    match log[from..].split_once('\n') {
        Some((_, lines)) if from > 0 => lines,
        _ => &log[from..],
    }
}

impl Loaded {
    /// A loaded program.
    pub(crate) fn fd(&self, name: &'static str) -> Result<&ProgramFd, LoadError> {
        let failed = |error| LoadError::Program { name, error };
        let program = self.ebpf.program(name).ok_or(failed(ProgramError::NotLoaded))?;
        program.fd().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::{TOLD, end};

    #[test]
    fn of_a_long_log_the_end_is_told_in_whole_lines() {
        assert_eq!(end("short\nreason\n"), "short\nreason");
        let log = "0: (b7) r0 = 0 ä\n".repeat(1000) + "R1 invalid mem access 'scalar'\nprocessed 1000 insns\n";
        let told = end(&log);
        assert!(told.len() <= TOLD && told.starts_with("0: (b7)") && told.ends_with("processed 1000 insns"), "{told}");
        assert_eq!(end(&"x".repeat(5000)).len(), TOLD);
    }
}
