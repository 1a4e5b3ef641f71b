//! The source filter at the edge, an object of its own: it needs neither the redirect's maps nor its privileges.
//!
//! - `source_filter`, `xdp` on a network interface, native or generic; Linux 5.18. On failure the frame goes on: what the
//!   rules say holds in the proxy's `admit` as well.
//!
//! The longest prefix that matches the source decides. Rules change in the maps, entry by entry; the program stays.

#![no_std]
#![no_main]

mod object;

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, lpm_trie::Key},
    helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use redirect_common::{
    FILTER_LAYOUT, FilterControl, Frames, MOST_PORTS, MOST_PREFIXES, MOST_SLOTS, action,
    packet::{self, Frame, Port, Seen},
    slot,
};

/// What to do.
#[btf_map]
static FILTER: Array<FilterControl, 1> = Array::new();

/// Prefixes of IPv4, and each one's slot and action.
#[btf_map]
static SOURCES4: LpmTrie<[u8; 4], u32, MOST_PREFIXES> = LpmTrie::new();

/// Prefixes of IPv6.
#[btf_map]
static SOURCES6: LpmTrie<[u8; 16], u32, MOST_PREFIXES> = LpmTrie::new();

/// The listeners' ports.
#[btf_map]
static FILTER_PORTS: HashMap<u32, u32, MOST_PORTS> = HashMap::new();

/// What happened, by slot.
#[btf_map]
static FILTER_COUNTS: PerCpuArray<Frames, MOST_SLOTS> = PerCpuArray::new();

/// The number of the loopback interface in every network namespace (LOOPBACK_IFINDEX, net/net_namespace.h).
const LOOPBACK: u32 = 1;

/// Headers begin within so many bytes, or are read the slow way.
const NEAR: u32 = 0x3ff;

/// A frame as the driver has it: maybe in several buffers.
struct Received {
    ctx: *mut xdp_md,
    length: u32,
}

impl Received {
    /// Whether it came over loopback: what bears a loopback address there is this machine's own, which `admit` never asks either.
    /// On another interface it would be forged, and the rules hold.
    #[inline(always)]
    fn is_looped(&self) -> bool {
        // SAFETY: a word of the context.
        unsafe { (*self.ctx).ingress_ifindex == LOOPBACK }
    }
}

impl Frame for Received {
    #[inline(always)]
    fn read<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        // SAFETY: words of the context.
        let (begin, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        // As good as always: there, and read at once.
        let from = begin + (at & NEAR) as usize;
        if at <= NEAR && from + N <= end {
            // SAFETY: within the buffer, as was just checked.
            return Some(unsafe { (from as *const [u8; N]).read_unaligned() });
        }
        let mut bytes = [0; N];
        // SAFETY: the kernel checks the bounds, and writes into this stack as many bytes as it has.
        let failed = unsafe { bpf_xdp_load_bytes(self.ctx, at, bytes.as_mut_ptr().cast(), N as u32) };
        if failed == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.length
    }
}

#[xdp(frags)]
pub fn source_filter(ctx: XdpContext) -> u32 {
    let Some(control) = FILTER.get(0).filter(|control| control.layout == FILTER_LAYOUT) else {
        return xdp_action::XDP_PASS;
    };
    // SAFETY: the context.
    let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    let frame = Received { ctx: ctx.ctx, length };
    let (slot, verdict) = judge(control, &frame);
    if let Some(counts) = FILTER_COUNTS.get_ptr_mut(slot) {
        // SAFETY: this CPU's own slot, and no frame interrupts another on one CPU.
        unsafe {
            (*counts).frames += 1;
            (*counts).bytes += u64::from(length);
        }
    }
    if verdict == action::DROP { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

#[inline(always)]
fn judge(control: &FilterControl, frame: &Received) -> (u32, u32) {
    let value = match packet::source(frame) {
        Seen::V4(inner) => {
            if control.ports_only != 0
                && let Err(verdict) = covered(control, packet::port_v4(frame, &inner))
            {
                return verdict;
            }
            if inner.source[0] == 127 && frame.is_looped() {
                return (slot::OTHER, action::PASS);
            }
            SOURCES4.get(&Key::new(32, inner.source)).copied()
        }
        Seen::V6(inner) => {
            if control.ports_only != 0
                && let Err(verdict) = covered(control, packet::port_v6(frame, &inner))
            {
                return verdict;
            }
            if u128::from_be_bytes(inner.source) == 1 && frame.is_looped() {
                return (slot::OTHER, action::PASS);
            }
            SOURCES6.get(&Key::new(128, inner.source)).copied()
        }
        Seen::Other => return (slot::OTHER, action::PASS),
        Seen::Malformed => return (slot::MALFORMED, control.malformed),
    };
    match value {
        Some(value) => (value >> 1, value & 1),
        None => (slot::UNMATCHED, control.otherwise),
    }
}

/// Whether a packet is for one of the listeners; otherwise what becomes of it.
#[inline(always)]
fn covered(control: &FilterControl, port: Port) -> Result<(), (u32, u32)> {
    match port {
        // SAFETY: only its presence is asked for.
        Port::Tcp(port) if unsafe { FILTER_PORTS.get(&u32::from(port)) }.is_some() => Ok(()),
        Port::Tcp(_) | Port::None => Err((slot::OTHER, action::PASS)),
        Port::Malformed => Err((slot::MALFORMED, control.malformed)),
    }
}
