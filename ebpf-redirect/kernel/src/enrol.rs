//! enrol: connections of the proxy enter the socket map when they are established, and report when they end.
//!
//! `enrol`, `sock_ops`, on a cgroup (version 2); Linux 5.19. A failure in it leaves the connection to TCP. `enrol_test` is the same
//! for the self-test's pairs alone, and `enrol` leaves those to it.
//!
//! ```text
//!  downstream:  SYN at a listener's port ─► EXPECTED ─► the client, ACTIVE ─► PAIRS ─► the listener's child, PASSIVE
//!  upstream:    connect(2) by the proxy ─► its storage ─► the proxy, ACTIVE ─► PAIRS ─► the application's child, PASSIVE
//! ```
//!
//! A client is enrolled when the proxy itself has seen its SYN, a server when its client was: so what comes from another
//! machine or another cgroup, and whoever talks past the proxy, is never touched. The client always comes
//! first: the server's end is established by its ACK.

use crate::{
    inbound,
    maps::{self, EVENTS, EXPECTED, ONCE, ORIGINALS, PAIRS, PORTS, PROXIES, SOCKETS, count, flow, flow_or_new, long},
};
use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RWND_INIT,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB,
        BPF_TCP_CLOSE, BPF_TCP_CLOSE_WAIT, BPF_TCP_ESTABLISHED, BPF_TCP_FIN_WAIT1, bpf_sock_ops,
    },
    helpers::generated::{
        bpf_get_netns_cookie, bpf_ktime_get_ns, bpf_skc_to_mptcp_sock, bpf_sock_hash_update, bpf_sock_ops_cb_flags_set,
    },
    macros::sock_ops,
    programs::SockOpsContext,
};
use core::{ffi::c_void, ptr::read_volatile};
use redirect_common::{
    Address, CLIENT, Closed, Counter, Endpoint, Event, Flow, Identity, Original, Pair, PairKey, flow as bits, identity,
    port,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// What the kernel shall go on with: the same for every question that this program is asked.
const NO_OPINION: u32 = 1;

/// `sock.sk_cgrp_data`, whose first field is the cgroup. Where fields stand in this kernel's structures is read by the
/// loader from its BTF.
#[unsafe(no_mangle)]
static SOCK_CGROUP: u32 = 0;
/// `cgroup.kn`.
#[unsafe(no_mangle)]
static CGROUP_NODE: u32 = 0;
/// `kernfs_node.id`.
#[unsafe(no_mangle)]
static NODE_ID: u32 = 0;

#[sock_ops]
pub fn enrol(ctx: SockOpsContext) -> u32 {
    asked::<false>(&ctx);
    NO_OPINION
}

/// The same for the self-test's own pairs and nothing else: it stands for a moment on the tester's cgroup, which may be that
/// of a whole node, over the maps of an instance that is at work.
#[sock_ops]
pub fn enrol_test(ctx: SockOpsContext) -> u32 {
    asked::<true>(&ctx);
    NO_OPINION
}

#[inline(always)]
fn asked<const TEST: bool>(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_RWND_INIT => expect::<TEST>(ctx),
        BPF_SOCK_OPS_TCP_CONNECT_CB if !TEST => connecting(ctx),
        BPF_SOCK_OPS_TCP_LISTEN_CB if !TEST => {
            if let Some(socket) = socket(ctx) {
                inbound::listening(ctx, socket);
            }
        }
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => active::<TEST>(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => passive::<TEST>(ctx),
        BPF_SOCK_OPS_STATE_CB => state::<TEST>(ctx),
        _ => {}
    }
}

/// A SYN has come: asked of the request before it is answered.
#[inline(always)]
fn expect<const TEST: bool>(ctx: &SockOpsContext) {
    let port = ctx.local_port();
    // SAFETY: the value is copied at once.
    let Some(kind) = (unsafe { PORTS.get(&port) }).copied() else { return };
    let Some(control) = maps::control() else { return };
    let wanted =
        if TEST { kind == port::SELF_TEST && is_testers(ctx) } else { kind == port::LISTENER && maps::on(control) };
    if wanted {
        let client = remote(ctx);
        let _ = EXPECTED.insert(&client, &kind, 0);
    }
}

/// Whether this is the tester's network namespace: in another one its port's number is somebody else's.
#[inline(always)]
fn is_testers(ctx: &SockOpsContext) -> bool {
    let namespace = Identity { kind: identity::TESTER, zero: 0, number: netns(ctx.ops) };
    // SAFETY: nothing is read of the value.
    unsafe { PROXIES.get(&namespace) }.is_some()
}

/// A SYN is about to leave, from a port that is known now.
#[inline(always)]
fn connecting(ctx: &SockOpsContext) {
    // SAFETY: checked for null.
    let flow = socket(ctx).and_then(|socket| unsafe { flow(socket) });
    let mut captured = false;
    if let Some(flow) = flow {
        // SAFETY: the storage of a socket that is locked by this call.
        let flow = unsafe { &mut *flow };
        // SAFETY: no arguments.
        flow.begun = unsafe { bpf_ktime_get_ns() };
        captured = flow.flags & bits::CAPTURED != 0;
        if captured {
            let family = if ctx.family() == AF_INET { 4 } else { 6 };
            let original = Original { address: flow.original, port: flow.original_port, family };
            let _ = ORIGINALS.insert(&local(ctx), &original, 0);
            // It may come to nothing, or never be enrolled, and is to be forgotten then.
            told_of_states(ctx);
        }
    }
    if !captured && maps::control().is_some_and(|control| control.capture != 0) {
        // What a captured one from the same port left that ended while nobody looked is not about this one.
        let _ = ORIGINALS.remove(&local(ctx));
    }
}

/// Has the kernel report this end's states; the flags of other programs are kept.
#[inline(always)]
fn told_of_states(ctx: &SockOpsContext) {
    // SAFETY: the context.
    unsafe { bpf_sock_ops_cb_flags_set(ctx.ops, (ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32) };
}

/// This end has connected.
#[inline(always)]
fn active<const TEST: bool>(ctx: &SockOpsContext) {
    let Some(control) = maps::control() else { return };
    let local = local(ctx);
    let mut flags = 0;
    // SAFETY: the value is copied at once.
    if let Some(kind) = (unsafe { EXPECTED.get(&local) }).copied() {
        if TEST != (kind == port::SELF_TEST) {
            return;
        }
        let _ = EXPECTED.remove(&local);
        flags |= bits::DOWNSTREAM;
        if TEST {
            flags |= bits::SELF_TEST;
        }
    } else if TEST {
        return;
    } else {
        // SAFETY: checked for null.
        let Some(flow) = socket(ctx).and_then(|socket| unsafe { flow(socket) }) else { return };
        // SAFETY: a socket that is locked by the stack.
        if unsafe { (*flow).flags } & bits::PROXY == 0 {
            return;
        }
        // To this machine only. Its own addresses are reached from themselves.
        let remote = remote(ctx).address;
        if !remote.is_loopback() && remote != local.address {
            return;
        }
    }
    if !TEST && !maps::on(control) {
        return;
    }
    let key = PairKey::of_client(&local, sent(ctx), received(ctx));
    if let Some(own) = enrolled(ctx, key, flags) {
        let _ = PAIRS.insert(&key, &Pair { client: own, server: 0, flags: flags.into() }, 0);
    }
}

/// This end was connected to.
#[inline(always)]
fn passive<const TEST: bool>(ctx: &SockOpsContext) {
    if !TEST {
        remember(ctx);
    }
    let key = PairKey::of_server(&remote(ctx), sent(ctx), received(ctx));
    let Some(pair) = PAIRS.get_ptr_mut(&key.pair()) else { return };
    // SAFETY: an entry that only the two ends of this connection write to; were it reused meanwhile for another one, that
    // would find a wrong address which its look-up by key does not confirm.
    let pair = unsafe { &mut *pair };
    if TEST != (pair.flags as u32 & bits::SELF_TEST != 0) {
        return;
    }
    if let Some(own) = enrolled(ctx, key, pair.flags as u32) {
        pair.server = own;
    }
}

/// Keeps with this end where its client wanted to go, if that was captured: what stands under the client's address and port is
/// the next one's as soon as this client is gone.
#[inline(always)]
fn remember(ctx: &SockOpsContext) {
    if maps::control().is_none_or(|control| control.capture == 0) {
        return;
    }
    let client = remote(ctx);
    // SAFETY: the value is copied at once.
    let Some(original) = (unsafe { ORIGINALS.get(&client) }).copied() else { return };
    // SAFETY: checked for null.
    let Some(flow) = socket(ctx).and_then(|socket| unsafe { flow_or_new(socket) }) else { return };
    // SAFETY: the storage of a socket that is locked by the stack.
    let flow = unsafe { &mut *flow };
    flow.original = original.address;
    flow.original_port = original.port;
    flow.flags |= bits::TAKEN;
    let _ = ORIGINALS.remove(&client);
}

/// Takes an end into the map. Gives the kernel's address of it.
#[inline(always)]
fn enrolled(ctx: &SockOpsContext, key: PairKey, flags: u32) -> Option<u64> {
    let socket = socket(ctx)?;
    // Asked twice where this program stands on two cgroups, one within the other.
    // SAFETY: the context's socket, not null; its storage is read while the stack holds it locked.
    if unsafe { flow(socket) }.is_some_and(|flow| unsafe { (*flow).flags } & bits::ENROLLED != 0) {
        return None;
    }
    count(flags, Counter::Eligible, 1);
    // SAFETY: the context's socket, not null.
    if !unsafe { bpf_skc_to_mptcp_sock(socket) }.is_null() {
        count(flags, Counter::SkippedMptcp, 1);
        return None;
    }
    // SAFETY: the context's socket, not null.
    let Some(flow) = (unsafe { flow_or_new(socket) }) else {
        count(flags, Counter::EnrolFailed, 1);
        return None;
    };
    // SAFETY: the storage of a socket that is locked by the stack.
    let flow = unsafe { &mut *flow };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if flow.begun != 0 {
        flow.connecting = now - flow.begun;
    } else if key.end == CLIENT {
        // Nobody noted its connect(2), which is looked at of the proxy and of who is captured only. TCP has measured its SYN's
        // round trip by now; one that had to be sent again is not told so.
        // SAFETY: a word of the context.
        flow.connecting = u64::from(unsafe { (*ctx.ops).srtt_us } >> 3) * 1000;
    }
    flow.begun = now;
    flow.peer = key.other();
    flow.own = socket as u64;
    flow.flags |= flags;
    let mut key = key;
    // SAFETY: the context, a map of sockets, a key of its type.
    let failed =
        unsafe { bpf_sock_hash_update(ctx.ops, (&raw const SOCKETS).cast_mut().cast(), (&raw mut key).cast(), ONCE) };
    if failed != 0 {
        count(flags, Counter::EnrolFailed, 1);
        return None;
    }
    flow.flags |= bits::ENROLLED;
    count(flags, Counter::Enrolled, 1);
    told_of_states(ctx);
    Some(flow.own)
}

/// An enrolled end has changed its state.
#[inline(always)]
fn state<const TEST: bool>(ctx: &SockOpsContext) {
    let (old, new) = (ctx.arg(0), ctx.arg(1));
    if new != BPF_TCP_CLOSE {
        return;
    }
    // SAFETY: checked for null.
    let Some(flow) = socket(ctx).and_then(|socket| unsafe { flow(socket) }) else { return };
    // SAFETY: the storage of a socket that is locked by the stack.
    let flow = unsafe { &mut *flow };
    if TEST && flow.flags & bits::SELF_TEST == 0 {
        return;
    }
    if flow.flags & bits::CAPTURED != 0 {
        let _ = ORIGINALS.remove(&local(ctx));
    }
    if flow.flags & bits::ENROLLED == 0 {
        return;
    }
    flow.flags &= !bits::ENROLLED;
    count(flow.flags, Counter::Closed, 1);
    let pair = flow.peer.pair();
    let _ = PAIRS.remove(&pair);
    if flow.flags & bits::SELF_TEST == 0 && maps::control().is_some_and(|control| control.events != 0) {
        tell(ctx, flow, old);
    }
}

#[inline(always)]
fn tell(ctx: &SockOpsContext, flow: &Flow, old: u32) {
    let end = flow.peer.end ^ 1;
    let client = if end == CLIENT { local(ctx) } else { remote(ctx) };
    let server = if end == CLIENT { remote(ctx) } else { local(ctx) };
    let closed = match old {
        BPF_TCP_ESTABLISHED => Closed::Aborted,
        BPF_TCP_FIN_WAIT1 | BPF_TCP_CLOSE_WAIT => Closed::HalfClosed,
        _ => Closed::InOrder,
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: words of the context.
    let (srtt, retransmits) = unsafe { ((*ctx.ops).srtt_us >> 3, (*ctx.ops).total_retrans) };
    let event = Event {
        connecting: flow.connecting,
        lived: now - flow.begun,
        redirected_bytes: flow.redirected_bytes,
        passed_bytes: flow.passed_bytes,
        cgroup: cgroup(flow.own),
        client,
        remote: server.address,
        remote_port: server.port,
        srtt,
        retransmits,
        closed: closed as u32,
        end,
        zero: 0,
    };
    if EVENTS.output(&event, 0).is_err() {
        count(flow.flags, Counter::EventsDropped, 1);
    }
}

/// The number of the cgroup (version 2) that a socket was made in; 0 where this kernel does not say.
#[inline(always)]
fn cgroup(own: u64) -> u64 {
    // SAFETY: statics that only the loader sets, before they are frozen; read so that the compiler does not assume 0.
    let (data, node, id) = unsafe {
        (
            read_volatile(&raw const SOCK_CGROUP),
            read_volatile(&raw const CGROUP_NODE),
            read_volatile(&raw const NODE_ID),
        )
    };
    if data == 0 {
        return 0;
    }
    let group = long(own, data);
    let node = if group == 0 { 0 } else { long(group, node) };
    if node == 0 { 0 } else { long(node, id) }
}

/// The socket, where it is a full one.
#[inline(always)]
fn socket(ctx: &SockOpsContext) -> Option<*mut c_void> {
    // SAFETY: a read of the context, of the width that the kernel allows.
    let socket = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if socket.is_null() { None } else { Some(socket.cast()) }
}

#[inline(always)]
fn sent(ctx: &SockOpsContext) -> u32 {
    // SAFETY: a word of the context.
    unsafe { (*ctx.ops).snd_nxt }
}

#[inline(always)]
fn received(ctx: &SockOpsContext) -> u32 {
    // SAFETY: a word of the context.
    unsafe { (*ctx.ops).rcv_nxt }
}

#[inline(always)]
fn netns(ops: *mut bpf_sock_ops) -> u64 {
    // SAFETY: the context.
    unsafe { bpf_get_netns_cookie(ops.cast()) }
}

#[inline(always)]
fn local(ctx: &SockOpsContext) -> Endpoint {
    let address = match ctx.family() {
        AF_INET => Address::v4(ctx.local_ip4()),
        AF_INET6 => Address::v6(words(unsafe { &raw const (*ctx.ops).local_ip6 })),
        _ => maps::NOWHERE,
    };
    Endpoint { netns: netns(ctx.ops), address, port: ctx.local_port(), zero: 0 }
}

#[inline(always)]
fn remote(ctx: &SockOpsContext) -> Endpoint {
    let address = match ctx.family() {
        AF_INET => Address::v4(ctx.remote_ip4()),
        AF_INET6 => Address::v6(words(unsafe { &raw const (*ctx.ops).remote_ip6 })),
        _ => maps::NOWHERE,
    };
    Endpoint { netns: netns(ctx.ops), address, port: u32::from_be(ctx.remote_port()), zero: 0 }
}

/// Four words of the context, each read by itself: the kernel allows no wider read there.
#[inline(always)]
fn words(at: *const [u32; 4]) -> [u32; 4] {
    let at = at.cast::<u32>();
    // SAFETY: within the array that was pointed to; volatile, so that two reads do not become one.
    unsafe { [at.read_volatile(), at.add(1).read_volatile(), at.add(2).read_volatile(), at.add(3).read_volatile()] }
}
