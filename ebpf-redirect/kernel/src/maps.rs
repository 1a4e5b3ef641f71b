//! What the programs share with each other and with the loader. All of it is pinned: it outlives the process that
//! loaded it, since a map of sockets that goes away takes live connections' bytes with it.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, SkStorage, SockHash},
    helpers::generated::{bpf_probe_read_kernel, bpf_sk_storage_get},
    macros::btf_map,
};
use core::ffi::c_void;
use redirect_common::{
    Address, COUNTERS, Claimed, Control, Counter, Endpoint, Event, Flow, Identity, LAYOUT, Listener, MOST_HINTS,
    MOST_NAMED, MOST_NAMESPACES, MOST_SOCKETS, MOST_TURNS, Original, Pair, PairKey, counts, flow as bits, mode,
};

/// What to do.
#[btf_map]
pub static CONTROL: Array<Control, 1> = Array::new();

/// The proxy's ports, by number: `redirect_common::port`.
#[btf_map]
pub static PORTS: HashMap<u32, u32, MOST_NAMED> = HashMap::new();

/// Who the proxy is.
#[btf_map]
pub static PROXIES: HashMap<Identity, u32, MOST_NAMED> = HashMap::new();

/// Destinations that are not captured.
#[btf_map]
pub static EXCLUDED: LpmTrie<[u32; 4], u32, 4096> = LpmTrie::new();

/// Destination ports that are not captured.
#[btf_map]
pub static EXCLUDED_PORTS: HashMap<u32, u32, MOST_NAMED> = HashMap::new();

/// The enrolled sockets. A closed one is taken out by the kernel.
#[btf_map]
pub static SOCKETS: SockHash<PairKey, MOST_SOCKETS> = SockHash::new();

/// The verdict in force at 0: enrolled sockets keep the program that they were enrolled with, which is the stub.
#[btf_map]
pub static PROGRAMS: ProgramArray<1> = ProgramArray::new();

/// What is known of each socket.
#[btf_map]
pub static FLOWS: SkStorage<Flow> = SkStorage::new();

/// Clients that the proxy has heard a SYN from and not yet an ACK. The oldest give way.
#[btf_map]
pub static EXPECTED: LruHashMap<Endpoint, u32, MOST_HINTS> = LruHashMap::new();

/// Connections with at least one end enrolled, until both know of each other. The oldest give way.
#[btf_map]
pub static PAIRS: LruHashMap<PairKey, Pair, MOST_HINTS> = LruHashMap::new();

/// Where captured connections wanted to go. The oldest give way.
#[btf_map]
pub static ORIGINALS: LruHashMap<Endpoint, Original, MOST_HINTS> = LruHashMap::new();

/// What was claimed, by the network namespace's cookie.
#[btf_map]
pub static CLAIMS: HashMap<u64, Claimed, MOST_NAMESPACES> = HashMap::new();

/// The listeners of claims, of both families. A closed one is taken out by the kernel.
#[btf_map]
pub static LISTENERS: SockHash<Listener, { MOST_NAMESPACES * 2 * MOST_TURNS }> = SockHash::new();

/// One slot for each `Counter`: of traffic, and of the self-test's own.
#[btf_map]
pub static COUNTS: PerCpuArray<[u64; COUNTERS.len()], 2> = PerCpuArray::new();

/// How connections ended.
#[btf_map]
pub static EVENTS: RingBuf<Event, { 256 * 1024 }> = RingBuf::new();

/// A word of kernel memory; `None`: there is none at that address.
#[inline(always)]
pub fn word(base: u64, offset: u32) -> Option<u32> {
    let mut word = 0_u32;
    let at = base.wrapping_add(offset.into());
    // SAFETY: a read that faults gives an error; the destination is a word of this stack.
    let failed = unsafe { bpf_probe_read_kernel((&raw mut word).cast(), 4, at as *const _) };
    if failed == 0 { Some(word) } else { None }
}

/// Two words of kernel memory: an address or a number; 0 where there is none.
#[inline(always)]
pub fn long(base: u64, offset: u32) -> u64 {
    let mut long = 0_u64;
    let at = base.wrapping_add(offset.into());
    // SAFETY: as above.
    let failed = unsafe { bpf_probe_read_kernel((&raw mut long).cast(), 8, at as *const _) };
    if failed == 0 { long } else { 0 }
}

/// An address that no socket has.
pub const NOWHERE: Address = Address([0; 4]);

/// What to do, if it is a loader of our own layout that says so.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    CONTROL.get(0).filter(|control| control.layout == LAYOUT)
}

/// Whether connections of other than the self-test are to be served.
#[inline(always)]
pub fn on(control: &Control) -> bool {
    control.mode == mode::ON
}

/// Adds to a counter of this CPU: to those of the self-test where a flow's `flags` say so.
#[inline(always)]
pub fn count(flags: u32, counter: Counter, by: u64) {
    let whose = if flags & bits::SELF_TEST == 0 { counts::TRAFFIC } else { counts::SELF_TEST };
    if let Some(counts) = COUNTS.get_ptr_mut(whose) {
        // SAFETY: the kernel gave this CPU's slot; programs are not preempted by others on the same CPU often enough to
        // matter for a sum, and the index is below the array's length by the enum.
        unsafe { *(&raw mut (*counts)[counter as usize]) += by };
    }
}

/// What is known of a socket, if anything.
///
/// # Safety
///
/// `socket` is what the kernel put into the program's context, checked for null.
#[inline(always)]
pub unsafe fn flow(socket: *mut c_void) -> Option<*mut Flow> {
    // SAFETY: the map is one of sockets' storage, the socket is the context's.
    let found = unsafe { bpf_sk_storage_get((&raw const FLOWS).cast_mut().cast(), socket, core::ptr::null_mut(), 0) };
    let found = found.cast::<Flow>();
    if found.is_null() { None } else { Some(found) }
}

/// The same, made where there is none.
///
/// # Safety
///
/// As [`flow`].
#[inline(always)]
pub unsafe fn flow_or_new(socket: *mut c_void) -> Option<*mut Flow> {
    // SAFETY: as above; BPF_SK_STORAGE_GET_F_CREATE (1) makes a zeroed value.
    let found = unsafe { bpf_sk_storage_get((&raw const FLOWS).cast_mut().cast(), socket, core::ptr::null_mut(), 1) };
    let found = found.cast::<Flow>();
    if found.is_null() { None } else { Some(found) }
}

/// Only if there is none yet.
pub const ONCE: u64 = BPF_NOEXIST as u64;
