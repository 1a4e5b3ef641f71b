//! capture: outbound connections to the proxy without a netfilter rule; and which sockets are the proxy's own.
//!
//! - `connect4`, `connect6`, `cgroup/connect4|6`, Linux 5.8. Tell the proxy's connections from others by process, user or cgroup,
//!   and rewrite the destination of the others where capture is on: beneath the whole cgroup, or in those network namespaces alone that a
//!   proxy has claimed (`inbound`), where claims are taken. On failure the connection goes where it wanted.
//! - `getpeername4`, `getpeername6`, `cgroup/getpeername4|6`, Linux 5.8: a captured client is told what it asked for.
//! - `getsockopt`, `cgroup/getsockopt`, Linux 5.12: answers SO_ORIGINAL_DST for connections that the hook took, as netfilter
//!   does for those that it took; others are left with the kernel's answer.

use crate::maps::{self, CLAIMS, EXCLUDED, EXCLUDED_PORTS, ORIGINALS, PORTS, PROXIES, count, flow, flow_or_new};
use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_sock, bpf_sock_addr},
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie},
    macros::{cgroup_sock_addr, cgroup_sockopt},
    programs::{SockAddrContext, SockoptContext},
};
use redirect_common::{Address, Counter, Endpoint, Identity, flow as bits, identity, port as ports};

/// The connection may be made. Refusing is not this program's trade.
const ALLOW: i32 = 1;

const IPPROTO_TCP: u32 = 6;
const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
/// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST.
const ORIGINAL_DST: i32 = 80;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: a word of the context.
    let wanted = Address::v4(unsafe { (*ctx.sock_addr).user_ip4 });
    if let Some(port) = captured(&ctx, wanted) {
        // SAFETY: words of the context that this hook may write.
        unsafe {
            (*ctx.sock_addr).user_ip4 = 0x7f00_0001_u32.to_be();
            (*ctx.sock_addr).user_port = port;
        }
    }
    ALLOW
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    let wanted = Address::v6(words(ctx.sock_addr));
    if let Some(port) = captured(&ctx, wanted) {
        let Address(to) = match wanted.as_v4() {
            Some(_) => Address::v4(0x7f00_0001_u32.to_be()),
            None => Address::v6([0, 0, 0, 1_u32.to_be()]),
        };
        write_words(ctx.sock_addr, to);
        // SAFETY: a word of the context that this hook may write.
        unsafe { (*ctx.sock_addr).user_port = port };
    }
    ALLOW
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    if let Some((address, port)) = asked_for(&ctx)
        && let Some(word) = address.as_v4()
    {
        // SAFETY: words of the context that this hook may write.
        unsafe {
            (*ctx.sock_addr).user_ip4 = word;
            (*ctx.sock_addr).user_port = port;
        }
    }
    ALLOW
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    if let Some((address, port)) = asked_for(&ctx) {
        write_words(ctx.sock_addr, address.0);
        // SAFETY: a word of the context that this hook may write.
        unsafe { (*ctx.sock_addr).user_port = port };
    }
    ALLOW
}

/// Marks the proxy's own sockets. The port to go to instead, in network order, for those that are captured.
#[inline(always)]
fn captured(ctx: &SockAddrContext, wanted: Address) -> Option<u32> {
    // SAFETY: words of the context.
    let (protocol, port, socket) = unsafe {
        let ctx = ctx.sock_addr;
        ((*ctx).protocol, u32::from(u16::from_be((*ctx).user_port as u16)), (*ctx).__bindgen_anon_1.sk)
    };
    if protocol != IPPROTO_TCP || socket.is_null() {
        return None;
    }
    // What it asked for before, and did not get, is not what it asks for now.
    // SAFETY: the context's socket, not null; locked by connect(2).
    if let Some(flow) = unsafe { flow(socket.cast()) } {
        unsafe { (*flow).flags &= !bits::CAPTURED };
    }
    let loopback = wanted.is_loopback();
    // Before the proxy's own are let go: its probe takes the way of everybody's connections, or proves nothing.
    // SAFETY: the value is copied at once.
    let probe = loopback && unsafe { PORTS.get(&port) }.copied() == Some(ports::PROBE);
    if !probe && is_proxy(ctx) {
        // SAFETY: the context's socket, not null; locked by connect(2).
        if let Some(flow) = unsafe { flow_or_new(socket.cast()) } {
            unsafe { (*flow).flags |= bits::PROXY };
        }
        return None;
    }
    let control = maps::control()?;
    // Whatever the mode: the kill switch sends bytes through TCP, and no connection past the proxy.
    if control.capture == 0 || (loopback && !probe) {
        return None;
    }
    // Where nobody has claimed, nobody is there to take it: beneath a node's cgroup are pods without a proxy, and the node's own.
    if control.claimed_only != 0 && !is_claimed(ctx) {
        count(0, Counter::CaptureUnclaimed, 1);
        return None;
    }
    let key = Key::new(128, wanted.0);
    if !probe && (EXCLUDED.get(&key).is_some() || unsafe { EXCLUDED_PORTS.get(&port) }.is_some()) {
        count(0, Counter::CaptureExcluded, 1);
        return None;
    }
    // SAFETY: as above.
    let flow = unsafe { &mut *flow_or_new(socket.cast())? };
    flow.original = wanted;
    flow.original_port = port;
    flow.flags |= bits::CAPTURED;
    count(0, Counter::Captured, 1);
    Some(u32::from((control.capture as u16).to_be()))
}

/// Whether the caller is the proxy.
#[inline(always)]
pub fn is_proxy(ctx: &impl EbpfContext) -> bool {
    let known = |kind, number| {
        let identity = Identity { kind, zero: 0, number };
        // SAFETY: only its presence is asked for.
        unsafe { PROXIES.get(&identity) }.is_some()
    };
    known(identity::PROCESS, ctx.tgid().into())
        || known(identity::USER, ctx.uid().into())
        // SAFETY: no arguments.
        || known(identity::CGROUP, unsafe { bpf_get_current_cgroup_id() })
}

/// Whether a proxy has claimed the socket's network namespace. It holds while that proxy is restarted, which is what keeps others from
/// getting past it then.
#[inline(always)]
fn is_claimed(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context, from which the kernel takes the socket's namespace.
    let netns = unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) };
    // SAFETY: only its presence is asked for.
    unsafe { CLAIMS.get(&netns) }.is_some()
}

/// What a captured socket wanted to connect to, the port in network order.
#[inline(always)]
fn asked_for(ctx: &SockAddrContext) -> Option<(Address, u32)> {
    // SAFETY: a word of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the context's socket, not null.
    let flow = unsafe { &*flow(socket.cast())? };
    if flow.flags & bits::CAPTURED == 0 {
        return None;
    }
    Some((flow.original, u32::from((flow.original_port as u16).to_be())))
}

#[inline(always)]
fn words(ctx: *mut bpf_sock_addr) -> [u32; 4] {
    // SAFETY: words of the context, each read by itself as the kernel wants it.
    unsafe {
        let at = (&raw const (*ctx).user_ip6).cast::<u32>();
        [at.read_volatile(), at.add(1).read_volatile(), at.add(2).read_volatile(), at.add(3).read_volatile()]
    }
}

#[inline(always)]
fn write_words(ctx: *mut bpf_sock_addr, words: [u32; 4]) {
    // SAFETY: words of the context that the hooks may write, each by itself.
    unsafe {
        let at = (&raw mut (*ctx).user_ip6).cast::<u32>();
        at.write_volatile(words[0]);
        at.add(1).write_volatile(words[1]);
        at.add(2).write_volatile(words[2]);
        at.add(3).write_volatile(words[3]);
    }
}

/// struct sockaddr_in.
#[repr(C)]
struct SockAddr4 {
    family: u16,
    port: u16,
    address: u32,
    zero: u64,
}

/// struct sockaddr_in6, word by word.
#[repr(C)]
struct SockAddr6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u32; 4],
    scope: u32,
}

#[cgroup_sockopt(getsockopt)]
pub fn getsockopt(ctx: SockoptContext) -> i32 {
    // SAFETY: words of the context.
    let (level, name) = unsafe { ((*ctx.sockopt).level, (*ctx.sockopt).optname) };
    if name == ORIGINAL_DST && (level == SOL_IP || level == SOL_IPV6) {
        let _ = tell_original(&ctx, level);
    }
    // Other options, some of them with a buffer larger than the kernel shows to programs, stay as they are.
    ALLOW
}

#[inline(always)]
fn tell_original(ctx: &SockoptContext, level: i32) -> Option<()> {
    let ctx = ctx.sockopt;
    // SAFETY: a word of the context.
    let socket = unsafe { (*ctx).__bindgen_anon_1.sk };
    if socket.is_null() {
        return None;
    }
    let (address, port) = kept(socket).or_else(|| {
        // It was established before the programs that keep it with the socket stood.
        // SAFETY: the context.
        let netns = unsafe { bpf_get_netns_cookie(ctx.cast()) };
        // SAFETY: copied at once.
        let original = *unsafe { ORIGINALS.get(&client(socket, netns)) }?;
        Some((original.address, original.port))
    })?;
    // SAFETY: words of the context.
    let (begin, end) =
        unsafe { ((*ctx).__bindgen_anon_2.optval as usize, (*ctx).__bindgen_anon_3.optval_end as usize) };
    let port = (port as u16).to_be();
    let length = if level == SOL_IP {
        let address = address.as_v4()?;
        if begin + size_of::<SockAddr4>() > end {
            return None;
        }
        // SAFETY: within the buffer, as was just checked.
        unsafe {
            let at = begin as *mut SockAddr4;
            (*at).family = AF_INET;
            (*at).port = port;
            (*at).address = address;
            (*at).zero = 0;
        }
        size_of::<SockAddr4>()
    } else {
        if begin + size_of::<SockAddr6>() > end {
            return None;
        }
        // SAFETY: within the buffer, as was just checked.
        unsafe {
            let at = begin as *mut SockAddr6;
            (*at).family = AF_INET6;
            (*at).port = port;
            (*at).flow = 0;
            (*at).address = address.0;
            (*at).scope = 0;
        }
        size_of::<SockAddr6>()
    };
    // SAFETY: words of the context that this hook may write.
    unsafe {
        (*ctx).optlen = length as i32;
        (*ctx).retval = 0;
    }
    count(0, Counter::OriginalsTold, 1);
    Some(())
}

/// What an accepted socket keeps of where its client wanted to go.
#[inline(always)]
fn kept(socket: *mut bpf_sock) -> Option<(Address, u32)> {
    // SAFETY: the context's socket, not null.
    let flow = unsafe { &*flow(socket.cast())? };
    (flow.flags & bits::TAKEN != 0).then_some((flow.original, flow.original_port))
}

/// The client of an accepted socket.
#[inline(always)]
fn client(socket: *mut bpf_sock, netns: u64) -> Endpoint {
    // SAFETY: words of the socket as the kernel shows it.
    unsafe {
        let address = if (*socket).family == u32::from(AF_INET) {
            Address::v4((*socket).dst_ip4)
        } else {
            let at = (&raw const (*socket).dst_ip6).cast::<u32>();
            Address::v6([
                at.read_volatile(),
                at.add(1).read_volatile(),
                at.add(2).read_volatile(),
                at.add(3).read_volatile(),
            ])
        };
        let port = u16::from_be((*socket).dst_port);
        Endpoint { netns, address, port: port.into(), zero: 0 }
    }
}
