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
//! the proxy only what it says is brief, and it asks whether that has been read before it sends anything else (`hold`). It
//! says both on its socket, by timeouts that mean nothing to a socket that does not block: a finite `sk_sndtimeo`: it looks
//! again; a finite `sk_rcvtimeo`: what it sends now is brief.

use crate::{
    maps::{self, PROGRAMS, SOCKETS, count, flow},
    peer,
};
use aya_ebpf::{
    bindings::{BPF_F_INGRESS, sk_action},
    helpers::generated::bpf_msg_redirect_hash,
    macros::sk_msg,
    programs::SkMsgContext,
};
use redirect_common::{Control, Counter, Flow, flow as bits};

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
    count(flow.flags, Counter::RedirectedMessages, 1);
    count(flow.flags, Counter::RedirectedBytes, size.into());
    sk_action::SK_PASS
}

/// Why a message must go through TCP, if it must.
#[inline(always)]
fn must_pass(flow: &mut Flow, control: &Control, size: u32) -> Option<Counter> {
    let tested = flow.flags & bits::SELF_TEST != 0;
    let sends = peer::is_proxys(flow);
    let brief = sends && peer::says_brief(flow);
    let rather_not = if tested {
        // It is about the kernel, whatever the settings are.
        None
    } else if !maps::on(control) {
        Some(Counter::PassedOff)
    } else if size >= control.large {
        Some(Counter::PassedLarge)
    } else {
        None
    };
    // What is brief follows what waits unread in the queue that that is in, come what may: the proxy bounds both.
    if rather_not.is_some() && (!brief || flow.redirected_messages == 0) {
        return rather_not;
    }
    if flow.other == 0 {
        flow.other = peer::other_end(flow);
    }
    if flow.other == 0 {
        return Some(Counter::PassedNoPeer);
    }
    if !tested && !(if sends { brief } else { peer::looks_again(flow) }) {
        return Some(Counter::PassedUnready);
    }
    let Some(standing) = peer::standing(flow) else { return Some(Counter::PassedGone) };
    if standing.in_tcp {
        Some(Counter::PassedOrder)
    } else if standing.unread.saturating_add(size) > control.budget {
        Some(Counter::PassedSlow)
    } else if standing.redirected() {
        None
    } else {
        rather_not
    }
}

#[inline(always)]
fn pass(flow: Option<&mut Flow>, reason: Counter, size: u32) -> u32 {
    let mut flags = 0;
    if let Some(flow) = flow {
        flow.passed_messages += 1;
        flow.passed_bytes += u64::from(size);
        flags = flow.flags;
    }
    count(flags, reason, 1);
    count(flags, Counter::PassedBytes, size.into());
    sk_action::SK_PASS
}
