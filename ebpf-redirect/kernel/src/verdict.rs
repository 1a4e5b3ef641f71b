//! verdict: what becomes of a message that an enrolled socket sends.
//!
//! - `verdict_stub`, `sk_msg`, attached to the socket map. Calls whatever stands in `PROGRAMS`; nothing there: TCP.
//! - `verdict`, `sk_msg`, in `PROGRAMS`. Linux 5.19 at least; what it needs of newer ones is proved by the self-test.
//!
//! A receiver reads what was redirected to it before what TCP has queued, and TCP's bytes are not to be overtaken: a
//! message is redirected only while everything that went through TCP in its direction has been read, that is
//! while the receiver's `copied_seq` is the sender's `write_seq`. So a direction can fall back to TCP at any message and
//! come back later. The kernel puts no bound on what waits in a receiver's ingress queue; the budget does, by the
//! receiver's `sk_rmem_alloc`: beyond it messages go through TCP, whose window then makes the sender wait.
//!
//! What was redirected and what TCP carried wait in two queues, and one read takes from one of them. A reader that takes a
//! short read for the end of what there is (epoll with edges, as tokio and nginx use it) never looks for what lies in the
//! other, if that came before it read. So towards the proxy, which is known to look again, anything may be redirected; from
//! the proxy only what it says it ends soon: then nothing follows through TCP while that is unread. The proxy says both on
//! its socket, by timeouts that mean nothing to a socket that does not block: a finite `sk_sndtimeo`: it looks again; a
//! finite `sk_rcvtimeo`: what it sends now is brief.
//!
//! The receiver is read through an address noted when it was enrolled. It may be freed by now: the reads are of the
//! kind that cannot fault, and what they say is acted on only if the look-up by key then finds the socket still in the
//! map, under a key that no other connection has.

use crate::maps::{self, PAIRS, PROGRAMS, SOCKETS, count, flow, word};
use aya_ebpf::{
    bindings::{BPF_F_INGRESS, sk_action},
    helpers::generated::bpf_msg_redirect_hash,
    macros::sk_msg,
    programs::SkMsgContext,
};
use core::ptr::read_volatile;
use redirect_common::{CLIENT, Control, Counter, Flow, SERVER, flow as bits};

/// Where fields stand in this kernel's structures; the loader reads them from its BTF.
#[unsafe(no_mangle)]
static TCP_WRITE_SEQ: u32 = 0;
/// `tcp_sock.copied_seq`.
#[unsafe(no_mangle)]
static TCP_COPIED_SEQ: u32 = 0;
/// `sock.sk_backlog.rmem_alloc`.
#[unsafe(no_mangle)]
static SOCK_RMEM_ALLOC: u32 = 0;
/// `sock.sk_sndtimeo`.
#[unsafe(no_mangle)]
static SOCK_SNDTIMEO: u32 = 0;
/// `sock.sk_rcvtimeo`.
#[unsafe(no_mangle)]
static SOCK_RCVTIMEO: u32 = 0;

/// The lower half of a timeout that was not set (MAX_SCHEDULE_TIMEOUT, the largest `long`).
const ENDLESS: u32 = u32::MAX;

#[sk_msg]
pub fn verdict_stub(ctx: SkMsgContext) -> u32 {
    // SAFETY: the array holds programs of this kind only; if there is none the call returns.
    unsafe { PROGRAMS.tail_call(&ctx, 0) };
    sk_action::SK_PASS
}

#[sk_msg]
pub fn verdict(ctx: SkMsgContext) -> u32 {
    let size = ctx.size();
    // SAFETY: a read of the context, of the width that the kernel allows.
    let socket = unsafe { (*ctx.msg).__bindgen_anon_3.sk };
    if socket.is_null() {
        return pass(None, Counter::PassedUnknown, size);
    }
    // SAFETY: the context's own socket, not null.
    let Some(flow) = (unsafe { flow(socket.cast()) }) else {
        return pass(None, Counter::PassedUnknown, size);
    };
    // SAFETY: storage of this socket, which the sender holds locked: nobody else writes to it.
    let flow = unsafe { &mut *flow };
    let Some(control) = maps::control() else {
        return pass(Some(flow), Counter::PassedOff, size);
    };
    if let Some(reason) = must_pass(flow, control, size) {
        return pass(Some(flow), reason, size);
    }
    let mut key = flow.peer;
    // SAFETY: the context, a map of sockets and a key of its type.
    let found = unsafe {
        bpf_msg_redirect_hash(
            ctx.msg,
            (&raw const SOCKETS).cast_mut().cast(),
            (&raw mut key).cast(),
            BPF_F_INGRESS.into(),
        )
    };
    if found as u32 != sk_action::SK_PASS {
        flow.other = 0;
        return pass(Some(flow), Counter::PassedGone, size);
    }
    flow.redirected_messages += 1;
    flow.redirected_bytes += u64::from(size);
    count(Counter::RedirectedMessages, 1);
    count(Counter::RedirectedBytes, size.into());
    sk_action::SK_PASS
}

/// Why a message must go through TCP, if it must.
#[inline(always)]
fn must_pass(flow: &mut Flow, control: &Control, size: u32) -> Option<Counter> {
    if !maps::on(control) && flow.flags & bits::SELF_TEST == 0 {
        return Some(Counter::PassedOff);
    }
    if size >= control.large {
        return Some(Counter::PassedLarge);
    }
    if flow.other == 0 {
        flow.other = other_end(flow);
    }
    if flow.other == 0 {
        return Some(Counter::PassedNoPeer);
    }
    if flow.flags & bits::SELF_TEST == 0
        && let Some(reason) = unready(flow)
    {
        return Some(reason);
    }
    // SAFETY: statics that only the loader sets, before they are frozen; read so that the compiler does not assume 0.
    let (write_seq, copied_seq, rmem_alloc) = unsafe {
        (
            read_volatile(&raw const TCP_WRITE_SEQ),
            read_volatile(&raw const TCP_COPIED_SEQ),
            read_volatile(&raw const SOCK_RMEM_ALLOC),
        )
    };
    let written = word(flow.own, write_seq);
    let read = word(flow.other, copied_seq);
    let waiting = word(flow.other, rmem_alloc);
    match (written, read, waiting) {
        (Some(written), Some(read), Some(waiting)) => {
            if written != read {
                Some(Counter::PassedOrder)
            } else if waiting.saturating_add(size) > control.budget {
                Some(Counter::PassedSlow)
            } else {
                None
            }
        }
        _ => Some(Counter::PassedGone),
    }
}

/// Why the proxy's end of a connection is not ready for a redirected message, if it is not.
#[inline(always)]
fn unready(flow: &Flow) -> Option<Counter> {
    let own_end = flow.peer.end ^ 1;
    let proxys_end = if flow.flags & bits::DOWNSTREAM != 0 { SERVER } else { CLIENT };
    let sends = own_end == proxys_end;
    // SAFETY: statics that only the loader sets, before they are frozen.
    let (sndtimeo, rcvtimeo) =
        unsafe { (read_volatile(&raw const SOCK_SNDTIMEO), read_volatile(&raw const SOCK_RCVTIMEO)) };
    if sends {
        (word(flow.own, rcvtimeo) == Some(ENDLESS)).then_some(Counter::PassedUnready)
    } else {
        (word(flow.other, sndtimeo) == Some(ENDLESS)).then_some(Counter::PassedUnready)
    }
}

/// The kernel's address of the other end, once it is enrolled.
#[inline(always)]
fn other_end(flow: &Flow) -> u64 {
    let key = flow.peer.pair();
    // SAFETY: a copy of a word is taken at once; an entry that is reused meanwhile gives an address that the look-up by
    // key does not confirm.
    match unsafe { PAIRS.get(&key) } {
        Some(pair) if flow.peer.end == CLIENT => pair.client,
        Some(pair) => pair.server,
        None => 0,
    }
}

#[inline(always)]
fn pass(flow: Option<&mut Flow>, reason: Counter, size: u32) -> u32 {
    if let Some(flow) = flow {
        flow.passed_messages += 1;
        flow.passed_bytes += u64::from(size);
    }
    count(reason, 1);
    count(Counter::PassedBytes, size.into());
    sk_action::SK_PASS
}
