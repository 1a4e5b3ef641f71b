//! The source filter at the edge: an XDP program on network interfaces, and the rules that it holds.
//!
//! ```text
//!  frame ─► driver ─► source_filter ─► port of a listener? ─► longest prefix of the source ─► on, or dropped
//! ```
//!
//! Nothing is pinned: links and maps belong to the process and go with it, however it ends. Rules change entry by entry in
//! the maps; the program stays.

mod rules;

pub use rules::{Action, Rule, Rules, RulesError};

use crate::{
    object::{LoadError, refused},
    sys,
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, lpm_trie::Key},
    programs::{Program, ProgramError, Xdp},
};
use redirect_common::{FilterControl, Frames, slot};
use rules::{Content, Prefix, Step, steps};
use std::{
    borrow::Cow,
    ffi::CString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

/// The object that this build embeds.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!("../../../prebuilt/filter.o");

const PROGRAM: &str = "source_filter";

/// Where a frame meets the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// In the driver, before the kernel has made anything of it.
    Native,
    /// Where every driver's frames pass: later, and dearer.
    Generic,
}

impl Mode {
    /// A word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// `XDP_FLAGS_DRV_MODE`, `XDP_FLAGS_SKB_MODE` (linux/if_link.h).
    const fn flag(self) -> u32 {
        match self {
            Self::Native => 4,
            Self::Generic => 2,
        }
    }
}

/// Why the kernel does not filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map.
    #[error("a map of the source filter cannot be used: {}", crate::causes::Causes(.0))]
    Map(#[from] MapError),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// No such interface.
    #[error("there is no network interface {0:?} in this network namespace")]
    NoInterface(String),
    /// Another program is there.
    #[error("interface {0}: another XDP program is attached; `ip link show` names it")]
    Taken(String),
    /// The kernel refuses.
    #[error("interface {interface}: no XDP program can be attached in {} mode: {error}", mode.word())]
    Refused {
        /// The interface.
        interface: String,
        /// How it was tried.
        mode: Mode,
        /// What the kernel said.
        error: io::Error,
    },
    /// A trial of the program.
    #[error("the program cannot be tried: {0}")]
    Trial(io::Error),
}

/// An interface that is filtered.
#[derive(Debug)]
struct Attached {
    interface: String,
    index: u32,
    mode: Mode,
    /// The mode that was wanted; none: the better one that it takes.
    wanted: Option<Mode>,
    /// The program's place there.
    link: OwnedFd,
}

impl Drop for Attached {
    /// At once: a process between fork and exec holds the descriptor too, and the place with it. Where the interface has gone
    /// there is nothing to leave.
    fn drop(&mut self) {
        drop(sys::detach(self.link.as_fd()));
    }
}

/// What a slot has counted on all CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// A rule's name; none for `other`, `malformed`, `unmatched`.
    pub rule: Option<String>,
    /// `other`, `malformed`, `unmatched`, or `rule`.
    pub kind: &'static str,
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The program in the kernel, its rules and where it stands. Dropped, nothing of it is left.
pub struct SourceFilter {
    ebpf: Ebpf,
    control: Array<MapData, FilterControl>,
    v4: LpmTrie<MapData, [u8; 4], u32>,
    v6: LpmTrie<MapData, [u8; 16], u32>,
    ports: HashMap<MapData, u32, u32>,
    counts: PerCpuArray<MapData, Frames>,
    content: Content,
    attached: Vec<Attached>,
}

impl SourceFilter {
    /// Loads the program of this build, or another one. It lets everything pass until it has rules.
    ///
    /// # Errors
    ///
    /// The kernel refuses it; without CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON it does.
    pub fn load(object: Option<Vec<u8>>) -> Result<Self, FilterError> {
        let bytes = object.map_or(Cow::Borrowed(EMBEDDED), Cow::Owned);
        let mut ebpf = EbpfLoader::new().load(&bytes).map_err(LoadError::from)?;
        let wrong = |error| LoadError::Program { name: PROGRAM, error };
        match ebpf.program_mut(PROGRAM) {
            Some(Program::Xdp(program)) => Xdp::load(program).map_err(|error| refused(PROGRAM, error))?,
            _ => return Err(wrong(ProgramError::UnexpectedProgramType).into()),
        }
        let mut take = |name: &'static str| -> Result<Map, MapError> {
            ebpf.take_map(name).ok_or(MapError::InvalidName { name: name.into() })
        };
        Ok(Self {
            control: Array::try_from(take("FILTER")?)?,
            v4: LpmTrie::try_from(take("SOURCES4")?)?,
            v6: LpmTrie::try_from(take("SOURCES6")?)?,
            ports: HashMap::try_from(take("FILTER_PORTS")?)?,
            counts: PerCpuArray::try_from(take("FILTER_COUNTS")?)?,
            content: Content::default(),
            attached: Vec::new(),
            ebpf,
        })
    }

    /// Puts rules in force, while frames flow. On the way from one set to another a frame may meet some of both; none is
    /// dropped that both let pass.
    ///
    /// # Errors
    ///
    /// Rules that do not fit, of which nothing is taken; or a map that takes no more, in which case the kernel holds some of them.
    pub fn apply(&mut self, rules: &Rules) -> Result<(), FilterError> {
        let wanted = Content::of(rules, &self.content)?;
        // A slot that comes to another rule counts from nothing.
        let new = wanted.slots.iter().filter(|(name, slot)| self.content.slots.get(*name) != Some(slot));
        for (_, slot) in new {
            let cpus = self.counts.get(slot, 0)?.len();
            let zero = aya::maps::PerCpuValues::try_from(vec![Frames::default(); cpus]).map_err(MapError::from)?;
            self.counts.set(*slot, zero, 0)?;
        }
        // What is known to stand there is noted as it comes, so that a failure midway is mended by the next try.
        self.content.slots = wanted.slots;
        put(&mut self.v4, &mut self.content.v4, &wanted.v4)?;
        put(&mut self.v6, &mut self.content.v6, &wanted.v6)?;
        crate::maps::make(&mut self.ports, &wanted.ports)?;
        self.content.ports = wanted.ports;
        self.control.set(0, wanted.control, 0)?;
        self.content.control = wanted.control;
        Ok(())
    }

    /// Attaches to an interface, in the mode that is wanted or, with none, in the better one that it takes. Says which. An
    /// interface that is filtered already stays so, unless another one has taken its name, or another mode is wanted than before:
    /// the kernel has place for one program, so that for a moment none is there. With none wanted any more the better mode is
    /// tried again, once.
    ///
    /// # Errors
    ///
    /// There is none of that name, or it takes no program.
    pub fn attach(&mut self, interface: &str, wanted: Option<Mode>) -> Result<Mode, FilterError> {
        let index = index(interface).ok_or_else(|| FilterError::NoInterface(interface.into()))?;
        let same = |attached: &Attached| attached.interface == interface && attached.index == index;
        if let Some(attached) = self.attached.iter_mut().find(|attached| same(attached)) {
            // What is there is wanted, or is the best there is.
            if wanted.unwrap_or(Mode::Native) == attached.mode || wanted == attached.wanted {
                attached.wanted = wanted;
                return Ok(attached.mode);
            }
        }
        self.detach(interface);
        let program = self.ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded);
        let program = program.and_then(Program::fd).map_err(|error| LoadError::Program { name: PROGRAM, error })?;
        let modes: &[Mode] = match &wanted {
            Some(mode) => std::slice::from_ref(mode),
            None => &[Mode::Native, Mode::Generic],
        };
        let mut last = None;
        for mode in modes.iter().copied() {
            match sys::link_interface(program.as_fd(), index, mode.flag()) {
                Ok(link) => {
                    self.attached.push(Attached { interface: interface.into(), index, mode, wanted, link });
                    return Ok(mode);
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) => {
                    return Err(FilterError::Taken(interface.into()));
                }
                Err(error) => last = Some(FilterError::Refused { interface: interface.into(), mode, error }),
            }
        }
        Err(last.unwrap_or_else(|| FilterError::NoInterface(interface.into())))
    }

    /// Leaves an interface alone again.
    pub fn detach(&mut self, interface: &str) {
        self.attached.retain(|attached| attached.interface != interface);
    }

    /// The interfaces that are filtered, and how. One that has gone meanwhile is not among them.
    pub fn attached(&self) -> impl Iterator<Item = (&str, Mode)> {
        let there = |attached: &&Attached| index(&attached.interface) == Some(attached.index);
        self.attached.iter().filter(there).map(|attached| (attached.interface.as_str(), attached.mode))
    }

    /// What was counted since the program was loaded; of a rule, since it is there.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn counts(&self) -> Result<Vec<Count>, FilterError> {
        let fixed = [("other", slot::OTHER), ("malformed", slot::MALFORMED), ("unmatched", slot::UNMATCHED)];
        let fixed = fixed.into_iter().map(|(kind, slot)| (None, kind, slot));
        let rules = self.content.slots.iter().map(|(name, slot)| (Some(name.clone()), "rule", *slot));
        fixed
            .chain(rules)
            .map(|(rule, kind, slot)| {
                let cpus = self.counts.get(&slot, 0)?;
                let sum = |of: fn(&Frames) -> u64| cpus.iter().map(of).fold(0, u64::wrapping_add);
                Ok(Count { rule, kind, frames: sum(|count| count.frames), bytes: sum(|count| count.bytes) })
            })
            .collect()
    }

    /// What the program does with a frame, which goes nowhere, and how long that takes: the mean of so many times. A
    /// frame has fourteen bytes at least.
    ///
    /// # Errors
    ///
    /// The kernel does not try it (`BPF_PROG_TEST_RUN`, Linux 4.12).
    pub fn try_out(&self, frame: &[u8], times: u32) -> Result<(Action, Duration), FilterError> {
        let program = self.ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded);
        let program = program.and_then(Program::fd).map_err(|error| LoadError::Program { name: PROGRAM, error })?;
        let (verdict, took) = sys::test_run(program.as_fd(), frame, times).map_err(FilterError::Trial)?;
        // XDP_DROP (linux/bpf.h).
        Ok((if verdict == 1 { Action::Drop } else { Action::Pass }, took))
    }
}

fn put<const N: usize>(
    map: &mut LpmTrie<MapData, [u8; N], u32>,
    there: &mut std::collections::BTreeMap<Prefix<N>, u32>,
    wanted: &std::collections::BTreeMap<Prefix<N>, u32>,
) -> Result<(), MapError>
where
    [u8; N]: aya::Pod,
{
    for step in steps(there, wanted) {
        match step {
            Step::Insert((bits, address), value) => {
                map.insert(&Key::new(bits.into(), address), value, 0)?;
                there.insert((bits, address), value);
            }
            Step::Remove((bits, address)) => {
                map.remove(&Key::new(bits.into(), address))?;
                there.remove(&(bits, address));
            }
        }
    }
    Ok(())
}

/// The number of an interface.
fn index(interface: &str) -> Option<u32> {
    let name = CString::new(interface).ok()?;
    // SAFETY: a string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}
