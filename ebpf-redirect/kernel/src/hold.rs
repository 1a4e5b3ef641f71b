//! hold: whether what was redirected to a peer has been read, answered to the proxy that is about to send through TCP.
//!
//! `setsockopt`, `cgroup/setsockopt`, Linux 5.3. The proxy says by SO_RCVTIMEO that what it sends is brief, and takes it back
//! before it sends anything else. Nobody else knows whether the peer has read: a client that pipelines asks for more without.
//! So taking it back is refused (EPERM) while redirected bytes wait at the peer, and the proxy tries again later. On
//! failure, or where this program is not there, it is not refused, and a reader that takes a short read for the end
//! may not see what TCP carries behind it.

use crate::{
    maps::{count, flow},
    peer,
};
use aya_ebpf::{macros::cgroup_sockopt, programs::SockoptContext};
use redirect_common::{Counter, Flow, flow as bits};

const REFUSE: i32 = 0;
const ALLOW: i32 = 1;

const SOL_SOCKET: i32 = 1;
const SO_RCVTIMEO_OLD: i32 = 20;
const SO_RCVTIMEO_NEW: i32 = 66;

/// Bytes of an option that the kernel shows to programs: a page of the smallest kind.
const SHOWN: i32 = 4096;

#[cgroup_sockopt(setsockopt)]
pub fn setsockopt(ctx: SockoptContext) -> i32 {
    asked::<false>(&ctx)
}

/// The same for the self-test's own sockets and no others.
#[cgroup_sockopt(setsockopt)]
pub fn setsockopt_test(ctx: SockoptContext) -> i32 {
    asked::<true>(&ctx)
}

#[inline(always)]
fn asked<const TEST: bool>(ctx: &SockoptContext) -> i32 {
    let ctx = ctx.sockopt;
    // SAFETY: words of the context.
    let (level, name, length, socket) =
        unsafe { ((*ctx).level, (*ctx).optname, (*ctx).optlen, (*ctx).__bindgen_anon_1.sk) };
    if level == SOL_SOCKET && (name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW) && !socket.is_null() {
        // SAFETY: the context's socket, not null; locked by this hook.
        if let Some(flow) = unsafe { flow(socket.cast()) } {
            // SAFETY: storage of this socket, which is locked by this hook.
            let flow = unsafe { &*flow };
            if TEST == (flow.flags & bits::SELF_TEST != 0) && waits(flow) {
                count(flow.flags, Counter::Held, 1);
                return REFUSE;
            }
        }
    } else if length > SHOWN {
        // The kernel refuses an option that is longer than what it shows, unless told to take the caller's own buffer.
        // SAFETY: a word of the context that this hook may write.
        unsafe { (*ctx).optlen = 0 };
    }
    ALLOW
}

/// Whether redirected bytes wait at the peer of the proxy's own end. That the peer lives is told by the pair.
#[inline(always)]
fn waits(flow: &Flow) -> bool {
    flow.flags & bits::ENROLLED != 0
        && flow.redirected_messages > 0
        && peer::is_proxys(flow)
        && peer::says_brief(flow)
        && flow.other != 0
        && peer::other_end(flow) == flow.other
        && peer::standing(flow).is_some_and(peer::Standing::redirected)
}
