//! inbound: what comes into a network namespace is given to the proxy's listener, which had no privilege to ask for it.
//!
//! - `claim`, `cgroup/setsockopt`, Linux 6.1: takes the claim that the proxy makes by a socket option, and marks the socket. Whatever is
//!   not the proxy's, or not understood, goes on to the kernel, which knows no such option.
//! - [`listening`], of `enrol`: a socket so marked is a listener from listen(2) on. Nothing else gets there.
//! - `lookup`, `sk_lookup`, Linux 5.17, on one network namespace: gives a listener what is not for a connection that is there already. Where
//!   a claim stands and its listener has gone, nothing gets by to what listens beside it.
//!
//! ```text
//!  setsockopt(2) ─► CLAIMS[cookie] ── listen(2) ─► LISTENERS[cookie, family, turn]
//!                       ▲                               ▲
//!  packet ─► lookup ────┴──── excluded? from loopback? ─┴─► that socket │ as if this program were not there │ refused
//! ```
//!
//! The kill switch leaves all of this as it is.

use crate::{
    capture,
    maps::{CLAIMS, LISTENERS, count, flow, flow_or_new, long, word},
};
use aya_ebpf::{
    bindings::{BPF_ANY, BPF_SK_LOOKUP_F_REPLACE, bpf_sockopt, sk_action},
    helpers::generated::{bpf_get_netns_cookie, bpf_set_retval, bpf_sock_hash_update},
    macros::{cgroup_sockopt, sk_lookup},
    programs::{SkLookupContext, SockOpsContext, SockoptContext},
};
use core::{
    ffi::c_void,
    ptr::{self, read_volatile},
};
use redirect_common::{
    Claimed, Counter, Listener, MOST_TURNS,
    claim::{self as claims, Claim, MOST_EXCLUDED},
    flow as bits,
};

const REFUSE: i32 = 0;
const ALLOW: i32 = 1;

/// asm-generic/errno-base.h.
const ENOSPC: i32 = 28;

const AF_INET: u32 = 2;
const IPPROTO_TCP: u32 = 6;

/// The index of the loopback device, in every network namespace.
const LOOPBACK: u32 = 1;

/// Bytes of an option that the kernel shows to programs: a page of the smallest kind.
const SHOWN: i32 = 4096;

/// `sock.__sk_common.skc_net`, a pointer. Where fields stand in this kernel's structures is read by the loader from its BTF.
#[unsafe(no_mangle)]
static SOCK_NET: u32 = 0;
/// `net.ns.inum`.
#[unsafe(no_mangle)]
static NET_INODE: u32 = 0;
/// `net.user_ns`, a pointer.
#[unsafe(no_mangle)]
static NET_OWNER: u32 = 0;
/// `user_namespace.level`.
#[unsafe(no_mangle)]
static OWNER_LEVEL: u32 = 0;

/// The cookie of the network namespace that this copy of `lookup` is made for: the kernel tells such a program none.
#[unsafe(no_mangle)]
static NETNS: u64 = 0;

/// What becomes of a claim.
enum Taken {
    /// It stands.
    Yes,
    /// The kernel may say what it knows of it.
    No,
    /// It is for no pod's namespace: a proxy in the node's own would have everybody's, and whoever may make user namespaces makes
    /// as many networks as he likes, which would fill the map.
    NoPods,
    /// There is no room for it. The kernel would answer as if nobody took claims here.
    Full,
}

#[cgroup_sockopt(setsockopt)]
pub fn claim(ctx: SockoptContext) -> i32 {
    // SAFETY: words of the context.
    let (level, name, length) = unsafe { ((*ctx.sockopt).level, (*ctx.sockopt).optname, (*ctx.sockopt).optlen) };
    if level == claims::LEVEL as i32 && name == claims::NAME as i32 {
        match taken(&ctx) {
            Taken::Yes => {
                count(0, Counter::Claims, 1);
                // The kernel's own handler is passed by.
                // SAFETY: a word of the context that this hook may write.
                unsafe { (*ctx.sockopt).optlen = -1 };
            }
            Taken::No => count(0, Counter::ClaimsRefused, 1),
            Taken::NoPods => {
                count(0, Counter::ClaimsRefused, 1);
                return REFUSE;
            }
            Taken::Full => {
                count(0, Counter::ClaimsFull, 1);
                // SAFETY: this hook may say what its caller is told; should it fail, that is EPERM.
                unsafe { bpf_set_retval(-ENOSPC) };
                return REFUSE;
            }
        }
    } else if length > SHOWN {
        // As `hold` does, for where that is not there.
        // SAFETY: a word of the context that this hook may write.
        unsafe { (*ctx.sockopt).optlen = 0 };
    }
    ALLOW
}

#[inline(always)]
fn taken(ctx: &SockoptContext) -> Taken {
    let sockopt = ctx.sockopt;
    // SAFETY: a word of the context.
    let socket = unsafe { (*sockopt).__bindgen_anon_1.sk };
    // SAFETY: words of the socket as the kernel shows it, not null.
    if socket.is_null() || unsafe { (*socket).protocol } != IPPROTO_TCP || !capture::is_proxy(ctx) {
        return Taken::No;
    }
    let Some(claim) = read(sockopt) else { return Taken::No };
    let known = claims::V4 | claims::V6;
    if claim.version != claims::VERSION
        || usize::from(claim.count) > MOST_EXCLUDED
        || claim.families & known == 0
        || claim.families & !known != 0
    {
        return Taken::No;
    }
    // SAFETY: the context, from which the kernel takes the socket's namespace; without one it says its first one's.
    let (netns, nodes) = unsafe { (bpf_get_netns_cookie(sockopt.cast()), bpf_get_netns_cookie(ptr::null_mut())) };
    if netns == nodes {
        return Taken::NoPods;
    }
    // SAFETY: the context's socket, not null; locked by this hook.
    let Some(flow) = (unsafe { flow_or_new(socket.cast()) }) else { return Taken::Full };
    // SAFETY: the storage of a socket that is locked by this hook.
    let flow = unsafe { &mut *flow };
    flow.own = socket as u64;
    // Whatever was kept is a plain number when it is read again, which an address of a socket is not to the verifier.
    // SAFETY: a place that is borrowed; statics that only the loader sets, before they are frozen.
    let (own, net, inode, owner, level) = unsafe {
        (
            read_volatile(&raw const flow.own),
            read_volatile(&raw const SOCK_NET),
            read_volatile(&raw const NET_INODE),
            read_volatile(&raw const NET_OWNER),
            read_volatile(&raw const OWNER_LEVEL),
        )
    };
    let net = long(own, net);
    // Of the first user namespace, whose level is 0, are those that container runtimes make.
    if word(long(net, owner), level) != Some(0) {
        return Taken::NoPods;
    }
    let inode = long(net, inode) as u32;
    // SAFETY: copied at once.
    let turn = unsafe { CLAIMS.get(&netns) }.map_or(0, |claimed| claimed.turn);
    if inode == 0 {
        return Taken::No;
    }
    if CLAIMS.insert(&netns, &Claimed { inode, turn, claim }, u64::from(BPF_ANY)).is_err() {
        return Taken::Full;
    }
    flow.flags &= !(bits::CLAIMS_V4 | bits::CLAIMS_V6);
    if claim.families & claims::V4 != 0 {
        flow.flags |= bits::CLAIMS_V4;
    }
    if claim.families & claims::V6 != 0 {
        flow.flags |= bits::CLAIMS_V6;
    }
    Taken::Yes
}

/// The option's value; `None`: it is shorter. What a later version may have put behind it is not looked at.
#[inline(always)]
fn read(ctx: *mut bpf_sockopt) -> Option<Claim> {
    // SAFETY: words of the context.
    let (begin, end) =
        unsafe { ((*ctx).__bindgen_anon_2.optval as usize, (*ctx).__bindgen_anon_3.optval_end as usize) };
    if begin + size_of::<Claim>() > end {
        return None;
    }
    // SAFETY: within the buffer, as was just checked, and integers only.
    Some(unsafe { (begin as *const Claim).read_unaligned() })
}

/// A socket listens from now on: one that was claimed for is where its namespace's connections go.
#[inline(always)]
pub fn listening(ctx: &SockOpsContext, socket: *mut c_void) {
    // SAFETY: the context's socket, not null.
    let Some(flow) = (unsafe { flow(socket) }) else { return };
    // SAFETY: the storage of a socket that is locked by the stack.
    let flags = unsafe { (*flow).flags };
    if flags & (bits::CLAIMS_V4 | bits::CLAIMS_V6) == 0 {
        return;
    }
    // SAFETY: the context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.ops.cast()) };
    let Some(claimed) = CLAIMS.get_ptr_mut(&netns) else { return };
    // SAFETY: an entry of this namespace. Two of its sockets that begin to listen at once may have one turn between them:
    // workers' of one port, of which the kernel knows all by any of them.
    let turn = unsafe {
        let turn = (*claimed).turn;
        (*claimed).turn = turn.wrapping_add(1);
        turn % MOST_TURNS as u32
    };
    for (bit, family) in [(bits::CLAIMS_V4, 4), (bits::CLAIMS_V6, 6)] {
        if flags & bit != 0 {
            let mut key = Listener { netns, family, turn };
            // SAFETY: the context, a map of sockets, a key of its type.
            unsafe {
                bpf_sock_hash_update(
                    ctx.ops,
                    (&raw const LISTENERS).cast_mut().cast(),
                    (&raw mut key).cast(),
                    u64::from(BPF_ANY),
                )
            };
        }
    }
}

#[sk_lookup]
pub fn lookup(ctx: SkLookupContext) -> u32 {
    // SAFETY: words of the context.
    let (protocol, family, port, interface) = unsafe {
        let lookup = ctx.lookup;
        ((*lookup).protocol, (*lookup).family, (*lookup).local_port, (*lookup).ingress_ifindex)
    };
    if protocol != IPPROTO_TCP {
        return sk_action::SK_PASS;
    }
    // SAFETY: a static that only the loader sets, before it is frozen.
    let netns = unsafe { read_volatile(&raw const NETNS) };
    // SAFETY: an entry that is replaced whole.
    let Some(claimed) = (unsafe { CLAIMS.get(&netns) }) else { return sk_action::SK_PASS };
    let claim = &claimed.claim;
    // The pod's own connections are its own affair.
    if (interface == LOOPBACK || to_itself(&ctx, family)) && port != u32::from(claim.probe_port) {
        return sk_action::SK_PASS;
    }
    if excludes(claim, port) {
        count(0, Counter::InboundExcluded, 1);
        return sk_action::SK_PASS;
    }
    let family = if family == AF_INET { 4 } else { 6 };
    let newest = claimed.turn.wrapping_sub(1);
    for before in 0..MOST_TURNS as u32 {
        let key = Listener { netns, family, turn: newest.wrapping_sub(before) % MOST_TURNS as u32 };
        // Of sockets that share a port the kernel chooses as ever. What another program has chosen does not matter.
        if LISTENERS.redirect_sk_lookup(&ctx, &key, u64::from(BPF_SK_LOOKUP_F_REPLACE)).is_ok() {
            count(0, Counter::InboundCaptured, 1);
            return sk_action::SK_PASS;
        }
    }
    count(0, Counter::InboundRefused, 1);
    sk_action::SK_DROP
}

/// Whether it comes from the very address that it goes to. To an address of its own that is not of loopback a namespace sends by loopback
/// too, and the kernel says then that it came over the interface that has the address. What comes from outside under the pod's own
/// address is never answered to there, so nobody gets past the proxy by it.
#[inline(always)]
fn to_itself(ctx: &SkLookupContext, family: u32) -> bool {
    let lookup = ctx.lookup;
    // SAFETY: words of the context, each read by itself as the kernel wants it.
    unsafe {
        if family == AF_INET {
            return (*lookup).local_ip4 == (*lookup).remote_ip4;
        }
        let local = (&raw const (*lookup).local_ip6).cast::<u32>();
        let remote = (&raw const (*lookup).remote_ip6).cast::<u32>();
        local.read_volatile() == remote.read_volatile()
            && local.add(1).read_volatile() == remote.add(1).read_volatile()
            && local.add(2).read_volatile() == remote.add(2).read_volatile()
            && local.add(3).read_volatile() == remote.add(3).read_volatile()
    }
}

#[inline(always)]
fn excludes(claim: &Claim, port: u32) -> bool {
    let mut at = 0;
    while at < MOST_EXCLUDED && at < usize::from(claim.count) {
        if u32::from(claim.excluded[at]) == port {
            return true;
        }
        at += 1;
    }
    false
}
