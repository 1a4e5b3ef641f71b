//! peer: how the other end of a connection stands, and what the proxy's end says of itself.
//!
//! The receiver is read through an address noted when it was enrolled. It may be freed by now: the reads are of the
//! kind that cannot fault, and what they say is acted on only where something else confirms it: a look-up by key that finds
//! the socket still in the map, or the pair.

use crate::maps::{PAIRS, word};
use core::ptr::read_volatile;
use redirect_common::{CLIENT, Flow, SERVER, flow as bits};

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

/// What waits at the receiver of a direction.
#[derive(Clone, Copy)]
pub struct Standing {
    /// TCP has bytes that were not read.
    pub in_tcp: bool,
    /// Bytes that were not read, whichever way they came.
    pub unread: u32,
}

impl Standing {
    /// Whether redirected bytes were not read. Those and TCP's never wait both.
    #[inline(always)]
    pub fn redirected(self) -> bool {
        !self.in_tcp && self.unread > 0
    }
}

/// What waits at the other end; `None`: it has gone.
#[inline(always)]
pub fn standing(flow: &Flow) -> Option<Standing> {
    // SAFETY: statics that only the loader sets, before they are frozen; read so that the compiler does not assume 0.
    let (write_seq, copied_seq, rmem_alloc) = unsafe {
        (
            read_volatile(&raw const TCP_WRITE_SEQ),
            read_volatile(&raw const TCP_COPIED_SEQ),
            read_volatile(&raw const SOCK_RMEM_ALLOC),
        )
    };
    let written = word(flow.own, write_seq)?;
    let read = word(flow.other, copied_seq)?;
    let unread = word(flow.other, rmem_alloc)?;
    Some(Standing { in_tcp: written != read, unread })
}

/// Whether this end is the proxy's.
#[inline(always)]
pub fn is_proxys(flow: &Flow) -> bool {
    let proxys = if flow.flags & bits::DOWNSTREAM != 0 { SERVER } else { CLIENT };
    flow.peer.end ^ 1 == proxys
}

/// Whether this end, the proxy's, says that what it sends is brief.
#[inline(always)]
pub fn says_brief(flow: &Flow) -> bool {
    // SAFETY: a static that only the loader sets, before it is frozen.
    word(flow.own, unsafe { read_volatile(&raw const SOCK_RCVTIMEO) }) != Some(ENDLESS)
}

/// Whether the other end, the proxy's, says that it looks into both queues.
#[inline(always)]
pub fn looks_again(flow: &Flow) -> bool {
    // SAFETY: a static that only the loader sets, before it is frozen.
    word(flow.other, unsafe { read_volatile(&raw const SOCK_SNDTIMEO) }) != Some(ENDLESS)
}

/// The kernel's address of the other end, once it is enrolled and until either is closed.
#[inline(always)]
pub fn other_end(flow: &Flow) -> u64 {
    let key = flow.peer.pair();
    // SAFETY: a copy of a word is taken at once; an entry that is reused meanwhile gives an address that the look-up by
    // key does not confirm.
    match unsafe { PAIRS.get(&key) } {
        Some(pair) if flow.peer.end == CLIENT => pair.client,
        Some(pair) => pair.server,
        None => 0,
    }
}
